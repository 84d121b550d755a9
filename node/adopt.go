package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/node/service"
)

const (
	// endPatience is how long the process of something else may take to end. etcd
	// hands its leadership over first.
	endPatience = 30 * time.Second
	// comebackWatch is how long a process is watched for that comes back after its
	// end: longer than a shell's loop waits, or systemd by default.
	comebackWatch = 1500 * time.Millisecond
)

// Adopt takes over a member that something else runs on this host, and runs it as
// asked. It must have been prepared and certified, with the disk that its data is on.
//
// What is moved is the directory "member" in etcd's data directory. It changes places,
// in one step, with a file of that name that was put into our data directory before,
// while this process has etcd's own lock on the store. So at any moment either the old
// etcd can run or ours, whatever is killed: before the step, ours finds a file where
// it wants a directory, and after it, the old one does. Both say where the data is.
//
// Errors: as of Start; fleet.NotFound when there is no such unit; fleet.Blocked when
// the member is another one, or data is in both places; fleet.Invalid when there is no
// data, or it is not on the disk, or not run by what the request says; fleet.Conflict
// when something else keeps the process running, or has started it again;
// fleet.Unavailable when it does not end; fleet.Denied when this host cannot do it.
func (n *Node) Adopt(ctx context.Context, req AdoptRequest) (*fleet.MemberReport, error) {
	start := req.Start
	if err := checkStart(start); err != nil {
		return nil, err
	}
	resource := resourceOf(start.Member)
	var unit *service.Unit
	if req.Unit != "" {
		var err error
		if unit, err = service.NewUnit(req.Unit); err != nil {
			return nil, err
		}
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(start.Member)
	if err != nil {
		return nil, err
	}
	if want := (Owner{Cluster: req.Cluster, UID: req.UID, Member: start.Member}); m.Owner != want || m.DiskID != req.DiskID {
		return nil, fleet.Errorf(fleet.Blocked, resource, "this host has prepared %s on disk %s, not %s on disk %s", m.Owner, m.DiskID, want, req.DiskID).
			WithRemedy("prepare it as it is to be adopted")
	}
	if _, err := n.arguments(m, start); err != nil {
		return nil, err
	}
	if err := n.checkReady(m, start); err != nil {
		return nil, err
	}
	theirs, err := n.findData(m, req.DataDir)
	if err != nil {
		return nil, err
	}
	if theirs != "" {
		t := takeover{n: n, m: m, from: theirs, unit: unit}
		if err := t.run(ctx, start); err != nil {
			return nil, err
		}
	}
	m.Adopting = ""
	if err := n.ownData(m); err != nil {
		return nil, err
	}
	if unit != nil {
		// Also one that has been started since the data went: it comes to nothing, but
		// has the ports for a moment each time.
		if err := errors.Join(unit.Stop(ctx), unit.Disable(ctx)); err != nil {
			return nil, err
		}
	}
	before, err := n.Services.Status(ctx, m.Member)
	if err != nil {
		return nil, err
	}
	if err := checkPorts(ctx, start, m.Start, before.Running); err != nil {
		return nil, err
	}
	return n.run(ctx, m, start)
}

// findData gives the "member" directory that is to be adopted; empty when it is ours
// already.
func (n *Node) findData(m member, dataDir string) (string, error) {
	resource := "data of " + resourceOf(m.Member)
	if !filepath.IsAbs(dataDir) {
		return "", fleet.Errorf(fleet.Invalid, resource, "%q is not an absolute path", dataDir)
	}
	ours := false
	if info, err := os.Lstat(filepath.Join(m.dataDir(n), "member")); err == nil {
		ours = info.IsDir()
	}
	dir, err := filepath.EvalSymlinks(n.path(dataDir))
	switch {
	case errors.Is(err, fs.ErrNotExist) && ours:
		return "", nil
	case errors.Is(err, fs.ErrNotExist):
		return "", fleet.Errorf(fleet.Invalid, resource, "there is no directory %s on this host", dataDir)
	case err != nil:
		return "", onHost(resource, err)
	}
	disk, err := filepath.EvalSymlinks(n.disk(m.DiskID))
	if err != nil {
		return "", onHost(resource, err)
	}
	theirs, place := filepath.Join(dir, "member"), filepath.Join(disk, m.Member)
	switch {
	case dir != disk && !strings.HasPrefix(dir, disk+"/"):
		return "", fleet.Errorf(fleet.Invalid, resource, "%s is not on disk %s", dataDir, m.DiskID).
			WithRemedy("give the disk that it is on, or move it there")
	case dir == filepath.Join(place, "data"):
		if ours {
			return "", nil
		}
	case place == theirs || strings.HasPrefix(place, theirs+"/"):
		return "", fleet.Errorf(fleet.Invalid, resource, "the place of %s on the disk is inside of %s", m.Member, theirs).
			WithRemedy("give the member another name")
	}
	for _, part := range []string{"wal", "snap"} {
		info, err := os.Lstat(filepath.Join(theirs, part))
		switch there := err == nil && info.IsDir(); {
		case there && ours:
			return "", fleet.Errorf(fleet.Blocked, resource, "there is data in %s, and in the member's own place as well", dataDir).
				WithRemedy("find out which is the member's, and move the other away")
		case there:
		case ours:
			return "", nil
		default:
			return "", fleet.Errorf(fleet.Invalid, resource, "%s is not a directory: %s is not the data of an etcd, or has parts elsewhere",
				filepath.Join(dataDir, "member", part), dataDir).WithRemedy("give its --data-dir; a log elsewhere (--wal-dir) cannot be adopted")
		}
	}
	return theirs, nil
}

// ownData gives the data to the user that our etcds run as: they have no right to
// read another's files, not even as root (the unit drops all capabilities).
func (n *Node) ownData(m member) error {
	top, err := os.Stat(m.onDisk(n))
	if err == nil {
		err = filepath.WalkDir(m.dataDir(n), func(path string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := giveTo(top, path); !errors.Is(err, fs.ErrNotExist) {
				return err // what a running etcd tidies away, is nobody's
			}
			return nil
		})
	}
	return onHost("data of "+resourceOf(m.Member), err)
}

// giveTo makes a file the user's that another one belongs to.
func giveTo(owner os.FileInfo, path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	want, ok1 := owner.Sys().(*syscall.Stat_t)
	have, ok2 := info.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || want.Uid == have.Uid && want.Gid == have.Gid {
		return nil
	}
	return os.Lchown(path, int(want.Uid), int(want.Gid))
}

// tombstone is the file that stands where a "member" directory has been, or is to be.
func tombstone(place string) []byte {
	return []byte("The data of this etcd is in " + place + ".\n" +
		"This file keeps an etcd that is started here from beginning anew.\n")
}

// layTombstone puts the file into our data directory that is to change places.
func (n *Node) layTombstone(m member) error {
	dir, err := filepath.EvalSymlinks(m.dataDir(n))
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, "member"), tombstone(filepath.Join(dir, "member")), 0o644)
}
