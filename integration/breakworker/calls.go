package main

import (
	"context"
	"io"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// provider passes a boundary after each call that changes something: the cloud
// has done it, and the worker has not heard yet.
type provider struct {
	iaas.Provider
	points *points
}

func (p provider) LaunchHost(ctx context.Context, r iaas.LaunchHostRequest) (fleet.Host, error) {
	defer p.points.call(ctx, "LaunchHost")
	return p.Provider.LaunchHost(ctx, r)
}

func (p provider) TerminateHost(ctx context.Context, id string) error {
	defer p.points.call(ctx, "TerminateHost")
	return p.Provider.TerminateHost(ctx, id)
}

func (p provider) StopHost(ctx context.Context, id string) error {
	defer p.points.call(ctx, "StopHost")
	return p.Provider.StopHost(ctx, id)
}

func (p provider) StartHost(ctx context.Context, id string) error {
	defer p.points.call(ctx, "StartHost")
	return p.Provider.StartHost(ctx, id)
}

func (p provider) ResizeHost(ctx context.Context, id, machineType string) error {
	defer p.points.call(ctx, "ResizeHost")
	return p.Provider.ResizeHost(ctx, id, machineType)
}

func (p provider) GrowDisk(ctx context.Context, id string, size fleet.Bytes) error {
	defer p.points.call(ctx, "GrowDisk")
	return p.Provider.GrowDisk(ctx, id, size)
}

func (p provider) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	defer p.points.call(ctx, "TagHost")
	return p.Provider.TagHost(ctx, id, tags)
}

func (p provider) TagDisk(ctx context.Context, id string, tags iaas.Tags) error {
	defer p.points.call(ctx, "TagDisk")
	return p.Provider.TagDisk(ctx, id, tags)
}

func (p provider) CreateDisk(ctx context.Context, r iaas.CreateDiskRequest) (fleet.Disk, error) {
	defer p.points.call(ctx, "CreateDisk")
	return p.Provider.CreateDisk(ctx, r)
}

func (p provider) AttachDisk(ctx context.Context, disk, host string) error {
	defer p.points.call(ctx, "AttachDisk")
	return p.Provider.AttachDisk(ctx, disk, host)
}

func (p provider) DetachDisk(ctx context.Context, id string) error {
	defer p.points.call(ctx, "DetachDisk")
	return p.Provider.DetachDisk(ctx, id)
}

func (p provider) RetypeDisk(ctx context.Context, id, category string, size fleet.Bytes) error {
	defer p.points.call(ctx, "RetypeDisk")
	return p.Provider.RetypeDisk(ctx, id, category, size)
}

func (p provider) DeleteDisk(ctx context.Context, id string) error {
	defer p.points.call(ctx, "DeleteDisk")
	return p.Provider.DeleteDisk(ctx, id)
}

func (p provider) SnapshotDisk(ctx context.Context, r iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	defer p.points.call(ctx, "SnapshotDisk")
	return p.Provider.SnapshotDisk(ctx, r)
}

func (p provider) DeleteDiskSnapshot(ctx context.Context, id string) error {
	defer p.points.call(ctx, "DeleteDiskSnapshot")
	return p.Provider.DeleteDiskSnapshot(ctx, id)
}

func (p provider) RunCommand(ctx context.Context, r iaas.CommandRequest) (iaas.Command, error) {
	defer p.points.call(ctx, "RunCommand")
	return p.Provider.RunCommand(ctx, r)
}

// ListHosts changes nothing, but is the middle of what only looks.
func (p provider) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	defer p.points.call(ctx, "ListHosts")
	return p.Provider.ListHosts(ctx, tags)
}

// store does the same for the object store.
type store struct {
	objectstore.Store
	points *points
}

// watched gives a store that passes boundaries, from which hosts can read as they can from
// the one behind it.
func watched(behind objectstore.Store, p *points) objectstore.Store {
	s := store{behind, p}
	switch reads := behind.(type) {
	case objectstore.Linker:
		return struct {
			store
			objectstore.Linker
		}{s, reads}
	case objectstore.Filer:
		return struct {
			store
			objectstore.Filer
		}{s, reads}
	}
	return s
}

// Put has a boundary in its middle too: a part of the object has been read.
func (s store) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	defer s.points.call(ctx, "Put")
	return s.Store.Put(ctx, key, &half{ctx: ctx, points: s.points, from: r}, size)
}

// Get changes nothing, but between it and the next is what is done with an object.
func (s store) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	defer s.points.call(ctx, "Get")
	return s.Store.Get(ctx, key)
}

// half passes a boundary after the first read from it.
type half struct {
	ctx    context.Context
	points *points
	from   io.Reader
	passed bool
}

func (h *half) Read(b []byte) (int, error) {
	n, err := h.from.Read(b)
	if !h.passed {
		h.passed = true
		h.points.call(h.ctx, "Put begun")
	}
	return n, err
}

func (s store) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	defer s.points.call(ctx, "PutIfAbsent")
	return s.Store.PutIfAbsent(ctx, key, data)
}

func (s store) Delete(ctx context.Context, key string) error {
	defer s.points.call(ctx, "Delete")
	return s.Store.Delete(ctx, key)
}
