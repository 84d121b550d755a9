package activities

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// bought launches a host for a member and gives its disk to it.
func bought(ctx context.Context, t *testing.T, c *Compute, member string) (fleet.Host, fleet.Disk) {
	t.Helper()
	request := fleet.StepRequest{Operation: operation(), Step: fleet.Step{Kind: fleet.LaunchHost, Member: member, Zone: "a", Token: member + "-host"}}
	_, err := c.LaunchHost(ctx, request)
	require.NoError(t, err)
	hosts, err := c.Provider.ListHosts(ctx, iaas.Tags{fleet.TagMember: member})
	require.NoError(t, err)
	require.Len(t, hosts, 1)
	request.Step = fleet.Step{Kind: fleet.AttachDisk, Member: member, Zone: "a", HostID: hosts[0].ID, Token: member + "-disk"}
	_, err = c.AttachDisk(ctx, request)
	require.NoError(t, err)
	disks, err := c.Provider.ListDisks(ctx, iaas.Tags{fleet.TagMember: member})
	require.NoError(t, err)
	require.Len(t, disks, 1)
	return hosts[0], disks[0]
}

// Each step is done twice, as after the death of a worker.
func TestHostIsStoppedResizedAndStarted(t *testing.T) {
	c := &Compute{hosted(t)}
	_, err := as(t, func(ctx context.Context) error {
		host, _ := bought(ctx, t, c, "orders-1")
		for _, step := range []struct {
			run       func(context.Context, fleet.StepRequest) (fleet.StepReply, error)
			state     fleet.HostState
			hostType  string
			firstSays string
		}{
			{c.StopHost, fleet.HostStopped, "small", host.ID},
			{c.ResizeHost, fleet.HostStopped, "large", "a large instead of a small"},
			{c.StartHost, fleet.HostRunning, "large", host.ID + " at " + host.Address},
		} {
			for try := range 2 {
				reply, err := step.run(ctx, fleet.StepRequest{Operation: operation(), Step: fleet.Step{Member: "orders-1", HostID: host.ID, Type: "large"}})
				require.NoError(t, err)
				if try == 0 {
					require.Equal(t, step.firstSays, reply.Note)
				}
				now, err := c.Provider.Host(ctx, host.ID)
				require.NoError(t, err)
				require.Equal(t, step.state, now.State)
				require.Equal(t, step.hostType, now.Type)
			}
		}
		return nil
	})
	require.NoError(t, err)
}

func TestHostThatEndedIsLost(t *testing.T) {
	c := &Compute{hosted(t)}
	_, err := as(t, func(ctx context.Context) error {
		host, disk := bought(ctx, t, c, "orders-1")
		request := fleet.StepRequest{Operation: operation(), Step: fleet.Step{
			Member: "orders-1", HostID: host.ID, DiskID: disk.ID, Type: "large", Endpoint: &fleet.Endpoint{},
		}}
		_, err := c.ReleaseHost(ctx, request)
		require.NoError(t, err)
		hosts := &Hosts{c.Region}
		for _, run := range []func(context.Context, fleet.StepRequest) (fleet.StepReply, error){
			c.StopHost, c.ResizeHost, c.StartHost, c.AttachDisk, c.GrowDisk, hosts.PrepareHost, hosts.StartMember,
		} {
			request.Step.Size = disk.Size
			_, err := run(ctx, request)
			require.ErrorContains(t, err, host.ID)
			require.Contains(t, kindAndFinality(t, err), "lost, final")
		}
		return nil
	})
	require.NoError(t, err)
}

// A disk becomes of another category, and larger, where it is; one that is so stays.
func TestDiskBecomesAnotherCategory(t *testing.T) {
	c := &Compute{hosted(t)}
	_, err := as(t, func(ctx context.Context) error {
		host, disk := bought(ctx, t, c, "orders-1")
		retype := fleet.StepRequest{Operation: operation(), Step: fleet.Step{
			Member: "orders-1", HostID: host.ID, DiskID: disk.ID, Category: "hdd", Size: disk.Size + 10*fleet.GiB,
		}}
		for _, note := range []string{"hdd instead of ssd", "is hdd"} {
			reply, err := c.RetypeDisk(ctx, retype)
			require.NoError(t, err)
			require.Equal(t, note, reply.Note)
		}
		now, err := c.Provider.Disk(ctx, disk.ID)
		require.NoError(t, err)
		require.Equal(t, []any{"hdd", disk.Size + 10*fleet.GiB, host.ID, []string{"ssd"}}, []any{now.Category, now.Size, now.HostID, now.Retypes})

		retype.Step.Category = "tape"
		_, err = c.RetypeDisk(ctx, retype)
		require.Contains(t, kindAndFinality(t, err), "invalid, final")
		retype.Step.DiskID = "d-none"
		_, err = c.RetypeDisk(ctx, retype)
		require.Contains(t, kindAndFinality(t, err), "lost, final")
		return nil
	})
	require.NoError(t, err)
}

// A disk that outlives its host goes to the next one, with what is on it.
func TestDiskMovesToAnotherHost(t *testing.T) {
	c := &Compute{hosted(t)}
	_, err := as(t, func(ctx context.Context) error {
		first, disk := bought(ctx, t, c, "orders-1")
		second, _ := bought(ctx, t, c, "orders-2")
		move := fleet.StepRequest{Operation: operation(), Step: fleet.Step{Member: "orders-1", HostID: second.ID, DiskID: disk.ID, Token: "move"}}
		_, err := c.AttachDisk(ctx, move)
		require.Contains(t, kindAndFinality(t, err), "blocked, final", "it is not taken from a host that runs")
		require.NoError(t, c.Provider.TerminateHost(ctx, first.ID))
		for range 2 {
			reply, err := c.AttachDisk(ctx, move)
			require.NoError(t, err)
			require.Equal(t, disk.ID+", 20 GiB ssd", reply.Note)
		}
		now, err := c.Provider.Disk(ctx, disk.ID)
		require.NoError(t, err)
		require.Equal(t, second.ID, now.HostID)
		return nil
	})
	require.NoError(t, err)
}
