package dev

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// acquire takes a data directory for one supervisor. The kernel gives it back when
// that dies, however it dies. ok is false when another has it.
func acquire(dataDir string) (release func(), ok bool, err error) {
	path := filepath.Join(dataDir, "dev.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fleet.Errorf(fleet.Denied, path, "cannot be opened: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, false, f.Close()
	case err != nil:
		_ = f.Close()
		return nil, false, fleet.Errorf(fleet.Denied, path, "cannot be locked: %w", err)
	}
	return func() { _ = f.Close() }, true, nil
}

// held says whether a supervisor has the data directory.
func held(dataDir string) bool {
	if _, err := os.Stat(dataDir); err != nil {
		return false
	}
	release, ok, err := acquire(dataDir)
	if ok {
		release()
	}
	return err == nil && !ok
}
