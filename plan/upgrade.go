package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// least is the oldest patch of a minor from which the next one may be reached, and to
// which the next one may go back (etcd's upgrade guides, and the fixes of 3.5.32:
// zombie members, reverted learners; 3.6.11: the same for 3.7).
var least = map[string]string{"3.5": "3.5.32", "3.6": "3.6.11"}

// upgrade changes the release of etcd, up or down, one minor at a time and one member
// at a time, the leader last.
func upgrade(in Input) fleet.Decision {
	spec := in.Operation.Spec
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	want := spec.Etcd.Version
	if d := r.guard(goal{}); d == nil { // what it finds is said by change
		if d := r.preflight(want); d != nil {
			return *d
		}
	}
	return change(in, goal{
		voters: spec.Voters, learners: spec.Learners,
		inPlace: func(r roster, s seat) (fleet.Decision, bool) {
			run, known := s.configured()
			switch {
			case !known:
				return wait("it is not known which etcd %s is to run: its host does not answer", s.name), true
			case run.Version != want:
				if d := r.beforeMinor(want); d != nil {
					return *d, true
				}
				run.Version, run.Settings = want, spec.Etcd.EtcdSettings
				return r.restart(s, run), true
			case s.etcd.Version != "" && s.etcd.Version != want:
				return wait("%s still answers as etcd %s", s.name, s.etcd.Version), true
			}
			switch last := r.in.Observation.Downgrade; {
			case last == "" || !r.allRun(want):
			case last == fleet.Minor(want):
				return wait("etcd has not ended its downgrade to %s yet", last), true
			default: // of an operation that stopped half way
				return act(r.in.step(fleet.CancelDowngrade, "")), true
			}
			return fleet.Decision{}, false
		},
		done: "all members run etcd " + want,
	})
}

func (r roster) allRun(version string) bool {
	for _, s := range r.members() {
		if run, known := s.configured(); !known || run.Version != version {
			return false
		}
	}
	return true
}

// preflight refuses what etcd cannot do, or what is known to lose data.
func (r roster) preflight(want string) *fleet.Decision {
	refuse := func(format string, args ...any) *fleet.Decision {
		d := blocked(fleet.Invalid, format, args...)
		return &d
	}
	for _, s := range r.members() {
		run, known := s.configured()
		if !known {
			continue
		}
		from, to := number(run.Version), number(want)
		switch {
		case run.Version == want || from == to:
		case to > from+1 || to < from-1:
			return refuse("%s runs etcd %s, and %s is more than one minor away; go by way of a release of etcd 3.%d",
				s.name, run.Version, want, (from+to)/2)
		case to > from && fleet.CompareVersions(run.Version, least[fleet.Minor(run.Version)]) < 0:
			return refuse("%s runs etcd %s; before etcd %s it must be on %s or later of its minor, which fixes what an upgrade may trip over",
				s.name, run.Version, fleet.Minor(want), least[fleet.Minor(run.Version)])
		case to < from && fleet.CompareVersions(want, least[fleet.Minor(want)]) < 0:
			return refuse("etcd %s cannot be gone back to from %s; take %s or later of its minor", want, run.Version, least[fleet.Minor(want)])
		}
	}
	return nil
}

// number gives 7 of 3.7.3.
func number(version string) int {
	_, minor, _ := strings.Cut(fleet.Minor(version), ".")
	n, _ := strconv.Atoi(minor)
	return n
}

// beforeMinor gives what the whole cluster has to do before a member may run another
// minor: going down, etcd itself lowers its storage version; going up to 3.7, whose
// etcd cannot read what 3.5 wrote into the log, every member writes a raft snapshot.
func (r roster) beforeMinor(want string) *fleet.Decision {
	answer := func(d fleet.Decision) *fleet.Decision { return &d }
	minor, down, up := fleet.Minor(want), false, false
	for _, s := range r.members() {
		if run, known := s.configured(); known {
			down = down || number(run.Version) > number(want)
			up = up || number(run.Version) < number(want)
		}
	}
	enabled := r.in.Observation.Downgrade
	switch {
	case up && !down && enabled != "":
		return answer(act(r.in.step(fleet.CancelDowngrade, "")))
	case down && (enabled != minor && !r.worksAt(minor) || !r.stores(minor)):
		step := r.in.step(fleet.EnableDowngrade, "")
		step.Version = want
		return answer(r.whenSettled(step))
	case up && minor == "3.7" && !r.snapshotsAreNew():
		return answer(r.whenSettled(r.in.step(fleet.TakeRaftSnapshot, "")))
	}
	return nil
}

func (r roster) whenSettled(step fleet.Step) fleet.Decision {
	if d := r.settle(nil); d != nil {
		return *d
	}
	return act(step)
}

// worksAt says that the cluster as a whole works at a minor or an older one, because
// some member runs it: etcd's own downgrade is not needed then, and refused.
func (r roster) worksAt(minor string) bool {
	return slices.ContainsFunc(r.members(), func(s seat) bool {
		return s.etcd.Answers && s.etcd.Version != "" && number(s.etcd.Version) <= number(minor+".0")
	})
}

// stores says that every member's store has a schema that a minor can read. etcd 3.5
// writes no version of its schema.
func (r roster) stores(minor string) bool {
	for _, s := range r.members() {
		if s.etcd.Answers && s.etcd.Storage != "" && number(s.etcd.Storage) > number(minor+".0") {
			return false
		}
	}
	return true
}

// snapshotsAreNew says that each member that does not run 3.7 yet wrote a raft
// snapshot after all of them had left the minor before: whatever its log still holds
// was written since.
func (r roster) snapshotsAreNew() bool {
	var reports []*fleet.MemberReport
	for _, s := range r.members() {
		run, known := s.configured()
		if known && fleet.Minor(run.Version) == "3.7" {
			continue
		}
		m := s.report()
		if m == nil || m.Configured == nil {
			return false
		}
		reports = append(reports, m)
	}
	_, old := fleet.Snapshotted(reports)
	return len(old) == 0
}

// roll restarts members with new settings, restarts them as they are, or changes
// their certificates.
func roll(in Input) fleet.Decision {
	op := in.Operation
	if op.Options.Certificates != "" {
		return recertify(in)
	}
	restartAll := op.Before != nil && op.Before.Etcd == op.Spec.Etcd
	chosen := func(s seat) bool { return len(op.Options.Members) == 0 || contains(op.Options.Members, s.name) }
	return change(in, goal{
		voters: op.Spec.Voters, learners: op.Spec.Learners,
		inPlace: func(r roster, s seat) (fleet.Decision, bool) {
			run, known := s.configured()
			switch {
			case !chosen(s):
			case !known:
				return wait("it is not known how %s is configured: its host does not answer", s.name), true
			case restartAll && run.Generation != op.Generation:
				run.Generation = op.Generation
				return r.restart(s, run), true
			case run.Settings != op.Spec.Etcd.EtcdSettings:
				run.Settings = op.Spec.Etcd.EtcdSettings
				return r.restart(s, run), true
			}
			return fleet.Decision{}, false
		},
		done: fmt.Sprintf("all members run as etcd %s is configured", op.Spec.Etcd.Version),
	})
}
