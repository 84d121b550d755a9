package plan

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// guard gives what comes before anything that an operation wants: a member that did
// not come back is rolled back, and what cannot be told, or failed, stops everything.
func (r roster) guard(g goal) *fleet.Decision {
	in, obs := r.in, r.in.Observation
	answer := func(d fleet.Decision) *fleet.Decision { return &d }
	if d := twins(obs); d != nil {
		return d
	}
	if d := r.rollBack(); d != nil {
		return d
	}
	for i, f := range in.Failures {
		switch f.Step.Kind {
		case fleet.RollBackMember:
			return answer(stuckAt(&in.Failures[i]))
		case fleet.RestartMember:
			if !r.isMended(f) && !r.moot(f) {
				return answer(r.rolledBack(f))
			}
		}
	}
	if f := r.unmended(g); f != nil {
		return answer(stuckAt(f))
	}
	if len(obs.Members) == 0 || !obs.Quorum {
		return answer(r.withoutQuorum())
	}
	return r.outOfReach(g)
}

// withoutQuorum is what may be done while no quorum answers, so that it is not known
// who is a member: nobody is taken away, and whoever is known to be stopped is started,
// or restarted where it was changed and does not serve since.
// Who of them has left meanwhile is told so by its peers, and ends.
func (r roster) withoutQuorum() fleet.Decision {
	cluster := r.in.Operation.Cluster
	if d := r.onlyVoter(); d != nil {
		return *d
	}
	if r.enoughRun() {
		return wait("no quorum of %s answers, but enough of its members run to be one%s; if that does not pass, see why they do not serve",
			cluster, r.in.silent())
	}
	var hosts, members []fleet.Step
	for _, s := range r.seats {
		switch {
		case s.host == nil || s.disk == nil || s.disk.HostID != s.host.ID:
		case s.host.State == fleet.HostStopped:
			hosts = append(hosts, r.step(fleet.StartHost, s))
		case s.hasStopped(), r.isMoved(s):
			members = append(members, r.startAgain(s))
		}
	}
	switch {
	case len(hosts) > 0:
		return act(hosts...)
	case len(members) > 0:
		return inTurn(members...)
	}
	for _, s := range r.seats {
		if r.isChanged(s) {
			return act(r.startAs(fleet.RestartMember, s))
		}
	}
	if r.mayElect() {
		return wait("no quorum of %s answers, but enough of its members run to be one, or are being restarted%s; if that does not pass, see why they do not serve",
			cluster, r.in.silent())
	}
	return blocked(fleet.Blocked, "no quorum of %s answers%s, so nothing about it may be changed; "+
		"bring its members back, and submit the operation again", cluster, r.in.silent())
}

// onlyVoter goes on with what an operation does to the only voter of a cluster, as its
// user allowed: there is no quorum before it is back. Somebody new who was stopped may have
// become the voter instead.
func (r roster) onlyVoter() *fleet.Decision {
	op := r.in.Operation
	if op.Before == nil || op.Before.Voters != 1 || op.Spec.Voters != 1 || !op.Options.AllowDowntime ||
		slices.ContainsFunc(r.seats, func(s seat) bool { return s.number >= op.Since && s.down() }) {
		return nil
	}
	for _, s := range r.seats {
		taken := s.down() && s.number < op.Since
		if taken || r.isChanged(s) {
			d := r.bringBack(s)
			return &d
		}
	}
	return nil
}

// down says that a member's host or its process was stopped, and it has its disk.
func (s seat) down() bool {
	return s.host != nil && s.disk != nil && (s.host.State == fleet.HostStopped || s.hasStopped())
}

// isChanged says that a member runs otherwise than before the operation, and does not
// serve: an operation that stopped half way may have left it so. Restarting it again shows
// whether it comes back; if not, it is rolled back.
func (r roster) isChanged(s seat) bool {
	m := s.report()
	return m != nil && m.Configured != nil && s.keptRunning() && !m.Ready && (s.etcd == nil || !s.etcd.Answers) &&
		r.in.Operation.Before != nil && s.number < r.in.Operation.Since && !same(*m.Configured, r.formerly())
}

// isMoved says that a member that was there before was brought to another host with its
// disk, and only has to be started there, as all run.
func (r roster) isMoved(s seat) bool {
	op, m := r.in.Operation, s.report()
	return m != nil && m.State == fleet.MemberPrepared && !m.CertifiedUntil.IsZero() && s.number > 0 && s.number < op.Since &&
		op.Before != nil && op.Before.Etcd == op.Spec.Etcd && slices.Contains(s.host.Report.Releases, op.Spec.Etcd.Version)
}

// hasStopped says that a member ran once where it is, and was stopped.
func (s seat) hasStopped() bool {
	m := s.report()
	return m != nil && m.State == fleet.MemberStopped
}

// startAgain starts a member that was there before, as it ran then; where that is not
// known, as the others run.
func (r roster) startAgain(s seat) fleet.Step { return r.startAs(fleet.StartMember, s) }

func (r roster) startAs(kind fleet.StepKind, s seat) fleet.Step {
	step := r.startStep(kind, s)
	if len(r.members()) == 0 {
		step.Initial = r.everyone()
	}
	if run, known := s.configured(); known {
		step.Run = &run
	} else {
		step.Run = r.run()
	}
	return step
}

// mayElect says that as many voters as a quorum needs are kept running by their hosts,
// which say so themselves: they may answer at the next look. Hosts do not know who has
// a vote: as long as the members are those of the create, their numbers tell, and
// afterwards as many as there are learners do not count.
func (r roster) mayElect() bool {
	spec := r.in.Operation.Spec
	if r.in.Operation.Before != nil {
		spec = *r.in.Operation.Before
	}
	voters := 0
	for _, s := range r.seats {
		voters += truth(s.keptRunning() && (r.changed(spec) || s.number <= spec.Voters))
	}
	if r.changed(spec) {
		voters -= spec.Learners
	}
	return voters >= spec.Voters/2+1
}

// enoughRun says the same, and for sure: whoever may be a learner does not count, nor a
// process that is being restarted or that does not serve as it was changed, and everyone there is may have a vote once there are
// others than those of the create.
func (r roster) enoughRun() bool {
	spec, before := r.in.Operation.Spec, r.in.Operation.Spec
	if r.in.Operation.Before != nil {
		before = *r.in.Operation.Before
	}
	running, there := 0, 0
	for _, s := range r.seats {
		running += truth(s.keptRunning() && !s.crashes() && !r.isChanged(s))
		there += truth(s.host != nil)
	}
	learners := max(spec.Learners, before.Learners) + truth(r.changed(before))
	voters := max(spec.Voters, before.Voters)
	if r.changed(before) {
		voters = max(voters, there)
	}
	return running-learners >= voters/2+1
}

// keptRunning says that a member's host keeps its process running.
func (s seat) keptRunning() bool {
	m := s.report()
	return m != nil && (m.State == fleet.MemberRunning || m.State == fleet.MemberRestarting)
}

// changed says that there are others than the members that the cluster was created with.
func (r roster) changed(spec fleet.Spec) bool {
	return slices.ContainsFunc(r.seats, func(s seat) bool { return s.number == 0 || s.number > spec.Voters+spec.Learners })
}

// unmended gives the first failure that the operation cannot go on after. What failed on
// a member that has left, short of ending it, does not matter any more.
func (r roster) unmended(g goal) *fleet.Failure {
	others := r.in
	others.Failures = slices.DeleteFunc(slices.Clone(r.in.Failures), func(f fleet.Failure) bool {
		return r.moot(f) || r.isMended(f) || g.mended != nil && g.mended(f)
	})
	return others.fatal()
}

func (r roster) moot(f fleet.Failure) bool {
	switch f.Step.Kind {
	case fleet.RemoveMember, fleet.ReleaseHost, fleet.DeleteDisk:
		return false
	}
	s, _ := r.find(f.Step.Member)
	return f.Step.Member != "" && len(r.in.Observation.Members) > 0 && !s.member() && !r.comesIn(s)
}

// rollBack restarts a member as it ran before, when it did not come back otherwise. That
// needs no quorum: it may be the one that is missing.
func (r roster) rollBack() *fleet.Decision {
	for _, f := range r.in.Failures {
		if !r.canRollBack(f) {
			continue
		}
		s, _ := r.find(f.Step.Member)
		was := r.before(f)
		if !s.installed(was.Version) && r.in.failed(fleet.PrepareHost, s.name) == 0 {
			// It never ran that: it came in while an operation was half way to another one.
			d := act(r.install(s, was.Version))
			return &d
		}
		step := r.startStep(fleet.RollBackMember, s)
		step.Run = &was
		d := act(step)
		if s.member() && s.etcd.Answers { // it serves, and is behind
			d = r.touch(s, is(s), nil, step)
		}
		return &d
	}
	return nil
}

// canRollBack says that a failure is of a member that did not come back with what it
// was restarted with, and has not been rolled back.
func (r roster) canRollBack(f fleet.Failure) bool {
	op := r.in.Operation
	if f.Step.Kind != fleet.RestartMember || op.Before == nil || r.in.failed(fleet.RollBackMember, f.Step.Member) > 0 {
		return false
	}
	s, _ := r.find(f.Step.Member)
	now, known := s.configured()
	gone := len(r.in.Observation.Members) > 0 && !s.member()
	return known && !gone && !s.inSync() && !same(now, r.before(f)) && r.couldServe(r.before(f).Version)
}

// same says whether two configurations differ in more than who had the member restarted.
func same(a, b fleet.MemberConfig) bool { return a.Version == b.Version && a.Settings == b.Settings }

// couldServe says that a release is not too old for the cluster: some other member that
// answers runs no newer minor, so that the cluster as a whole works at none.
func (r roster) couldServe(version string) bool {
	answer := false
	for _, s := range r.members() {
		if !s.etcd.Answers {
			continue
		}
		answer = true
		if number(s.etcd.Version) <= number(version) {
			return true
		}
	}
	return !answer
}

// isMended says that a member did not come back with what an operation before this one
// had left it with, and serves again as it did before that, or was stopped since: as this
// one wants it.
func (r roster) isMended(f fleet.Failure) bool {
	op := r.in.Operation
	if f.Step.Kind != fleet.RestartMember || op.Before == nil || op.Spec.Etcd != op.Before.Etcd {
		return false
	}
	if op.Kind == fleet.RollCluster && (f.Step.Run == nil || same(*f.Step.Run, r.formerly())) {
		return false // that is what it is to do
	}
	s, _ := r.find(f.Step.Member)
	now, known := s.configured()
	return known && (s.inSync() || s.stopped()) && same(now, r.before(f))
}

// before is how a member ran before a restart that failed: as it was seen then, or, where
// an operation before this one had changed it already, or to a release that is too old
// by now, as all did before the operation.
func (r roster) before(f fleet.Failure) fleet.MemberConfig {
	if was := f.Step.Was; was != nil && f.Step.Run != nil && !same(*was, *f.Step.Run) && r.couldServe(was.Version) {
		return *was
	}
	return r.formerly()
}

// formerly is how members ran before the operation.
func (r roster) formerly() fleet.MemberConfig {
	before := r.in.Operation.Before
	return fleet.MemberConfig{Version: before.Etcd.Version, Settings: before.Etcd.EtcdSettings}
}

// rolledBack ends an operation whose member did not come back with what it was given.
func (r roster) rolledBack(f fleet.Failure) fleet.Decision {
	s, _ := r.find(f.Step.Member)
	if now, known := s.configured(); known && s.inSync() && r.in.Operation.Before != nil && same(now, r.before(f)) {
		return blocked(f.Kind, "%s failed: %s; %s was rolled back and serves as before (etcd %s); mend that and submit the operation again, which goes on from here",
			f.Step, f.Message, s.name, now.Version)
	}
	return stuckAt(&f)
}
