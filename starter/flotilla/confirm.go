package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// confirm wants the person to type a word.
func (a *app) confirm(ctx context.Context, resource, word string) error {
	text, err := a.question(ctx, fmt.Sprintf("Type %s to go on: ", a.err.Paint(terminal.Bold, word)))
	if err == nil && text != word {
		err = unconfirmed(resource)
	}
	return err
}

// agree wants a yes.
func (a *app) agree(ctx context.Context, resource, question string) error {
	text, err := a.question(ctx, question+" [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(text) {
	case "y", "yes":
		return nil
	}
	return unconfirmed(resource)
}

func unconfirmed(resource string) error {
	return &exitError{code: exitRefused, err: errors.New(resource + ": not confirmed, nothing was changed")}
}

// question gives the line that a person types.
func (a *app) question(ctx context.Context, text string) (string, error) {
	_, _ = fmt.Fprint(a.err, text)
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		a.say("")
		return "", ctx.Err()
	case line := <-typed:
		return line, nil
	}
}
