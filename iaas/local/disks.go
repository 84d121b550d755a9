package local

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// CreateDisk buys a disk. Its size is recorded and shown to the host, which
// reports what is free by it; nothing stops a member from writing more.
func (p *Provider) CreateDisk(ctx context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	f, err := p.begin(ctx)
	if err != nil {
		return fleet.Disk{}, err
	}
	if err := checkToken("disk "+req.Name, req.Token); err != nil {
		return fleet.Disk{}, err
	}
	unlock, err := lock(ctx, p.rootLock())
	if err != nil {
		return fleet.Disk{}, err
	}
	defer unlock()
	id := p.DiskID(req.Token)
	resource := label("disk", req.Name, id)
	r, err := p.readDisk(id)
	switch {
	case err == nil && !sameCreate(r.Request, req):
		return fleet.Disk{}, reusedToken(r.label())
	case fleet.Is(err, fleet.NotFound):
		if err := p.checkDisk(resource, req); err != nil {
			return fleet.Disk{}, err
		}
		if f.zoneFailed(req.Zone) {
			return fleet.Disk{}, zoneDown(resource, req.Zone)
		}
		if err := p.pruneDisks(); err != nil {
			return fleet.Disk{}, err
		}
		r = diskRecord{
			Format: recordFormat,
			Disk: fleet.Disk{
				ID: id, Name: req.Name, Zone: req.Zone, Size: req.Size, Category: req.Category,
				State: fleet.DiskCreating, Tags: bought(req.Tags, req.Token), Created: time.Now().UTC(),
			},
			Request: req,
		}
		if err := p.writeDisk(r); err != nil {
			return fleet.Disk{}, err
		}
	case err != nil:
		return fleet.Disk{}, err
	}
	r, err = p.stepDisk(r)
	return p.shown(r.Disk), err
}

func sameCreate(a, b iaas.CreateDiskRequest) bool {
	return a.Token == b.Token && a.Name == b.Name && a.Zone == b.Zone && a.Size == b.Size &&
		a.Category == b.Category && a.SnapshotID == b.SnapshotID && maps.Equal(a.Tags, b.Tags)
}

func (p *Provider) checkDisk(resource string, req iaas.CreateDiskRequest) error {
	if err := p.checkPlace(resource, req.Zone, p.types[0].Name); err != nil {
		return err
	}
	if !slices.Contains(p.categories, req.Category) {
		return fleet.Errorf(fleet.Invalid, resource, "there is no disk category %q", req.Category).
			WithRemedy("choose one of %s", strings.Join(p.categories, ", "))
	}
	if req.Size <= 0 {
		return fleet.Errorf(fleet.Invalid, resource, "a size of %s is no size", req.Size)
	}
	return p.checkSource(resource, req)
}

// pruneDisks forgets disks that were deleted long ago. The root's lock is held.
func (p *Provider) pruneDisks() error {
	all, err := p.allDisks()
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.State != fleet.DiskDeleted || time.Since(r.Ended) < tombstoneAge {
			continue
		}
		if err := os.Remove(p.diskRecordPath(r.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
			p.log.Warn("a deleted disk was not pruned", zap.String("disk", r.ID), zap.Error(err))
		}
	}
	return nil
}

// Disk gives one disk. A deleted one shows as that for a day.
func (p *Provider) Disk(ctx context.Context, id string) (fleet.Disk, error) {
	if _, err := p.begin(ctx); err != nil {
		return fleet.Disk{}, err
	}
	r, err := p.readDisk(id)
	if err != nil {
		return fleet.Disk{}, err
	}
	return p.lookAtDisk(r)
}

// ListDisks gives the disks with these tags.
func (p *Provider) ListDisks(ctx context.Context, tags iaas.Tags) ([]fleet.Disk, error) {
	if _, err := p.begin(ctx); err != nil {
		return nil, err
	}
	all, err := p.allDisks()
	if err != nil {
		return nil, err
	}
	disks := []fleet.Disk{}
	for _, r := range all {
		if err := ended(ctx, "local provider"); err != nil {
			return nil, err
		}
		if r.State == fleet.DiskDeleted {
			continue
		}
		d, err := p.lookAtDisk(r)
		if fleet.Is(err, fleet.NotFound) {
			continue // pruned since the listing
		}
		if err != nil {
			return nil, err
		}
		if d.State != fleet.DiskDeleted && matches(d.Tags, tags) {
			disks = append(disks, d)
		}
	}
	return disks, nil
}

// AttachDisk links a disk into a host's file system.
func (p *Provider) AttachDisk(ctx context.Context, diskID, hostID string) error {
	return p.changeDisk(ctx, diskID, func(r *diskRecord, f Faults) error {
		h, err := p.readHost(hostID)
		if err != nil {
			return err
		}
		if f.zoneFailed(r.Zone) {
			return zoneDown(r.label(), r.Zone)
		}
		switch {
		case r.State == fleet.DiskDeleting || r.State == fleet.DiskDeleted:
			return noDisk(*r)
		case r.HostID == h.ID && (r.State == fleet.DiskAttaching || r.State == fleet.DiskInUse):
			return nil
		case r.HostID != "":
			return fleet.Errorf(fleet.Conflict, r.label(), "it is %s, at host %s", r.State, r.HostID).
				WithRemedy("detach it first")
		case r.State != fleet.DiskAvailable:
			return fleet.Errorf(fleet.Conflict, r.label(), "it is %s", r.State)
		case h.Zone != r.Zone:
			return fleet.Errorf(fleet.Invalid, r.label(), "it is in zone %s and %s in zone %s", r.Zone, h.label(), h.Zone).
				WithRemedy("use a disk of the host's zone")
		}
		switch view(h, f).State {
		case fleet.HostRunning, fleet.HostStopped:
			r.State, r.HostID = fleet.DiskAttaching, h.ID
			return nil
		case fleet.HostPending, fleet.HostStopping:
			return fleet.Errorf(fleet.Conflict, h.label(), "it is %s and takes no disk now", h.State)
		}
		return gone(h)
	})
}

// DetachDisk takes a disk from the host that has it. It stays detaching as long
// as a process on the host has a file on it open: nothing writes to a disk
// that may be on another host already.
func (p *Provider) DetachDisk(ctx context.Context, diskID string) error {
	return p.changeDisk(ctx, diskID, func(r *diskRecord, _ Faults) error {
		switch r.State {
		case fleet.DiskAttaching, fleet.DiskInUse:
			r.State = fleet.DiskDetaching
			return nil
		case fleet.DiskDeleted:
			return noDisk(*r)
		}
		return nil
	})
}

// GrowDisk makes a disk larger, also while it is in use.
func (p *Provider) GrowDisk(ctx context.Context, diskID string, size fleet.Bytes) error {
	return p.changeDisk(ctx, diskID, func(r *diskRecord, f Faults) error {
		switch {
		case r.State == fleet.DiskDeleted || r.State == fleet.DiskDeleting:
			return noDisk(*r)
		case size < r.Size:
			return fleet.Errorf(fleet.Invalid, r.label(), "it has %s, and a disk cannot shrink to %s", r.Size, size)
		case f.zoneFailed(r.Zone):
			return zoneDown(r.label(), r.Zone)
		}
		r.Size = size
		return nil
	})
}

// RetypeDisk makes a disk one of another category: here they are names alone.
func (p *Provider) RetypeDisk(ctx context.Context, diskID, category string, size fleet.Bytes) error {
	if !slices.Contains(p.categories, category) {
		return fleet.Errorf(fleet.Invalid, "disk "+diskID, "there is no disk category %q", category)
	}
	return p.changeDisk(ctx, diskID, func(r *diskRecord, f Faults) error {
		switch {
		case r.State == fleet.DiskDeleted || r.State == fleet.DiskDeleting:
			return noDisk(*r)
		case f.zoneFailed(r.Zone):
			return zoneDown(r.label(), r.Zone)
		}
		r.Category, r.Size = category, max(r.Size, size)
		return nil
	})
}

// TagDisk adds tags to a disk.
func (p *Provider) TagDisk(ctx context.Context, diskID string, tags iaas.Tags) error {
	return p.changeDisk(ctx, diskID, func(r *diskRecord, _ Faults) error {
		if r.State == fleet.DiskDeleted || r.State == fleet.DiskDeleting {
			return noDisk(*r)
		}
		changed, err := tagged(r.label(), r.Tags, tags)
		if err != nil || changed == nil {
			return err
		}
		r.Tags = changed
		return p.writeDisk(*r)
	})
}

// DeleteDisk destroys a disk that is not attached, with all that is on it.
func (p *Provider) DeleteDisk(ctx context.Context, diskID string) error {
	err := p.changeDisk(ctx, diskID, func(r *diskRecord, _ Faults) error {
		if r.HostID != "" {
			return fleet.Errorf(fleet.Conflict, r.label(), "it is %s, at host %s", r.State, r.HostID).
				WithRemedy("detach it first")
		}
		if r.State != fleet.DiskDeleted {
			r.State = fleet.DiskDeleting
		}
		return nil
	})
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

func noDisk(r diskRecord) error {
	return fleet.Errorf(fleet.NotFound, r.label(), "it was deleted")
}

// changeDisk writes down what a disk is told to be and then does it.
func (p *Provider) changeDisk(ctx context.Context, id string, tell func(*diskRecord, Faults) error) error {
	f, err := p.begin(ctx)
	if err != nil {
		return err
	}
	return p.tellDisk(ctx, id, f, tell)
}

// tellDisk is changeDisk without the faults of calls.
func (p *Provider) tellDisk(ctx context.Context, id string, f Faults, tell func(*diskRecord, Faults) error) error {
	if _, err := p.readDisk(id); err != nil {
		return err
	}
	unlock, err := lock(ctx, p.rootLock())
	if err != nil {
		return err
	}
	defer unlock()
	r, err := p.readDisk(id)
	if err != nil {
		return err
	}
	if r, err = p.stepDisk(r); err != nil { // first what was told before
		return err
	}
	was := r.Disk
	if err := tell(&r, f); err != nil {
		return err
	}
	if r.State != was.State || r.Size != was.Size || r.Category != was.Category {
		if err := p.writeDisk(r); err != nil {
			return err
		}
	}
	_, err = p.stepDisk(r)
	return err
}
