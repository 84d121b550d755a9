package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// The exit codes. They are part of the interface: scripts decide by them.
const (
	exitDone        = 0
	exitFailed      = 1
	exitInput       = 2
	exitUnreachable = 3
	exitRefused     = 4
	exitApproval    = 5 // it waits for a person's approval, and goes on waiting
	exitInterrupted = 130
)

// exitError is an error whose exit code does not follow from its kind.
type exitError struct {
	code int
	err  error
	// said is set when the user has been told already.
	said bool
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitCode gives the code that a script sees.
func exitCode(err error) int {
	var exit *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &exit):
		return exit.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return kindCode(fleet.KindOf(err))
}

// kindCode gives the exit code of a request that was refused with a kind of error.
func kindCode(kind fleet.Kind) int {
	switch kind {
	case fleet.Invalid:
		return exitInput
	case fleet.Unavailable:
		return exitUnreachable
	case fleet.Blocked:
		return exitRefused
	}
	return exitFailed
}

// report tells the user what went wrong and what to do about it.
func (a *app) report(err error) {
	var exit *exitError
	if err == nil || errors.As(err, &exit) && exit.said {
		return
	}
	if errors.Is(err, context.Canceled) {
		a.say("interrupted")
		return
	}
	var problems fleet.Problems
	var known *fleet.Error
	switch {
	case errors.As(err, &problems) && errors.As(err, &known):
		a.reportProblems(known.Resource, problems)
	case errors.As(err, &known) && exit == nil:
		text := *known
		text.Remedy = ""
		a.say("%s", a.err.Paint(terminal.Red, text.Error()))
		if known.Remedy != "" {
			a.say("%s", upperFirst(known.Remedy))
		}
	default:
		a.say("%s", err)
	}
}

// reportProblems lists everything that is wrong with a document.
func (a *app) reportProblems(source string, problems fleet.Problems) {
	a.say("%s", a.err.Paint(terminal.Red, fmt.Sprintf("%s has %s:", source, terminal.Count(len(problems), "problem"))))
	for _, p := range problems {
		line := ""
		if p.Line > 0 {
			line = a.err.Paint(terminal.Dim, fmt.Sprintf(" (line %d)", p.Line))
		}
		a.say("  %s%s", strings.ReplaceAll(p.String(), "\n", "\n  "), line)
	}
}

func lowerFirst(text string) string {
	if text == "" {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

func upperFirst(text string) string {
	if text == "" || strings.HasPrefix(text, "flotilla ") {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
