package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// discard deletes what restores and recoveries put aside on the disks of members, and the
// copies of disks that were taken before: it was
// kept in case that what was made instead was wrong, so it goes only while that serves.
func discard(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	if d := r.guard(goal{}); d != nil {
		return *d
	}
	if len(in.Failures) > 0 {
		return failedFor(&in.Failures[0])
	}
	var wave []fleet.Step
	for _, s := range r.members() {
		if named := in.Operation.Options.Members; len(named) > 0 && !slices.Contains(named, s.name) {
			continue
		}
		switch m := s.report(); {
		case m == nil:
			return wait("the host of %s does not say what its disk holds%s", s.name, in.silent())
		case m.SetAside > 0:
			step := r.step(fleet.DiscardData, s)
			step.Size = m.SetAside
			wave = append(wave, step)
		}
	}
	if len(wave) == 0 {
		wave = in.dropCopies(in.Operation.Options.Members)
	}
	if len(wave) == 0 {
		of := cmp.Or(strings.Join(in.Operation.Options.Members, ", "), in.Operation.Cluster)
		return done("nothing is kept aside of %s, on disks or as copies of them%s", of, in.unlisted())
	}
	if d := r.settle(nil); d != nil {
		return *d
	}
	return act(wave...)
}

// unlisted says that copies of disks could not be listed, where that is so.
func (in Input) unlisted() string {
	if in.Observation.CopiesUnknown == "" {
		return ""
	}
	return "; there may be copies, which could not be listed: " + in.Observation.CopiesUnknown
}
