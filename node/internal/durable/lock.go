//go:build unix

package durable

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked says that another process has the lock.
var ErrLocked = errors.New("locked by another process")

// lockPoll is how often a waiting lock looks again: flock cannot wait for a
// context, and whoever has the lock has it for seconds.
const lockPoll = 50 * time.Millisecond

// existingPatience is how long LockExisting tries.
const existingPatience = 500 * time.Millisecond

// Lock is an exclusive advisory lock (flock) on a file. The kernel frees it when
// the process ends, however it ends; children do not inherit it.
type Lock struct{ f *os.File }

// TryLock takes the lock at path, or fails with ErrLocked at once.
func TryLock(path string) (*Lock, error) { return tryLock(path, os.O_CREATE) }

// LockExisting is TryLock of a file that must be there, such as the store of an etcd,
// which takes the same kind of lock on it. Its process may just be ending, so that
// ErrLocked comes after a while only.
func LockExisting(path string) (*Lock, error) {
	for deadline := time.Now().Add(existingPatience); ; time.Sleep(lockPoll) {
		lock, err := tryLock(path, 0)
		if !errors.Is(err, ErrLocked) || time.Now().After(deadline) {
			return lock, err
		}
	}
}

func tryLock(path string, flag int) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		return &Lock{f}, nil
	}
	_ = f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, err
}

// WaitLock takes the lock at path as soon as it is free. When ctx ends before,
// the error is ErrLocked and the context's.
func WaitLock(ctx context.Context, path string) (*Lock, error) {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		lock, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ErrLocked, ctx.Err())
		case <-ticker.C:
		}
	}
}

// Unlock frees the lock.
func (l *Lock) Unlock() error { return l.f.Close() }
