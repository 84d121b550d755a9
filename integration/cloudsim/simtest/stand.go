package simtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// Goods are what a region sells, in the words of its provider. A disk of Category becomes
// one of Other where it is.
type Goods struct{ Zone, Type, Larger, Category, Other string }

// Stand is a provider on a world of its own.
type Stand struct {
	iaas.Provider
	T     *testing.T
	World *cloudsim.World
	Goods Goods
}

// Request is for a host.
func (s Stand) Request(token string) iaas.LaunchHostRequest {
	return iaas.LaunchHostRequest{
		Token: token, Name: "m1", Zone: s.Goods.Zone, Type: s.Goods.Type, Tags: iaas.Tags{fleet.TagCluster: "c", fleet.TagMember: "m1"},
	}
}

// Insist asks as a caller does: again while there is no answer, or not yet.
func (s Stand) Insist(what string, call func(ctx context.Context) error) {
	s.T.Helper()
	var err error
	require.Eventually(s.T, func() bool {
		err = call(s.T.Context())
		switch fleet.KindOf(err) {
		case fleet.Unavailable, fleet.Throttled, fleet.NotFound, fleet.Conflict:
			return false
		}
		return true
	}, time.Minute, 20*time.Millisecond, "%s", what)
	require.NoError(s.T, err, what)
}

// Await looks until something is so.
func (s Stand) Await(what string, so func(ctx context.Context) (bool, error)) {
	s.T.Helper()
	s.Insist(what, func(ctx context.Context) error {
		ok, err := so(ctx)
		if err == nil && !ok {
			return fleet.Errorf(fleet.Conflict, what, "not yet")
		}
		return err
	})
}

// Live is a whole life of a host and its disk, in which each call's answer may be lost:
// in the end, one of each was bought, a snapshot too, and what was sent ran once.
func (s Stand) Live() {
	s.T.Helper()
	var h fleet.Host
	var d fleet.Disk
	hostIs := func(state fleet.HostState) {
		s.T.Helper()
		s.Await("host is "+string(state), func(ctx context.Context) (bool, error) {
			now, err := s.Host(ctx, h.ID)
			if state == fleet.HostTerminated && fleet.Is(err, fleet.NotFound) {
				return true, nil
			}
			return now.State == state, err
		})
	}
	diskIs := func(state fleet.DiskState, size fleet.Bytes) {
		s.T.Helper()
		s.Await("disk is "+string(state), func(ctx context.Context) (bool, error) {
			now, err := s.Disk(ctx, d.ID)
			return now.State == state && now.Size == size, err
		})
	}
	s.Insist("launch", func(ctx context.Context) (err error) { h, err = s.LaunchHost(ctx, s.Request("host")); return err })
	s.Insist("create", func(ctx context.Context) (err error) {
		d, err = s.CreateDisk(ctx, iaas.CreateDiskRequest{
			Token: "disk", Name: "m1", Zone: s.Goods.Zone, Size: 20 * fleet.GiB, Category: s.Goods.Category,
		})
		return err
	})
	hostIs(fleet.HostRunning)
	diskIs(fleet.DiskAvailable, 20*fleet.GiB)
	s.Insist("tag", func(ctx context.Context) error { return s.TagHost(ctx, h.ID, iaas.Tags{"colour": "red"}) })
	s.Insist("attach", func(ctx context.Context) error { return s.AttachDisk(ctx, d.ID, h.ID) })
	diskIs(fleet.DiskInUse, 20*fleet.GiB)
	s.Insist("grow", func(ctx context.Context) error { return s.GrowDisk(ctx, d.ID, 30*fleet.GiB) })
	diskIs(fleet.DiskInUse, 30*fleet.GiB)
	s.snapshot(d.ID)
	require.Equal(s.T, "ran\n", s.Run(h.ID, "ran", "echo ran | tee -a ran"))
	require.Equal(s.T, "1\n", s.Run(h.ID, "count", "wc -l <ran"), "a command runs once")
	s.Insist("stop", func(ctx context.Context) error { return s.StopHost(ctx, h.ID) })
	hostIs(fleet.HostStopped)
	s.Insist("resize", func(ctx context.Context) error { return s.ResizeHost(ctx, h.ID, s.Goods.Larger) })
	s.Insist("start", func(ctx context.Context) error { return s.StartHost(ctx, h.ID) })
	hostIs(fleet.HostRunning)
	s.Insist("detach", func(ctx context.Context) error { return s.DetachDisk(ctx, d.ID) })
	diskIs(fleet.DiskAvailable, 30*fleet.GiB)
	s.Insist("delete", func(ctx context.Context) error { return s.DeleteDisk(ctx, d.ID) })
	s.Insist("terminate", func(ctx context.Context) error { return s.TerminateHost(ctx, h.ID) })
	hostIs(fleet.HostTerminated)
	hosts, disks := s.World.Bought()
	require.Equal(s.T, [2]int{1, 1}, [2]int{hosts, disks}, "one host and one disk were bought")
}

// snapshot takes a snapshot of a disk and ends it again.
func (s Stand) snapshot(disk string) {
	s.T.Helper()
	var taken fleet.DiskSnapshot
	s.Insist("snapshot", func(ctx context.Context) (err error) {
		taken, err = s.SnapshotDisk(ctx, iaas.SnapshotDiskRequest{Token: "snapshot", Name: "m1", DiskID: disk, Tags: iaas.Tags{fleet.TagCluster: "c"}})
		return err
	})
	s.Await("snapshot is completed", func(ctx context.Context) (bool, error) {
		now, err := s.DiskSnapshot(ctx, taken.ID)
		return now.State == fleet.DiskSnapshotCompleted, err
	})
	s.Insist("delete the snapshot", func(ctx context.Context) error { return s.DeleteDiskSnapshot(ctx, taken.ID) })
	require.Equal(s.T, 1, s.World.SnapshotsBought(), "one snapshot was taken")
}

// Run runs a script and gives what it printed.
func (s Stand) Run(host, token, script string) string {
	s.T.Helper()
	var c iaas.Command
	s.Insist("run", func(ctx context.Context) (err error) {
		c, err = s.RunCommand(ctx, iaas.CommandRequest{HostID: host, Token: token, Script: script, Timeout: time.Minute})
		return err
	})
	s.Await("command ends", func(ctx context.Context) (bool, error) {
		now, err := s.Command(ctx, host, c.ID)
		if err == nil {
			c = now
		}
		return c.State != iaas.CommandRunning, err
	})
	require.Equal(s.T, iaas.CommandSucceeded, c.State, "%+v", c)
	return c.Stdout
}

// Lacking gives what an examination found missing, by what it is.
func Lacking(checks []fleet.Check) map[string]fleet.Check {
	all := map[string]fleet.Check{}
	for _, c := range checks {
		if c.State == fleet.CheckMissing {
			all[c.What] = c
		}
	}
	return all
}
