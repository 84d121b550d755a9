package local

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// copiedAtOnce is how many files are copied side by side: the disk stores one while the next
// is read, and a member's store is as large as all of its log.
const copiedAtOnce = 4

// copyTree copies a directory with its files and links, so that the copy is there whole
// or not at all. What else may be in it (sockets, devices) is left out: no member has any.
// Nobody must write to it meanwhile. It ends early with what goOn gives, if not nil.
func copyTree(from, to string, goOn func() error) error {
	part := to + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	var files errgroup.Group
	files.SetLimit(copiedAtOnce)
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = goOn()
		}
		if err != nil {
			return err
		}
		below, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.Type().IsRegular() {
			files.Go(func() error { return copyEntry(path, filepath.Join(part, below), entry) })
			return nil
		}
		return copyEntry(path, filepath.Join(part, below), entry)
	})
	err = errors.Join(err, files.Wait())
	if err == nil {
		err = os.RemoveAll(to)
	}
	if err == nil {
		err = os.Rename(part, to)
	}
	if err != nil {
		_ = os.RemoveAll(part) // the next copy does it otherwise
		return err
	}
	return syncDir(filepath.Dir(to))
}

func copyEntry(from, to string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	switch {
	case entry.IsDir():
		return os.Mkdir(to, info.Mode().Perm()|0o700)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.Mode().IsRegular():
		return copyFile(from, to, info.Mode().Perm())
	}
	return nil
}

// copyFile copies a file's content; the kernel shares blocks where it can
// (copy_file_range, which os.File uses on Linux).
func copyFile(from, to string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	return err
}

// written is how much the files of a directory hold, as far as it can be seen.
func written(dir string) (size fleet.Bytes) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				size += fleet.Bytes(info.Size())
			}
		}
		return nil
	})
	return size
}
