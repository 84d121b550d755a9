package pace

import (
	"context"
	"errors"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Provider is a region whose calls wait for their turn.
type Provider struct {
	provider iaas.Provider
	name     string
	limiters map[Class]*limiter
}

var _ iaas.Provider = (*Provider)(nil)

// Wrap gives provider at a pace. The name is the region's, for errors.
func Wrap(provider iaas.Provider, name string, limits map[Class]Limits) *Provider {
	p := &Provider{provider: provider, name: name, limiters: map[Class]*limiter{}}
	for _, class := range Classes {
		p.limiters[class] = newLimiter(limits[class])
	}
	return p
}

// Unwrap gives what is behind, for what it can do beyond iaas.Provider. What things cost
// is asked at the pace too.
func (p *Provider) Unwrap() iaas.Provider {
	if prices, ok := iaas.As[iaas.Estimator](p.provider); ok {
		return estimator{p.provider, prices, p}
	}
	return p.provider
}

// estimator is a region whose prices are asked for at a pace.
type estimator struct {
	iaas.Provider
	prices iaas.Estimator
	pace   *Provider
}

// Unwrap gives what is behind.
func (e estimator) Unwrap() iaas.Provider { return e.Provider }

// HostCost says what a host costs.
func (e estimator) HostCost(ctx context.Context, h fleet.Host) (fleet.Cost, error) {
	return call(ctx, e.pace, Read, func() (fleet.Cost, error) { return e.prices.HostCost(ctx, h) })
}

// DiskCost says what a disk costs.
func (e estimator) DiskCost(ctx context.Context, d fleet.Disk) (fleet.Cost, error) {
	return call(ctx, e.pace, Read, func() (fleet.Cost, error) { return e.prices.DiskCost(ctx, d) })
}

// DiskSnapshotCost says what a disk snapshot costs.
func (e estimator) DiskSnapshotCost(ctx context.Context, s fleet.DiskSnapshot) (fleet.Cost, error) {
	return call(ctx, e.pace, Read, func() (fleet.Cost, error) { return e.prices.DiskSnapshotCost(ctx, s) })
}

// Stats says what a class of calls has come to.
func (p *Provider) Stats(class Class) Stats { return p.limiters[class].stats() }

// retryAfter is the delay that the error asks for, or zero.
func retryAfter(err error) time.Duration {
	var e *fleet.Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// call makes one call when it is its turn.
func call[T any](ctx context.Context, p *Provider, class Class, do func() (T, error)) (T, error) {
	l := p.limiters[class]
	sent, err := l.wait(ctx, p.name)
	if err != nil {
		var none T
		return none, err
	}
	result, err := do()
	l.learn(sent, err)
	return result, err
}

// change makes one call that gives nothing back.
func change(ctx context.Context, p *Provider, do func() error) error {
	_, err := call(ctx, p, Mutate, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// LaunchHost buys a host.
func (p *Provider) LaunchHost(ctx context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	return call(ctx, p, Mutate, func() (fleet.Host, error) { return p.provider.LaunchHost(ctx, req) })
}

// Host gives one host.
func (p *Provider) Host(ctx context.Context, id string) (fleet.Host, error) {
	return call(ctx, p, Read, func() (fleet.Host, error) { return p.provider.Host(ctx, id) })
}

// ListHosts gives the hosts with these tags.
func (p *Provider) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	return call(ctx, p, Read, func() ([]fleet.Host, error) { return p.provider.ListHosts(ctx, tags) })
}

// StopHost stops a host.
func (p *Provider) StopHost(ctx context.Context, id string) error {
	return change(ctx, p, func() error { return p.provider.StopHost(ctx, id) })
}

// StartHost starts a host.
func (p *Provider) StartHost(ctx context.Context, id string) error {
	return change(ctx, p, func() error { return p.provider.StartHost(ctx, id) })
}

// ResizeHost changes the type of a stopped host.
func (p *Provider) ResizeHost(ctx context.Context, id, machineType string) error {
	return change(ctx, p, func() error { return p.provider.ResizeHost(ctx, id, machineType) })
}

// TagHost adds tags to a host.
func (p *Provider) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	return change(ctx, p, func() error { return p.provider.TagHost(ctx, id, tags) })
}

// TerminateHost ends a host.
func (p *Provider) TerminateHost(ctx context.Context, id string) error {
	return change(ctx, p, func() error { return p.provider.TerminateHost(ctx, id) })
}

// CreateDisk buys a disk.
func (p *Provider) CreateDisk(ctx context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	return call(ctx, p, Mutate, func() (fleet.Disk, error) { return p.provider.CreateDisk(ctx, req) })
}

// Disk gives one disk.
func (p *Provider) Disk(ctx context.Context, id string) (fleet.Disk, error) {
	return call(ctx, p, Read, func() (fleet.Disk, error) { return p.provider.Disk(ctx, id) })
}

// ListDisks gives the disks with these tags.
func (p *Provider) ListDisks(ctx context.Context, tags iaas.Tags) ([]fleet.Disk, error) {
	return call(ctx, p, Read, func() ([]fleet.Disk, error) { return p.provider.ListDisks(ctx, tags) })
}

// AttachDisk gives a disk to a host.
func (p *Provider) AttachDisk(ctx context.Context, diskID, hostID string) error {
	return change(ctx, p, func() error { return p.provider.AttachDisk(ctx, diskID, hostID) })
}

// DetachDisk takes a disk from its host.
func (p *Provider) DetachDisk(ctx context.Context, diskID string) error {
	return change(ctx, p, func() error { return p.provider.DetachDisk(ctx, diskID) })
}

// GrowDisk makes a disk larger.
func (p *Provider) GrowDisk(ctx context.Context, diskID string, size fleet.Bytes) error {
	return change(ctx, p, func() error { return p.provider.GrowDisk(ctx, diskID, size) })
}

// RetypeDisk makes a disk one of another category.
func (p *Provider) RetypeDisk(ctx context.Context, diskID, category string, size fleet.Bytes) error {
	return change(ctx, p, func() error { return p.provider.RetypeDisk(ctx, diskID, category, size) })
}

// TagDisk adds tags to a disk.
func (p *Provider) TagDisk(ctx context.Context, diskID string, tags iaas.Tags) error {
	return change(ctx, p, func() error { return p.provider.TagDisk(ctx, diskID, tags) })
}

// DeleteDisk ends a disk.
func (p *Provider) DeleteDisk(ctx context.Context, diskID string) error {
	return change(ctx, p, func() error { return p.provider.DeleteDisk(ctx, diskID) })
}

// SnapshotDisk asks for a copy of a disk.
func (p *Provider) SnapshotDisk(ctx context.Context, req iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	return call(ctx, p, Mutate, func() (fleet.DiskSnapshot, error) { return p.provider.SnapshotDisk(ctx, req) })
}

// DiskSnapshot gives one disk snapshot.
func (p *Provider) DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error) {
	return call(ctx, p, Read, func() (fleet.DiskSnapshot, error) { return p.provider.DiskSnapshot(ctx, id) })
}

// ListDiskSnapshots gives the disk snapshots with these tags.
func (p *Provider) ListDiskSnapshots(ctx context.Context, tags iaas.Tags) ([]fleet.DiskSnapshot, error) {
	return call(ctx, p, Read, func() ([]fleet.DiskSnapshot, error) { return p.provider.ListDiskSnapshots(ctx, tags) })
}

// DeleteDiskSnapshot ends a disk snapshot.
func (p *Provider) DeleteDiskSnapshot(ctx context.Context, id string) error {
	return change(ctx, p, func() error { return p.provider.DeleteDiskSnapshot(ctx, id) })
}

// RunCommand sends a script to a host.
func (p *Provider) RunCommand(ctx context.Context, req iaas.CommandRequest) (iaas.Command, error) {
	return call(ctx, p, Command, func() (iaas.Command, error) { return p.provider.RunCommand(ctx, req) })
}

// Command looks at a script that was sent.
func (p *Provider) Command(ctx context.Context, hostID, commandID string) (iaas.Command, error) {
	return call(ctx, p, Command, func() (iaas.Command, error) { return p.provider.Command(ctx, hostID, commandID) })
}

// Zones gives the zones on offer.
func (p *Provider) Zones(ctx context.Context) ([]string, error) {
	return call(ctx, p, Read, func() ([]string, error) { return p.provider.Zones(ctx) })
}

// MachineTypes gives the machine types on offer.
func (p *Provider) MachineTypes(ctx context.Context) ([]fleet.MachineType, error) {
	return call(ctx, p, Read, func() ([]fleet.MachineType, error) { return p.provider.MachineTypes(ctx) })
}

// DiskCategories gives the disk categories on offer.
func (p *Provider) DiskCategories(ctx context.Context) ([]string, error) {
	return call(ctx, p, Read, func() ([]string, error) { return p.provider.DiskCategories(ctx) })
}

// Available says whether the zone would sell a host of this type now.
func (p *Provider) Available(ctx context.Context, zone, machineType string) (bool, error) {
	return call(ctx, p, Read, func() (bool, error) { return p.provider.Available(ctx, zone, machineType) })
}
