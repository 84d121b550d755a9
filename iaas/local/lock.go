package local

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// How often a lock that somebody else holds is tried again. It is held for
// milliseconds as a rule, and flock cannot wait for a context.
const (
	lockRetryFirst = 2 * time.Millisecond
	lockRetryLast  = 25 * time.Millisecond
)

// lock takes the file's exclusive lock, waiting as long as the context allows.
// It excludes goroutines as well as processes: each call opens the file anew.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	pause := lockRetryFirst
	for {
		unlock, ok, err := tryLock(path)
		if err != nil || ok {
			return unlock, err
		}
		if err := wait(ctx, pause); err != nil {
			return nil, err
		}
		pause = min(2*pause, lockRetryLast)
	}
}

// tryLock takes the file's exclusive lock if nobody has it.
func tryLock(path string) (unlock func(), ok bool, err error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, false, ioError("local provider", "its lock cannot be opened", err)
		}
		if ok, err := flock(f, unix.LOCK_EX); !ok {
			_ = f.Close()
			if err != nil {
				return nil, false, ioError("local provider", "its lock cannot be taken", err)
			}
			return nil, false, nil
		}
		// The file may have been pruned between the open and the lock; then this
		// is the lock of a file that nobody else will ever see.
		held, err1 := f.Stat()
		named, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(held, named) {
			return func() { _ = f.Close() }, true, nil
		}
		_ = f.Close()
	}
}

// lockHeld says whether some process holds the file's exclusive lock. It takes
// a shared lock for an instant to find out.
func lockHeld(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	ok, err := flock(f, unix.LOCK_SH)
	return !ok && err == nil
}

// flock takes a lock without waiting; false without an error: somebody has it.
func flock(f *os.File, how int) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, err
		}
	}
}

// ioError gives a failure of the machine's own file system a kind.
func ioError(resource, what string, err error) error {
	if kind := fleet.KindOf(err); kind != "" {
		return err
	}
	e := fleet.Errorf(fleet.Unavailable, resource, "%s: %w", what, err)
	switch {
	case errors.Is(err, os.ErrPermission), errors.Is(err, unix.EROFS):
		e.Kind = fleet.Denied
		return e.WithRemedy("give this user the right to write there")
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		e.Kind = fleet.Denied
		return e.WithRemedy("free some space there")
	}
	return e
}
