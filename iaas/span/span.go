// Package span joins the regions that a cluster lies in while it moves from one to
// another, also to one of another provider. To the region that does the work, hosts,
// disks and zones of its own have their plain names, and those elsewhere have qualified
// ones (fleet.Place.Qualify). So a call finds its region by the name that it is about,
// and neither planner nor steps know of more than one.
package span

import (
	"context"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Provider sends each call to the region of the name that it is about. Lists and
// offers are of the region at home: ask a Remote for those of its own.
type Provider struct {
	iaas.Provider // at home
	elsewhere     map[fleet.Place]*Remote
}

var _ iaas.Provider = (*Provider)(nil)

// Unwrap gives the region at home, for what it can do beyond iaas.Provider.
func (p *Provider) Unwrap() iaas.Provider { return p.Provider }

// New joins the region at home and those elsewhere.
func New(home iaas.Provider, elsewhere map[fleet.Place]iaas.Provider) *Provider {
	p := &Provider{Provider: home, elsewhere: map[fleet.Place]*Remote{}}
	for place, provider := range elsewhere {
		p.elsewhere[place] = &Remote{place, provider}
	}
	return p
}

// Elsewhere gives one of the regions elsewhere. The error is of kind fleet.Invalid when
// it is none of those that this worker was told of.
func (p *Provider) Elsewhere(place fleet.Place) (*Remote, error) {
	if r := p.elsewhere[place]; r != nil {
		return r, nil
	}
	return nil, fleet.Errorf(fleet.Invalid, "region "+place.String(), "has hosts or disks of the cluster, and this worker does not reach it (it reaches %s)", p.reached()).
		WithRemedy("give the workers of this region --reach with the configuration of a worker of %s, restart them, and submit the operation again", place)
}

func (p *Provider) reached() string {
	var names []string
	for place := range p.elsewhere {
		names = append(names, place.String())
	}
	if len(names) == 0 {
		return "no other region"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// Of gives the region of a host, a disk or a zone.
func (p *Provider) Of(name string) (iaas.Provider, error) {
	place, _, elsewhere := fleet.SplitPlace(name)
	if !elsewhere {
		return p.Provider, nil
	}
	return p.Elsewhere(place)
}

func call[T any](p *Provider, name string, do func(iaas.Provider) (T, error)) (T, error) {
	region, err := p.Of(name)
	if err != nil {
		var zero T
		return zero, err
	}
	return do(region)
}

func callErr(p *Provider, name string, do func(iaas.Provider) error) error {
	region, err := p.Of(name)
	if err != nil {
		return err
	}
	return do(region)
}

// LaunchHost buys a host in the region of the zone.
func (p *Provider) LaunchHost(ctx context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	return call(p, req.Zone, func(r iaas.Provider) (fleet.Host, error) { return r.LaunchHost(ctx, req) })
}

// Host gives one host.
func (p *Provider) Host(ctx context.Context, id string) (fleet.Host, error) {
	return call(p, id, func(r iaas.Provider) (fleet.Host, error) { return r.Host(ctx, id) })
}

// StopHost stops a host.
func (p *Provider) StopHost(ctx context.Context, id string) error {
	return callErr(p, id, func(r iaas.Provider) error { return r.StopHost(ctx, id) })
}

// StartHost starts a host.
func (p *Provider) StartHost(ctx context.Context, id string) error {
	return callErr(p, id, func(r iaas.Provider) error { return r.StartHost(ctx, id) })
}

// ResizeHost changes the type of a stopped host.
func (p *Provider) ResizeHost(ctx context.Context, id, machineType string) error {
	return callErr(p, id, func(r iaas.Provider) error { return r.ResizeHost(ctx, id, machineType) })
}

// TagHost adds tags to a host.
func (p *Provider) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	return callErr(p, id, func(r iaas.Provider) error { return r.TagHost(ctx, id, tags) })
}

// TerminateHost ends a host.
func (p *Provider) TerminateHost(ctx context.Context, id string) error {
	return callErr(p, id, func(r iaas.Provider) error { return r.TerminateHost(ctx, id) })
}

// CreateDisk buys a disk in the region of the zone.
func (p *Provider) CreateDisk(ctx context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	zone, _, _ := fleet.SplitPlace(req.Zone)
	if snapshot, _, _ := fleet.SplitPlace(req.SnapshotID); req.SnapshotID != "" && snapshot != zone {
		return fleet.Disk{}, fleet.Errorf(fleet.Invalid, "disk "+req.Name, "cannot be made in %s from %s: that is in another region", req.Zone, req.SnapshotID)
	}
	return call(p, req.Zone, func(r iaas.Provider) (fleet.Disk, error) { return r.CreateDisk(ctx, req) })
}

// Disk gives one disk.
func (p *Provider) Disk(ctx context.Context, id string) (fleet.Disk, error) {
	return call(p, id, func(r iaas.Provider) (fleet.Disk, error) { return r.Disk(ctx, id) })
}

// AttachDisk gives a disk to a host of its own region.
func (p *Provider) AttachDisk(ctx context.Context, diskID, hostID string) error {
	disk, _, _ := fleet.SplitPlace(diskID)
	if host, _, _ := fleet.SplitPlace(hostID); host != disk {
		return fleet.Errorf(fleet.Invalid, "disk "+diskID, "cannot be attached to %s: that is in another region", hostID)
	}
	return callErr(p, diskID, func(r iaas.Provider) error { return r.AttachDisk(ctx, diskID, hostID) })
}

// DetachDisk takes a disk from its host.
func (p *Provider) DetachDisk(ctx context.Context, diskID string) error {
	return callErr(p, diskID, func(r iaas.Provider) error { return r.DetachDisk(ctx, diskID) })
}

// GrowDisk makes a disk larger.
func (p *Provider) GrowDisk(ctx context.Context, diskID string, size fleet.Bytes) error {
	return callErr(p, diskID, func(r iaas.Provider) error { return r.GrowDisk(ctx, diskID, size) })
}

// RetypeDisk makes a disk one of another category.
func (p *Provider) RetypeDisk(ctx context.Context, diskID, category string, size fleet.Bytes) error {
	return callErr(p, diskID, func(r iaas.Provider) error { return r.RetypeDisk(ctx, diskID, category, size) })
}

// TagDisk adds tags to a disk.
func (p *Provider) TagDisk(ctx context.Context, diskID string, tags iaas.Tags) error {
	return callErr(p, diskID, func(r iaas.Provider) error { return r.TagDisk(ctx, diskID, tags) })
}

// DeleteDisk ends a disk.
func (p *Provider) DeleteDisk(ctx context.Context, diskID string) error {
	return callErr(p, diskID, func(r iaas.Provider) error { return r.DeleteDisk(ctx, diskID) })
}

// SnapshotDisk asks for a copy of a disk, in its region.
func (p *Provider) SnapshotDisk(ctx context.Context, req iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	return call(p, req.DiskID, func(r iaas.Provider) (fleet.DiskSnapshot, error) { return r.SnapshotDisk(ctx, req) })
}

// DiskSnapshot gives one disk snapshot.
func (p *Provider) DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error) {
	return call(p, id, func(r iaas.Provider) (fleet.DiskSnapshot, error) { return r.DiskSnapshot(ctx, id) })
}

// DeleteDiskSnapshot ends a disk snapshot.
func (p *Provider) DeleteDiskSnapshot(ctx context.Context, id string) error {
	return callErr(p, id, func(r iaas.Provider) error { return r.DeleteDiskSnapshot(ctx, id) })
}

// RunCommand sends a script to a host.
func (p *Provider) RunCommand(ctx context.Context, req iaas.CommandRequest) (iaas.Command, error) {
	return call(p, req.HostID, func(r iaas.Provider) (iaas.Command, error) { return r.RunCommand(ctx, req) })
}

// Command looks at a script that was sent.
func (p *Provider) Command(ctx context.Context, hostID, commandID string) (iaas.Command, error) {
	return call(p, hostID, func(r iaas.Provider) (iaas.Command, error) { return r.Command(ctx, hostID, commandID) })
}

// Available says whether the zone would sell a host of this type now.
func (p *Provider) Available(ctx context.Context, zone, machineType string) (bool, error) {
	return call(p, zone, func(r iaas.Provider) (bool, error) { return r.Available(ctx, zone, machineType) })
}
