package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
)

// StopHost stops a host and waits until it is stopped; its disks stay.
//
// One that a recovery goes on without is not waited for long: its zone may be gone, and who
// comes back is told by the recovered member that it was removed.
func (c *Compute) StopHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	if !slices.Contains(r.Operation.Options.Without, r.Step.Member) {
		return note(r.Step.HostID, c.stopHost(ctx, r))
	}
	limited, cancel := context.WithTimeout(ctx, stopGivenUp)
	defer cancel()
	err := poll(limited, func(ctx context.Context) (bool, int, string, error) {
		err := c.stopHost(ctx, r)
		return err == nil, -1, "has not stopped yet", ignore(ignore(err, fleet.Unavailable), fleet.Throttled)
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fleet.Errorf(fleet.Lost, "host of "+r.Step.Member, "%s did not stop within %s, and is gone on without", r.Step.HostID, stopGivenUp)
	}
	return note(r.Step.HostID, err)
}

// stopGivenUp is how long a host may take to stop that is gone on without.
const stopGivenUp = 5 * time.Second

func (c *Compute) stopHost(ctx context.Context, r fleet.StepRequest) error {
	return c.drive(ctx, r.Step, func(ctx context.Context, host fleet.Host) (bool, error) {
		if host.State == fleet.HostRunning {
			return false, c.Provider.StopHost(ctx, host.ID)
		}
		return host.State == fleet.HostStopped, nil
	})
}

// StartHost starts a stopped host and waits until it runs.
func (c *Compute) StartHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	var at string
	err := c.drive(ctx, r.Step, func(ctx context.Context, host fleet.Host) (bool, error) {
		if host.State == fleet.HostStopped {
			return false, c.Provider.StartHost(ctx, host.ID)
		}
		at = host.Address
		return host.State == fleet.HostRunning, nil
	})
	return note(fmt.Sprintf("%s at %s", r.Step.HostID, at), err)
}

// ResizeHost changes the machine type of a stopped host. One that is not stopped is
// waited for: the cloud takes a while to show what it was told.
func (c *Compute) ResizeHost(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	wanted, was := typeOf(r.Operation, r.Step), ""
	err := c.drive(ctx, r.Step, func(ctx context.Context, host fleet.Host) (bool, error) {
		if host.Type == wanted {
			return true, nil
		}
		was = host.Type
		if host.State == fleet.HostStopped {
			return false, c.Provider.ResizeHost(ctx, host.ID, wanted)
		}
		return false, nil
	})
	if was == "" {
		return note("is a "+wanted, err)
	}
	return note(fmt.Sprintf("a %s instead of a %s", wanted, was), err)
}

// drive looks at a step's host again and again until act says that it is as wanted.
// act may ask for a change; a conflict is another change that is under way, and the
// next look shows what became of it. A host that ended is fleet.Lost.
func (c *Compute) drive(ctx context.Context, step fleet.Step, act func(ctx context.Context, host fleet.Host) (bool, error)) error {
	return poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		host, err := c.Provider.Host(ctx, step.HostID)
		switch {
		case fleet.Is(err, fleet.NotFound):
			return false, -1, "", fleet.Errorf(fleet.Lost, "host of "+step.Member, "%s does not exist any more", step.HostID)
		case err != nil:
			return false, -1, "", err
		case host.State == fleet.HostTerminating || host.State == fleet.HostTerminated:
			return false, -1, "", fleet.Errorf(fleet.Lost, "host "+host.Name, "%s was terminated %s", host.ID, host.Reason)
		}
		done, err := act(ctx, host)
		return done, -1, "is " + string(host.State), ignore(err, fleet.Conflict)
	})
}

// GrowDisk makes a data disk larger and then the file system on it. The member goes
// on running meanwhile.
func (c *Compute) GrowDisk(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	text, err := c.grow(ctx, r)
	return note(text, c.orEnded(ctx, r.Step, err))
}

func (c *Compute) grow(ctx context.Context, r fleet.StepRequest) (string, error) {
	size := sizeOf(r.Operation, r.Step)
	var disk fleet.Disk
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		var err error
		disk, err = c.Provider.Disk(ctx, r.Step.DiskID)
		switch {
		case fleet.Is(err, fleet.NotFound):
			return false, -1, "", fleet.Errorf(fleet.Lost, "disk of "+r.Step.Member, "%s does not exist any more", r.Step.DiskID)
		case err != nil || disk.Size >= size:
			return err == nil, -1, "", err
		}
		err = c.Provider.GrowDisk(ctx, disk.ID, size)
		return false, -1, fmt.Sprintf("has %s, growing to %s", disk.Size.Human(), size.Human()), ignore(err, fleet.Conflict)
	})
	if err != nil {
		return "", err
	}
	host, err := c.Provider.Host(ctx, r.Step.HostID)
	if err != nil {
		return "", err
	}
	beat(ctx, -1, "growing the file system")
	member, err := call[fleet.MemberReport](ctx, c.Provider, host, node.VerbGrow, node.GrowRequest{Member: r.Step.Member, Size: disk.Size})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, the file system has %s", disk.Size.Human(), member.DiskSize.Human()), nil
}

// RetypeDisk makes a data disk one of another category where it is. The member goes on
// running meanwhile; a larger file system comes with the next step.
func (c *Compute) RetypeDisk(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	size, was, wanted := sizeOf(r.Operation, r.Step), "", r.Step.Category
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		disk, err := c.Provider.Disk(ctx, r.Step.DiskID)
		switch {
		case fleet.Is(err, fleet.NotFound):
			return false, -1, "", fleet.Errorf(fleet.Lost, "disk of "+r.Step.Member, "%s does not exist any more", r.Step.DiskID)
		case err != nil || disk.Category == wanted && disk.Size >= size:
			return err == nil, -1, "", err
		}
		was = cmp.Or(was, disk.Category)
		err = c.Provider.RetypeDisk(ctx, disk.ID, wanted, size)
		return false, -1, fmt.Sprintf("is %s %s, becoming %s %s", disk.Size.Human(), disk.Category, size.Human(), wanted), ignore(err, fleet.Conflict)
	})
	if was == "" {
		return note("is "+wanted, c.orEnded(ctx, r.Step, err))
	}
	return note(fmt.Sprintf("%s instead of %s", wanted, was), c.orEnded(ctx, r.Step, err))
}
