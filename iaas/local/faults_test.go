package local

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Faults are told by one process and felt by all.
func TestFailHost(t *testing.T) {
	t.Parallel()
	teller := newProvider(t)
	p := opened(t, teller.root)
	h, d := attached(t, p, "one")
	c, err := p.RunCommand(t.Context(), command(h.ID, "sleep", "sleep 600"))
	require.NoError(t, err)

	require.NoError(t, teller.FailHost(t.Context(), h.ID))
	left, err := withMarker(p.marker(h.ID))
	require.NoError(t, err)
	require.Empty(t, left)
	got, err := p.Host(t.Context(), h.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.HostStopped, got.State)
	require.Equal(t, reasonFailed, got.Reason)
	_, err = p.RunCommand(t.Context(), command(h.ID, "other", "true"))
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(p.StartHost(t.Context(), h.ID)))
	require.Equal(t, iaas.CommandLost, awaitCommand(t, p, c).State)
	disk, err := p.Disk(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.DiskInUse, disk.State, "disks are whole")
	left, err = withMarker(p.marker(h.ID))
	require.NoError(t, err)
	require.Empty(t, left, "looking boots nothing while the fault lasts")

	require.NoError(t, teller.HealHost(t.Context(), h.ID))
	await(t, p, h.ID, fleet.HostRunning)

	require.NoError(t, teller.FailHost(t.Context(), h.ID))
	require.NoError(t, p.TerminateHost(t.Context(), h.ID), "a failed host can be given up")
	await(t, p, h.ID, fleet.HostTerminated)
	disk, err = p.Disk(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.DiskAvailable, disk.State)
}

// A silent host goes on; nobody hears of it.
func TestSilenceHost(t *testing.T) {
	t.Parallel()
	teller := newProvider(t)
	p := opened(t, teller.root)
	h := running(t, p, "one")
	before, err := p.RunCommand(t.Context(), command(h.ID, "before", "echo done; touch ended"))
	require.NoError(t, err)
	require.Equal(t, iaas.CommandSucceeded, awaitCommand(t, p, before).State)
	hand, err := p.RunCommand(t.Context(), command(h.ID, "in-hand", "while [ ! -e go-on ]; do sleep 0.02; done; touch ended-2"))
	require.NoError(t, err)

	require.NoError(t, teller.SilenceHost(t.Context(), h.ID))
	init, _ := p.initProcess(h.ID)
	_, err = p.RunCommand(t.Context(), command(h.ID, "other", "touch never"))
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	_, err = p.RunCommand(t.Context(), command(h.ID, "before", "echo done; touch ended"))
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	require.NoError(t, os.WriteFile(filepath.Join(p.hostFS(h.ID), "go-on"), nil, 0o600))
	eventually(t, "what is in hand goes on", func() bool { return exists(filepath.Join(p.hostFS(h.ID), "ended-2")) })
	c, err := p.Command(t.Context(), h.ID, hand.ID)
	require.NoError(t, err)
	require.Equal(t, iaas.CommandRunning, c.State, "nobody hears of it")
	_, err = p.Command(t.Context(), h.ID, idOf("c-", "absent"))
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
	now := await(t, p, h.ID, fleet.HostRunning)
	require.Equal(t, h.Address, now.Address)
	same, up := p.initProcess(h.ID)
	require.True(t, up)
	require.Equal(t, init, same)

	require.NoError(t, teller.HealHost(t.Context(), h.ID))
	require.Equal(t, iaas.CommandSucceeded, awaitCommand(t, p, hand).State)
	require.Equal(t, iaas.CommandSucceeded, ran(t, p, h.ID, "other", "true").State)
	require.NoFileExists(t, filepath.Join(p.hostFS(h.ID), "never"))
	require.Equal(t, fleet.NotFound, fleet.KindOf(p.SilenceHost(t.Context(), idOf("h-", "absent"))))
}

// A disk that is lost takes with it what uses it, and does not come back.
func TestFailDisk(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h, d := attached(t, p, "one")
	other, err := p.CreateDisk(t.Context(), createRequest("two"))
	require.NoError(t, err)
	c, err := p.RunCommand(t.Context(), command(h.ID, "write", "exec sleep 600 >disks/"+d.ID+"/wal"))
	require.NoError(t, err)
	stays, err := p.RunCommand(t.Context(), command(h.ID, "stay", "exec sleep 600"))
	require.NoError(t, err)
	eventually(t, "the disk is in use", func() bool { return exists(filepath.Join(p.diskData(d.ID), "wal")) })

	require.NoError(t, p.SetErrorRate(t.Context(), 1), "a cloud that answers nothing loses disks as well")
	require.NoError(t, p.FailDisk(t.Context(), d.ID))
	require.NoError(t, p.SetErrorRate(t.Context(), 0))
	if left, err := users(p.marker(h.ID), p.diskData(d.ID)); runtime.GOOS == "linux" {
		require.NoError(t, err)
		require.Empty(t, left)
		require.Equal(t, iaas.CommandFailed, awaitCommand(t, p, c).State)
	}
	stays, err = p.Command(t.Context(), h.ID, stays.ID)
	require.NoError(t, err)
	require.Equal(t, iaas.CommandRunning, stays.State, "what does not use it goes on")
	got, err := p.Disk(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.DiskDeleted, got.State)
	require.Empty(t, got.HostID)
	require.NoDirExists(t, p.diskDir(d.ID))
	require.NoFileExists(t, p.mount(h.ID, d.ID))
	require.NoFileExists(t, p.mount(h.ID, d.ID)+".size")
	disks, err := p.ListDisks(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, disks, 1)
	require.Equal(t, other.ID, disks[0].ID)
	require.Equal(t, fleet.NotFound, fleet.KindOf(p.AttachDisk(t.Context(), d.ID, h.ID)))
	require.Equal(t, fleet.NotFound, fleet.KindOf(p.GrowDisk(t.Context(), d.ID, fleet.TiB)))
	require.Equal(t, fleet.NotFound, fleet.KindOf(p.FailDisk(t.Context(), d.ID)))
	require.NoError(t, p.DeleteDisk(t.Context(), d.ID))
	again, err := p.CreateDisk(t.Context(), createRequest("one"))
	require.NoError(t, err)
	require.Equal(t, fleet.DiskDeleted, again.State, "its token does not buy another")
	await(t, p, h.ID, fleet.HostRunning)
}

// A disk whose loss was recorded by a process that died, is lost by the next look.
func TestFailDiskHalfDone(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h, d := attached(t, p, "one")
	r, err := p.readDisk(d.ID)
	require.NoError(t, err)
	r.State = fleet.DiskDeleting
	require.NoError(t, p.writeDisk(r))
	require.NoError(t, p.TerminateHost(t.Context(), h.ID))
	await(t, p, h.ID, fleet.HostTerminated)
	got, err := p.Disk(t.Context(), d.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.DiskDeleted, got.State)
	require.Empty(t, got.HostID)
}

func TestFailZone(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h, d := attached(t, p, "one")
	req := launchRequest("other-zone")
	req.Zone = "b"
	other, err := p.LaunchHost(t.Context(), req)
	require.NoError(t, err)
	await(t, p, other.ID, fleet.HostRunning)

	require.NoError(t, p.FailZone(t.Context(), "a"))
	got, err := p.Host(t.Context(), h.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.HostStopped, got.State)
	await(t, p, other.ID, fleet.HostRunning)
	_, err = p.LaunchHost(t.Context(), launchRequest("two"))
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	_, err = p.CreateDisk(t.Context(), createRequest("two"))
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(p.GrowDisk(t.Context(), d.ID, fleet.TiB)))
	again, err := p.LaunchHost(t.Context(), launchRequest("one"))
	require.NoError(t, err, "what was bought before is still known")
	require.Equal(t, h.ID, again.ID)
	ok, err := p.Available(t.Context(), "a", "small")
	require.NoError(t, err)
	require.False(t, ok)

	require.NoError(t, p.HealZone(t.Context(), "a"))
	await(t, p, h.ID, fleet.HostRunning)
	require.Equal(t, fleet.Invalid, fleet.KindOf(p.FailZone(t.Context(), "nowhere")))
}

// A fault recorded by a process that died before it killed anything is carried
// out by the next look.
func TestFaultHalfDone(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h := running(t, p, "one")
	require.NoError(t, p.changeFaults(t.Context(), func(f *Faults) { f.Hosts = []string{h.ID} }))
	await(t, p, h.ID, fleet.HostStopped)
	left, err := withMarker(p.marker(h.ID))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoError(t, p.ClearFaults(t.Context()))
	await(t, p, h.ID, fleet.HostRunning)
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	running(t, p, "one")
	require.NoError(t, p.SetCapacity(t.Context(), "a", "small", 1))
	_, err := p.LaunchHost(t.Context(), launchRequest("two"))
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(err), "%v", err)
	ok, err := p.Available(t.Context(), "a", "small")
	require.NoError(t, err)
	require.False(t, ok)

	req := launchRequest("two")
	req.Type = "medium"
	h, err := p.LaunchHost(t.Context(), req)
	require.NoError(t, err, "another type is left")
	await(t, p, h.ID, fleet.HostRunning)
	require.NoError(t, p.StopHost(t.Context(), h.ID))
	await(t, p, h.ID, fleet.HostStopped)
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(p.ResizeHost(t.Context(), h.ID, "small")))

	require.NoError(t, p.SetCapacity(t.Context(), "a", "small", -1))
	require.NoError(t, p.SetCapacity(t.Context(), "a", AnyType, 2))
	_, err = p.LaunchHost(t.Context(), launchRequest("three"))
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(err), "%v", err)
	require.NoError(t, p.ResizeHost(t.Context(), h.ID, "small"), "resizing takes no second place")

	f, err := p.ListFaults(t.Context())
	require.NoError(t, err)
	require.Equal(t, Faults{Capacity: []CapacityLimit{{Zone: "a", Type: AnyType, Hosts: 2}}}, f)
	require.NoError(t, p.ClearFaults(t.Context()))
	running(t, p, "three")
}

func TestFaultsOfCalls(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	t.Run("throttled", func(t *testing.T) {
		require.NoError(t, p.SetThrottle(t.Context(), 2))
		throttled := 0
		for range 10 {
			if _, err := p.Zones(t.Context()); err != nil {
				require.Equal(t, fleet.Throttled, fleet.KindOf(err))
				var e *fleet.Error
				require.ErrorAs(t, err, &e)
				require.Positive(t, e.RetryAfter)
				throttled++
			}
		}
		require.Equal(t, 5, throttled)
		require.NoError(t, p.SetThrottle(t.Context(), 0))
	})
	t.Run("failing", func(t *testing.T) {
		require.NoError(t, p.SetErrorRate(t.Context(), 1))
		_, err := p.LaunchHost(t.Context(), launchRequest("one"))
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
		require.NoError(t, p.SetErrorRate(t.Context(), 0))
		hosts, err := p.ListHosts(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, hosts)
		require.Error(t, p.SetErrorRate(t.Context(), 1.5))
	})
	t.Run("slow", func(t *testing.T) {
		require.NoError(t, p.SetLatency(t.Context(), time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := p.Zones(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, p.SetLatency(t.Context(), 0))
		_, err = p.Zones(t.Context())
		require.NoError(t, err)
	})
}
