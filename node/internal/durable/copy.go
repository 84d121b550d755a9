package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// Copy makes path, which must not exist, a copy of a file. Where the file system can have
// both share what neither changes, it takes no time; elsewhere the kernel copies. It is on its
// way to the disk then, and not there: whoever wants it to survive a power cut syncs it.
// What was written before an error is removed.
func Copy(path string, of *os.File, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if clone(f, of) != nil {
		err = copyParts(f, of)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}

// copyParts has the disk begin with each part while the next one is copied.
func copyParts(to, of *os.File) error {
	const part = 32 << 20
	for at := int64(0); ; at += part {
		n, err := io.CopyN(to, of, part)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		beginWriting(to, at, n)
		if n < part {
			return nil
		}
	}
}
