package plan

import (
	"fmt"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// restoreInPlace brings a cluster back to a backup, on the hosts and disks that it has. In
// this order:
//
//  1. whatever cannot be seen has been given up by name
//  2. the backup is read to its end: one that is damaged costs nobody a moment
//  3. nothing of it runs: what runs is stopped, and so are the hosts that do not answer
//  4. the voters-to-be are made from the backup, all of them alike, and what they had is
//     kept beside; no member is started before that
//  5. they are started together, as a cluster that no former member can take part in
//  6. it grows to its size, and what is left of the others is given up
//
// All voters are made from the backup, instead of one that grows: so it serves as soon as
// one would, with all its copies from the first write on, and nothing is bought.
func restoreInPlace(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	op := in.Operation
	if op.Options.Restore == nil {
		return blocked(fleet.Invalid, "no backup is named to restore %s from", op.Cluster)
	}
	if d := twins(in.Observation); d != nil {
		return *d
	}
	r := newRoster(in)
	chosen, d := r.toRestore()
	if d != nil {
		return *d
	}
	var left []seat
	for _, s := range chosen {
		if !s.restored(r.restoreToken()) {
			left = append(left, s)
		}
	}
	switch {
	case len(left) == 0 && in.Observation.Quorum:
		return change(in, goal{
			voters: op.Spec.Voters, learners: op.Spec.Learners,
			dead: func(seat) bool { return false }, // as after a recovery
			done: fmt.Sprintf("%s serves what was in %s", op.Cluster, op.Options.Restore),
		})
	case len(left) == 0:
		return r.startRestored(chosen)
	}
	for i := range in.Failures {
		f := &in.Failures[i]
		if f.Step.Kind == fleet.StopHost && r.isWithout(f.Step.Member) {
			continue
		}
		if d := r.asBefore(chosen); d != nil {
			return *d
		}
		return failedFor(f)
	}
	for _, next := range []func() *fleet.Decision{r.unseen, r.verify(chosen), r.stopAll, r.reopen} {
		if d := next(); d != nil {
			return *d
		}
	}
	var wave []fleet.Step
	for _, s := range left {
		wave = append(wave, r.restoreStep(s, chosen))
	}
	return act(wave...)
}

// asBefore starts what was stopped, if nothing was restored: a backup that cannot be
// restored must not leave the cluster without what it had.
func (r roster) asBefore(chosen []seat) *fleet.Decision {
	token := r.restoreToken()
	if slices.ContainsFunc(chosen, func(s seat) bool { return s.restored(token) }) {
		return nil
	}
	var wave []fleet.Step
	for _, s := range r.seats {
		if s.hasStopped() && r.in.failed(fleet.StartMember, s.name) == 0 {
			wave = append(wave, r.startAgain(s))
		}
	}
	if len(wave) == 0 {
		return nil
	}
	d := inTurn(wave...)
	return &d
}

// restoreToken names a restore beside the data that it makes. Whoever goes on with an
// operation goes on with its restore.
func (r roster) restoreToken() string { return r.in.restoreToken(r.in.Operation.Generation) }

func (in Input) restoreToken(scope string) string {
	return in.token(scope, fleet.RestoreMember, in.Operation.Options.Restore.ID, 0)
}

func (s seat) restored(token string) bool {
	m := s.report()
	return m != nil && m.Restored != nil && m.Restored.Token == token
}

// toRestore gives the members that are to be restored: those that this restore has begun
// with, or else as many as there are to be voters of those that can be.
func (r roster) toRestore() ([]seat, *fleet.Decision) {
	token := r.restoreToken()
	var names []string
	for _, s := range r.seats {
		if s.restored(token) {
			names = s.report().Restored.Members
		}
	}
	answer := func(d fleet.Decision) ([]seat, *fleet.Decision) { return nil, &d }
	var chosen []seat
	var gone, words []string
	for _, s := range r.seats {
		able := s.host != nil && s.disk != nil && s.report() != nil && s.report().Configured != nil
		switch {
		case names == nil && able && len(chosen) < r.in.Operation.Spec.Voters:
			chosen = append(chosen, s)
		case slices.Contains(names, s.name) && able:
			chosen = append(chosen, s)
		case slices.Contains(names, s.name) && r.in.Observation.Quorum: // it was restored, or there would be none
		case slices.Contains(names, s.name):
			gone, words = append(gone, s.name), append(words, fmt.Sprintf("the restore has begun with %s, and %s is not seen now", sentence(names), s.name))
		}
	}
	switch {
	case len(gone) > 0:
		return answer(r.needsWithout(gone, words))
	case len(chosen) == 0:
		return answer(wait("no host of %s that has its disk answers%s; bring one back and submit the operation again, or restore into a new cluster: flotilla restore %s --to NAME",
			r.in.Operation.Cluster, r.in.silent(), r.in.Operation.Cluster))
	case names != nil && len(chosen) < len(names) && !r.in.Observation.Quorum:
		return answer(wait("the restore has begun with %s, and not all of them are seen now; bring them back, or restore into a new cluster: flotilla restore %s --to NAME",
			sentence(names), r.in.Operation.Cluster))
	}
	return chosen, nil
}

// verify has the backup read to its end, unless some member was made from it already.
func (r roster) verify(chosen []seat) func() *fleet.Decision {
	return func() *fleet.Decision {
		token := r.restoreToken()
		if r.in.Verified || slices.ContainsFunc(chosen, func(s seat) bool { return s.restored(token) }) {
			return nil
		}
		d := act(r.in.step(fleet.VerifyBackup, ""))
		return &d
	}
}

// stopAll stops whatever of the cluster runs.
func (r roster) stopAll() *fleet.Decision {
	var wave []fleet.Step
	for _, s := range r.seats {
		switch h := s.host; {
		case s.keptRunning():
			wave = append(wave, r.step(fleet.StopMember, s))
		case h == nil || h.Report != nil || r.in.failed(fleet.StopHost, s.name) > 0:
		case h.State == fleet.HostRunning || h.State == fleet.HostPending:
			wave = append(wave, r.step(fleet.StopHost, s))
		}
	}
	if len(wave) == 0 {
		return nil
	}
	d := act(wave...)
	return &d
}

func endpointsOf(seats []seat) []fleet.Endpoint {
	all := make([]fleet.Endpoint, len(seats))
	for i, s := range seats {
		all[i] = EndpointOf(s.host.Host)
	}
	return all
}

func (r roster) restoreStep(s seat, all []seat) fleet.Step {
	step := r.startAs(fleet.RestoreMember, s)
	step.Token, step.Initial, step.Existing = r.restoreToken(), endpointsOf(all), false
	return step
}

// startRestored starts the members of a cluster that was restored.
func (r roster) startRestored(chosen []seat) fleet.Decision {
	for i, f := range r.in.Failures {
		if f.Step.Kind == fleet.StartMember {
			return failedFor(&r.in.Failures[i])
		}
	}
	var wave []fleet.Step
	for _, s := range chosen {
		if s.hasStopped() || s.report() != nil && s.report().State == fleet.MemberPrepared {
			step := r.startAgain(s)
			step.Initial = endpointsOf(chosen)
			wave = append(wave, step)
		}
	}
	if len(wave) > 0 {
		return inTurn(wave...)
	}
	return wait("%s was restored, and does not serve yet%s; if that does not pass, see why, and submit the operation again, or, if what was made is lost again: flotilla recover %s --from-backup",
		r.in.Operation.Cluster, r.in.silent(), r.in.Operation.Cluster)
}

// restores gives the step for every voter of a new cluster that is to begin with a backup
// and does not have it yet. None has been started then.
func (in Input) restores(voters []string) []fleet.Step {
	if in.Operation.Options.Restore == nil || in.Observation.Quorum {
		return nil
	}
	token := in.restoreToken(in.Operation.UID)
	var wave []fleet.Step
	for _, name := range voters {
		m := in.Observation.Host(name).Report.Find(name) // there is one: it is prepared
		if m.State != fleet.MemberPrepared || m.Restored != nil && m.Restored.Token == token {
			continue
		}
		step := in.memberStep(fleet.RestoreMember, name)
		step.Token, step.Initial = token, in.initial(voters)
		wave = append(wave, step)
	}
	return wave
}

// restoreLoss says what a restore in place loses, as long as it has not been done and the
// wave does more than to look at the backup.
func (r roster) restoreLoss(wave []fleet.Step) []string {
	op := r.in.Operation
	token := r.restoreToken()
	if wave[0].Looks() || slices.ContainsFunc(r.seats, func(s seat) bool { return s.restored(token) }) {
		return nil
	}
	return []string{
		fmt.Sprintf("%s goes back to %s", op.Cluster, op.Options.Restore),
		"lost: whatever was written since then; what its members have now is kept on their disks, and serves nobody",
	}
}
