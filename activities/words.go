package activities

import (
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// buys says in words what a plan would buy: hosts and disks, and what is made larger
// or smaller and is paid for otherwise from then on.
func buys(op fleet.Operation, waves [][]fleet.Step) []string {
	var hosts, disks, changes tally
	for _, step := range slices.Concat(waves...) {
		switch {
		case step.Kind == fleet.LaunchHost && step.HostID == "":
			hosts.add(typeOf(op, step))
		case step.Kind == fleet.AttachDisk && step.DiskID == "":
			disks.add(sizeOf(op, step).Human() + " " + op.Spec.MachineIn(step.Zone).Disk.Category)
		case step.Kind == fleet.ResizeHost:
			changes.add("host resized to " + typeOf(op, step))
		case step.Kind == fleet.GrowDisk:
			changes.add("disk grown to " + sizeOf(op, step).Human())
		case step.Kind == fleet.RetypeDisk:
			changes.add("disk made " + step.Category + " where it is")
		case step.Kind == fleet.SnapshotDisk:
			changes.add("snapshot of a disk of " + step.Size.Human())
		}
	}
	return slices.Concat(hosts.words(), disks.words(), changes.words())
}

// tally counts what is the same, in the order in which it was first met.
type tally struct {
	names  []string
	counts map[string]int
}

func (t *tally) add(name string) {
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.names = with(t.names, name)
	t.counts[name]++
}

func (t *tally) words() []string {
	words := make([]string, len(t.names))
	for i, name := range t.names {
		words[i] = fmt.Sprintf("%d × %s", t.counts[name], name)
	}
	return words
}

// destroys says in words what a plan would destroy. Only the end of a cluster
// destroys what no other member has.
func destroys(op fleet.Operation, obs fleet.Observation, waves [][]fleet.Step) []string {
	var words []string
	for _, step := range slices.Concat(waves...) {
		switch step.Kind {
		case fleet.ReleaseHost:
			words = append(words, fmt.Sprintf("host %s (%s)", step.Member, step.HostID))
		case fleet.DeleteDisk:
			words = append(words, fmt.Sprintf("disk of %s (%s)", step.Member, step.DiskID))
		case fleet.DeleteDiskSnapshot:
			words = append(words, copyWords(obs, step))
		case fleet.DestroyAuthority:
			words = append(words, "the certificate authority")
		}
	}
	if op.Kind == fleet.DecommissionCluster && len(words) > 0 && obs.Revision > 0 {
		words = append(words, fmt.Sprintf("data up to revision %d", obs.Revision))
	}
	return words
}

// copyWords names a copy of a disk by what it is of and how old it is.
func copyWords(obs fleet.Observation, step fleet.Step) string {
	words := fmt.Sprintf("snapshot of the disk of %s (%s, %s", step.Member, step.SnapshotID, step.Size.Human())
	for _, c := range obs.DiskSnapshots {
		if c.ID == step.SnapshotID {
			words += ", of " + c.Created.UTC().Format(time.DateTime+" MST")
		}
	}
	return words + ")"
}
