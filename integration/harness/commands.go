package harness

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/stretchr/testify/require"
)

// Answer is how a command ended.
type Answer struct {
	Code     int
	Out, Err string
}

// CLI runs flotilla as a script does: no terminal, nothing on standard input.
func (e *Env) CLI(args ...string) Answer {
	e.t.Helper()
	return e.run(Binary("flotilla"), args...)
}

// StartCLI starts flotilla and does not wait for it. Its Log has both outputs.
func (e *Env) StartCLI(args ...string) *Process {
	e.t.Helper()
	log, err := os.CreateTemp(e.Dir, "cli-*.log")
	require.NoError(e.t, err)
	require.NoError(e.t, log.Close())
	return start(e.t, log.Name(), e.environment(), Binary("flotilla"), args...)
}

func (e *Env) environment() []string {
	return []string{"TEMPORAL_ADDRESS=" + e.Temporal.Address, "XDG_STATE_HOME=" + filepath.Join(e.Dir, "state")}
}

func (e *Env) run(program string, args ...string) Answer {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), Patience)
	defer cancel()
	command := exec.CommandContext(ctx, program, args...)
	command.Env = append(os.Environ(), e.environment()...)
	command.Dir = e.Dir
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(e.t, err)
	}
	require.NoError(e.t, ctx.Err(), "expected that %s %v ends; it said:\n%s", filepath.Base(program), args, errs.String())
	return Answer{Code: command.ProcessState.ExitCode(), Out: out.String(), Err: errs.String()}
}

// Interrupt does what Ctrl-C does, and gives the exit code.
func (p *Process) Interrupt() int { return p.signal(syscall.SIGINT) }
