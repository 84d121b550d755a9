package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Compute buys and ends hosts and disks.
type Compute struct{ Region }

// settling is how long "not found" after a create still means "not yet".
const settling = 2 * time.Minute

func (c *Compute) tags(op fleet.Operation, step fleet.Step) iaas.Tags {
	return iaas.Tags{
		fleet.TagCluster: op.Cluster, fleet.TagUID: op.UID, fleet.TagMember: step.Member, fleet.TagToken: step.Token,
	}
}

// LaunchHost buys a member's host, or takes up the one that is there, and waits
// until it runs. A host that ended meanwhile is fleet.Lost: the planner buys
// another with another token.
func (c *Compute) LaunchHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	id := r.Step.HostID
	if id == "" {
		host, err := c.Provider.LaunchHost(ctx, iaas.LaunchHostRequest{
			Token: r.Step.Token, Name: r.Step.Member, Zone: r.Step.Zone,
			Type: r.Operation.Spec.Machine.Type, Tags: c.tags(r.Operation, r.Step),
		})
		if err != nil {
			return note("", err)
		}
		id = host.ID
	}
	var text string
	asked := time.Now()
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		host, err := c.Provider.Host(ctx, id)
		switch {
		case fleet.Is(err, fleet.NotFound) && time.Since(asked) < settling:
			return false, -1, "not visible yet", nil
		case fleet.Is(err, fleet.NotFound):
			return false, -1, "", fleet.Errorf(fleet.Lost, "host "+r.Step.Member, "%s does not exist any more", id)
		case err != nil:
			return false, -1, "", err
		}
		switch host.State {
		case fleet.HostRunning:
			text = fmt.Sprintf("%s in zone %s at %s", host.ID, host.Zone, host.Address)
			return true, 100, "", nil
		case fleet.HostTerminating, fleet.HostTerminated:
			return false, -1, "", fleet.Errorf(fleet.Lost, "host "+host.Name, "%s was terminated %s", host.ID, host.Reason)
		case fleet.HostStopped:
			return false, -1, "is stopped; starting it", c.Provider.StartHost(ctx, id)
		}
		return false, -1, "is " + string(host.State), nil
	})
	return note(text, err)
}

// AttachDisk buys a member's data disk in its host's zone, or takes the one that
// is there, and attaches it.
func (c *Compute) AttachDisk(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	id, spec := r.Step.DiskID, r.Operation.Spec.Machine.Disk
	if id == "" {
		disk, err := c.Provider.CreateDisk(ctx, iaas.CreateDiskRequest{
			Token: r.Step.Token, Name: r.Step.Member, Zone: r.Step.Zone,
			Size: spec.Size, Category: spec.Category, Tags: c.tags(r.Operation, r.Step),
		})
		if err != nil {
			return note("", err)
		}
		id = disk.ID
	}
	asked := time.Now()
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		disk, err := c.Provider.Disk(ctx, id)
		switch {
		case fleet.Is(err, fleet.NotFound) && time.Since(asked) < settling:
			return false, -1, "not visible yet", nil
		case fleet.Is(err, fleet.NotFound):
			return false, -1, "", fleet.Errorf(fleet.Lost, "disk of "+r.Step.Member, "%s does not exist any more", id)
		case err != nil:
			return false, -1, "", err
		}
		switch {
		case disk.State == fleet.DiskInUse && disk.HostID == r.Step.HostID:
			return true, 100, "", nil
		case disk.State == fleet.DiskInUse:
			return false, -1, "", fleet.Errorf(fleet.Blocked, "disk "+disk.Name, "%s is attached to %s, not to %s",
				id, disk.HostID, r.Step.HostID)
		case disk.State == fleet.DiskAvailable:
			return false, -1, "attaching", c.Provider.AttachDisk(ctx, id, r.Step.HostID)
		}
		return false, -1, "is " + string(disk.State), nil
	})
	return note(fmt.Sprintf("%s, %s %s", id, spec.Size.Human(), spec.Category), err)
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
			return false, -1, "deleting", c.Provider.DeleteDisk(ctx, id)
		}
		return false, -1, "is " + string(disk.State), nil
	})
	return note(id, err)
}
