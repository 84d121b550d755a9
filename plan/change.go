package plan

import (
	"cmp"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// goal is what an operation wants of a running cluster, in terms that one engine
// brings about, one member at a time.
type goal struct {
	voters, learners int
	// replace says that a member is to be replaced by a new one.
	replace func(seat) bool
	// first is what the cluster as a whole needs before its members are changed, or why
	// they cannot be.
	first *fleet.Decision
	// inPlace gives the next thing to do to a member where it is, or false when it is
	// as it should be.
	inPlace func(roster, seat) (fleet.Decision, bool)
	// dead says that a member is known to be dead, and to be replaced.
	dead func(seat) bool
	// mended says that a failure is one that the operation goes on after.
	mended func(fleet.Failure) bool
	// done is what to say at the end.
	done string
}

func (g goal) replaces(s seat) bool { return g.replace != nil && g.replace(s) }
func (g goal) isDead(s seat) bool   { return g.dead != nil && g.dead(s) }

// change brings a running cluster to a goal. Each look finds the one thing that has
// to happen next; what is begun is finished before anything else begins:
//
//  1. a member that did not come back is rolled back
//  2. what cannot be told stops everything, and so does a failure
//  3. a dead member leaves, or comes back on its disk
//  4. a member that we took down comes back, unless it is leaving
//  5. a voter too many leaves
//  6. what left gives up its host and disk
//  7. who comes in gets on: host, disk, learner, in sync, voter
//  8. whoever is missing or has to be replaced gets a successor
//  9. members are changed where they are, the leader last
func change(in Input, g goal) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	if d := r.guard(g); d != nil {
		return *d
	}
	if g.first != nil && g.first.Verdict == fleet.VerdictBlocked {
		return *g.first
	}
	for _, next := range []func(goal) *fleet.Decision{
		r.bury, r.forget, r.restore, r.dismiss, r.cleanUp, r.welcome, r.succeed, r.alter, r.cleanUpDead,
	} {
		if d := next(g); d != nil {
			return *d
		}
	}
	return done("%s", g.done)
}

// bury takes a dead member out of the membership, unless it can come back on its own
// disk. Removing comes first: etcd adds nobody while a voter is away.
func (r roster) bury(g goal) *fleet.Decision {
	var stays *fleet.Decision // dead, and not to be removed before others are back
	for _, s := range r.members() {
		if !g.isDead(s) {
			continue
		}
		if d := r.revive(g, s); d != nil {
			return d
		}
		if s.voter() && !r.quorumWithout(s, true) {
			d := blocked(fleet.Blocked, "%s is dead, and the healthy voters of %s would be no quorum without it; bring another one back, and submit the operation again",
				s.name, r.in.Operation.Cluster)
			stays = &d
			continue
		}
		d := act(r.step(fleet.RemoveMember, s))
		return &d
	}
	return stays
}

// restore brings back a member that does not answer, if we know why it does not. One
// that is leaving is not brought back, and one that comes in is welcomed.
func (r roster) restore(g goal) *fleet.Decision {
	leaving, _ := r.leaving(g)
	var doubt *fleet.Decision
	for _, s := range r.members() {
		if s.inSync() || g.isDead(s) || r.comesIn(s) || s.nameless() || s.name == leaving.name || r.passedOver(s) {
			continue
		}
		if i := slices.IndexFunc(r.in.Failures, func(f fleet.Failure) bool {
			return f.Step.Member == s.name && r.doesNotStart(f)
		}); i >= 0 {
			d := wait("%s does not start (%s); it is replaced once it is known to be dead", s.name, r.in.Failures[i].Message)
			doubt = &d
			continue
		}
		d := r.bringBack(s)
		return &d
	}
	return doubt
}

// bringBack is the next step towards a member that serves where its disk is.
func (r roster) bringBack(s seat) fleet.Decision {
	h := s.host
	switch {
	case s.etcd != nil && s.etcd.Answers:
		return act(r.step(fleet.AwaitInSync, s))
	case h == nil:
		return wait("%s does not answer, and no host of it is seen; if it is dead: flotilla failover %s %s", s.name, r.in.Operation.Cluster, s.name)
	case h.State == fleet.HostStopped && h.Type != r.machineOf(s).Type && r.resizes():
		step := r.step(fleet.ResizeHost, s)
		step.Type = r.machineOf(s).Type
		return act(step)
	case h.State == fleet.HostStopped:
		return act(r.step(fleet.StartHost, s))
	case h.State == fleet.HostPending:
		return act(r.step(fleet.LaunchHost, s))
	case h.State != fleet.HostRunning:
		return wait("host %s of %s is %s", h.ID, s.name, h.State)
	case h.Report == nil:
		return wait("neither %s nor its host answers (%s); if it is dead: flotilla failover %s %s", s.name, h.Silent, r.in.Operation.Cluster, s.name)
	case s.disk == nil && r.revived(s): // not visible yet, or lost: its attachment tells which
		step := r.step(fleet.AttachDisk, s)
		step.DiskID = r.purchased(s.name, true).DiskID
		return act(step)
	case s.disk == nil:
		return wait("%s does not answer, and no disk of it is seen; if it is lost: flotilla failover %s %s", s.name, r.in.Operation.Cluster, s.name)
	case s.disk.HostID != h.ID || s.disk.State != fleet.DiskInUse:
		return act(r.step(fleet.AttachDisk, s))
	case !prepared(r.in.Observation, r.release(), s.name) && !isPrepared(s):
		return act(r.prepareStep(s))
	case s.etcd != nil && len(s.etcd.PeerURLs) > 0 && !slices.Contains(s.etcd.PeerURLs, EndpointOf(h.Host).PeerURL()):
		return act(r.step(fleet.UpdateMember, s))
	case s.stopped() && h.Type != r.machineOf(s).Type && r.resizes():
		return act(r.step(fleet.StopHost, s))
	case s.stopped():
		return act(r.startAgain(s))
	case r.isChanged(s):
		return act(r.startAs(fleet.RestartMember, s))
	case s.crashes() && r.revived(s): // its start says why, and fails in the end
		return act(r.startAgain(s))
	case s.crashes():
		return wait("the process of %s ends again and again (%s); see why, or, if it is lost: flotilla failover %s %s",
			s.name, cmp.Or(s.report().LastExit, "it does not say why"), r.in.Operation.Cluster, s.name)
	}
	return act(r.step(fleet.AwaitInSync, s))
}

// isPrepared says that a member could be started as it is configured.
func isPrepared(s seat) bool {
	m := s.report()
	if m == nil || m.CertifiedUntil.IsZero() || m.Configured == nil {
		return false
	}
	return slices.Contains(s.host.Report.Releases, m.Configured.Version)
}

// machineOf is what a member that has a host or a disk is to run on.
func (r roster) machineOf(s seat) fleet.MachineSpec {
	zone := ""
	switch {
	case s.host != nil:
		zone = s.host.Zone
	case s.disk != nil:
		zone = s.disk.Zone
	}
	return r.in.Operation.Spec.MachineIn(zone)
}

// resizes says that machine types are changed where the hosts are.
func (r roster) resizes() bool {
	return r.in.Operation.Kind == fleet.UpscaleCluster && r.in.Operation.Spec.Machine.Change == fleet.ResizeMachine
}

// alter changes members where they are: learners first, the leader last.
func (r roster) alter(g goal) *fleet.Decision {
	switch {
	case g.first != nil:
		return g.first
	case g.inPlace == nil:
		return nil
	}
	order := slices.Concat(r.learners(), r.voters())
	rank := func(s seat) int {
		switch {
		case s.learner():
			return 0
		case r.leads(s):
			return 2
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b seat) int { return rank(a) - rank(b) })
	for _, s := range order {
		if d, pending := g.inPlace(r, s); pending {
			return &d
		}
	}
	return nil
}

// Left says in words what an operation that ended early left half done.
func Left(in Input) []string {
	in.Observation = own(in.Observation, in.Operation.UID)
	r := newRoster(in)
	if len(in.Observation.Members) == 0 || in.Operation.Kind == fleet.BackupCluster { // what is half done beside it is not its own
		return nil
	}
	var left []string
	say := func(words ...string) { left = append(left, strings.Join(words, "")) }
	for _, s := range r.seats {
		switch {
		case !s.member() && s.host != nil:
			say("host ", s.host.ID, " of ", s.name, " is there, and ", s.name, " is no member")
		case !s.member() && s.disk != nil:
			say("disk ", s.disk.ID, " of ", s.name, " is there, and ", s.name, " is no member")
		case s.learner() && r.comesIn(s):
			say(s.name, " is a learner, and was to get a vote")
		case s.member() && s.stopped():
			say(s.name, " is stopped")
		case s.member() && !s.inSync():
			say(s.name, " does not answer or is behind")
		}
	}
	if extra := len(r.voters()) - in.Operation.Spec.Voters; extra > 0 && in.Operation.Kind != fleet.ScaleCluster {
		say("there are more voters than the spec has: one was to leave")
	}
	return left
}
