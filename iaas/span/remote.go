package span

import (
	"context"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Remote is a region as others see it: all names that it takes and gives are qualified.
type Remote struct {
	place    fleet.Place
	provider iaas.Provider
}

var _ iaas.Provider = (*Remote)(nil)

// Unwrap gives the region, for what it can do beyond iaas.Provider: none of that goes by names.
func (r *Remote) Unwrap() iaas.Provider { return r.provider }

func (r *Remote) host(h fleet.Host, err error) (fleet.Host, error) {
	h.ID, h.Zone = r.place.Qualify(h.ID), r.place.Qualify(h.Zone)
	return h, err
}

func (r *Remote) disk(d fleet.Disk, err error) (fleet.Disk, error) {
	d.ID, d.Zone, d.HostID = r.place.Qualify(d.ID), r.place.Qualify(d.Zone), r.place.Qualify(d.HostID)
	return d, err
}

func (r *Remote) snapshot(s fleet.DiskSnapshot, err error) (fleet.DiskSnapshot, error) {
	s.ID, s.DiskID = r.place.Qualify(s.ID), r.place.Qualify(s.DiskID)
	return s, err
}

func (r *Remote) command(c iaas.Command, err error) (iaas.Command, error) {
	c.HostID = r.place.Qualify(c.HostID)
	return c, err
}

// LaunchHost buys a host.
func (r *Remote) LaunchHost(ctx context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	req.Zone = fleet.Unqualified(req.Zone)
	return r.host(r.provider.LaunchHost(ctx, req))
}

// Host gives one host.
func (r *Remote) Host(ctx context.Context, id string) (fleet.Host, error) {
	return r.host(r.provider.Host(ctx, fleet.Unqualified(id)))
}

// ListHosts gives the hosts with these tags.
func (r *Remote) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	hosts, err := r.provider.ListHosts(ctx, tags)
	for i := range hosts {
		hosts[i], _ = r.host(hosts[i], nil)
	}
	return hosts, err
}

// StopHost stops a host.
func (r *Remote) StopHost(ctx context.Context, id string) error {
	return r.provider.StopHost(ctx, fleet.Unqualified(id))
}

// StartHost starts a host.
func (r *Remote) StartHost(ctx context.Context, id string) error {
	return r.provider.StartHost(ctx, fleet.Unqualified(id))
}

// ResizeHost changes the type of a stopped host.
func (r *Remote) ResizeHost(ctx context.Context, id, machineType string) error {
	return r.provider.ResizeHost(ctx, fleet.Unqualified(id), machineType)
}

// TagHost adds tags to a host.
func (r *Remote) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	return r.provider.TagHost(ctx, fleet.Unqualified(id), tags)
}

// TerminateHost ends a host.
func (r *Remote) TerminateHost(ctx context.Context, id string) error {
	return r.provider.TerminateHost(ctx, fleet.Unqualified(id))
}

// CreateDisk buys a disk.
func (r *Remote) CreateDisk(ctx context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	req.Zone, req.SnapshotID = fleet.Unqualified(req.Zone), fleet.Unqualified(req.SnapshotID)
	return r.disk(r.provider.CreateDisk(ctx, req))
}

// Disk gives one disk.
func (r *Remote) Disk(ctx context.Context, id string) (fleet.Disk, error) {
	return r.disk(r.provider.Disk(ctx, fleet.Unqualified(id)))
}

// ListDisks gives the disks with these tags.
func (r *Remote) ListDisks(ctx context.Context, tags iaas.Tags) ([]fleet.Disk, error) {
	disks, err := r.provider.ListDisks(ctx, tags)
	for i := range disks {
		disks[i], _ = r.disk(disks[i], nil)
	}
	return disks, err
}

// AttachDisk gives a disk to a host.
func (r *Remote) AttachDisk(ctx context.Context, diskID, hostID string) error {
	return r.provider.AttachDisk(ctx, fleet.Unqualified(diskID), fleet.Unqualified(hostID))
}

// DetachDisk takes a disk from its host.
func (r *Remote) DetachDisk(ctx context.Context, diskID string) error {
	return r.provider.DetachDisk(ctx, fleet.Unqualified(diskID))
}

// GrowDisk makes a disk larger.
func (r *Remote) GrowDisk(ctx context.Context, diskID string, size fleet.Bytes) error {
	return r.provider.GrowDisk(ctx, fleet.Unqualified(diskID), size)
}

// RetypeDisk makes a disk one of another category.
func (r *Remote) RetypeDisk(ctx context.Context, diskID, category string, size fleet.Bytes) error {
	return r.provider.RetypeDisk(ctx, fleet.Unqualified(diskID), category, size)
}

// TagDisk adds tags to a disk.
func (r *Remote) TagDisk(ctx context.Context, diskID string, tags iaas.Tags) error {
	return r.provider.TagDisk(ctx, fleet.Unqualified(diskID), tags)
}

// DeleteDisk ends a disk.
func (r *Remote) DeleteDisk(ctx context.Context, diskID string) error {
	return r.provider.DeleteDisk(ctx, fleet.Unqualified(diskID))
}

// SnapshotDisk asks for a copy of a disk.
func (r *Remote) SnapshotDisk(ctx context.Context, req iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	req.DiskID = fleet.Unqualified(req.DiskID)
	return r.snapshot(r.provider.SnapshotDisk(ctx, req))
}

// DiskSnapshot gives one disk snapshot.
func (r *Remote) DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error) {
	return r.snapshot(r.provider.DiskSnapshot(ctx, fleet.Unqualified(id)))
}

// ListDiskSnapshots gives the disk snapshots with these tags.
func (r *Remote) ListDiskSnapshots(ctx context.Context, tags iaas.Tags) ([]fleet.DiskSnapshot, error) {
	snapshots, err := r.provider.ListDiskSnapshots(ctx, tags)
	for i := range snapshots {
		snapshots[i], _ = r.snapshot(snapshots[i], nil)
	}
	return snapshots, err
}

// DeleteDiskSnapshot ends a disk snapshot.
func (r *Remote) DeleteDiskSnapshot(ctx context.Context, id string) error {
	return r.provider.DeleteDiskSnapshot(ctx, fleet.Unqualified(id))
}

// RunCommand sends a script to a host.
func (r *Remote) RunCommand(ctx context.Context, req iaas.CommandRequest) (iaas.Command, error) {
	req.HostID = fleet.Unqualified(req.HostID)
	return r.command(r.provider.RunCommand(ctx, req))
}

// Command looks at a script that was sent.
func (r *Remote) Command(ctx context.Context, hostID, commandID string) (iaas.Command, error) {
	return r.command(r.provider.Command(ctx, fleet.Unqualified(hostID), commandID))
}

// Zones gives the zones on offer.
func (r *Remote) Zones(ctx context.Context) ([]string, error) {
	zones, err := r.provider.Zones(ctx)
	for i, zone := range zones {
		zones[i] = r.place.Qualify(zone)
	}
	return zones, err
}

// MachineTypes gives the machine types on offer.
func (r *Remote) MachineTypes(ctx context.Context) ([]fleet.MachineType, error) {
	return r.provider.MachineTypes(ctx)
}

// DiskCategories gives the disk categories on offer.
func (r *Remote) DiskCategories(ctx context.Context) ([]string, error) {
	return r.provider.DiskCategories(ctx)
}

// Available says whether the zone would sell a host of this type now.
func (r *Remote) Available(ctx context.Context, zone, machineType string) (bool, error) {
	return r.provider.Available(ctx, fleet.Unqualified(zone), machineType)
}
