package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// newDisk makes a host whose only block device is a loop device over an image, which the
// kernel would call by the serial number of this volume. Programs are real ones.
func newDisk(t *testing.T, n *Node, volume string) (image, device string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a loop device needs root")
	}
	for _, program := range []string{"mkfs.ext4", "blkid", "losetup", "mount", "umount"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(program + " is not on this machine")
		}
	}
	image = filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, int64(64*fleet.MiB)))
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("this machine gives no loop device: %s", out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() { ran(t, "losetup", "--detach", device) })
	if _, err := os.Lstat(n.path("dev")); err != nil {
		require.NoError(t, os.Symlink("/dev", n.path("dev")))
		require.NoError(t, os.Symlink("/proc", n.path("proc")))
	}
	at := n.blockDevice(filepath.Base(device), "device")
	require.NoError(t, os.MkdirAll(at, 0o755))
	serial := strings.ReplaceAll(volume, "-", "")
	require.NoError(t, os.WriteFile(filepath.Join(at, "serial"), []byte(serial+"  \n"), 0o644))
	t.Cleanup(func() { _ = exec.Command("umount", n.disk(volume)).Run() })
	return image, device
}

const volume = "vol-0123456789abcdef0"

func prepare(t *testing.T, n *Node) error {
	t.Helper()
	_, err := n.Prepare(t.Context(), PrepareRequest{Cluster: "orders", UID: "u1", Member: "orders-1", DiskID: volume})
	return err
}

// An empty disk gets a file system once; after that it is mounted as it is, on this host
// and on the next one.
func TestDiskIsFormattedOnce(t *testing.T) {
	n := testNode(t)
	_, device := newDisk(t, n, volume)
	if err := prepare(t, n); err != nil && strings.Contains(err.Error(), "mount failed") {
		t.Skipf("this machine does not mount it: %v", err)
	} else {
		require.NoError(t, err)
	}
	m, err := n.mountOf(volume)
	require.NoError(t, err)
	require.Equal(t, device, m.source)
	require.NoFileExists(t, n.path("var/lib/flotilla/formatting", volume))
	require.NoError(t, prepare(t, n), "again")
	owner := filepath.Join(n.disk(volume), "orders-1", "owner.json")
	require.FileExists(t, owner)
	table, err := os.ReadFile(n.path("etc/fstab"))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(table), n.disk(volume)+" ext4 noatime,nofail 0 2\n"), "%s", table)

	// Away: nothing may be written where it belongs.
	ran(t, "umount", n.disk(volume))
	require.NoError(t, os.RemoveAll(n.path("sys")))
	err = prepare(t, n)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
	require.NoFileExists(t, owner)

	// At another host: what is on it stays.
	next := testNode(t)
	require.NoError(t, os.Symlink("/dev", next.path("dev")))
	require.NoError(t, os.Symlink("/proc", next.path("proc")))
	at := next.blockDevice(filepath.Base(device), "device")
	require.NoError(t, os.MkdirAll(at, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(at, "serial"), []byte("vol0123456789abcdef0\n"), 0o644))
	t.Cleanup(func() { _ = exec.Command("umount", next.disk(volume)).Run() })
	_, err = next.Prepare(t.Context(), PrepareRequest{Cluster: "orders", UID: "u2", Member: "orders-1", DiskID: volume})
	require.Equal(t, fleet.Blocked, fleet.KindOf(err), "the data of another incarnation is found, not formatted: %v", err)
	require.FileExists(t, filepath.Join(next.disk(volume), "orders-1", "owner.json"))
}

// What is not empty is left alone: a file system of another kind, a partition table, and
// bytes that nobody knows, at either end.
func TestDiskWithSomethingOnIt(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, device string){
		"swap": func(t *testing.T, device string) { ran(t, "mkswap", "-q", device) },
		"partition table": func(t *testing.T, device string) {
			entry := "\x00\x00\x02\x00\x83\xff\xff\xff\x00\x08\x00\x00\x00\x08\x00\x00" // of the kind that DOS had
			put(t, device, 446, entry)
			put(t, device, 510, "\x55\xaa")
		},
		"beginning": func(t *testing.T, device string) { put(t, device, 123, "data") },
		"end":       func(t *testing.T, device string) { put(t, device, int64(64*fleet.MiB)-7, "data") },
	} {
		t.Run(name, func(t *testing.T) {
			n := testNode(t)
			image, device := newDisk(t, n, volume)
			put(t, device)
			ran(t, "sync")
			before, err := os.ReadFile(image)
			require.NoError(t, err)
			err = prepare(t, n)
			require.Equal(t, fleet.Blocked, fleet.KindOf(err), "%v", err)
			after, err := os.ReadFile(image)
			require.NoError(t, err)
			require.Equal(t, before, after, "not one byte is changed")
			require.NoDirExists(t, n.disk(volume))
		})
	}
}

func put(t *testing.T, device string, at int64, text string) {
	t.Helper()
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(text), at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// A format that was killed half way is done again; nothing else may be on the disk then.
func TestFormatIsDoneAgain(t *testing.T) {
	n := testNode(t)
	_, device := newDisk(t, n, volume)
	put(t, device, 4096, "data") // as mkfs leaves it before it writes the superblock
	note := n.path("var/lib/flotilla/formatting", volume)
	require.NoError(t, os.MkdirAll(filepath.Dir(note), 0o755))
	require.NoError(t, os.WriteFile(note, nil, 0o644))
	if err := prepare(t, n); err != nil && strings.Contains(err.Error(), "mount failed") {
		t.Skipf("this machine does not mount it: %v", err)
	} else {
		require.NoError(t, err)
	}
	require.NoFileExists(t, note)
	require.FileExists(t, filepath.Join(n.disk(volume), "orders-1", "owner.json"))
}
