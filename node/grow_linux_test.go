package node

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// TestGrowRealFileSystems grows file systems on loop devices that grew, while they
// are mounted and in use.
func TestGrowRealFileSystems(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a loop device needs root")
	}
	for kind, programs := range map[string][]string{
		"ext4":  {"mkfs.ext4", "resize2fs"},
		"xfs":   {"mkfs.xfs", "xfs_growfs"},
		"btrfs": {"mkfs.btrfs", "btrfs"},
	} {
		t.Run(kind, func(t *testing.T) {
			for _, program := range append(programs, "losetup", "mount", "umount") {
				if _, err := exec.LookPath(program); err != nil {
					t.Skip(program + " is not on this machine")
				}
			}
			if kind == "ext4" && !mayUseResources(t) {
				t.Skip("growing ext4 while it is mounted needs CAP_SYS_RESOURCE, which this process does not have")
			}
			testGrowReal(t, programs[0])
		})
	}
}

func testGrowReal(t *testing.T, mkfs string) {
	const small, large = 512 * fleet.MiB, 1024 * fleet.MiB
	n := testNode(t)
	// What this host's kernel says is the machine's word.
	for _, dir := range []string{"proc", "sys", "dev"} {
		require.NoError(t, os.Symlink("/"+dir, n.path(dir)))
	}
	image := filepath.Join(t.TempDir(), "image")
	require.NoError(t, os.WriteFile(image, nil, 0o600))
	require.NoError(t, os.Truncate(image, int64(small)))
	out, err := exec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("this machine gives no loop device: %s", out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { ran(t, "losetup", "--detach", device) })
	ran(t, mkfs, "-q", device)
	disk := n.disk("disk-1")
	require.NoError(t, os.MkdirAll(disk, 0o755))
	if out, err := exec.Command("mount", device, disk).CombinedOutput(); err != nil {
		t.Skipf("this machine does not mount it: %s", out)
	}
	t.Cleanup(func() { ran(t, "umount", disk) })

	m := member{Owner: Owner{Cluster: "orders", UID: "u1", Member: "orders-1"}, DiskID: "disk-1"}
	require.NoError(t, os.MkdirAll(n.memberDir(m.Member), 0o755))
	require.NoError(t, n.writeMember(m))
	open, err := os.Create(filepath.Join(disk, "log"))
	require.NoError(t, err)
	defer open.Close()
	grow := func() (*fleet.MemberReport, error) {
		return n.Grow(t.Context(), GrowRequest{Member: "orders-1", Size: large})
	}
	_, err = grow()
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "the disk has not grown: %v", err)

	require.NoError(t, os.Truncate(image, int64(large)))
	ran(t, "losetup", "--set-capacity", device)
	for range 2 {
		r, err := grow()
		require.NoError(t, err)
		require.Greater(t, r.DiskSize, large-large/8)
		require.LessOrEqual(t, r.DiskSize, large)
	}
	_, err = open.WriteString("it was in use all the time")
	require.NoError(t, err)
}

// mayUseResources says whether this process has CAP_SYS_RESOURCE.
func mayUseResources(t *testing.T) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	require.NoError(t, unix.Capget(&header, &data[0]))
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

func ran(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	require.NoError(t, err, "%s %s: %s", program, strings.Join(args, " "), out)
}
