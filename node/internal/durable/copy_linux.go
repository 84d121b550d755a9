package durable

import (
	"os"

	"golang.org/x/sys/unix"
)

func clone(to, of *os.File) error { return unix.IoctlFileClone(int(to.Fd()), int(of.Fd())) }

// beginWriting is a hint: what it does not begin with, a sync does later.
func beginWriting(f *os.File, at, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), at, n, unix.SYNC_FILE_RANGE_WRITE)
}
