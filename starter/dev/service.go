package dev

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// backoffFirst is long enough to see that something died, short enough not to wait.
	backoffFirst = 500 * time.Millisecond
	// backoffMax keeps a program that cannot start from filling the log.
	backoffMax = 10 * time.Second
	// steady is how long a program must have run for its next end to count as the first.
	steady = 30 * time.Second
	// logLimit is the size at which a log begins anew, with the old one beside it.
	logLimit = 20 << 20
)

// service is one supervised program.
type service struct {
	name    string
	program string
	args    []string
	env     []string
	log     string
	// ready says whether it can be used; it is asked until it says so.
	ready func(context.Context) error
	// readyIn is how long that may take.
	readyIn time.Duration
	// grace is how long a clean end may take before it is killed.
	grace time.Duration
	// begun and died are told of each start and each end that was not asked for.
	begun func(s *service, pid, restarts int)
	died  func(s *service, how string, again time.Duration)
}

// start starts the program once. It runs in a process group of its own, so that
// Ctrl-C at the terminal reaches the supervisor only, which ends things in order.
func (s *service) start() (*exec.Cmd, error) {
	if info, err := os.Stat(s.log); err == nil && info.Size() > logLimit {
		_ = os.Rename(s.log, s.log+".1")
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fleet.Errorf(fleet.Denied, s.log, "cannot be opened: %w", err)
	}
	defer log.Close()                         // the program has its own descriptor
	cmd := exec.Command(s.program, s.args...) //nolint:noctx // it is ended in order, by signal
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, log, log
	cmd.Dir = filepath.Dir(filepath.Dir(s.log))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, s.name, "cannot be started: %w", err).WithRemedy("build it again: make build")
	}
	return cmd, nil
}

// up starts the program, waits until it is ready or ctx ends, and keeps it running
// until life ends; done is closed when it has ended then.
func (s *service) up(ctx, life context.Context) (done <-chan struct{}, err error) {
	cmd, err := s.start()
	if err != nil {
		return nil, err
	}
	s.begun(s, cmd.Process.Pid, 0)
	ended := wait(cmd)
	if err := s.awaitReady(ctx, ended); err != nil {
		s.stop(cmd, ended)
		return nil, err
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		s.keep(life, cmd, ended)
	}()
	return finished, nil
}

// keep restarts the program when it ends by itself, later and later.
func (s *service) keep(ctx context.Context, cmd *exec.Cmd, ended chan string) {
	restarts, pause, since := 0, backoffFirst, time.Now()
	for {
		select {
		case <-ctx.Done():
			s.stop(cmd, ended)
			return
		case how := <-ended:
			if time.Since(since) > steady {
				pause = backoffFirst
			}
			s.died(s, how, pause)
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause = min(2*pause, backoffMax)
			next, err := s.start()
			if err == nil {
				cmd, ended, since = next, wait(next), time.Now()
				restarts++
				s.begun(s, cmd.Process.Pid, restarts)
				break
			}
			s.died(s, err.Error(), pause)
		}
	}
}

// wait gives, once, how the program ended.
func wait(cmd *exec.Cmd) chan string {
	ended := make(chan string, 1)
	go func() {
		how := "exit status 0"
		if err := cmd.Wait(); err != nil {
			how = err.Error()
		}
		ended <- how
	}()
	return ended
}

// stop ends the program cleanly, and by force when that takes too long.
func (s *service) stop(cmd *exec.Cmd, ended chan string) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(s.grace):
		_ = cmd.Process.Kill()
		<-ended
	}
}

func (s *service) awaitReady(ctx context.Context, ended chan string) error {
	ctx, cancel := context.WithTimeout(ctx, s.readyIn)
	defer cancel()
	for {
		err := s.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case exit := <-ended:
			ended <- exit // stop waits for it too
			return fleet.Errorf(fleet.Unavailable, s.name, "ended while starting (%s)%s", exit, quoted(tail(s.log, 5))).
				WithRemedy("see %s", s.log)
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fleet.Errorf(fleet.Unavailable, s.name, "is not ready after %s (%s)%s", s.readyIn, err, quoted(tail(s.log, 5))).
				WithRemedy("see %s", s.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
