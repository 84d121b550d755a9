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

// space is what a file system has.
type space struct {
	size, used fleet.Bytes
	free       fleet.Bytes // what is left for us
}

// spaceOf gives the space of the file system that a path is on.
func spaceOf(path string) (space, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return space{}, err
	}
	block := fleet.Bytes(s.Bsize) //nolint:unconvert // types differ by platform
	return space{
		size: fleet.Bytes(s.Blocks) * block,
		used: fleet.Bytes(s.Blocks-s.Bfree) * block,
		free: fleet.Bytes(s.Bavail) * block,
	}, nil
}

func freeSpace(path string) (fleet.Bytes, error) {
	s, err := spaceOf(path)
	return s.free, err
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

// diskSpace gives the space on a member's disk. Where the disk's size is said in a
// file (see saidSize), used is what lies in it, and free is capped by its size.
func (n *Node) diskSpace(id string) (space, error) {
	s, err := spaceOf(n.disk(id))
	if err != nil {
		return space{}, err
	}
	size, said, err := n.saidSize(id)
	if err != nil || !said {
		return s, err
	}
	used := allocated(n.disk(id))
	return space{size: size, used: used, free: max(0, min(size-used, s.free))}, nil
}

// saidSize gives the size of a disk as the file disks/ID.size says it, in bytes: of a
// provider whose disks are directories of one large file system.
func (n *Node) saidSize(id string) (size fleet.Bytes, said bool, err error) {
	text, err := os.ReadFile(n.disk(id) + ".size")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	size, err = parseSize(strings.TrimSpace(string(text)))
	return size, err == nil, err
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
