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
	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

const (
	// detachTimeout is how long a start in the background may take in all.
	detachTimeout = temporalReady + workerReady + hostsTimeout
	// downTimeout is how long a clean end may take in all.
	downTimeout = workerGrace + 2*temporalGrace + hostsTimeout
	poll        = 50 * time.Millisecond
)

// Status is how an environment stands.
type Status struct {
	Running bool `json:"running"`
	devenv.Record
	Hosts []fleet.Host `json:"hosts"`
}

// Look says how the environment of a data directory stands.
func Look(ctx context.Context, dataDir string) (Status, error) {
	r, err := devenv.Read(dataDir)
	if err != nil {
		return Status{}, err
	}
	s := Status{Running: held(dataDir), Record: r}
	if !s.Running {
		s.Ready = false
	}
	s.Hosts, err = Hosts(ctx, r)
	return s, err
}

// Detach starts an environment in the background, by running this program again
// with args, and waits until it is ready.
func Detach(ctx context.Context, dataDir string, args []string) error {
	if held(dataDir) {
		return alreadyRuns(dataDir)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	path := Log(dataDir, "dev")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fleet.Errorf(fleet.Denied, dataDir, "cannot be made: %w", err).WithRemedy("choose another with --data")
	}
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fleet.Errorf(fleet.Denied, path, "cannot be opened: %w", err)
	}
	defer log.Close()
	from := size(path)
	cmd := exec.Command(self, args...) //nolint:noctx // it outlives this program
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fleet.Errorf(fleet.Unavailable, "flotilla dev", "cannot be started: %w", err)
	}
	ended := wait(cmd)
	ctx, cancel := context.WithTimeout(ctx, detachTimeout)
	defer cancel()
	for {
		if r, err := devenv.Read(dataDir); err == nil && r.Ready && r.Supervisor == cmd.Process.Pid {
			return nil
		}
		select {
		case <-ended:
			return fleet.Errorf(fleet.Unavailable, "flotilla dev", "did not start: %s", since(path, from)).WithRemedy("see %s", path)
		case <-ctx.Done():
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return fleet.Errorf(fleet.Unavailable, "flotilla dev", "is not ready after %s", detachTimeout).WithRemedy("see %s", path)
		case <-time.After(poll):
		}
	}
}

// Down stops an environment and all its hosts. Disks, objects and history stay: the
// next start continues with them.
func Down(ctx context.Context, dataDir string, say func(string, ...any)) error {
	r, err := devenv.Read(dataDir)
	if err != nil {
		return err
	}
	if err := stopSupervisor(ctx, r, say); err != nil {
		return err
	}
	n, err := stopHosts(ctx, r)
	if n > 0 {
		say("%d hosts stopped; their disks are kept", n)
	}
	if now, readErr := devenv.Read(dataDir); readErr == nil {
		now.HostsStopped = now.HostsStopped || n > 0
		now.Ready, now.Supervisor, now.Processes = false, 0, nil
		err = errors.Join(err, now.Write())
	}
	return err
}

// Reset ends everything and removes the data directory with all clusters in it.
func Reset(ctx context.Context, dataDir string, say func(string, ...any)) error {
	r, err := devenv.Read(dataDir)
	if err != nil {
		return err
	}
	if err := stopSupervisor(ctx, r, say); err != nil {
		return err
	}
	if _, err := terminateHosts(ctx, r); err != nil {
		return err
	}
	if err := os.RemoveAll(dataDir); err != nil {
		return fleet.Errorf(fleet.Denied, dataDir, "cannot be removed: %w", err)
	}
	return nil
}

// stopSupervisor asks for a clean end and waits for it.
func stopSupervisor(ctx context.Context, r devenv.Record, say func(string, ...any)) error {
	if held(r.DataDir) && r.Supervisor > 1 {
		say("stopping flotilla dev (process %d) …", r.Supervisor)
		if err := syscall.Kill(r.Supervisor, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fleet.Errorf(fleet.Denied, "flotilla dev", "process %d cannot be ended: %w", r.Supervisor, err)
		}
		ctx, cancel := context.WithTimeout(ctx, downTimeout)
		defer cancel()
		for held(r.DataDir) {
			select {
			case <-ctx.Done():
				return fleet.Errorf(fleet.Unavailable, "flotilla dev", "process %d does not end", r.Supervisor).
					WithRemedy("see %s", Log(r.DataDir, "dev"))
			case <-time.After(poll):
			}
		}
	}
	endLeftovers(ctx, r, say)
	return nil
}

// KillWorker kills the worker as a crash would (kill -9) and gives its process ID.
// The supervisor starts it again.
func KillWorker(dataDir string) (int, error) {
	r, err := devenv.Read(dataDir)
	if err != nil {
		return 0, err
	}
	pid := r.Processes["worker"].PID
	if !held(dataDir) || !alive(pid) {
		return 0, fleet.Errorf(fleet.Conflict, "worker", "does not run").WithRemedy("start it with flotilla dev")
	}
	return pid, syscall.Kill(pid, syscall.SIGKILL)
}

// since gives what a log got since it was from bytes long.
func since(path string, from int64) string {
	var b limited
	_, _ = copyFrom(&b, path, from)
	return "\n    " + string(b) + "\n"
}

// limited keeps the beginning of what is written to it.
type limited []byte

// Write takes everything and keeps 4 KiB.
func (l *limited) Write(p []byte) (int, error) {
	*l = append(*l, p[:min(len(p), 4096-min(4096, len(*l)))]...)
	return len(p), nil
}
