package cloudsim

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// live drives an instance to where it was told to go: work is done on the machine until
// it says that it is done, and arrive is the change that then shows. What was overtaken
// by a later order ends without a trace. w.mu is held.
func (w *World) live(i *instance, after time.Duration, work func(ctx context.Context) (bool, error), arrive func(*Instance)) {
	i.change++
	mine, id := i.change, i.now.ID
	w.drive(after, func(ctx context.Context) bool {
		i.busy.Lock() // an order must not meet the work of the one before
		defer i.busy.Unlock()
		w.mu.Lock()
		overtaken := i.change != mine
		w.mu.Unlock()
		if overtaken {
			return true
		}
		if done, err := work(ctx); err != nil || !done {
			if err != nil && ctx.Err() == nil {
				w.log.Warn("a change of an instance did not get further", zap.String("instance", id), zap.Error(err))
			}
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if i.change == mine {
			w.update(i, arrive)
		}
		return true
	})
}

// boot brings an instance up, for the first time or again. w.mu is held.
func (w *World) boot(i *instance) {
	v, address := i.now, ""
	w.live(i, w.cfg.Delays.Boot, func(ctx context.Context) (bool, error) {
		if w.stays(NeverReady, Target{Zone: v.Zone, Type: v.Type, ID: v.ID}) {
			return false, nil
		}
		if w.machine == nil {
			address = addressOf(v.Sequence)
			return true, nil
		}
		h, err := w.machine.Host(ctx, v.ID)
		switch {
		case fleet.Is(err, fleet.NotFound):
			h, err = w.machine.LaunchHost(ctx, iaas.LaunchHostRequest{Token: i.seed, Name: v.Name, Zone: v.Zone, Type: v.Type})
		case err == nil && h.State == fleet.HostStopped:
			err = w.machine.StartHost(ctx, v.ID)
		}
		address = h.Address
		return err == nil && h.State == fleet.HostRunning, err
	}, func(v *Instance) { v.State, v.Booted, v.Address = fleet.HostRunning, true, address })
}

// Start starts a stopped instance. One that runs, or is on its way, is left alone.
func (w *World) Start(id string) (Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, err := w.told(id)
	if err != nil {
		return Instance{}, err
	}
	switch v := i.now; v.State {
	case fleet.HostPending, fleet.HostRunning:
	case fleet.HostStopped:
		if w.zoneDown(v.Zone) || w.strikes(NoStockLeft, Target{Zone: v.Zone, Type: v.Type, ID: id}) != nil {
			return v, refuse(NoStock, id, "zone %s has no room for it now", v.Zone)
		}
		w.update(i, func(v *Instance) { v.State, v.Reason = fleet.HostPending, "" })
		w.boot(i)
	default:
		return v, refuse(InstanceState, id, "it is %s", v.State)
	}
	return i.now, nil
}

// Stop stops a running instance. One that is stopped, or on its way, is left alone.
func (w *World) Stop(id string) (Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, err := w.told(id)
	if err != nil {
		return Instance{}, err
	}
	switch v := i.now; v.State {
	case fleet.HostStopping, fleet.HostStopped:
	case fleet.HostRunning:
		w.update(i, func(v *Instance) { v.State, v.Reason = fleet.HostStopping, ByUser })
		w.live(i, w.cfg.Delays.Stop, func(ctx context.Context) (bool, error) {
			if w.machine == nil {
				return true, nil
			}
			if err := w.machine.StopHost(ctx, id); err != nil {
				return false, err
			}
			h, err := w.machine.Host(ctx, id)
			return err == nil && h.State == fleet.HostStopped, err
		}, func(v *Instance) { v.State = fleet.HostStopped })
	default:
		return v, refuse(InstanceState, id, "it is %s", v.State)
	}
	return i.now, nil
}

// Resize changes the type of a stopped instance.
func (w *World) Resize(id, kind string) error {
	w.mu.Lock()
	i, err := w.told(id)
	if err == nil {
		err = w.checkResize(i.now, kind)
	}
	w.mu.Unlock()
	if err != nil {
		return err
	}
	i.busy.Lock() // the machine must have stopped it for good
	defer i.busy.Unlock()
	if w.machine != nil {
		if err := w.machine.ResizeHost(w.ctx, id, kind); err != nil {
			return refuse(InstanceState, id, "%v", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.update(i, func(v *Instance) { v.Type = kind })
	return nil
}

func (w *World) checkResize(v Instance, kind string) error {
	t, ok := w.cfg.Type(kind)
	image, _ := w.cfg.Image(v.Image)
	switch {
	case !ok:
		return refuse(NoType, kind, "there is no such type")
	case v.State != fleet.HostStopped:
		return refuse(InstanceState, v.ID, "it is %s, not stopped", v.State)
	case !t.SoldIn(v.Zone):
		return refuse(NotSold, kind, "zone %s does not sell it", v.Zone)
	case t.Architecture != image.Architecture && image.ID != "":
		return refuse(Mismatched, kind, "image %s does not boot on it", image.ID)
	}
	return nil
}

// Terminate ends an instance for good. One that has ended is left alone.
func (w *World) Terminate(id string) (Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, err := w.told(id)
	if err != nil {
		return Instance{}, err
	}
	w.terminate(i, ByUser)
	return i.now, nil
}

// terminate ends an instance: its disks come free when it is down. w.mu is held.
func (w *World) terminate(i *instance, reason string) {
	v := i.now
	if v.State == fleet.HostTerminating || v.State == fleet.HostTerminated {
		return
	}
	w.update(i, func(v *Instance) { v.State, v.Reason = fleet.HostTerminating, reason })
	w.live(i, w.cfg.Delays.End, func(ctx context.Context) (bool, error) {
		if w.machine != nil {
			if done, err := w.endHost(ctx, v.ID, reason); err != nil || !done {
				return false, err
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, d := range w.disks {
			if d.now.InstanceID == v.ID {
				w.letGo(d)
			}
		}
		return true, nil
	}, func(v *Instance) { v.State, v.Address, v.ended = fleet.HostTerminated, "", time.Now() })
}

// letGo frees a disk whose instance has ended, now or when it is no longer stuck: what it
// was told at this instance is overtaken. w.mu is held.
func (w *World) letGo(d *disk) {
	free := func(v *Disk) { v.State, v.InstanceID, v.Device = fleet.DiskAvailable, "", "" }
	at := Target{Zone: d.now.Zone, ID: d.now.ID}
	if !w.holds(StuckDetach, at) {
		d.change++
		w.updateDisk(d, free)
		return
	}
	w.updateDisk(d, func(v *Disk) { v.State = fleet.DiskDetaching })
	w.work(d, driveEvery, func(context.Context) (bool, error) { return !w.stays(StuckDetach, at), nil }, free)
}

func (w *World) endHost(ctx context.Context, id, reason string) (bool, error) {
	h, err := w.machine.Host(ctx, id)
	switch {
	case fleet.Is(err, fleet.NotFound):
		return true, nil // it never came to boot
	case err != nil || h.State == fleet.HostTerminated:
		return err == nil, err
	}
	if reason == ByCloud {
		if err := w.machine.FailHost(ctx, id); err != nil {
			return false, err
		}
	}
	return false, w.machine.TerminateHost(ctx, id)
}

// addressOf is the address of an instance that is not run.
func addressOf(sequence int64) string {
	return fmt.Sprintf("10.%d.%d.%d", sequence>>16&255, sequence>>8&255, sequence&255)
}
