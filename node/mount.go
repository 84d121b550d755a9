package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// A data disk is attached when its host has booted already, and moves to another host
// with all that is on it. So it is mounted here, when a member is to use it, and from
// then on at every boot. Hosts whose provider shows a disk as a directory have no such
// device, and nothing is done.

const (
	// diskTimeout bounds each program that works on a disk. Those that grow a file system
	// write little, seconds for terabytes; a mount may have to replay a journal.
	diskTimeout = 2 * time.Minute
	// blankEnds is how much of a disk's beginning and of its end has to be zeros if it is
	// to count as empty. A GUID partition table is in both, no file system in neither.
	blankEnds = 1 << 20
	// mountOptions: nobody reads etcd's files for their access times; and a host whose
	// disk is gone has to boot, to be told of it.
	mountOptions = "noatime,nofail"
)

// mountable are the file systems that Grow knows.
var mountable = []string{"ext4", "xfs", "btrfs"}

// serials are what a disk's serial number may be, by its ID. EBS: the ID without its
// dash, as in vol0123… ("Map Amazon EBS volumes to NVMe device names"). Alibaba Cloud:
// the ID without "d-" ("Query the serial numbers of disks").
func serials(id string) []string {
	_, bare, _ := strings.Cut(id, "-")
	return slices.DeleteFunc([]string{strings.ReplaceAll(id, "-", ""), bare}, func(s string) bool { return len(s) < 8 })
}

// mountDisk mounts the data disk with this ID if the host has it as a block device that
// is not mounted anywhere. One without anything on it gets a file system first; what has
// one is never formatted, nor what cannot be told. Errors: fleet.Blocked for a disk with
// something else on it, fleet.Denied when this host cannot do it.
func (n *Node) mountDisk(ctx context.Context, id string) error {
	resource := "disk " + id
	device, err := n.deviceOf(id)
	if err != nil || device == "" {
		return onHost(resource, err)
	}
	taken, err := n.inUse(device)
	if err != nil || taken {
		return onHost(resource, err)
	}
	if entries, err := os.ReadDir(n.disk(id)); err == nil && len(entries) > 0 {
		return fleet.Errorf(fleet.Blocked, resource, "it is not mounted, and files are in %s where it belongs", n.disk(id)).
			WithRemedy("see what wrote them, and move them away")
	}
	path := n.path("dev", device)
	found, err := probeDisk(ctx, resource, path)
	if err != nil {
		return err
	}
	if found, err = n.format(ctx, id, path, found); err != nil {
		return err
	}
	if err := os.MkdirAll(n.disk(id), 0o755); err != nil {
		return onHost(resource, err)
	}
	if err := n.rememberMount(id, found); err != nil {
		return onHost(resource, err)
	}
	_, err = runOnDisk(ctx, resource, "mount", "-t", found["TYPE"], "-o", mountOptions, path, n.disk(id))
	return err
}

// deviceOf finds the block device with a disk's serial number; "" if there is none. The
// kernel says the number of an NVMe disk at its controller, of a virtio disk at the disk.
func (n *Node) deviceOf(id string) (string, error) {
	devices, err := os.ReadDir(n.path("sys/class/block"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, d := range devices {
		if _, err := os.Stat(n.blockDevice(d.Name(), "partition")); err == nil {
			continue
		}
		for _, file := range []string{"serial", "device/serial"} {
			text, err := os.ReadFile(n.blockDevice(d.Name(), file))
			if err == nil && slices.Contains(serials(id), strings.TrimSpace(string(text))) {
				return d.Name(), nil
			}
		}
	}
	return "", nil
}

// inUse says whether a device, or a part of it, is mounted, or is under another device.
func (n *Node) inUse(device string) (bool, error) {
	if holders, err := os.ReadDir(n.blockDevice(device, "holders")); err == nil && len(holders) > 0 {
		return true, nil
	}
	info, err := os.ReadFile(n.path("proc/self/mountinfo"))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(info)) {
		_, after, _ := strings.Cut(line, " - ")
		fields := strings.Fields(after)
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "/dev/") {
			continue
		}
		source := unescape(fields[1])
		if real, err := filepath.EvalSymlinks(n.path(source)); err == nil {
			source = real
		}
		name := filepath.Base(source)
		if _, part := os.Stat(n.blockDevice(device, name)); name == device || part == nil {
			return true, nil
		}
	}
	return false, nil
}

// probeDisk gives what blkid finds on a device itself, as in TYPE and UUID; nil if that
// is nothing.
func probeDisk(ctx context.Context, resource, path string) (map[string]string, error) {
	out, err := runOnDisk(ctx, resource, "blkid", "-p", "-o", "export", path)
	if exit := new(exec.ExitError); errors.As(err, &exit) && exit.ExitCode() == 2 && len(exit.Stderr) == 0 {
		return nil, nil // blkid(8): nothing was found
	}
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			found[key] = value
		}
	}
	return found, nil
}

// format makes a file system on a disk that is empty, and gives what is on it then.
func (n *Node) format(ctx context.Context, id, path string, found map[string]string) (map[string]string, error) {
	resource := "disk " + id
	// While it is made, a note says so: what a killed attempt left is no data.
	note := n.path("var/lib/flotilla/formatting", id)
	if found != nil {
		if !slices.Contains(mountable, found["TYPE"]) || found["UUID"] == "" {
			return nil, fleet.Errorf(fleet.Blocked, resource, "there is something on it that is no file system of %s: %s",
				strings.Join(mountable, ", "), describeDisk(found)).
				WithRemedy("use an empty disk; it was left as it is")
		}
		return found, durable.Remove(note)
	}
	if _, err := os.Stat(note); err != nil {
		switch blank, err := isBlank(path); {
		case err != nil:
			return nil, onHost(resource, err)
		case !blank:
			return nil, fleet.Errorf(fleet.Blocked, resource, "there is something on it, and blkid does not know what").
				WithRemedy("use an empty disk; it was left as it is")
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(note), 0o755), durable.WriteFile(note, nil, 0o644)); err != nil {
			return nil, onHost(resource, err)
		}
	}
	if _, err := runOnDisk(ctx, resource, "mkfs.ext4", "-q", "-m", "1", path); err != nil {
		return nil, err
	}
	found, err := probeDisk(ctx, resource, path)
	if err == nil && (found["TYPE"] != "ext4" || found["UUID"] == "") {
		err = fleet.Errorf(fleet.Denied, resource, "mkfs.ext4 ended well, and there is no ext4 on it")
	}
	if err != nil {
		return nil, err
	}
	return found, onHost(resource, durable.Remove(note))
}

func describeDisk(found map[string]string) string {
	for _, key := range []string{"TYPE", "PTTYPE"} {
		if found[key] != "" {
			return key + " " + found[key]
		}
	}
	return "unknown"
}

// isBlank says whether the ends of a device are all zeros.
func isBlank(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	zeros := make([]byte, blankEnds)
	for _, at := range []int64{0, max(0, size-blankEnds)} {
		part := make([]byte, min(blankEnds, size))
		if _, err := f.ReadAt(part, at); err != nil {
			return false, fmt.Errorf("reading %s: %w", path, err)
		}
		if !bytes.Equal(part, zeros[:len(part)]) {
			return false, nil
		}
	}
	return true, nil
}

// rememberMount has a disk mounted at each boot, by a line of fstab(5).
func (n *Node) rememberMount(id string, found map[string]string) error {
	at := n.disk(id)
	table, err := os.ReadFile(n.path("etc/fstab"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var kept strings.Builder
	line := fmt.Sprintf("UUID=%s %s %s %s 0 2\n", found["UUID"], at, found["TYPE"], mountOptions)
	for old := range strings.Lines(string(table)) {
		if fields := strings.Fields(old); len(fields) > 1 && fields[1] == at && !strings.HasPrefix(fields[0], "#") {
			continue
		}
		kept.WriteString(strings.TrimSuffix(old, "\n") + "\n")
	}
	text := kept.String() + line
	if text == string(table) {
		return nil
	}
	if err := os.MkdirAll(n.path("etc"), 0o755); err != nil {
		return err
	}
	return durable.WriteFile(n.path("etc/fstab"), []byte(text), 0o644)
}

// lacksMount says whether a disk belongs at its directory by fstab, and is not mounted:
// then what is in the directory is not on the disk.
func (n *Node) lacksMount(id string) (bool, error) {
	table, err := os.ReadFile(n.path("etc/fstab"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	at := n.disk(id)
	expected := slices.ContainsFunc(strings.Split(string(table), "\n"), func(line string) bool {
		fields := strings.Fields(line)
		return len(fields) > 1 && fields[1] == at && !strings.HasPrefix(fields[0], "#")
	})
	if !expected {
		return false, nil
	}
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return true, nil //nolint:nilerr // the directory is not there
	}
	info, err := os.ReadFile(n.path("proc/self/mountinfo"))
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(info)) {
		if m, ok := parseMount(line); ok && m.at == real {
			return false, nil
		}
	}
	return true, nil
}

// runOnDisk runs a program and gives what it printed. Its *exec.ExitError is wrapped.
func runOnDisk(ctx context.Context, resource, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, diskTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, args...).Output()
	switch {
	case err == nil:
		return string(out), nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fleet.Errorf(fleet.Denied, resource, "%s is not on this host", program).WithRemedy("install it")
	case ctx.Err() != nil:
		return "", fleet.Errorf(fleet.Unavailable, resource, "%s did not end in time: %w", program, ctx.Err())
	}
	words := ""
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		lines := strings.Split(strings.TrimSpace(string(exit.Stderr)), "\n")
		words = shorten(lines[len(lines)-1]) + ": "
	}
	return "", fleet.Errorf(fleet.Denied, resource, "%s failed: %s%w", program, words, err).
		WithRemedy("look at the disk on the host")
}
