package local

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

func snapshotRequest(diskID string) iaas.SnapshotDiskRequest {
	return iaas.SnapshotDiskRequest{Token: "op/one/snapshot", Name: "one", DiskID: diskID}
}

// A copy of a disk in use is of one moment: of two files that are written in turn, neither
// is ahead of the other. What writes there goes on afterwards.
func TestSnapshotIsOfOneMoment(t *testing.T) {
	p := newProvider(t)
	h, d := attached(t, p, "one")
	mount := p.mount(h.ID, d.ID)
	for i := range 400 { // that take a while to copy, between a and z
		require.NoError(t, os.WriteFile(filepath.Join(mount, "m"+strconv.Itoa(i)), make([]byte, 64<<10), 0o600))
	}
	require.NoError(t, os.Symlink("a", filepath.Join(mount, "link")))
	script := "cd $FLOTILLA_NODE_ROOT/disks/" + d.ID + "; n=0; while ! [ -e stop ]; do n=$((n+1)); echo $n >>z; echo $n >>a; done"
	c, err := p.RunCommand(t.Context(), command(h.ID, "writer", script))
	require.NoError(t, err)
	lines := func(path string) int {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.Count(string(data), "\n")
	}
	written := func(more int) {
		t.Helper()
		eventually(t, "the writer goes on", func() bool { return exists(filepath.Join(mount, "a")) && lines(filepath.Join(mount, "a")) > more })
	}
	written(10)
	s, err := p.SnapshotDisk(t.Context(), snapshotRequest(d.ID))
	require.NoError(t, err)
	require.Equal(t, fleet.DiskSnapshotCompleted, s.State)
	a, z := lines(filepath.Join(p.snapshotData(s.ID), "a")), lines(filepath.Join(p.snapshotData(s.ID), "z"))
	require.Greater(t, a, 10)
	require.Contains(t, []int{a, a + 1}, z, "z is written just before a")
	require.NoFileExists(t, p.pausedPath(h.ID))
	written(a + 10)
	require.Equal(t, a, lines(filepath.Join(p.snapshotData(s.ID), "a")), "the copy stays as it was")

	two := running(t, p, "two")
	req := createRequest("two")
	req.SnapshotID = s.ID
	made, err := p.CreateDisk(t.Context(), req)
	require.NoError(t, err)
	require.NoError(t, p.AttachDisk(t.Context(), made.ID, two.ID))
	require.Equal(t, a, lines(filepath.Join(p.mount(two.ID, made.ID), "link")))
	require.NoError(t, os.WriteFile(filepath.Join(mount, "stop"), nil, 0o600))
	awaitCommand(t, p, c)
	require.NoError(t, p.DeleteDiskSnapshot(t.Context(), s.ID))
	require.NoDirExists(t, p.snapshotDir(s.ID))
}

// Whoever pauses a host may die: the next look resumes it, and the token copies anew.
func TestSnapshotIsCutShort(t *testing.T) {
	p := newProvider(t)
	h, d := attached(t, p, "one")
	require.NoError(t, os.WriteFile(filepath.Join(p.mount(h.ID, d.ID), "wal"), []byte("votes"), 0o600))
	c, err := p.RunCommand(t.Context(), command(h.ID, "late", "while ! [ -e go ]; do sleep 0.02; done"))
	require.NoError(t, err)
	require.NoError(t, p.pause(t.Context(), h.ID))
	require.NoError(t, os.WriteFile(filepath.Join(p.hostFS(h.ID), "go"), nil, 0o600))

	req := snapshotRequest(d.ID)
	half := snapshotRecord{
		Format: recordFormat, Request: req,
		DiskSnapshot: fleet.DiskSnapshot{ID: p.SnapshotID(req.Token), DiskID: d.ID, Size: d.Size, State: fleet.DiskSnapshotPending},
	}
	require.NoError(t, p.writeSnapshot(half))
	require.NoError(t, os.MkdirAll(p.snapshotData(half.ID)+".part", 0o700))

	await(t, p, h.ID, fleet.HostRunning)
	require.Equal(t, iaas.CommandSucceeded, awaitCommand(t, p, c).State)
	require.NoFileExists(t, p.pausedPath(h.ID))
	s, err := p.SnapshotDisk(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, [2]any{half.ID, fleet.DiskSnapshotCompleted}, [2]any{s.ID, s.State})
	data, err := os.ReadFile(filepath.Join(p.snapshotData(s.ID), "wal"))
	require.NoError(t, err)
	require.Equal(t, "votes", string(data))
	require.EqualValues(t, len("votes"), s.Written)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req.Token += "/2"
	_, err = p.SnapshotDisk(ctx, req)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
}
