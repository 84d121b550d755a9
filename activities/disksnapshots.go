package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// keepsCopies says that an operation takes or deletes copies of disks.
func keepsCopies(kind fleet.OperationKind) bool {
	switch kind {
	case fleet.RecoverQuorum, fleet.RestoreCluster, fleet.DiscardSetAside, fleet.DecommissionCluster:
		return true
	}
	return false
}

// listCopies adds the copies of disks that one place has. Workers whose rights are of before
// there were any go on without; and what brings a cluster back waits for no list of them.
func listCopies(ctx context.Context, region iaas.Provider, kind fleet.OperationKind, tags iaas.Tags, obs *fleet.Observation) error {
	copies, err := region.ListDiskSnapshots(ctx, tags)
	bears := fleet.Is(err, fleet.Denied) || kind == fleet.RecoverQuorum || kind == fleet.RestoreCluster
	switch {
	case err != nil && bears && ctx.Err() == nil:
		obs.CopiesUnknown = err.Error()
	case err != nil:
		return err
	}
	obs.DiskSnapshots = append(slices.Clone(obs.DiskSnapshots), copies...)
	return nil
}

// SnapshotDisk asks for a copy of a member's disk, and waits until it is listed, not until
// it is stored.
func (c *Compute) SnapshotDisk(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	taken, err := c.Provider.SnapshotDisk(ctx, iaas.SnapshotDiskRequest{
		Token: r.Step.Token, Name: r.Step.Member, DiskID: r.Step.DiskID, Tags: c.tags(r.Operation, r.Step),
	})
	if err != nil {
		return note("", err)
	}
	region, err := c.regionOf(taken.ID)
	if err != nil {
		return note("", err)
	}
	asked := time.Now()
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		found, err := region.ListDiskSnapshots(ctx, iaas.Tags{fleet.TagToken: r.Step.Token})
		if err == nil && len(found) == 0 && time.Since(asked) > settling {
			err = fleet.Errorf(fleet.Lost, "snapshot of the disk of "+r.Step.Member, "%s does not exist any more", taken.ID)
		}
		return len(found) > 0, -1, "not visible yet", err
	})
	return note(fmt.Sprintf("%s of %s, %s, %s", taken.ID, r.Step.DiskID, taken.Size.Human(), taken.State), err)
}

// DeleteDiskSnapshot deletes a copy of a disk, and waits until it is gone.
func (c *Compute) DeleteDiskSnapshot(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	id := r.Step.SnapshotID
	if err := c.Provider.DeleteDiskSnapshot(ctx, id); err != nil {
		return note("", err)
	}
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		s, err := c.Provider.DiskSnapshot(ctx, id)
		if fleet.Is(err, fleet.NotFound) || err == nil && s.State == fleet.DiskSnapshotDeleted {
			return true, 100, "", nil
		}
		return false, -1, "deleting", err
	})
	return note(id, err)
}
