package model

import (
	"fmt"
	"maps"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// copyDisk keeps a copy of a disk.
func (w *World) copyDisk(op fleet.Operation, step fleet.Step) ([]func(), error) {
	d := w.disks[step.DiskID]
	switch {
	case slices.ContainsFunc(w.copies, func(c fleet.DiskSnapshot) bool { return c.Tags[fleet.TagToken] == step.Token }):
		return nil, nil
	case d == nil:
		return nil, fleet.Errorf(fleet.NotFound, "disk "+step.DiskID, "is not there")
	case w.down[d.Zone]:
		return nil, fleet.Errorf(fleet.Unavailable, "zone "+d.Zone, "does not answer")
	}
	return effects(func() {
		tags := maps.Clone(d.Tags)
		tags[fleet.TagToken], tags[fleet.TagUID] = step.Token, op.UID
		w.copied++
		w.copies = append(w.copies, fleet.DiskSnapshot{
			ID: fmt.Sprintf("s-%03d", w.copied), Name: step.Member, DiskID: d.ID, Size: d.Size, State: fleet.DiskSnapshotPending, Tags: tags,
		})
	}), nil
}

func (w *World) dropCopy(step fleet.Step) []func() {
	return effects(func() {
		w.copies = slices.DeleteFunc(w.copies, func(c fleet.DiskSnapshot) bool { return c.ID == step.SnapshotID })
	})
}

// Copies says how many copies of disks there are.
func (w *World) Copies() int { return len(w.copies) }
