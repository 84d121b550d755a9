package node

import (
	"context"
	"errors"
	"io/fs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/datadir"
)

// Examine says what a stopped member's data directory holds, and whether it is whole. It
// changes nothing. Errors: fleet.Conflict when the member runs, or something else has its
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
	r, _, err := n.examine(ctx, m, m.dataDir(n), 0)
	return r, err
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
