package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// failover replaces members that are dead: the named ones, or all that are. Whose
// disk outlived its host comes back on it; the others are replaced through learners.
func failover(in Input) fleet.Decision {
	op := in.Operation
	in.Observation = own(in.Observation, op.UID)
	r := newRoster(in)
	if d := r.refuseAlive(); d != nil {
		return *d
	}
	return change(in, goal{
		voters: op.Spec.Voters, learners: op.Spec.Learners,
		dead: func(s seat) bool { return r.chosen(s) && !r.revived(s) && !r.isNew(s) && in.isDead(s.name) },
		// What fails on a member that is being revived shows that its disk is no good, and it
		// is replaced then; whether one that does not start is dead, the evidence says.
		mended: func(f fleet.Failure) bool {
			return f.Step.Kind != fleet.RemoveMember && r.reviving(f.Step.Member) || r.doesNotStart(f)
		},
		done: "all members are alive",
	})
}

// doesNotStart says that a failure is of a member that was there before, that this
// failover is about, and that did not start where it is.
func (r roster) doesNotStart(f fleet.Failure) bool {
	s, _ := r.find(f.Step.Member)
	return r.in.Operation.Kind == fleet.FailoverMember && f.Step.Kind == fleet.StartMember && r.chosen(s) && s.member() && !r.comesIn(s)
}

// chosen says that a failover is about a member.
func (r roster) chosen(s seat) bool {
	members := r.in.Operation.Options.Members
	return len(members) == 0 || slices.Contains(members, s.name)
}

// refuseAlive stops a failover of a member that is not known to be dead, before
// anything was done.
func (r roster) refuseAlive() *fleet.Decision {
	in := r.in
	for _, name := range in.Operation.Options.Members {
		s, seen := r.find(name)
		switch {
		case !seen || !s.member() || r.reviving(name) || in.isDead(name):
			continue // it left already, comes back, or is dead
		case s.etcd.Answers:
			d := blocked(fleet.Blocked, "%s is alive (it answers): failing it over would remove a healthy voter; "+
				"to move it anyway: flotilla migrate %s --member %s", name, in.Operation.Cluster, name)
			return &d
		}
		if evidence := in.Observation.EvidenceOn(name); evidence != nil {
			d := blocked(fleet.Blocked, "%s does not answer, and is not known to be dead: %s; what is unknown is never taken for dead. "+
				"If you know it is, stop its host in the cloud and ask again", name, evidence.Words)
			return &d
		}
	}
	return nil
}

// isNew says that a member came in by this operation, or was not started yet: that it
// does not answer is no sign of its death.
func (r roster) isNew(s seat) bool {
	return r.comesIn(s) && (s.number >= r.in.Operation.NextMember || s.etcd != nil && s.etcd.Name == "")
}

// isDead says that a member is dead by the word of all witnesses.
func (in Input) isDead(member string) bool {
	e := in.Observation.EvidenceOn(member)
	return e != nil && e.Dead(in.Policy.DeadAfter)
}

// reviving says that a host was bought for a member that was there before: to bring it
// back on its disk.
func (r roster) reviving(member string) bool {
	return r.purchased(member, true) != nil || slices.ContainsFunc(r.in.Failures, func(f fleet.Failure) bool {
		return f.Step.Kind == fleet.LaunchHost && f.Step.Member == member && f.Step.DiskID != ""
	})
}

// revivalFailed says that bringing a member back on its disk did not work.
func (r roster) revivalFailed(member string) bool {
	return r.reviving(member) && slices.ContainsFunc(r.in.Failures, func(f fleet.Failure) bool { return f.Step.Member == member })
}

// revived says that a member is on its new host, and is not to be judged by what was
// seen of the old one; restore brings it all the way.
func (r roster) revived(s seat) bool {
	step := r.purchased(s.name, true)
	return step != nil && !r.revivalFailed(s.name) && s.host != nil && s.host.Tags[fleet.TagToken] == step.Token
}

// revive gives the next step towards a dead voter's own disk on a new host, or nil
// when that cannot be: its host is alive, or its disk is lost, or it was tried. One that
// there is no place for does not come back. A learner
// is not worth it: older releases take one for a voter when its address changes.
func (r roster) revive(g goal, s seat) *fleet.Decision {
	answer := func(d fleet.Decision) *fleet.Decision { return &d }
	if step := r.purchased(s.name, true); step != nil && !r.revivalFailed(s.name) {
		return answer(act(*step)) // not visible yet, or lost: the same again tells which
	}
	alive := len(slices.DeleteFunc(r.voters(), g.isDead))
	e := r.in.Observation.EvidenceOn(s.name)
	if e == nil || e.Cloud != fleet.SaysDead || e.DiskLost || s.disk == nil || s.number == 0 || !s.voter() || alive >= g.voters || r.revivalFailed(s.name) {
		return nil
	}
	if s.host != nil { // it must never run again beside the new one
		return answer(act(r.step(fleet.ReleaseHost, s)))
	}
	machine := r.machineOf(s).Type
	step := r.in.purchase(fleet.LaunchHost, s.name, strings.Join([]string{machine, s.disk.Zone, r.in.Operation.Generation}, "/"))
	step.Zone, step.Type, step.DiskID = s.disk.Zone, machine, s.disk.ID
	return answer(act(step))
}

// WhyDead says in words why members count as dead, for the plan that a person sees.
func WhyDead(in Input) []string {
	var words []string
	for _, e := range in.Observation.Evidence {
		if e.Dead(in.Policy.DeadAfter) {
			words = append(words, fmt.Sprintf("%s is dead: %s", e.Member, e.Words))
		}
	}
	return words
}
