package endpoints

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// commandTimeout is how long a program may take, and maxSaid how much of what it says is
// kept, in bytes.
const (
	commandTimeout = time.Minute
	maxSaid        = 500
)

// command asks a program of the operator's own: fleet.Record as JSON is its input, and
// exit status 0 its promise.
type command struct{ path string }

func newCommand(path string) *command { return &command{path} }

// Publish runs the program once.
func (c *command) Publish(ctx context.Context, record fleet.Record) error {
	resource := "program " + c.path
	input, err := json.Marshal(record)
	if err != nil {
		return fleet.Errorf(fleet.Invalid, resource, "cannot be asked: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var said bytes.Buffer
	run := exec.CommandContext(ctx, c.path)
	run.Stdin, run.Stdout, run.Stderr = bytes.NewReader(input), &said, &said
	// Neither the worker's credentials nor anything else of its environment.
	run.Env = []string{"PATH=" + os.Getenv("PATH")}
	run.WaitDelay = time.Second
	err = run.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fleet.Errorf(fleet.Unavailable, resource, "did not end in time: %w", ctx.Err())
	case errors.As(err, &exit):
		text := strings.Join(strings.Fields(said.String()), " ")
		return fleet.Errorf(fleet.Unavailable, resource, "failed for %s (%s): %s", record.Name, exit, text[max(0, len(text)-maxSaid):]).
			WithRemedy("see what it says; it is asked again")
	}
	return fleet.Errorf(fleet.Invalid, resource, "cannot be run: %w", err)
}
