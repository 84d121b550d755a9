package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// hostWithMount is a node of a host whose kernel says that a disk is mounted, and
// whose programs only note how they are called.
type hostWithMount struct {
	*Node
	t     *testing.T
	calls string // the file that they note it in
}

func newHostWithMount(t *testing.T) *hostWithMount {
	t.Helper()
	h := &hostWithMount{Node: testNode(t), t: t, calls: filepath.Join(t.TempDir(), "calls")}
	m := member{Owner: Owner{Cluster: "orders", UID: "u1", Member: "orders-1"}, DiskID: "disk-1"}
	require.NoError(t, os.MkdirAll(h.memberDir(m.Member), 0o755))
	require.NoError(t, h.writeMember(m))
	require.NoError(t, os.MkdirAll(h.disk("disk-1"), 0o755))
	programs := t.TempDir()
	for _, name := range []string{"resize2fs", "xfs_growfs", "btrfs"} {
		script := fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >>%s\n", name, h.calls)
		require.NoError(t, os.WriteFile(filepath.Join(programs, name), []byte(script), 0o755))
	}
	t.Setenv("PATH", programs)
	return h
}

// mounts says what is mounted where the disk is.
func (h *hostWithMount) mounts(kind, source string) {
	h.t.Helper()
	at, err := filepath.EvalSymlinks(h.disk("disk-1"))
	require.NoError(h.t, err)
	h.write("proc/self/mountinfo", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"+
		"40 27 254:0 /var/data "+at+" rw - ext4 /dev/vda rw\n"+ // a bind mount, which another one hides
		"41 27 254:16 / "+at+" rw,relatime shared:1 - "+kind+" "+source+" rw,discard\n")
}

// device makes a block device of this many GiB.
func (h *hostWithMount) device(name string, size fleet.Bytes) {
	h.t.Helper()
	h.write("dev/"+name, "")
	h.write("sys/class/block/"+name+"/size", fmt.Sprintln(int64(size/512)))
}

func (h *hostWithMount) write(path, text string) {
	h.t.Helper()
	require.NoError(h.t, os.MkdirAll(filepath.Dir(h.path(path)), 0o755))
	require.NoError(h.t, os.WriteFile(h.path(path), []byte(text), 0o644))
}

func (h *hostWithMount) called() string {
	text, _ := os.ReadFile(h.calls)
	_ = os.Remove(h.calls)
	return strings.TrimSpace(string(text))
}

// huge is more than the file system that tests run on has.
const huge = 1 << 20 * fleet.GiB

func TestGrowCallsWhatTheFileSystemNeeds(t *testing.T) {
	h := newHostWithMount(t)
	h.device("nvme1n1", huge)
	require.NoError(t, os.MkdirAll(h.path("dev/disk/by-id"), 0o755))
	require.NoError(t, os.Symlink("../../nvme1n1", h.path("dev/disk/by-id/volume 7")))
	at, err := filepath.EvalSymlinks(h.disk("disk-1"))
	require.NoError(t, err)
	for _, c := range []struct{ kind, source, want string }{
		{"ext4", "/dev/nvme1n1", "resize2fs /dev/nvme1n1"},
		{"ext4", `/dev/disk/by-id/volume\0407`, "resize2fs /dev/disk/by-id/volume 7"},
		{"xfs", "/dev/nvme1n1", "xfs_growfs " + at},
		{"btrfs", "/dev/nvme1n1", "btrfs filesystem resize max " + at},
	} {
		h.mounts(c.kind, c.source)
		r, err := h.Grow(t.Context(), GrowRequest{Member: "orders-1", Size: huge})
		require.NoError(t, err, c.want)
		require.Equal(t, "orders-1", r.Name)
		require.Positive(t, r.DiskSize)
		require.Equal(t, c.want, h.called())
	}
	_, err = h.Grow(t.Context(), GrowRequest{Member: "orders-1", Size: fleet.MiB})
	require.NoError(t, err)
	require.Empty(t, h.called(), "it is large enough")

	h.write("sys/class/block/nvme1n1/device/rescan", "")
	_, err = h.Grow(t.Context(), GrowRequest{Member: "orders-1", Size: 2 * huge})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "disk disk-1: it has 1024 TiB on this host, not 2048 TiB yet")
	text, err := os.ReadFile(h.path("sys/class/block/nvme1n1/device/rescan"))
	require.NoError(t, err)
	require.Equal(t, "1\n", string(text))
	require.Empty(t, h.called())
}

func TestGrowRefuses(t *testing.T) {
	h := newHostWithMount(t)
	h.device("vdb", huge)
	grow := func() error {
		_, err := h.Grow(t.Context(), GrowRequest{Member: "orders-1", Size: huge})
		require.Empty(t, h.called())
		return err
	}
	refused := func(words string) {
		t.Helper()
		err := grow()
		require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
		require.ErrorContains(t, err, words)
	}
	h.write("proc/self/mountinfo", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n")
	refused("is not a file system of its own")
	h.mounts("tmpfs", "tmpfs")
	refused(`"tmpfs", is not a block device`)
	h.mounts("zfs", "/dev/vdb")
	refused("its file system is zfs; ext4, xfs and btrfs can be grown")
	h.mounts("ext4", "/dev/vdb")
	h.write("sys/class/block/vdb/partition", "1\n")
	refused("/dev/vdb is a partition")
	require.NoError(t, os.Remove(h.path("sys/class/block/vdb/partition")))
	h.write("sys/class/block/vdb/dm/name", "data\n")
	refused("a volume of the device mapper")
	require.NoError(t, os.RemoveAll(h.path("sys/class/block/vdb/dm")))

	programs := os.Getenv("PATH")
	require.NoError(t, os.WriteFile(filepath.Join(programs, "resize2fs"), []byte("#!/bin/sh\necho resize2fs 1.47; echo Bad magic >&2; exit 1\n"), 0o755))
	refused("resize2fs failed: Bad magic: exit status 1")
	require.NoError(t, os.Remove(filepath.Join(programs, "resize2fs")))
	refused("resize2fs is not on this host")

	_, err := h.Grow(t.Context(), GrowRequest{Member: "orders-2", Size: huge})
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
	require.NoError(t, os.Remove(h.disk("disk-1")))
	require.Equal(t, fleet.NotFound, fleet.KindOf(grow()))
}

// A disk whose size is said in a file has no file system of its own to grow.
func TestGrowOfADirectory(t *testing.T) {
	h := newHostWithMount(t)
	require.NoError(t, os.WriteFile(h.disk("disk-1")+".size", fmt.Append(nil, int64(2*fleet.GiB)), 0o644))
	r, err := h.Grow(t.Context(), GrowRequest{Member: "orders-1", Size: 2 * fleet.GiB})
	require.NoError(t, err)
	require.Equal(t, 2*fleet.GiB, r.DiskSize)
	_, err = h.Grow(t.Context(), GrowRequest{Member: "orders-1", Size: 3 * fleet.GiB})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
	require.ErrorContains(t, err, "it has 2 GiB on this host, not 3 GiB yet")
}
