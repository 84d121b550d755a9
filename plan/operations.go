package plan

import (
	"fmt"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// upscale gives members another machine type, disk or quota. A larger disk grows
// where it is, and becomes one of another category there if the provider can do that
// (fleet.Disk.Retypes); a smaller one, other categories, and another type unless the
// spec says in place, need a new member.
func upscale(in Input) fleet.Decision {
	spec := in.Operation.Spec
	wanted := roster{in: in}.machineOf
	return change(in, goal{
		voters: spec.Voters, learners: spec.Learners,
		replace: func(s seat) bool {
			want := wanted(s)
			return s.host != nil && s.host.Type != want.Type && want.Change != fleet.ResizeMachine ||
				s.disk != nil && (!s.disk.Becomes(want.Disk.Category) || s.disk.Size > want.Disk.Size)
		},
		inPlace: func(r roster, s seat) (fleet.Decision, bool) {
			want := wanted(s)
			run, known := s.configured()
			switch report := s.report(); {
			case s.host == nil || s.disk == nil:
				return wait("host and disk of %s are not both seen", s.name), true
			case s.disk.Category != want.Disk.Category:
				step := r.step(fleet.RetypeDisk, s)
				step.Category, step.Size = want.Disk.Category, want.Disk.Size
				return act(step), true
			case s.disk.Size < want.Disk.Size || report != nil && report.DiskSize < grown(want.Disk.Size):
				step := r.step(fleet.GrowDisk, s)
				step.Size = want.Disk.Size
				return act(step), true
			case s.host.Type != want.Type:
				return r.touch(s, nil, r.isOtherType, r.step(fleet.StopMember, s)), true
			case !known:
				return wait("it is not known how %s is configured: its host does not answer", s.name), true
			case run.Settings.Quota != spec.Etcd.Quota && s.etcd.DBSize > spec.Etcd.Quota:
				return blocked(fleet.Blocked, "the store of %s has %s, which is more than a quota of %s; compact and defragment it first",
					s.name, s.etcd.DBSize.Human(), spec.Etcd.Quota), true
			case run.Settings.Quota != spec.Etcd.Quota:
				run.Settings.Quota = spec.Etcd.Quota
				return r.restart(s, run), true
			}
			return fleet.Decision{}, false
		},
		done: machineWords(spec),
	})
}

// grown is the least size of a file system on a disk of some size: formatting takes
// a part of it.
func grown(disk fleet.Bytes) fleet.Bytes { return disk / 10 * 9 }

// isOtherType says that a member is not on the type of host that it is to be on.
func (r roster) isOtherType(s seat) bool { return s.host == nil || s.host.Type != r.machineOf(s).Type }

// machineWords says what all members run on in the end.
func machineWords(spec fleet.Spec) string {
	words := fmt.Sprintf("all members are %s with %s %s", spec.Machine.Type, spec.Machine.Disk.Size.Human(), spec.Machine.Disk.Category)
	if there := spec.MachineIn(spec.LearnerZones()[0]); spec.Learners > 0 && there != spec.Machine {
		words += fmt.Sprintf(", those in %s %s with %s %s", spec.StandbyPlace(), there.Type, there.Disk.Size.Human(), there.Disk.Category)
	}
	return words
}

// restart restarts a member with another configuration.
func (r roster) restart(s seat, run fleet.MemberConfig) fleet.Decision {
	if !s.installed(run.Version) {
		return act(r.install(s, run.Version))
	}
	step := r.startStep(fleet.RestartMember, s)
	step.Run = &run
	if was, known := s.configured(); known {
		step.Was = &was
	}
	pending := func(s seat) bool {
		now, known := s.configured()
		return !known || now != run
	}
	return r.touch(s, nil, pending, step)
}

// installed says that a release is on the member's host, or that it is not known.
func (s seat) installed(version string) bool {
	return s.host == nil || s.host.Report == nil || slices.Contains(s.host.Report.Releases, version)
}

// install brings a release to a member's host, which disturbs nobody.
func (r roster) install(s seat, version string) fleet.Step {
	step := r.step(fleet.PrepareHost, s)
	step.Version = version
	return step
}

// scale changes the number of voters and learners.
func scale(in Input) fleet.Decision {
	spec := in.Operation.Spec
	return change(in, goal{
		voters: spec.Voters, learners: spec.Learners,
		done: fmt.Sprintf("%d voters and %d learners serve", spec.Voters, spec.Learners),
	})
}

// migrate replaces members by new ones on new hosts: those that were there when it
// was first asked for, or the named ones of them.
func migrate(in Input) fleet.Decision {
	op := in.Operation
	chosen := func(s seat) bool { return len(op.Options.Members) == 0 || slices.Contains(op.Options.Members, s.name) }
	return change(in, goal{
		voters: op.Spec.Voters, learners: op.Spec.Learners,
		replace: func(s seat) bool { return s.number < op.Since && chosen(s) },
		done:    "all members to be moved are on new hosts",
	})
}

// changeLeader has another member lead.
func changeLeader(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	if d := r.guard(goal{}); d != nil {
		return *d
	}
	options, leader := in.Operation.Options, in.Observation.Leader
	switch {
	case leader == "":
		return wait("%s has no leader", in.Operation.Cluster)
	case len(options.Members) == 0 && leader != options.Leave:
		return done("%s leads", leader)
	case len(options.Members) > 0 && slices.Contains(options.Members, leader):
		return done("%s leads", leader)
	}
	now, _ := r.find(leader)
	heir, ok := r.heir(now, nil)
	if len(options.Members) > 0 {
		heir, ok = r.find(options.Members[0])
		if ok && (!heir.voter() || !heir.inSync()) {
			return blocked(fleet.Blocked, "%s cannot lead: it is not a voter that is in sync; name another one, or wait and submit the operation again", heir.name)
		}
	}
	if !ok {
		return blocked(fleet.Blocked, "no other voter of %s is in sync, so none can lead; bring one back, and submit the operation again", in.Operation.Cluster)
	}
	step := r.step(fleet.MoveLeader, now)
	step.To = heir.name
	return act(step)
}
