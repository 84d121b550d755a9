package cloudsim

import (
	"context"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Attach gives a disk to an instance under a device name; empty: the cloud chooses.
func (w *World) Attach(diskID, instanceID, device string) (Disk, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.toldDisk(diskID)
	if err != nil {
		return Disk{}, err
	}
	i, err := w.told(instanceID)
	if err != nil {
		return d.now, err
	}
	v, host := d.now, i.now
	switch {
	case v.InstanceID != "":
		return v, refuse(DiskTaken, diskID, "it is %s, at %s", v.State, v.InstanceID)
	case v.State != fleet.DiskAvailable:
		return v, refuse(DiskState, diskID, "it is %s", v.State)
	case v.Zone != host.Zone:
		return v, refuse(OtherZone, diskID, "it is in zone %s and %s in %s", v.Zone, instanceID, host.Zone)
	case host.State != fleet.HostRunning && host.State != fleet.HostStopped:
		return v, refuse(InstanceState, instanceID, "it is %s", host.State)
	case w.zoneDown(v.Zone):
		return v, refuse(ZoneDown, v.Zone, "zone %s does not answer", v.Zone)
	}
	for _, other := range w.disks {
		if device != "" && other.now.InstanceID == instanceID && other.now.Device == device {
			return v, refuse(DeviceTaken, device, "%s has %s there", instanceID, other.now.ID)
		}
	}
	w.updateDisk(d, func(v *Disk) {
		v.State, v.InstanceID, v.Device, v.Attached = fleet.DiskAttaching, instanceID, device, time.Now().UTC()
	})
	w.work(d, w.cfg.Delays.Attach, func(ctx context.Context) (bool, error) {
		if w.machine == nil {
			return true, nil
		}
		return finished(w.machine.AttachDisk(ctx, diskID, instanceID))
	}, func(v *Disk) { v.State = fleet.DiskInUse })
	return d.now, nil
}

// finished says that a call is done; one that met another change is made again.
func finished(err error) (bool, error) {
	if fleet.Is(err, fleet.Conflict) {
		return false, nil
	}
	return err == nil, err
}

// Detach takes a disk from its instance. instanceID may be empty, or must be the one
// that has it. It stays detaching while something on the host uses it.
func (w *World) Detach(diskID, instanceID string) (Disk, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.toldDisk(diskID)
	if err != nil {
		return Disk{}, err
	}
	v := d.now
	switch {
	case v.InstanceID == "" || instanceID != "" && v.InstanceID != instanceID:
		return v, refuse(DiskFree, diskID, "it is %s", v.State)
	case v.State == fleet.DiskDetaching:
		return v, nil
	}
	w.updateDisk(d, func(v *Disk) { v.State = fleet.DiskDetaching })
	w.work(d, w.cfg.Delays.Detach, func(ctx context.Context) (bool, error) {
		if w.stays(StuckDetach, Target{Zone: v.Zone, ID: diskID}) {
			return false, nil
		}
		if w.machine == nil {
			return true, nil
		}
		if err := w.machine.DetachDisk(ctx, diskID); err != nil {
			return false, err
		}
		now, err := w.machine.Disk(ctx, diskID)
		return err == nil && now.State == fleet.DiskAvailable, err
	}, func(v *Disk) { v.State, v.InstanceID, v.Device = fleet.DiskAvailable, "", "" })
	return d.now, nil
}

// DeleteDisk ends a disk that is not attached.
func (w *World) DeleteDisk(diskID string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.toldDisk(diskID)
	if err != nil {
		return err
	}
	switch v := d.now; {
	case v.InstanceID != "":
		return refuse(DiskTaken, diskID, "it is %s, at %s", v.State, v.InstanceID)
	case v.State == fleet.DiskDeleting:
		return nil
	case v.State != fleet.DiskAvailable:
		return refuse(DiskState, diskID, "it is %s", v.State)
	}
	w.updateDisk(d, func(v *Disk) { v.State = fleet.DiskDeleting })
	w.work(d, 0, func(ctx context.Context) (bool, error) {
		if w.machine == nil {
			return true, nil
		}
		return finished(w.machine.DeleteDisk(ctx, diskID))
	}, func(v *Disk) { v.State = fleet.DiskDeleted })
	return nil
}

// Modify changes a disk's size or performance; fields of to that are zero stay as they
// are. One at a time, and not more often than the limits say.
func (w *World) Modify(diskID string, to Shape) (Modification, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.toldDisk(diskID)
	if err != nil {
		return Modification{}, err
	}
	v := d.now
	to = to.orElse(v.shape())
	switch {
	case v.State != fleet.DiskAvailable && v.State != fleet.DiskInUse:
		return v.Modification, refuse(DiskState, diskID, "it is %s", v.State)
	case to.Size < v.Size:
		return v.Modification, refuse(BadSize, diskID, "it has %s and cannot shrink to %s", v.Size, to.Size)
	case v.Modification.State == ModificationModifying || v.Modification.State == ModificationOptimizing:
		return v.Modification, refuse(Modifying, diskID, "its last modification is %s", v.Modification.State)
	case w.zoneDown(v.Zone):
		return v.Modification, refuse(ZoneDown, v.Zone, "zone %s does not answer", v.Zone)
	case w.cfg.Limits.NoIdleChange && to == v.shape():
		return v.Modification, refuse(IdleChange, diskID, "it is so already")
	}
	if err := w.checkShape(&to); err != nil {
		return v.Modification, err
	}
	limits, recent := w.cfg.Limits, 0
	for _, at := range d.modified {
		if time.Since(at) < limits.Within {
			recent++
		}
	}
	if limits.Modifications > 0 && recent >= limits.Modifications {
		return v.Modification, refuse(TooManyMods, diskID, "it was modified %d times within %s", recent, limits.Within)
	}
	d.modified = append(d.modified, time.Now())
	w.updateDisk(d, func(v *Disk) {
		v.Modification = Modification{State: ModificationModifying, From: v.shape(), To: to, Started: time.Now().UTC()}
	})
	w.modify(d, to)
	return d.now.Modification, nil
}

func (s Shape) orElse(now Shape) Shape {
	if s.Size == 0 {
		s.Size = now.Size
	}
	if s.Category == "" || s.Category == now.Category {
		s.Category = now.Category
		if s.Level == "" {
			s.Level = now.Level
		}
		if s.IOPS == 0 {
			s.IOPS = now.IOPS
		}
		if s.Throughput == 0 {
			s.Throughput = now.Throughput
		}
	}
	return s
}

// modify brings a disk to its new shape, whatever else happens to it meanwhile.
func (w *World) modify(d *disk, to Shape) {
	id := d.now.ID
	w.drive(w.cfg.Delays.Modify, func(ctx context.Context) bool {
		if w.machine != nil {
			if err := w.machine.GrowDisk(ctx, id, to.Size); err != nil {
				return fleet.Is(err, fleet.NotFound)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.updateDisk(d, func(v *Disk) {
			v.Size, v.Category, v.Level, v.IOPS, v.Throughput = to.Size, to.Category, to.Level, to.IOPS, to.Throughput
			v.Modification.State = ModificationOptimizing
		})
		w.drive(w.cfg.Delays.Settle, func(context.Context) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.updateDisk(d, func(v *Disk) {
				v.Modification.State, v.Modification.Ended = ModificationCompleted, time.Now().UTC()
			})
			return true
		})
		return true
	})
}
