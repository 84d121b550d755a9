package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

var errLocked = errors.New("locked by another process")

// lockPoll is how soon a waiter notices that the lock is free; nobody waits for less
// than a build.
const lockPoll = 200 * time.Millisecond

// tryLock takes the lock or returns errLocked. The kernel gives it up for a process
// that dies, so there is nothing to clean up after a crash and the file is never removed.
func tryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// Only for the message of whoever waits.
	_ = f.Truncate(0)
	_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	return func() { _ = f.Close() }, nil
}

// lock waits for the lock, after telling once who has it.
func lock(ctx context.Context, path string, waiting func(holder string)) (unlock func(), err error) {
	unlock, err = tryLock(path)
	if !errors.Is(err, errLocked) {
		return unlock, err
	}
	holder, _ := os.ReadFile(path)
	waiting(strings.TrimSpace(string(holder)))
	again := time.NewTicker(lockPoll)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-again.C:
		}
		if unlock, err = tryLock(path); !errors.Is(err, errLocked) {
			return unlock, err
		}
	}
}
