package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// pausePatience is how long a host may take to be paused: its processes stop at once
// unless the kernel is busy for them.
const pausePatience = 5 * time.Second

// pausedPath marks a host as paused. Who paused it holds its lock: whoever finds the mark
// and has the lock himself knows that the other died, and resumes it.
func (p *Provider) pausedPath(id string) string { return filepath.Join(p.hostDir(id), "paused") }

func (p *Provider) isPaused(id string) bool {
	_, err := os.Stat(p.pausedPath(id))
	return err == nil
}

// pause stops every process of a host where it is (SIGSTOP). The host's lock is held.
func (p *Provider) pause(ctx context.Context, id string) error {
	if err := writeFile(p.pausedPath(id), nil); err != nil {
		return ioError(label("host", "", id), "it cannot be marked as paused", err)
	}
	marker := p.marker(id)
	// As with killAll: a process may fork between the look and the signal, and is not
	// seen at the instant in which it replaces its program.
	for deadline, quiet := time.Now().Add(pausePatience), 0; quiet < 2; {
		found, err := withMarker(marker)
		if err != nil {
			return errors.Join(ioError(label("host", "", id), "its processes cannot be listed", err), p.resume(id))
		}
		moving := slices.DeleteFunc(found, func(proc process) bool { return isStopped(proc.PID) })
		quiet++
		for _, proc := range moving {
			quiet = 0
			proc.signal(syscall.SIGSTOP)
		}
		if quiet < 2 && time.Now().After(deadline) {
			return errors.Join(fleet.Errorf(fleet.Unavailable, label("host", "", id), "its processes %v do not pause", moving), p.resume(id))
		}
		if err := wait(ctx, time.Millisecond); err != nil {
			return errors.Join(err, p.resume(id))
		}
	}
	return nil
}

// resume has a host's processes go on. The host's lock is held.
func (p *Provider) resume(id string) error {
	found, err := withMarker(p.marker(id))
	if err != nil {
		return ioError(label("host", "", id), "its processes cannot be listed", err)
	}
	for _, proc := range found {
		proc.signal(syscall.SIGCONT)
	}
	if err := os.Remove(p.pausedPath(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return ioError(label("host", "", id), "it cannot be marked as resumed", err)
	}
	return nil
}
