package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/datadir"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// Examine says what a stopped member's data directory holds, and whether it is whole. It
// changes nothing. What it found before is so while no file was touched since: a recovery
// looks several times, and clients wait. Errors: fleet.Conflict when the member runs, or something else has its
// data open; fleet.NotFound when the host does not know it, or its disk or its data is
// not there; fleet.Blocked when the data is somebody else's.
func (n *Node) Examine(ctx context.Context, req MemberRequest) (*fleet.DataReport, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	if err := n.checkStopped(ctx, m); err != nil {
		return nil, err
	}
	if last := n.examinedBefore(m); last != nil {
		return last, nil
	}
	files, err := filesIn(m.dataDir(n))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, onHost("data of "+resourceOf(m.Member), err)
	}
	r, _, err := n.examine(ctx, m, m.dataDir(n), 0)
	if err != nil {
		return nil, err
	}
	return r, onHost(resourceOf(m.Member), durable.WriteJSON(n.examinedFile(m), examined{Files: files, Report: *r}, 0o644))
}

// checkStopped says that a member's data is there, and that nothing is to start it.
func (n *Node) checkStopped(ctx context.Context, m member) error {
	if err := n.checkDisk(m); err != nil {
		return err
	}
	if err := n.checkOwner(m); errors.Is(err, fs.ErrNotExist) {
		return noData(m)
	} else if err != nil {
		return err
	}
	s, err := n.Services.Status(ctx, m.Member)
	if err != nil {
		return err
	}
	if s.Wanted || s.Running {
		return fleet.Errorf(fleet.Conflict, resourceOf(m.Member), "it runs, or is to be started again; its data can be looked at only while it does not").
			WithRemedy("stop it")
	}
	return nil
}

// examined is what Examine found last, and the files in which it did. It lies on the host: on
// the member's disk nothing is changed.
type examined struct {
	Files  []fileState      `json:"files"`
	Report fleet.DataReport `json:"report"`
}

// fileState is by what it shows that a file was touched: whatever writes it, or puts another in
// its place, changes one of these.
type fileState struct {
	Name    string `json:"name"` // below the data directory
	Inode   uint64 `json:"inode"`
	Size    int64  `json:"size"`
	Written int64  `json:"written"` // nanoseconds
	Changed int64  `json:"changed"` // likewise; by its content, name, owner or mode
}

func (n *Node) examinedFile(m member) string {
	return filepath.Join(n.memberDir(m.Member), "examined.json")
}

// examinedBefore gives what Examine found last in a member's data, if nothing was touched
// since; else nil.
func (n *Node) examinedBefore(m member) *fleet.DataReport {
	var last examined
	if err := durable.ReadJSON(n.examinedFile(m), &last); err != nil || last.Report.Member != m.Member {
		return nil
	}
	files, err := filesIn(m.dataDir(n))
	if err != nil || len(files) == 0 || !slices.Equal(files, last.Files) {
		return nil
	}
	return &last.Report
}

func filesIn(dir string) (files []fileState, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		var s unix.Stat_t
		if err := unix.Lstat(path, &s); err != nil {
			return &os.PathError{Op: "lstat", Path: path, Err: err}
		}
		name, err := filepath.Rel(dir, path)
		files = append(files, fileState{Name: name, Inode: s.Ino, Size: s.Size, Written: s.Mtim.Nano(), Changed: s.Ctim.Nano()})
		return err
	})
	return files, err
}

// examine looks at a data directory of a member, and gives its hash at an earlier revision.
func (n *Node) examine(ctx context.Context, m member, dir string, earlier int64) (*fleet.DataReport, uint32, error) {
	r, hash, err := datadir.ExamineSince(ctx, dir, earlier)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, noData(m)
	case errors.Is(err, datadir.ErrInUse):
		return nil, 0, fleet.Errorf(fleet.Conflict, "data of "+resourceOf(m.Member), "%w", err).
			WithRemedy("end that process")
	case err != nil:
		return nil, 0, onHost("data of "+resourceOf(m.Member), err)
	}
	r.Member = m.Member
	if last, err := n.lastRun(m); err == nil && last != nil {
		r.Version = last.Version
	}
	return r, hash, nil
}

func noData(m member) error {
	return fleet.Errorf(fleet.NotFound, "data of "+resourceOf(m.Member), "disk %s has none of it", m.DiskID).
		WithRemedy("attach the disk that it was on")
}
