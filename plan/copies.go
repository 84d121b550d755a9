package plan

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// copied has the disks of all members whose hosts answer copied by the cloud before the first step of an
// operation that changes what is on one of them. Such a copy is out of reach of whatever
// that does, of fencing, and of the end of the disk. It is only asked for: the point in time
// is that of the call. Where it cannot be had, the operation goes on without: it must not
// wait for what nobody may need.
func copied(in Input, decide func(Input) fleet.Decision) fleet.Decision {
	others := in
	others.Failures = slices.DeleteFunc(slices.Clone(in.Failures), func(f fleet.Failure) bool { return f.Step.Kind == fleet.SnapshotDisk })
	d := decide(others)
	if in.Policy.DiskSnapshots == fleet.SnapshotNever || !slices.ContainsFunc(d.Wave, rewrites) {
		return d
	}
	in.Observation = own(in.Observation, in.Operation.UID)
	var wave []fleet.Step
	for _, s := range newRoster(in).seats {
		if s.disk == nil || s.number >= in.Operation.Since || in.failed(fleet.SnapshotDisk, s.name) > 0 {
			continue // whoever was bought for this operation has nothing yet
		}
		if s.report() == nil {
			continue // where hosts do not answer, the cloud may not either, and clients wait
		}
		if s.disk.State != fleet.DiskAvailable && s.disk.State != fleet.DiskInUse {
			continue
		}
		step := fleet.Step{
			Kind: fleet.SnapshotDisk, Member: s.name, DiskID: s.disk.ID, Size: s.disk.Size,
			Token: in.token(in.Operation.Generation, fleet.SnapshotDisk, s.name, 0), // whoever goes on with it takes no other
		}
		if !slices.ContainsFunc(in.Observation.DiskSnapshots, func(c fleet.DiskSnapshot) bool { return c.Tags[fleet.TagToken] == step.Token }) {
			wave = append(wave, step)
		}
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	return d
}

// rewrites says that a step changes data that was there before.
func rewrites(s fleet.Step) bool {
	return s.Kind == fleet.RecoverMember || s.Kind == fleet.RestoreMember
}

// dropCopies gives the steps that delete copies of disks of some members; of all, former
// ones too, where none are named. They are one of each member at a time, as all steps are.
func (in Input) dropCopies(members []string) []fleet.Step {
	var wave []fleet.Step
	for _, c := range in.Observation.DiskSnapshots {
		if len(members) > 0 && !slices.Contains(members, c.Member()) ||
			slices.ContainsFunc(wave, func(s fleet.Step) bool { return s.Member == c.Member() }) {
			continue
		}
		wave = append(wave, fleet.Step{
			Kind: fleet.DeleteDiskSnapshot, Member: c.Member(), SnapshotID: c.ID, Size: c.Size,
			Token: in.token(in.Operation.ID, fleet.DeleteDiskSnapshot, c.Member()+"/"+c.ID, in.failed(fleet.DeleteDiskSnapshot, c.Member())),
		})
	}
	return wave
}
