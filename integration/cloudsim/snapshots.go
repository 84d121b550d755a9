package cloudsim

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Snapshot is a copy of a disk as it is, or as it is seen.
type Snapshot struct {
	ID          string
	Name        string
	Description string
	DiskID      string
	Size        fleet.Bytes // of the disk
	Written     fleet.Bytes // of the disk, as the machine has it; 0 if nothing is run
	Encrypted   bool
	Key         string
	State       fleet.DiskSnapshotState
	Tags        map[string]string
	Created     time.Time

	Sequence int64 // order in which things were bought
}

type snapshot struct {
	seen[Snapshot]
	gone bool // nobody is to bring it further
}

// CreateSnapshotRequest asks for a copy of a disk.
type CreateSnapshotRequest struct {
	Token, Fingerprint        string
	Name, Description, DiskID string
	Tags                      map[string]string
}

// CreateSnapshot copies a disk as it is now, or gives the snapshot that the token bought
// before as it is now.
func (w *World) CreateSnapshot(req CreateSnapshotRequest) (Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, err := w.usedFor("snapshot", req.Token, req.Fingerprint)
	if err != nil {
		return Snapshot{}, err
	}
	if ids != nil {
		return w.snapshots[ids[0]].now, nil
	}
	d, err := w.toldDisk(req.DiskID)
	if err != nil {
		return Snapshot{}, err
	}
	if err := w.checkSnapshot(d); err != nil {
		return Snapshot{}, err
	}
	d.copied = time.Now()
	s := w.buySnapshot(d.now, req)
	w.remember("snapshot", req.Token, req.Fingerprint, []string{s.now.ID})
	return s.now, nil
}

// checkSnapshot refuses a snapshot of a disk. w.mu is held.
func (w *World) checkSnapshot(of *disk) error {
	d := of.now
	switch d.State {
	case fleet.DiskAvailable, fleet.DiskInUse, fleet.DiskAttaching, fleet.DiskDetaching:
	default:
		return refuse(DiskState, d.ID, "it is %s", d.State)
	}
	all, ofDisk, pending := 0, 0, 0
	for _, s := range w.snapshots {
		if s.gone {
			continue
		}
		all++
		if s.now.DiskID == d.ID {
			ofDisk++
			if s.now.State == fleet.DiskSnapshotPending {
				pending++
			}
		}
	}
	switch limits := w.cfg.Limits; {
	case time.Since(of.copied) < limits.SnapshotEvery:
		return refuse(SnapshotSoon, d.ID, "the last one was taken %s ago", time.Since(of.copied).Round(time.Millisecond))
	case limits.PendingOfDisk > 0 && pending >= limits.PendingOfDisk:
		return refuse(Snapshotting, d.ID, "%d snapshots of it are pending", pending)
	case limits.Snapshots > 0 && all >= limits.Snapshots:
		return refuse(OverQuota, d.ID, "the region's quota is %d snapshots", limits.Snapshots)
	case limits.SnapshotsOfDisk > 0 && ofDisk >= limits.SnapshotsOfDisk:
		return refuse(OverQuota, d.ID, "its quota is %d snapshots", limits.SnapshotsOfDisk)
	case w.zoneDown(d.Zone):
		return refuse(ZoneDown, d.Zone, "zone %s does not answer", d.Zone)
	}
	return nil
}

// buySnapshot has the machine copy the disk at once, which is quick here; what takes time
// is until it shows as completed. w.mu is held.
func (w *World) buySnapshot(d Disk, req CreateSnapshotRequest) *snapshot {
	w.sequence++
	seed := w.randomHex()
	id := w.cfg.Names.Snapshot + seed
	if w.machine != nil {
		id = w.machine.SnapshotID(seed)
	}
	s := &snapshot{}
	state, written := fleet.DiskSnapshotPending, fleet.Bytes(0)
	if w.machine != nil {
		copied, err := w.machine.SnapshotDisk(w.ctx, iaas.SnapshotDiskRequest{Token: seed, Name: req.Name, DiskID: d.ID})
		if err != nil {
			w.log.Warn("a disk could not be copied", zap.String("disk", d.ID), zap.Error(err))
			state = fleet.DiskSnapshotFailed
		}
		written = copied.Written
	}
	s.set(Snapshot{
		ID: id, Name: req.Name, Description: req.Description, DiskID: d.ID, Size: d.Size, Written: written, Encrypted: d.Encrypted, Key: d.Key, State: state,
		Tags: maps.Clone(req.Tags), Created: time.Now().UTC(), Sequence: w.sequence,
	}, w.lag())
	w.snapshots[id] = s
	w.drive(w.cfg.Delays.Store, func(context.Context) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !s.gone && s.now.State == fleet.DiskSnapshotPending {
			now := s.now
			now.State = fleet.DiskSnapshotCompleted
			s.set(now, w.lag())
		}
		return true
	})
	return s
}

// toldSnapshot is told for snapshots. w.mu is held.
func (w *World) toldSnapshot(id string) (*snapshot, error) {
	s, ok := w.snapshots[id]
	if ok && !s.gone {
		if _, ok = s.visible(time.Now()); ok {
			return s, nil
		}
	}
	return nil, &Refusal{Code: NoSnapshot, Resource: id, Message: "there is none", Missing: []string{id}}
}

// Snapshots gives the snapshots as they are seen, oldest first; IDs and match as of
// Instances.
func (w *World) Snapshots(ids []string, match func(Snapshot) bool) ([]Snapshot, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Snapshot
	found := map[string]bool{}
	for id, s := range w.snapshots {
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		view, ok := s.visible(time.Now())
		if !ok || view.State == fleet.DiskSnapshotDeleted {
			continue
		}
		found[id] = true
		if match == nil || match(view) {
			all = append(all, view)
		}
	}
	if missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return found[id] }); len(missing) > 0 {
		return nil, &Refusal{Code: NoSnapshot, Resource: strings.Join(missing, ", "), Message: "not all exist", Missing: missing}
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return int(a.Sequence - b.Sequence) })
	return all, nil
}

// DeleteSnapshot ends a snapshot in whatever state. One that disks were made from goes only
// by force.
func (w *World) DeleteSnapshot(id string, force bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, err := w.toldSnapshot(id)
	if err != nil {
		return err
	}
	for _, d := range w.disks {
		if d.now.Snapshot == id && d.now.State != fleet.DiskDeleted && !force {
			return refuse(SnapshotUsed, id, "disk %s was made from it", d.now.ID)
		}
	}
	s.gone = true
	now := s.now
	now.State = fleet.DiskSnapshotDeleted
	s.set(now, w.lag())
	if w.machine != nil {
		if err := w.machine.DeleteDiskSnapshot(w.ctx, id); err != nil {
			w.log.Warn("a copy of a disk was not removed", zap.String("snapshot", id), zap.Error(err))
		}
	}
	return nil
}

// checkSource refuses a disk that cannot be made from its snapshot. w.mu is held.
func (w *World) checkSource(req *CreateDiskRequest) error {
	if req.Snapshot == "" {
		return nil
	}
	s, err := w.toldSnapshot(req.Snapshot)
	switch {
	case err != nil:
		return err
	case s.now.State != fleet.DiskSnapshotCompleted:
		return refuse(SnapshotState, req.Snapshot, "it is %s", s.now.State)
	case req.Size < s.now.Size:
		return refuse(TooSmall, req.Snapshot, "it has %s, and the disk %s", s.now.Size, req.Size)
	}
	return nil
}

// SnapshotsBought says how many snapshots were ever taken.
func (w *World) SnapshotsBought() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.snapshots)
}
