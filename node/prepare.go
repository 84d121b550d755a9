package node

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/pki"
)

// Prepare mounts a member's disk, makes its directories and keys, and gives requests
// for its certificates. Keys that exist are kept. Errors: fleet.Invalid for names that
// cannot be; fleet.NotFound when the disk is not there; fleet.Blocked when the
// member's name or its data directory belongs to somebody else, or the disk has
// something else on it; fleet.Denied when this host cannot mount it.
func (n *Node) Prepare(ctx context.Context, req PrepareRequest) (*PrepareResult, error) {
	m := member{Owner: Owner{Cluster: req.Cluster, UID: req.UID, Member: req.Member}, DiskID: req.DiskID}
	if err := checkPrepare(m); err != nil {
		return nil, err
	}
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()

	known, err := n.member(m.Member)
	switch {
	case fleet.Is(err, fleet.NotFound):
	case err != nil:
		return nil, err
	case known.Owner != m.Owner:
		return nil, fleet.Errorf(fleet.Blocked, resourceOf(m.Member), "this host has %s already, which is not %s", known.Owner, m.Owner).
			WithRemedy("wipe it first")
	case known.DiskID != m.DiskID:
		return nil, fleet.Errorf(fleet.Blocked, resourceOf(m.Member), "its data is on disk %s, not on %s", known.DiskID, m.DiskID)
	default:
		m = known
	}
	if err := n.mountDisk(ctx, m.DiskID); err != nil {
		return nil, err
	}
	if err := n.own(m); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(n.pkiDir(m.Member), 0o700); err != nil {
		return nil, onHost(resourceOf(m.Member), err)
	}
	if err := n.writeMember(m); err != nil {
		return nil, err
	}
	server, err := n.keyAndRequest(m.Member, serverKey)
	if err != nil {
		return nil, err
	}
	peer, err := n.keyAndRequest(m.Member, peerKey)
	if err != nil {
		return nil, err
	}
	return &PrepareResult{ServerCSR: string(server), PeerCSR: string(peer)}, nil
}

func checkPrepare(m member) error {
	if err := checkMember(m.Member); err != nil {
		return err
	}
	if !plainName.MatchString(m.DiskID) {
		return fleet.Errorf(fleet.Invalid, resourceOf(m.Member), "%q is not the ID of a disk", m.DiskID)
	}
	return errors.Join(
		checkText(resourceOf(m.Member), "the cluster", m.Cluster),
		checkText(resourceOf(m.Member), "the cluster's UID", m.UID),
	)
}

// own makes the data directory the member's, for good.
func (n *Node) own(m member) error {
	if err := n.checkDisk(m); err != nil {
		return err
	}
	err := n.checkOwner(m)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(m.onDisk(n), 0o700); err == nil {
			err = durable.WriteJSON(m.ownerFile(n), m.Owner, 0o644)
		}
	}
	if err != nil {
		return onHost("disk "+m.DiskID, err)
	}
	if err := os.MkdirAll(m.dataDir(n), 0o700); err != nil {
		return onHost("disk "+m.DiskID, err)
	}
	return onHost("disk "+m.DiskID, errors.Join(durable.SyncDir(m.onDisk(n)), durable.SyncDir(n.disk(m.DiskID))))
}

// keyAndRequest gives a request for one of a member's keys, which is made if
// there is none.
func (n *Node) keyAndRequest(member, file string) ([]byte, error) {
	path := n.pkiFile(member, file)
	key, err := os.ReadFile(path)
	if err == nil {
		return pki.RequestFor(key, member)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, onHost(resourceOf(member), err)
	}
	key, request, err := pki.NewKeyAndRequest(member)
	if err != nil {
		return nil, err
	}
	if err := durable.WriteFile(path, key, 0o600); err != nil {
		return nil, onHost(resourceOf(member), err)
	}
	return request, nil
}
