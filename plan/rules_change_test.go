package plan_test

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// change judges what is decided about a cluster that runs, against how it is at that
// moment.
func (r *rules) change(in plan.Input, wave []fleet.Step) {
	op := in.Operation
	if op.Kind == fleet.RecoverQuorum && !in.Observation.Quorum {
		r.recovers(in, wave)
		return
	}
	if op.Kind == fleet.RecoverQuorum || op.Kind == fleet.RestoreCluster {
		r.spreads(in, wave)
	}
	disturbed, reconfigured := 0, 0
	for _, s := range wave {
		switch s.Kind {
		case fleet.StopMember, fleet.RestartMember, fleet.RollBackMember, fleet.StopHost, fleet.RemoveMember:
			disturbed++
			r.disturbs(op, s)
		case fleet.ReleaseHost, fleet.DeleteDisk:
			r.destroys(op, s)
		case fleet.AddLearner, fleet.Promote, fleet.UpdateMember, fleet.MoveLeader:
			reconfigured++
			r.reconfigures(op, s)
		case fleet.LaunchHost:
			r.buys(in, s)
		}
		if s.Kind == fleet.RestartMember || s.Kind == fleet.StartMember {
			r.runs(op, s)
		}
	}
	if whole := op.Kind == fleet.StopCluster || op.Kind == fleet.StartCluster; !whole && disturbed+reconfigured > 1 {
		broken("%v: one wave disturbs or changes more than one member", wave)
	}
}

// buys judges the purchase of a host: no name is used again, and whoever was bought for
// and comes in is waited for, whether a list shows it or not.
func (r *rules) buys(in plan.Input, s fleet.Step) {
	if s.HostID != "" {
		return
	}
	again := slices.ContainsFunc(in.Purchases, func(p fleet.Step) bool { return p.Token == s.Token })
	if r.left[s.Member] && !again { // the same again gives what was bought, to be released
		broken("%s: %s was a member once", s, s.Member)
	}
	for _, p := range in.Purchases {
		idle := p.DiskID == "" && p.MemberID == 0 && !r.world.Member(p.Member) && !r.wrote[p.Member] && len(r.world.HostsOf(p.Member)) > 0
		if !again && s.DiskID == "" && p.Member != s.Member && idle {
			broken("%s: %s was bought for, and is not used", s, p.Member)
		}
	}
}

// runs judges whether a member could serve with the release that it is started with.
func (r *rules) runs(op fleet.Operation, s fleet.Step) {
	version := op.Spec.Etcd.Version
	if s.Run != nil {
		version = s.Run.Version
	}
	if !r.world.IsBad(version) && !r.world.Fits(s.Member, version) {
		broken("%s: etcd %s cannot serve with what is on its disk, in a cluster at %s", s, version, r.world.Minor())
	}
}

// disturbs judges a step that takes a member away, for a while or for ever.
func (r *rules) disturbs(op fleet.Operation, s fleet.Step) {
	voters, healthy, _ := r.world.Counts()
	voter, up := r.world.Voter(s.Member), r.world.Up(s.Member)
	if op.Kind == fleet.StopCluster {
		if s.Kind == fleet.StopMember && !op.Options.SkipFinalSnapshot && r.world.Snapshot() == nil {
			broken("%s: nothing was saved before", s)
		}
		return
	}
	if !r.world.Member(s.Member) {
		return // whatever runs there is nobody's
	}
	leaves := s.Kind == fleet.RemoveMember
	if voter && r.world.Healthy(s.Member) {
		healthy--
	}
	if voter && leaves {
		voters--
	}
	only := voter && voters == 1 && !leaves
	switch {
	case voter && leaves && healthy <= voters/2:
		broken("%s: of the %d voters that remain, %d are healthy", s, voters, healthy)
	case voter && up && !leaves && healthy <= voters/2 && (!only || !op.Options.AllowDowntime) && s.Kind != fleet.RollBackMember:
		broken("%s: of %d voters, %d stay healthy", s, voters, healthy)
	case voter && !only && r.world.Leader() == s.Member:
		broken("%s: it leads", s)
	case leaves && voter && r.world.Up(s.Member) && voters < min(r.voters, op.Spec.Voters):
		broken("%s: it is alive, and %d voters would be left of %d", s, voters, min(r.voters, op.Spec.Voters))
	case leaves && !voter && op.Kind == fleet.FailoverMember && r.world.Up(s.Member) && r.learners() <= op.Spec.Learners:
		broken("%s: it is alive", s)
	}
	if r.world.Up(s.Member) {
		r.undisturbed(s)
	}
}

func (r *rules) learners() int {
	_, _, learners := r.world.Counts()
	return learners
}

// undisturbed judges whether all others are well while a member that serves is
// disturbed.
func (r *rules) undisturbed(s fleet.Step) {
	for other := range r.taken {
		if other != s.Member {
			broken("%s: %s was taken down and is not back", s, other)
		}
	}
	for _, other := range r.world.Names() {
		if other != s.Member && !r.world.Settled(other) {
			broken("%s: %s is not healthy, or has not been for long", s, other)
		}
	}
}

// destroys judges a step that gives up a host or a disk.
func (r *rules) destroys(op fleet.Operation, s fleet.Step) {
	member := r.world.Member(s.Member)
	owner, id := r.world.Owner(s.DiskID)
	switch {
	case s.Kind == fleet.ReleaseHost && member && r.world.Running(s.Member) && slices.Contains(r.world.HostsOf(s.Member), s.HostID):
		broken("%s: its member is one, and runs", s)
	case s.Kind == fleet.ReleaseHost && member && op.Kind != fleet.FailoverMember:
		broken("%s: its member is one", s)
	case s.Kind == fleet.DeleteDisk && owner != "" && id != 0 && r.world.MemberID(owner) == id:
		broken("%s: it holds the data of %s, which is a member", s, owner)
	case s.Kind == fleet.DeleteDisk && owner != "" && r.world.Formed() && !r.world.Quorum():
		broken("%s: it holds data, and no quorum serves", s)
	}
}

// reconfigures judges a step that changes the membership or the leader.
func (r *rules) reconfigures(op fleet.Operation, s fleet.Step) {
	switch s.Kind {
	case fleet.AddLearner:
		for _, name := range r.world.Names() {
			if r.world.Voter(name) && !r.world.Up(name) {
				broken("%s: %s is a voter and is not up: etcd adds nobody before it is removed", s, name)
			}
			if run, known := r.world.Configured(name); known && r.learners() >= max(1, run.Settings.MaxLearners) {
				broken("%s: %s allows %d learners, and there are %d", s, name, run.Settings.MaxLearners, r.learners())
			}
		}
		if r.left[s.Member] {
			broken("%s: %s was a member once", s, s.Member)
		}
	case fleet.Promote:
		if r.world.Learner(s.Member) && !r.world.Healthy(s.Member) {
			broken("%s: it is not up and in sync", s)
		}
		if voters, _, _ := r.world.Counts(); r.world.Learner(s.Member) && voters > max(r.voters, op.Spec.Voters) {
			broken("%s: there are %d voters already", s, voters)
		}
	case fleet.UpdateMember:
		if r.world.Up(s.Member) {
			broken("%s: it serves where it is", s)
		}
	case fleet.MoveLeader:
		if !r.world.Voter(s.To) || !r.world.Healthy(s.To) {
			broken("%s to %s: that one is no voter that is up and in sync", s, s.To)
		}
	}
}
