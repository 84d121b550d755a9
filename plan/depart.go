package plan

import (
	"cmp"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// leaving gives the voter that leaves next, if there is one too many: one that is to be
// replaced first, then a stopped one, then one that is not healthy, then one from the most
// crowded zone; the leader only when no other will do, the newest of those that are alike.
func (r roster) leaving(g goal) (seat, bool) {
	if len(r.voters()) <= g.voters {
		return seat{}, false
	}
	return r.mostExpendable(g, r.voters()), true
}

func (r roster) mostExpendable(g goal, among []seat) seat {
	crowd := map[string]int{}
	for _, s := range among {
		if s.host != nil {
			crowd[s.host.Zone]++
		}
	}
	rank := func(s seat) []int {
		zone := 0
		if s.host != nil {
			zone = crowd[s.host.Zone]
		}
		return []int{truth(g.replaces(s)), truth(s.stopped()), truth(!s.inSync()), truth(!r.leads(s)), zone, s.number}
	}
	return slices.MaxFunc(among, func(a, b seat) int {
		return cmp.Or(slices.Compare(rank(a), rank(b)), cmp.Compare(a.name, b.name))
	})
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// dismiss takes who is one too many out of the membership.
func (r roster) dismiss(g goal) *fleet.Decision {
	if s, ok := r.leaving(g); ok {
		d := r.leave(g, s)
		return &d
	}
	if s, ok := r.surplusLearner(g); ok {
		step := r.step(fleet.RemoveMember, s)
		d := act(step)
		if s.inSync() {
			d = r.touch(s, is(s), nil, step)
		}
		return &d
	}
	return nil
}

// leave is the next step towards a voter's end: the leader moves, the process stops
// as etcd stops by itself, finishing what it has in hand, and then it is removed. A
// process that is needed for the quorum until then is removed first.
func (r roster) leave(g goal, s seat) fleet.Decision {
	remove := r.step(fleet.RemoveMember, s)
	switch {
	case !r.quorumWithout(s, true):
		return wait("%s cannot leave: the healthy voters would be no quorum without it", s.name)
	case s.stopped() || s.crashes() || g.isDead(s):
		return act(remove)
	case !s.etcd.Answers:
		return wait("%s is to leave, and does not answer; if it is dead: flotilla failover %s %s", s.name, r.in.Operation.Cluster, s.name)
	case r.quorumWithout(s, false):
		return r.touch(s, is(s), g.replaces, r.step(fleet.StopMember, s))
	}
	return r.touch(s, is(s), g.replaces, remove)
}

// forget removes a member that was added and can never start, because its host is
// gone. As long as a purchase is not seen, it may be that one's.
func (r roster) forget(goal) *fleet.Decision {
	for _, p := range r.in.Purchases {
		if s, _ := r.find(p.Member); s.host == nil && p.MemberID == 0 && !r.lostHost(p.Member) {
			return nil
		}
	}
	for _, s := range r.learners() {
		if s.nameless() || s.host == nil && r.comesIn(s) && r.givenUp(s) {
			d := act(r.step(fleet.RemoveMember, s))
			return &d
		}
	}
	return nil
}

// lostHost says that the host which was bought for a member is known to be lost.
func (r roster) lostHost(member string) bool {
	return slices.ContainsFunc(r.in.Failures, func(f fleet.Failure) bool {
		return f.Step.Kind == fleet.LaunchHost && f.Step.Member == member && f.Kind == fleet.Lost
	})
}

// surplusLearner gives a learner that the goal has no place for, or one whose
// successor is in sync.
func (r roster) surplusLearner(g goal) (seat, bool) {
	comers, promote := r.active(g)
	var spare, ready []seat
	for _, s := range r.learners() {
		switch {
		case is(comers...)(s) && promote && s.name == comers[0].name: // will be a voter
		case s.inSync() && !g.replaces(s):
			ready = append(ready, s)
		case g.replaces(s):
			spare = append(spare, s)
		}
	}
	switch {
	case len(ready) > g.learners:
		return r.mostExpendable(g, ready), true
	case len(spare) > 0 && len(ready)+len(spare) > g.learners:
		return r.mostExpendable(g, spare), true
	}
	return seat{}, false
}

// cleanUp gives up hosts and then disks that belong to no member and to nobody who
// comes in. A failover does that last: who comes in is more urgent.
func (r roster) cleanUp(g goal) *fleet.Decision {
	if g.dead != nil {
		return nil
	}
	return r.giveUp(g)
}

func (r roster) cleanUpDead(g goal) *fleet.Decision {
	if g.dead == nil {
		return nil
	}
	return r.giveUp(g)
}

func (r roster) giveUp(g goal) *fleet.Decision {
	comers, _ := r.active(g)
	var hosts, disks []fleet.Step
	for _, s := range r.seats {
		switch {
		case s.member() || is(comers...)(s):
		case s.host != nil:
			hosts = append(hosts, r.step(fleet.ReleaseHost, s))
		case s.disk != nil:
			disks = append(disks, r.step(fleet.DeleteDisk, s))
		}
	}
	for _, wave := range [][]fleet.Step{hosts, disks} {
		if len(wave) > 0 {
			d := act(wave...)
			return &d
		}
	}
	return nil
}

// successorOf gives the member that is replaced next: a follower before the leader.
func (r roster) successorOf(g goal) (seat, bool) {
	var all []seat
	for _, s := range slices.Concat(r.voters(), r.learners()) {
		if g.replaces(s) {
			all = append(all, s)
		}
	}
	if len(all) == 0 {
		return seat{}, false
	}
	return r.mostExpendable(g, all), true
}
