package local

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// attached gives a running host with a disk.
func attached(t *testing.T, p *Provider, member string) (fleet.Host, fleet.Disk) {
	t.Helper()
	h := running(t, p, member)
	d, err := p.CreateDisk(t.Context(), createRequest(member))
	require.NoError(t, err)
	require.NoError(t, p.AttachDisk(t.Context(), d.ID, h.ID))
	return h, d
}

func TestDiskKeepsItsData(t *testing.T) {
	p := newProvider(t)
	one, d := attached(t, p, "one")
	two := running(t, p, "two")
	mount := p.mount(one.ID, d.ID)
	require.NoError(t, os.WriteFile(filepath.Join(mount, "wal"), []byte("votes"), 0o600))
	size, err := os.ReadFile(mount + ".size")
	require.NoError(t, err)
	require.Equal(t, "1073741824", string(size))
	require.NoError(t, p.GrowDisk(t.Context(), d.ID, 2*fleet.GiB))
	size, err = os.ReadFile(mount + ".size")
	require.NoError(t, err)
	require.Equal(t, "2147483648", string(size))

	require.NoError(t, p.TerminateHost(t.Context(), one.ID))
	await(t, p, one.ID, fleet.HostTerminated)
	require.NoError(t, p.AttachDisk(t.Context(), d.ID, two.ID))
	data, err := os.ReadFile(filepath.Join(p.mount(two.ID, d.ID), "wal"))
	require.NoError(t, err)
	require.Equal(t, "votes", string(data))

	require.NoError(t, p.DetachDisk(t.Context(), d.ID))
	require.NoFileExists(t, p.mount(two.ID, d.ID))
	require.NoFileExists(t, p.mount(two.ID, d.ID)+".size")
	require.NoError(t, p.DeleteDisk(t.Context(), d.ID))
	require.NoDirExists(t, p.diskDir(d.ID))
}

// A disk does not leave a host while something there has a file on it open: two
// hosts would write to one disk.
func TestBusyDiskStays(t *testing.T) {
	p := newProvider(t)
	h, d := attached(t, p, "one")
	script := "exec 9>$FLOTILLA_NODE_ROOT/disks/" + d.ID + "/wal; touch open; while ! [ -e close ]; do sleep 0.02; done"
	c, err := p.RunCommand(t.Context(), command(h.ID, "busy", script))
	require.NoError(t, err)
	eventually(t, "the file is open", func() bool { return exists(filepath.Join(p.hostFS(h.ID), "open")) })

	require.NoError(t, p.DetachDisk(t.Context(), d.ID))
	got, err := p.Disk(t.Context(), d.ID)
	require.NoError(t, err)
	if busy, _ := users(p.marker(h.ID), p.diskData(d.ID)); len(busy) == 0 {
		t.Skip("this system does not tell whether a disk is busy")
	}
	require.Equal(t, fleet.DiskDetaching, got.State)
	require.Equal(t, h.ID, got.HostID)
	two := running(t, p, "two")
	require.Equal(t, fleet.Conflict, fleet.KindOf(p.AttachDisk(t.Context(), d.ID, two.ID)))

	require.NoError(t, os.WriteFile(filepath.Join(p.hostFS(h.ID), "close"), nil, 0o600))
	awaitCommand(t, p, c)
	eventually(t, "the disk is free", func() bool {
		got, err := p.Disk(t.Context(), d.ID)
		require.NoError(t, err)
		return got.State == fleet.DiskAvailable
	})
}

// Each transition that was told and not done is done by the next look.
func TestDiskTransitionsAreRepaired(t *testing.T) {
	p := newProvider(t)
	h, d := attached(t, p, "one")
	mount := p.mount(h.ID, d.ID)
	for _, c := range []struct {
		name  string
		spoil func(r *diskRecord)
		want  fleet.DiskState
	}{
		{"attached without a link", func(*diskRecord) { require.NoError(t, os.Remove(mount)) }, fleet.DiskInUse},
		{"attached with another size", func(r *diskRecord) { r.Size = 3 * fleet.GiB }, fleet.DiskInUse},
		{"detaching", func(r *diskRecord) { r.State = fleet.DiskDetaching }, fleet.DiskAvailable},
		{"attaching", func(r *diskRecord) { r.State, r.HostID = fleet.DiskAttaching, h.ID }, fleet.DiskInUse},
		{"detaching without a link", func(r *diskRecord) {
			require.NoError(t, os.Remove(mount))
			r.State = fleet.DiskDetaching
		}, fleet.DiskAvailable},
		{"creating", func(r *diskRecord) { r.State = fleet.DiskCreating }, fleet.DiskAvailable},
		{"deleting", func(r *diskRecord) { r.State = fleet.DiskDeleting }, fleet.DiskDeleted},
	} {
		r, err := p.readDisk(d.ID)
		require.NoError(t, err, c.name)
		c.spoil(&r)
		require.NoError(t, p.writeDisk(r), c.name)
		got, err := p.Disk(t.Context(), d.ID)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, got.State, c.name)
		if c.want == fleet.DiskInUse {
			target, err := os.Readlink(mount)
			require.NoError(t, err, c.name)
			require.Equal(t, p.diskData(d.ID), target, c.name)
			size, err := os.ReadFile(mount + ".size")
			require.NoError(t, err, c.name)
			require.Equal(t, sizeText(r.Size), string(size), c.name)
		} else {
			require.NoFileExists(t, mount, c.name)
		}
	}
}

// A disk whose data is gone is said to be, and does not come back empty.
func TestLostDataIsNotReplaced(t *testing.T) {
	p := newProvider(t)
	h, d := attached(t, p, "one")
	require.NoError(t, p.DetachDisk(t.Context(), d.ID))
	require.NoError(t, os.RemoveAll(p.diskData(d.ID)))
	err := p.AttachDisk(t.Context(), d.ID, h.ID)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	require.ErrorContains(t, err, d.ID)
}
