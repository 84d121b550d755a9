//go:build unix

package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func isNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// space gives how much of a path's file system is used, and how much is left for us.
func space(path string) (used, free fleet.Bytes, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	block := fleet.Bytes(s.Bsize)
	return fleet.Bytes(s.Blocks-s.Bfree) * block, fleet.Bytes(s.Bavail) * block, nil //nolint:unconvert // types differ by platform
}

func freeSpace(path string) (fleet.Bytes, error) {
	_, free, err := space(path)
	return free, err
}

// noSpace says what is missing; needed is what was to be written next.
func (n *Node) noSpace(resource string, needed fleet.Bytes) error {
	free := "an unknown amount"
	if b, err := freeSpace(n.releasesDir()); err == nil {
		free = b.Human()
	}
	e := fleet.Errorf(fleet.Denied, resource, "no space left in %s: %s free, %s needed", n.releasesDir(), free, needed.Human())
	if needed == 0 {
		e = fleet.Errorf(fleet.Denied, resource, "no space left in %s: %s free", n.releasesDir(), free)
	}
	return e.WithRemedy("make room on the host's disk, or give it a larger one")
}

// spaceError is onHost with what is missing.
func (n *Node) spaceError(resource string, needed fleet.Bytes, err error) error {
	if isNoSpace(err) {
		return n.noSpace(resource, needed)
	}
	return onHost(resource, err)
}

// diskSpace gives what is used and free on a member's disk. A provider whose
// disks are directories of one large file system says a disk's size in a file
// beside it (disks/ID.size, in bytes): then used is what lies in it, and free is
// capped by its size.
func (n *Node) diskSpace(id string) (used, free fleet.Bytes, err error) {
	used, free, err = space(n.disk(id))
	if err != nil {
		return 0, 0, err
	}
	text, err := os.ReadFile(n.disk(id) + ".size")
	if errors.Is(err, fs.ErrNotExist) {
		return used, free, nil
	}
	if err != nil {
		return 0, 0, err
	}
	size, err := parseSize(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, 0, err
	}
	used = allocated(n.disk(id))
	return used, max(0, min(size-used, free)), nil
}

// allocated adds up what the files below a directory take on disk. Files that go
// while it looks count for nothing.
func allocated(dir string) fleet.Bytes {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	var sum fleet.Bytes
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var s unix.Stat_t
		if err == nil && unix.Lstat(path, &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFREG {
			sum += fleet.Bytes(s.Blocks) * 512 // whatever the file system's own block is (stat(2))
		}
		return nil
	})
	return sum
}

func parseSize(text string) (fleet.Bytes, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	return fleet.Bytes(n), err
}
