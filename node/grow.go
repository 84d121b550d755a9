package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Grow makes the file system on a member's disk use the whole disk; the member goes
// on running. One that is large enough is left alone. Errors: fleet.NotFound when the
// member or its disk is not there; fleet.Unavailable when the disk does not have the
// size on this host yet; fleet.Denied when this host cannot grow it: it is not the
// only file system of a disk of its own, or of a kind that is not known, or the
// program for it is missing or fails.
func (n *Node) Grow(ctx context.Context, req GrowRequest) (*fleet.MemberReport, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	m, err := n.member(req.Member)
	if err != nil {
		return nil, err
	}
	if err := n.checkDisk(m); err != nil {
		return nil, err
	}
	now, err := n.diskSpace(m.DiskID)
	if err != nil {
		return nil, onHost("disk "+m.DiskID, err)
	}
	if now.size < req.Size {
		if err := n.grow(ctx, m.DiskID, req.Size); err != nil {
			return nil, err
		}
	}
	return n.reportOn(ctx, m), nil
}

func (n *Node) grow(ctx context.Context, id string, size fleet.Bytes) error {
	resource := "disk " + id
	said, isSaid, err := n.saidSize(id)
	if err != nil {
		return onHost(resource, err)
	}
	if isSaid {
		return tooSmall(resource, said, size)
	}
	m, err := n.mountOf(id)
	if err != nil {
		return err
	}
	has, err := n.deviceSize(resource, m.device)
	if err != nil {
		return err
	}
	if has < size {
		return tooSmall(resource, has, size)
	}
	// Those that have nothing to do say so and succeed.
	switch m.kind {
	case "ext4", "ext3", "ext2":
		return runGrow(ctx, resource, "resize2fs", m.source)
	case "xfs":
		return runGrow(ctx, resource, "xfs_growfs", m.at)
	case "btrfs":
		return runGrow(ctx, resource, "btrfs", "filesystem", "resize", "max", m.at)
	}
	return fleet.Errorf(fleet.Denied, resource, "its file system is %s; ext4, xfs and btrfs can be grown", m.kind).
		WithRemedy("grow it by hand")
}

func tooSmall(resource string, has, wanted fleet.Bytes) error {
	return fleet.Errorf(fleet.Unavailable, resource, "it has %s on this host, not %s yet", has.Human(), wanted.Human()).
		WithRemedy("grow the disk first; the host may take a moment to notice")
}

func runGrow(ctx context.Context, resource, program string, args ...string) error {
	_, err := runOnDisk(ctx, resource, program, args...)
	return err
}

// mounted is a file system as /proc/self/mountinfo has it.
type mounted struct {
	at     string // mount point
	kind   string // ext4, xfs, …
	source string // what was mounted, as in /dev/nvme1n1
	device string // the kernel's name of that, as in nvme1n1
}

// mountOf finds the file system that a disk's directory is the top of. Anything else
// than the whole of a block device without partitions is refused: growing a partition
// or a volume needs more than this, and what else is on it is not known here.
func (n *Node) mountOf(id string) (mounted, error) {
	resource := "disk " + id
	at, err := filepath.EvalSymlinks(n.disk(id))
	if err != nil {
		return mounted{}, onHost(resource, err)
	}
	info, err := os.ReadFile(n.path("proc/self/mountinfo"))
	if err != nil {
		return mounted{}, onHost(resource, err)
	}
	var found *mounted
	for line := range strings.Lines(string(info)) {
		if m, ok := parseMount(line); ok && m.at == at {
			found = &m // the last one is what is seen
		}
	}
	cannot := func(format string, args ...any) error {
		return fleet.Errorf(fleet.Denied, resource, "%s", fmt.Sprintf(format, args...)).WithRemedy("grow its file system by hand")
	}
	if found == nil {
		return mounted{}, cannot("%s is not a file system of its own", at)
	}
	device, err := filepath.EvalSymlinks(n.path(found.source))
	if err != nil || !strings.HasPrefix(found.source, "/dev/") {
		return mounted{}, cannot("what is mounted there, %q, is not a block device", found.source)
	}
	found.device = filepath.Base(device)
	switch _, err := os.Stat(n.blockDevice(found.device, "partition")); {
	case err == nil:
		return mounted{}, cannot("%s is a partition", found.source)
	case !errors.Is(err, fs.ErrNotExist):
		return mounted{}, onHost(resource, err)
	}
	if _, err := os.Stat(n.blockDevice(found.device, "dm")); err == nil {
		return mounted{}, cannot("%s is a volume of the device mapper", found.source)
	}
	return *found, nil
}

// blockDevice is where the kernel says something of a block device (sysfs-block).
func (n *Node) blockDevice(name, what string) string {
	return n.path("sys/class/block", name, what)
}

// deviceSize gives the size of a block device. Disks on SCSI are looked at again
// first: their kernels do not notice by themselves that they have grown.
func (n *Node) deviceSize(resource, name string) (fleet.Bytes, error) {
	rescan := n.blockDevice(name, "device/rescan")
	if _, err := os.Stat(rescan); err == nil {
		if err := os.WriteFile(rescan, []byte("1\n"), 0); err != nil {
			return 0, onHost(resource, err)
		}
	}
	text, err := os.ReadFile(n.blockDevice(name, "size"))
	if err != nil {
		return 0, onHost(resource, err)
	}
	sectors, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, onHost(resource, err)
	}
	return fleet.Bytes(sectors) * 512, nil // whatever the device's own block is
}

// parseMount reads a line of mountinfo (proc_pid_mountinfo(5)): ID, parent, device,
// root, mount point, options, optional fields, "-", type, source, options.
func parseMount(line string) (mounted, bool) {
	before, after, ok := strings.Cut(line, " - ")
	first, last := strings.Fields(before), strings.Fields(after)
	if !ok || len(first) < 5 || len(last) < 2 || first[3] != "/" {
		return mounted{}, false // a directory of a file system that is mounted elsewhere
	}
	return mounted{at: unescape(first[4]), kind: last[0], source: unescape(last[1])}, true
}

// unescape gives back the blanks that mountinfo writes as octal numbers.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
