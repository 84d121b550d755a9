package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	// tailLines of a failed build are shown: enough for a compiler's complaint, not
	// for a person to scroll.
	tailLines = 30

	// killAfter is how long the go command gets to end its compilers.
	killAfter = 5 * time.Second
)

// commandError is a go command that failed, with the end of what it said.
type commandError struct {
	command string
	err     error
	tail    []string
}

func (e *commandError) Error() string { return "go " + e.command + ": " + e.err.Error() }
func (e *commandError) Unwrap() error { return e.err }

// goCommand runs the go command in dir and gives each line of its standard error to
// line, which returns whether the line is worth showing after a failure. When ctx ends,
// the command and its compilers are interrupted.
func goCommand(ctx context.Context, dir string, line func(string) bool, args ...string) error {
	_, err := goOutput(ctx, dir, line, args...)
	return err
}

func goOutput(ctx context.Context, dir string, line func(string) bool, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// Settings for the project's own builds must not change these.
	cmd.Env = append(os.Environ(),
		"CGO_ENABLED=0", "GOWORK=off", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	// A group of its own: ^C reaches this program only, which then ends all of them
	// in an orderly way, however it was told to stop.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = killAfter

	var stdout strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot run go: %w", err)
	}
	tail := readLines(stderr, line)
	err = cmd.Wait()
	if ctx.Err() != nil {
		// Nothing that the group left behind may write into the directory we remove.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, &commandError{command: args[0], err: err, tail: tail}
	}
	return []byte(stdout.String()), nil
}

func readLines(r io.Reader, line func(string) bool) (tail []string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !line(lines.Text()) {
			continue
		}
		if tail = append(tail, lines.Text()); len(tail) > tailLines {
			tail = tail[1:]
		}
	}
	// The rest of a line that is too long: the command must not block on a full pipe.
	_, _ = io.Copy(io.Discard, r)
	return tail
}
