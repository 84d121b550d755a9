package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// A depot is a directory that hosts on one machine share: a release is unpacked
// there once, and each host gets links to it. The local provider's hosts would
// otherwise unpack and sync the same 75 MB each. A host that is a machine of its
// own has none.

// stock leaves the release in work/release: out of the depot if there is one, and
// fetched and unpacked otherwise.
func (n *Node) stock(ctx context.Context, req InstallRequest, work string) error {
	if n.Depot == "" {
		return n.fetchAndUnpack(ctx, req, work)
	}
	resource := releaseResource(req.Version)
	if err := os.MkdirAll(n.Depot, 0o755); err != nil {
		return onHost(resource, err)
	}
	kept := filepath.Join(n.Depot, req.SHA256)
	lock, err := durable.WaitLock(ctx, kept+".lock")
	if errors.Is(err, durable.ErrLocked) {
		return fleet.Errorf(fleet.Unavailable, resource, "another host is still unpacking it: %w", err)
	}
	if err != nil {
		return onHost(resource, err)
	}
	defer func() { _ = lock.Unlock() }()
	if m, err := readManifest(kept); err != nil || m.Version != req.Version || whole(kept, m) != nil {
		if err := n.restock(ctx, req, kept); err != nil {
			return err
		}
	}
	release := filepath.Join(work, "release")
	if err := os.Mkdir(release, 0o755); err != nil {
		return n.spaceError(resource, 0, err)
	}
	for _, name := range append([]string{manifestFile}, programs...) {
		if err := os.Link(filepath.Join(kept, name), filepath.Join(release, name)); err != nil {
			return n.spaceError(resource, 0, err)
		}
	}
	return nil
}

// restock puts a release into the depot, in place of a damaged one. Whoever holds
// its lock may delete what a killed attempt left.
func (n *Node) restock(ctx context.Context, req InstallRequest, kept string) error {
	resource, work := releaseResource(req.Version), kept+workPrefix+"unpack"
	if err := errors.Join(os.RemoveAll(work), os.RemoveAll(kept), os.MkdirAll(work, 0o755)); err != nil {
		return n.spaceError(resource, 0, err)
	}
	defer os.RemoveAll(work)
	if err := n.fetchAndUnpack(ctx, req, work); err != nil {
		return err
	}
	if err := durable.SyncDir(filepath.Join(work, "release")); err != nil {
		return onHost(resource, err)
	}
	if err := durable.Rename(filepath.Join(work, "release"), kept); err != nil {
		return n.spaceError(resource, 0, err)
	}
	return nil
}
