package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// mount is where a host sees an attached disk; the disk's size in bytes stands
// beside it, in a file of the same name and ".size".
func (p *Provider) mount(hostID, diskID string) string {
	return filepath.Join(p.hostFS(hostID), "disks", diskID)
}

func (p *Provider) diskData(id string) string { return filepath.Join(p.diskDir(id), "data") }

// lookAtDisk gives a disk as it is now, after doing what its record still asks for.
func (p *Provider) lookAtDisk(r diskRecord) (fleet.Disk, error) {
	d, err := p.settledDisk(r)
	return p.shown(d), err
}

// shown adds what a disk can become: of any category, as these are names alone.
func (p *Provider) shown(d fleet.Disk) fleet.Disk {
	d.Retypes = slices.DeleteFunc(slices.Clone(p.categories), func(c string) bool { return c == d.Category })
	return d
}

func (p *Provider) settledDisk(r diskRecord) (fleet.Disk, error) {
	if p.steadyDisk(r) {
		return r.Disk, nil
	}
	unlock, ok, err := tryLock(p.rootLock())
	if err != nil {
		return fleet.Disk{}, err
	}
	if !ok {
		return r.Disk, nil // somebody is changing a disk, perhaps this one
	}
	defer unlock()
	if r, err = p.readDisk(r.ID); err != nil {
		return fleet.Disk{}, err
	}
	r, err = p.stepDisk(r)
	return r.Disk, err
}

// steadyDisk says whether a disk is as its record says.
func (p *Provider) steadyDisk(r diskRecord) bool {
	switch r.State {
	case fleet.DiskAvailable, fleet.DiskDeleted:
		return true
	case fleet.DiskInUse:
		link := p.mount(r.HostID, r.ID)
		target, err1 := os.Readlink(link)
		size, err2 := os.ReadFile(link + ".size")
		return err1 == nil && err2 == nil && target == p.diskData(r.ID) && string(size) == sizeText(r.Size)
	}
	return false
}

// stepDisk does what a disk's record asks for. The root's lock is held. All of it
// may be done again after a death in the middle.
func (p *Provider) stepDisk(r diskRecord) (diskRecord, error) {
	switch r.State {
	case fleet.DiskCreating:
		gone, err := p.fillDisk(r)
		if err != nil {
			return r, ioError(r.label(), "its directory cannot be made", err)
		}
		if r.State = fleet.DiskAvailable; gone { // between two attempts: it never came to be
			r.State = fleet.DiskDeleting
		}
		return r, p.writeDisk(r)
	case fleet.DiskAttaching, fleet.DiskInUse:
		if p.steadyDisk(r) {
			return r, nil
		}
		if err := p.connect(r); err != nil {
			return r, ioError(r.label(), "it cannot be attached to host "+r.HostID, err)
		}
		if r.State == fleet.DiskInUse {
			return r, nil
		}
		r.State = fleet.DiskInUse
		return r, p.writeDisk(r)
	case fleet.DiskDetaching:
		done, err := p.disconnect(r)
		if err != nil {
			return r, ioError(r.label(), "it cannot be detached from host "+r.HostID, err)
		}
		if !done {
			return r, nil
		}
		r.State, r.HostID = fleet.DiskAvailable, ""
		return r, p.writeDisk(r)
	case fleet.DiskDeleting:
		if r.HostID != "" { // only a disk that is lost is deleted under its host
			if err := p.tearOff(r); err != nil {
				return r, ioError(r.label(), "it cannot be taken from host "+r.HostID, err)
			}
			r.HostID = ""
		}
		if err := os.RemoveAll(p.diskDir(r.ID)); err != nil {
			return r, ioError(r.label(), "its directory cannot be removed", err)
		}
		r.State, r.Ended = fleet.DiskDeleted, time.Now().UTC()
		return r, p.writeDisk(r)
	}
	return r, nil
}

func (p *Provider) connect(r diskRecord) error {
	// A disk whose data is gone must not come back empty: that would be a member
	// with no memory of its votes.
	if _, err := os.Stat(p.diskData(r.ID)); err != nil {
		return fleet.Errorf(fleet.Lost, r.label(), "its data directory %s is gone", p.diskData(r.ID)).
			WithRemedy("restore the directory, or replace the member that the disk belongs to")
	}
	link := p.mount(r.HostID, r.ID)
	if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
		return err
	}
	if err := writeFile(link+".size", []byte(sizeText(r.Size))); err != nil {
		return err
	}
	return relink(p.diskData(r.ID), link)
}

// disconnect is false while the disk is busy.
func (p *Provider) disconnect(r diskRecord) (bool, error) {
	link := p.mount(r.HostID, r.ID)
	// Looked at before and after the link goes: before, so that a busy disk
	// stays whole for who uses it; after, for who came in between.
	for range 2 {
		busy, err := users(p.marker(r.HostID), p.diskData(r.ID))
		if err != nil || len(busy) > 0 {
			return false, err
		}
		if err := unlink(link); err != nil {
			return false, err
		}
	}
	return true, nil
}

// unlink takes a disk from a host's file system.
func unlink(link string) error {
	for _, path := range []string{link, link + ".tmp", link + ".size", link + ".size.tmp"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// tearOff takes a disk that is lost from its host: what has files on it dies, as by an
// error of the disk.
func (p *Provider) tearOff(r diskRecord) error {
	if err := unlink(p.mount(r.HostID, r.ID)); err != nil {
		return err
	}
	for deadline := time.Now().Add(killPatience); ; time.Sleep(killPause) {
		busy, err := users(p.marker(r.HostID), p.diskData(r.ID))
		if err != nil || len(busy) == 0 {
			return err
		}
		for _, proc := range busy {
			proc.signal(syscall.SIGKILL)
		}
		if time.Now().After(deadline) {
			return fleet.Errorf(fleet.Unavailable, r.label(), "processes %v of host %s do not die", busy, r.HostID)
		}
	}
}

// detachAll takes every disk from a host that is down.
func (p *Provider) detachAll(ctx context.Context, hostID string) error {
	unlock, err := lock(ctx, p.rootLock())
	if err != nil {
		return err
	}
	defer unlock()
	all, err := p.allDisks()
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.HostID != hostID {
			continue
		}
		if r.State != fleet.DiskDetaching && r.State != fleet.DiskDeleting {
			r.State = fleet.DiskDetaching
			if err := p.writeDisk(r); err != nil {
				return err
			}
		}
		r, err := p.stepDisk(r)
		if err != nil {
			return err
		}
		if r.State == fleet.DiskDetaching {
			return fleet.Errorf(fleet.Unavailable, r.label(), "it is still in use on host %s", hostID)
		}
	}
	return nil
}

func sizeText(size fleet.Bytes) string { return strconv.FormatInt(int64(size), 10) }
