package local

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// snapshotRecord is all that is known of a disk snapshot. One that is pending is being
// copied by whoever holds its lock; if nobody does, its maker died, and it is copied anew
// when its token is asked for again.
type snapshotRecord struct {
	Format int `json:"format"`
	fleet.DiskSnapshot
	Request iaas.SnapshotDiskRequest `json:"request"`
	// Ended is when it was deleted.
	Ended time.Time `json:"ended,omitzero"`
}

func (r snapshotRecord) label() string { return label("disk snapshot", r.Name, r.ID) }

func (r snapshotRecord) check() (format int, id, state string) {
	return r.Format, r.ID, string(r.State)
}

func (p *Provider) snapshotDir(id string) string        { return filepath.Join(p.root, "snapshots", id) }
func (p *Provider) snapshotData(id string) string       { return filepath.Join(p.snapshotDir(id), "data") }
func (p *Provider) snapshotRecordPath(id string) string { return p.snapshotDir(id) + ".json" }
func (p *Provider) snapshotLock(id string) string       { return p.snapshotDir(id) + ".lock" }

// SnapshotID is HostID of a disk snapshot.
func (p *Provider) SnapshotID(token string) string { return idOf(p.snapshotPrefix, "snapshot", token) }

func (p *Provider) readSnapshot(id string) (snapshotRecord, error) {
	return readOne[snapshotRecord]("disk snapshot", p.snapshotPrefix, id, p.snapshotRecordPath)
}

func (p *Provider) writeSnapshot(r snapshotRecord) error {
	return writeRecord(p.snapshotRecordPath(r.ID), r)
}

// allSnapshots gives every snapshot on record, the deleted ones too, oldest first.
func (p *Provider) allSnapshots() ([]snapshotRecord, error) {
	all, err := readRecords(filepath.Join(p.root, "snapshots"), p.readSnapshot)
	oldestFirst(all, func(r snapshotRecord) (time.Time, string) { return r.Created, r.ID })
	return all, err
}

// SnapshotDisk copies a disk's directory, before it answers. The host that has the disk is
// paused meanwhile, as by a hypervisor: the copy is of one moment, and clients of what runs
// there feel it. Where the file system can share blocks (btrfs, xfs), that is no time; else
// it takes what copying takes.
func (p *Provider) SnapshotDisk(ctx context.Context, req iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	f, err := p.begin(ctx)
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	if err := checkToken("snapshot of disk "+req.DiskID, req.Token); err != nil {
		return fleet.DiskSnapshot{}, err
	}
	id := p.SnapshotID(req.Token)
	unlock, err := lock(ctx, p.snapshotLock(id))
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	defer unlock()
	r, err := p.readSnapshot(id)
	switch {
	case err == nil && !sameSnapshot(r.Request, req):
		return fleet.DiskSnapshot{}, reusedToken(r.label())
	case err == nil && r.State != fleet.DiskSnapshotPending:
		return r.DiskSnapshot, nil
	case err != nil && !fleet.Is(err, fleet.NotFound):
		return fleet.DiskSnapshot{}, err
	}
	d, err := p.readDisk(req.DiskID)
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	switch {
	case d.State == fleet.DiskDeleting || d.State == fleet.DiskDeleted:
		return fleet.DiskSnapshot{}, noDisk(d)
	case d.State == fleet.DiskCreating:
		return fleet.DiskSnapshot{}, fleet.Errorf(fleet.Conflict, d.label(), "it is %s", d.State)
	case f.zoneFailed(d.Zone):
		return fleet.DiskSnapshot{}, zoneDown(d.label(), d.Zone)
	}
	p.pruneSnapshots()
	r = snapshotRecord{
		Format: recordFormat,
		DiskSnapshot: fleet.DiskSnapshot{
			ID: id, Name: req.Name, DiskID: d.ID, Size: d.Size, State: fleet.DiskSnapshotPending,
			Tags: bought(req.Tags, req.Token), Created: time.Now().UTC(),
		},
		Request: req,
	}
	if err := p.writeSnapshot(r); err != nil {
		return fleet.DiskSnapshot{}, err
	}
	if err := p.copyDisk(ctx, d, p.snapshotData(id)); err != nil {
		return fleet.DiskSnapshot{}, ioError(r.label(), "disk "+d.ID+" cannot be copied", err)
	}
	r.State, r.Percent, r.Written = fleet.DiskSnapshotCompleted, 100, written(p.snapshotData(id))
	return r.DiskSnapshot, p.writeSnapshot(r)
}

func sameSnapshot(a, b iaas.SnapshotDiskRequest) bool {
	return a.Token == b.Token && a.Name == b.Name && a.DiskID == b.DiskID && maps.Equal(a.Tags, b.Tags)
}

// copyDisk copies what is on a disk as it is at one moment.
func (p *Provider) copyDisk(ctx context.Context, d diskRecord, to string) error {
	goOn := func() error { return ended(ctx, "copy of disk "+d.ID) }
	if d.HostID == "" {
		return copyTree(p.diskData(d.ID), to, goOn)
	}
	unlock, err := lock(ctx, p.hostLock(d.HostID)) // nothing is started there meanwhile
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.pause(ctx, d.HostID); err != nil {
		return err
	}
	err = copyTree(p.diskData(d.ID), to, goOn)
	return errors.Join(err, p.resume(d.HostID))
}

// DiskSnapshot gives one disk snapshot. A deleted one shows as that for a day.
func (p *Provider) DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error) {
	if _, err := p.begin(ctx); err != nil {
		return fleet.DiskSnapshot{}, err
	}
	r, err := p.readSnapshot(id)
	return r.DiskSnapshot, err
}

// ListDiskSnapshots gives the disk snapshots with these tags.
func (p *Provider) ListDiskSnapshots(ctx context.Context, tags iaas.Tags) ([]fleet.DiskSnapshot, error) {
	if _, err := p.begin(ctx); err != nil {
		return nil, err
	}
	all, err := p.allSnapshots()
	if err != nil {
		return nil, err
	}
	snapshots := []fleet.DiskSnapshot{}
	for _, r := range all {
		if r.State != fleet.DiskSnapshotDeleted && matches(r.Tags, tags) {
			snapshots = append(snapshots, r.DiskSnapshot)
		}
	}
	return snapshots, nil
}

// DeleteDiskSnapshot removes a disk snapshot with all that is in it.
func (p *Provider) DeleteDiskSnapshot(ctx context.Context, id string) error {
	if _, err := p.begin(ctx); err != nil {
		return err
	}
	if _, err := p.readSnapshot(id); fleet.Is(err, fleet.NotFound) {
		return nil
	}
	unlock, err := lock(ctx, p.snapshotLock(id))
	if err != nil {
		return err
	}
	defer unlock()
	unlockRoot, err := lock(ctx, p.rootLock()) // no disk is being made from it
	if err != nil {
		return err
	}
	defer unlockRoot()
	r, err := p.readSnapshot(id)
	if err != nil || r.State == fleet.DiskSnapshotDeleted {
		return err
	}
	if err := os.RemoveAll(p.snapshotDir(id)); err != nil {
		return ioError(r.label(), "its directory cannot be removed", err)
	}
	r.State, r.Ended = fleet.DiskSnapshotDeleted, time.Now().UTC()
	return p.writeSnapshot(r)
}

// checkSource refuses a disk that cannot be made from a disk snapshot.
func (p *Provider) checkSource(resource string, req iaas.CreateDiskRequest) error {
	if req.SnapshotID == "" {
		return nil
	}
	r, err := p.readSnapshot(req.SnapshotID)
	switch {
	case err != nil:
		return err
	case r.State == fleet.DiskSnapshotDeleted:
		return fleet.Errorf(fleet.NotFound, r.label(), "it was deleted")
	case r.State != fleet.DiskSnapshotCompleted:
		return fleet.Errorf(fleet.Conflict, r.label(), "it is %s", r.State)
	case req.Size < r.Size:
		return fleet.Errorf(fleet.Invalid, resource, "a disk of %s is smaller than %s, which has %s", req.Size, r.label(), r.Size)
	}
	return nil
}

// fillDisk makes a new disk's directory, from a disk snapshot if one was named. The root's
// lock is held. gone says that there is no such snapshot any more.
func (p *Provider) fillDisk(r diskRecord) (gone bool, err error) {
	if r.Request.SnapshotID == "" {
		return false, os.MkdirAll(p.diskData(r.ID), 0o700)
	}
	from := p.snapshotData(r.Request.SnapshotID)
	if _, err := os.Stat(from); errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return false, copyTree(from, p.diskData(r.ID), func() error { return nil })
}

// pruneSnapshots forgets disk snapshots that were deleted long ago.
func (p *Provider) pruneSnapshots() {
	all, err := p.allSnapshots()
	if err != nil {
		return // whoever lists them is told
	}
	for _, r := range all {
		if r.State != fleet.DiskSnapshotDeleted || time.Since(r.Ended) < tombstoneAge {
			continue
		}
		for _, path := range []string{p.snapshotRecordPath(r.ID), p.snapshotLock(r.ID)} {
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				p.log.Warn("a deleted disk snapshot was not pruned", zap.String("snapshot", r.ID), zap.Error(err))
			}
		}
	}
}
