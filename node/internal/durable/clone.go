package durable

import (
	"errors"
	"io/fs"
	"os"
)

// Clone makes path, which must not exist, a copy of a file on the same file system that
// shares with it what neither changes, and syncs it. It gives false, and leaves nothing, where
// the file system cannot do that.
func Clone(path string, of *os.File, mode fs.FileMode) (bool, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return false, err
	}
	if clone(f, of) != nil {
		return false, errors.Join(f.Close(), os.Remove(path))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path)
		return false, err
	}
	return true, nil
}
