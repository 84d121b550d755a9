package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// Stop ends a member's process; it stays stopped, also over a reboot, until the
// next Start or Restart. A member that never ran is a success. Errors:
// fleet.NotFound when the host does not know the member.
func (n *Node) Stop(ctx context.Context, req MemberRequest) (*fleet.MemberReport, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	if err := n.Services.Stop(ctx, m.Member); err != nil {
		return nil, err
	}
	return n.reportOn(ctx, m), nil
}

// Restart ends a member's process and starts it as it was last started, also if
// it was stopped. Errors as of Start; fleet.Conflict when it was never started.
func (n *Node) Restart(ctx context.Context, req MemberRequest) (*fleet.MemberReport, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	if m.Start == nil {
		return nil, fleet.Errorf(fleet.Conflict, resourceOf(m.Member), "it was never started").WithRemedy("start it")
	}
	if err := n.checkReady(m, *m.Start); err != nil {
		return nil, err
	}
	if err := n.Services.Restart(ctx, m.Member); err != nil {
		return nil, err
	}
	if err := n.awaitProof(ctx, m); err != nil {
		return nil, err
	}
	return n.reportOn(ctx, m), nil
}

// Wipe stops a member and deletes its data, its keys and what the host knows of
// it; nothing else. A member that the host does not know is a success. Errors:
// fleet.NotFound when its disk is not there, fleet.Blocked when the data on it is
// somebody else's; then nothing is deleted.
func (n *Node) Wipe(ctx context.Context, req MemberRequest) error {
	unlock, err := n.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if fleet.Is(err, fleet.NotFound) {
		// Between its last two deletions a wipe leaves an empty directory.
		return onHost(resourceOf(req.Member), durable.Remove(n.memberDir(req.Member)))
	}
	if err != nil {
		return err
	}
	if err := n.checkDisk(m); err != nil {
		return err
	}
	if err := n.checkOwner(m); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := n.Services.Remove(ctx, m.Member); err != nil {
		return err
	}
	// What says where the rest is, goes last. On the disk, that is the owner.
	return onHost(resourceOf(m.Member), errors.Join(
		n.wipeDisk(m),
		removeAllBut(n.memberDir(m.Member), filepath.Base(n.memberFile(m.Member))),
	))
}

// wipeDisk deletes what is ours in a member's directory on its disk, and the directory
// if nothing else is in it: an etcd that was to be adopted may keep its data there.
func (n *Node) wipeDisk(m member) error {
	for _, work := range []string{recovering, restoring} {
		if err := n.removeAll(m, work); err != nil {
			return err
		}
	}
	for _, path := range append(n.setAside(m), m.dataDir(n), m.runFile(n), m.ownerFile(n)) {
		if err := errors.Join(durable.Remove(path+durable.TempSuffix), durable.Remove(path)); err != nil {
			return err
		}
	}
	err := os.Remove(m.onDisk(n))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return durable.SyncDir(n.disk(m.DiskID))
}

// removeAllBut deletes a directory, and what is called last in it at the end. It
// stops where something cannot be deleted.
func removeAllBut(dir, last string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == last {
			continue
		}
		if err := durable.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return durable.Remove(dir)
}
