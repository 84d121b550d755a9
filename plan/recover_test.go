package plan_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// lossyLife is the life of a cluster that loses its quorum in the middle of whatever is
// done to it, and is recovered, in any number of attempts, while things go on breaking.
func (w *walk) lossyLife() {
	w.limit = 2
	w.calmCreate()
	if w.phase == fleet.PhaseRunning {
		for range w.choose(3, "operations before") {
			w.idle()
			w.run(w.request(), 1+w.choose(25, "waves"), true)
		}
		if w.may(fleet.StartCluster) { // a stopped cluster has not lost its quorum
			w.calm()
			w.run(w.operation(fleet.StartCluster, w.spec, fleet.Options{}), enough, false)
		}
		w.world.Candid()
		stored := w.once(2, "a backup is stored")
		if stored {
			w.world.Record()
			w.world.Write()
			if w.once(2, "changes are recorded") {
				w.world.Record()
			}
		}
		w.loseQuorum()
		for range w.choose(3, "rough recoveries") {
			w.idle()
			if w.may(fleet.RecoverQuorum) {
				w.run(w.recovery(true), 1+w.choose(30, "waves"), true)
			}
		}
		w.calm()
		for attempt := range 3 { // what is seen of it in the end may need another word of the user's
			if !w.may(fleet.RecoverQuorum) || w.world.Quorum() {
				break
			}
			op := w.recovery(false)
			if u := w.unfinished; attempt > 0 && stored && u != nil && u.Options.FromBackup == "" && u.Kind == fleet.RecoverQuorum {
				w.ops--
				op.Options.FromBackup = fleet.NewestBackup // what came of the attempt before is not to be gone on with
				op = w.operation(fleet.RecoverQuorum, w.spec, op.Options)
			}
			e := w.run(op, enough, false)
			if e.Verdict == fleet.VerdictDone {
				w.tally.done++
				w.fulfilled(op)
				break
			}
			if e.Verdict == "" {
				broken("%s is not over after %d waves in calm weather", op.Kind, enough)
			}
		}
		if w.may(fleet.RecoverQuorum) && !w.world.Quorum() && w.recoverable() {
			broken("a member has whole data where its host answers, and no quorum serves after three recoveries in calm weather")
		}
		if w.may(fleet.RecoverQuorum) && !w.world.Quorum() && stored {
			broken("a backup is stored, and no quorum serves after three recoveries in calm weather")
		}
	}
	w.takeDown()
}

// loseQuorum breaks voters until no quorum is left.
func (w *walk) loseQuorum() {
	for _, name := range w.world.Names() {
		if !w.world.Quorum() {
			return
		}
		if !w.world.Voter(name) || w.once(3, "spared") {
			continue
		}
		hosts, disks := w.world.HostsOf(name), w.world.DisksOf(name)
		fault := w.choose(6, "how it is lost")
		w.say("    fault: %s is lost (%d)", name, fault)
		switch {
		case fault == 0 && len(disks) > 0:
			w.world.LoseDisk(disks[0])
		case fault == 1 && len(disks) > 0:
			w.world.SpoilData(disks[0])
		case fault == 2 && len(hosts) > 0:
			w.world.HaltHost(hosts[0])
		case fault == 3 && len(hosts) > 0:
			w.world.Cut(hosts[0])
		case fault == 4:
			w.world.StopProcess(name)
		case len(hosts) > 0:
			w.world.LoseHost(hosts[0])
			w.lost++
		}
	}
}

// recovery is asked for by somebody honest: given up is only what does not serve.
func (w *walk) recovery(careless bool) fleet.Operation {
	obs := w.world.Observe()
	var without []string
	names := w.world.Names()
	for _, h := range obs.Hosts {
		names = append(names, h.Member())
	}
	for _, d := range obs.Disks {
		names = append(names, d.Member())
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		h := obs.Host(name)
		if h != nil && h.Report != nil && obs.Disk(name) == nil && !w.world.Up(name) {
			without = append(without, name)
		}
		if (h == nil || h.Report == nil) && !w.world.Up(name) && (h == nil || h.State != fleet.HostRunning || !w.world.Running(name)) {
			without = append(without, name)
		}
	}
	if careless && len(without) > 0 && w.once(6, "one is not given up") {
		without = without[1:]
	}
	from := ""
	if careless && w.once(6, "from a backup") {
		from = fleet.NewestBackup
	}
	return w.operation(fleet.RecoverQuorum, w.spec, fleet.Options{Without: without, FromBackup: from, AcceptLoss: true})
}

// recoverable says that some member could be recovered from.
func (w *walk) recoverable() bool {
	obs := w.world.Observe()
	return slices.ContainsFunc(w.world.Names(), func(name string) bool {
		h := obs.Host(name)
		return (w.world.Voter(name) || w.world.Learner(name) && w.world.HasData(name)) && w.world.CanServe(name) && h != nil && h.Report != nil
	})
}

// recovers judges what a recovery does while no quorum was seen.
func (r *rules) recovers(in plan.Input, wave []fleet.Step) {
	options := in.Operation.Options
	for _, name := range options.Without {
		if r.world.Up(name) {
			return // the user was wrong, or is by now
		}
	}
	for _, s := range wave {
		switch s.Kind {
		case fleet.StopMember, fleet.StopHost:
			if r.world.Quorum() {
				broken("%s: a quorum serves", s)
			}
		case fleet.RemoveMember, fleet.ReleaseHost, fleet.DeleteDisk, fleet.RestartMember:
			broken("%s: no quorum was seen", s)
		case fleet.RecoverMember:
			r.recoversFrom(in, s)
		case fleet.RestoreMember:
			r.recoversFromBackup(in, s)
		}
	}
	r.startsAlike(in, wave)
}

// spreads judges that whoever comes in after a recovery goes to a zone that has the fewest
// members of those that did not refuse it: whatever died there before.
func (r *rules) spreads(in plan.Input, wave []fleet.Step) {
	spec := in.Operation.Spec
	if slices.ContainsFunc(in.Observation.Members, func(m fleet.ObservedMember) bool { return m.Name == "" }) {
		return // it is not known where that one is
	}
	for _, s := range wave {
		again := slices.ContainsFunc(in.Purchases, func(p fleet.Step) bool { return p.Token == s.Token })
		if s.Kind != fleet.LaunchHost || s.HostID != "" || again {
			continue
		}
		there := map[string]int{}
		for _, h := range in.Observation.Hosts {
			if in.Observation.Member(h.Member()) != nil {
				there[h.Zone]++
			}
		}
		zones := spec.Zones
		if !slices.Contains(zones, s.Zone) {
			zones = spec.LearnerZones()
		}
		for _, zone := range zones {
			refused := slices.ContainsFunc(in.Failures, func(f fleet.Failure) bool {
				return f.Step.Kind == fleet.LaunchHost && f.Kind == fleet.OutOfCapacity && f.Step.Member == s.Member && f.Step.Zone == zone
			})
			if !refused && there[zone] < there[s.Zone] {
				broken("%s: zone %s has %d members, and %s has %d", s, s.Zone, there[s.Zone], zone, there[zone])
			}
		}
	}
}

// recoversFromBackup judges that a member's data is made from a backup only where nobody's
// data is whole that could be seen, or where its user says so, and while nobody runs.
func (r *rules) recoversFromBackup(in plan.Input, s fleet.Step) {
	begun := r.made[in.Operation.Generation]
	for _, name := range r.world.Names() {
		if r.world.Running(name) && !slices.Contains(in.Operation.Options.Without, name) {
			broken("%s: %s runs", s, name)
		}
		h := in.Observation.Host(name)
		if h != nil && h.Report != nil && r.world.HasData(name) && !r.world.Fresh(name) && in.Operation.Options.FromBackup == "" && !begun {
			broken("%s: %s is whole", s, name)
		}
	}
}

// recoversFrom judges the choice of the survivor: nobody else runs who votes, so many are
// not whole that they would be a quorum, and no other that could be seen has more.
func (r *rules) recoversFrom(in plan.Input, s fleet.Step) {
	whole, voters := 0, 0
	for _, name := range r.world.Names() {
		if !r.world.Voter(name) {
			continue
		}
		voters++
		if name != s.Member && r.world.Running(name) && !slices.Contains(in.Operation.Options.Without, name) {
			broken("%s: %s runs", s, name)
		}
		h := in.Observation.Host(name)
		if h == nil || h.Report == nil || r.world.HalfMade() && r.world.Fresh(name) {
			continue // what an attempt began to make of a backup, and never served, is nobody's data
		}
		if r.world.HasData(name) {
			whole++
		}
		if r.world.Furthest(name) && !r.world.Furthest(s.Member) {
			broken("%s: %s has what was acknowledged, and it has not", s, name)
		}
		if r.world.Furthest(name) && r.world.Learner(s.Member) {
			broken("%s: %s has a vote and as much", s, name)
		}
	}
	if !r.world.Voter(s.Member) && !r.world.Learner(s.Member) && whole > 0 { // who was removed is better than nobody
		broken("%s: it is no member, and %d are whole", s, whole)
	}
	if whole > voters/2 {
		broken("%s: %d of %d voters are whole, which is a quorum", s, whole, voters)
	}
}

// Whatever is broken when a quorum is lost, a recovery never starts beside a living
// quorum, takes who is furthest, and brings the cluster back where anybody is whole.
func TestRecoveryBreaksNoRule(t *testing.T) {
	t.Parallel()
	tally := newTally()
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		if err := newWalk(choose, plan.Next, tally).live((*walk).lossyLife); err != nil {
			t.Fatal(err)
		}
	})
	tally.report(t)
	require.NotZero(t, tally.of(fleet.RecoverQuorum).verdicts[fleet.VerdictDone])
}
