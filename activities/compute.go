package activities

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Compute buys and ends hosts and disks.
type Compute struct{ Region }

// settling is how long "not found" after a create may still mean "not yet".
const settling = 2 * time.Minute

// flicker is how long what was seen before may be "not found" again, because looks are
// answered by several servers of a cloud's that lag behind one another by seconds.
const flicker = 10 * time.Second

// lookout tells what was bought and is not seen yet from what is gone.
type lookout struct{ began, asked, seen time.Time }

// lookOut begins to look for a thing: one that has an ID was seen by who planned for it.
func lookOut(id string) lookout {
	l := lookout{began: time.Now(), asked: time.Now()}
	if id != "" {
		l.seen = l.began
	}
	return l
}

// unseen says what follows from "not found": that it is gone, or that its token is to be
// used again, because where what has ended is shown to nobody, only who bought it is told.
func (l lookout) unseen() (gone, ask bool) {
	if !l.seen.IsZero() {
		return time.Since(l.seen) >= flicker, false
	}
	gone = time.Since(l.began) >= settling
	return gone, !gone && time.Since(l.asked) >= flicker
}

func (c *Compute) tags(op fleet.Operation, step fleet.Step) iaas.Tags {
	return iaas.Tags{
		fleet.TagCluster: op.Cluster, fleet.TagUID: op.UID, fleet.TagMember: step.Member, fleet.TagToken: step.Token,
	}
}

// typeOf is the machine type that a step is about, and sizeOf the size of its disk:
// the spec's, unless the step says otherwise.
func typeOf(op fleet.Operation, step fleet.Step) string {
	return cmp.Or(step.Type, op.Spec.MachineIn(step.Zone).Type)
}

func sizeOf(op fleet.Operation, step fleet.Step) fleet.Bytes {
	return cmp.Or(step.Size, op.Spec.MachineIn(step.Zone).Disk.Size)
}

// LaunchHost buys a member's host, or takes up the one that is there, and waits
// until it runs. A host that ended meanwhile is fleet.Lost: the planner buys
// another with another token.
func (c *Compute) LaunchHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	lost := func(id, how string) error { return fleet.Errorf(fleet.Lost, "host "+r.Step.Member, "%s %s", id, how) }
	id, look := r.Step.HostID, lookOut(r.Step.HostID)
	buy := func(ctx context.Context) error {
		host, err := c.Provider.LaunchHost(ctx, iaas.LaunchHostRequest{
			Token: r.Step.Token, Name: r.Step.Member, Zone: r.Step.Zone,
			Type: typeOf(r.Operation, r.Step), Tags: c.tags(r.Operation, r.Step),
		})
		if err != nil {
			return err
		}
		if id, look.asked = host.ID, time.Now(); host.State == fleet.HostTerminated {
			return lost(id, "was terminated "+host.Reason)
		}
		return nil
	}
	if id == "" {
		if err := buy(ctx); err != nil {
			return note("", err)
		}
	}
	var text string
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		host, err := c.Provider.Host(ctx, id)
		if fleet.Is(err, fleet.NotFound) {
			switch gone, ask := look.unseen(); {
			case gone:
				return false, -1, "", lost(id, "does not exist any more")
			case ask:
				return false, -1, "not visible yet", buy(ctx)
			}
			return false, -1, "not visible yet", nil
		}
		if err != nil {
			return false, -1, "", err
		}
		look.seen = time.Now()
		switch host.State {
		case fleet.HostRunning:
			text = fmt.Sprintf("%s in zone %s at %s", host.ID, host.Zone, host.Address)
			return true, 100, "", nil
		case fleet.HostTerminating, fleet.HostTerminated:
			return false, -1, "", lost(id, "was terminated "+host.Reason)
		case fleet.HostStopped:
			return false, -1, "is stopped; starting it", c.Provider.StartHost(ctx, id)
		}
		return false, -1, "is " + string(host.State), nil
	})
	return note(text, err)
}

// AttachDisk buys a member's data disk in its host's zone, or takes the one that
// is there, and attaches it. One that moves to another host is waited for until the
// last one has let go of it. A host or a disk that ended meanwhile is fleet.Lost.
func (c *Compute) AttachDisk(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	id, look := r.Step.DiskID, lookOut(r.Step.DiskID)
	alive := func(state fleet.DiskState) error {
		if state == fleet.DiskDeleting || state == fleet.DiskDeleted {
			return fleet.Errorf(fleet.Lost, "disk of "+r.Step.Member, "%s does not exist any more", id)
		}
		return nil
	}
	buy := func(ctx context.Context) error {
		disk, err := c.Provider.CreateDisk(ctx, iaas.CreateDiskRequest{
			Token: r.Step.Token, Name: r.Step.Member, Zone: r.Step.Zone, Size: sizeOf(r.Operation, r.Step),
			Category: r.Operation.Spec.MachineIn(r.Step.Zone).Disk.Category, Tags: c.tags(r.Operation, r.Step),
		})
		if err != nil {
			return err
		}
		id, look.asked = disk.ID, time.Now()
		return alive(disk.State)
	}
	if id == "" {
		if err := buy(ctx); err != nil {
			return note("", err)
		}
	}
	var text string
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		disk, err := c.Provider.Disk(ctx, id)
		if fleet.Is(err, fleet.NotFound) {
			switch gone, ask := look.unseen(); {
			case gone:
				return false, -1, "", alive(fleet.DiskDeleted)
			case ask:
				return false, -1, "not visible yet", buy(ctx)
			}
			return false, -1, "not visible yet", nil
		}
		if err == nil {
			look.seen = time.Now()
			err = alive(disk.State)
		}
		if err != nil {
			return false, -1, "", err
		}
		switch {
		case disk.State == fleet.DiskInUse && disk.HostID == r.Step.HostID:
			text = fmt.Sprintf("%s, %s %s", id, disk.Size.Human(), disk.Category)
			return true, 100, "", nil
		case disk.State == fleet.DiskInUse:
			ends, err := c.ends(ctx, disk.HostID)
			if err == nil && !ends {
				err = fleet.Errorf(fleet.Blocked, "disk "+disk.Name, "%s is attached to %s, not to %s", id, disk.HostID, r.Step.HostID)
			}
			return false, -1, "is still attached to " + disk.HostID + ", which ends", err
		case disk.State == fleet.DiskAvailable:
			err := c.orEnded(ctx, r.Step, c.Provider.AttachDisk(ctx, id, r.Step.HostID))
			return false, -1, "attaching", ignore(err, fleet.Conflict)
		}
		return false, -1, "is " + string(disk.State), nil
	})
	return note(text, err)
}

// ends says whether a host is on its way out: it gives up its disks by itself.
func (c *Compute) ends(ctx context.Context, hostID string) (bool, error) {
	host, err := c.Provider.Host(ctx, hostID)
	if fleet.Is(err, fleet.NotFound) {
		return true, nil
	}
	return host.State == fleet.HostTerminating || host.State == fleet.HostTerminated, err
}

// ReleaseHost ends a host and waits until it is gone.
func (c *Compute) ReleaseHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	id := r.Step.HostID
	if err := c.Provider.TerminateHost(ctx, id); err != nil {
		return note("", err)
	}
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		host, err := c.Provider.Host(ctx, id)
		if fleet.Is(err, fleet.NotFound) || err == nil && host.State == fleet.HostTerminated {
			return true, 100, "", nil
		}
		return false, -1, "is " + string(host.State), err
	})
	return note(id, err)
}

// DeleteDisk detaches a disk, deletes it, and waits until it is gone.
func (c *Compute) DeleteDisk(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	id := r.Step.DiskID
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		disk, err := c.Provider.Disk(ctx, id)
		switch {
		case fleet.Is(err, fleet.NotFound):
			return true, 100, "", nil
		case err != nil:
			return false, -1, "", err
		}
		switch disk.State {
		case fleet.DiskDeleted:
			return true, 100, "", nil
		case fleet.DiskInUse:
			return false, -1, "detaching", c.Provider.DetachDisk(ctx, id)
		case fleet.DiskAvailable:
			// It may wait for a snapshot of it that is being stored.
			return false, -1, "deleting", ignore(c.Provider.DeleteDisk(ctx, id), fleet.Conflict)
		}
		return false, -1, "is " + string(disk.State), nil
	})
	return note(id, err)
}
