package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// restoringLife is the life of a cluster that is brought back to backups in place, in any
// number of attempts, each of them ended anywhere, while things go on breaking; or that
// begins with one.
func (w *walk) restoringLife() {
	w.limit = 2
	w.backup = &fleet.Restore{Cluster: "others", UID: "u0", ID: "b1"}
	if w.once(3, "begins with a backup") {
		w.run(w.operation(fleet.CreateCluster, w.spec, fleet.Options{Restore: w.backup}), 1+w.choose(25, "waves"), true)
		w.calm()
		w.finishCreate(fleet.Options{Restore: w.backup})
	} else {
		w.calmCreate()
	}
	if w.phase == fleet.PhaseRunning {
		for range w.choose(3, "operations before") {
			w.idle()
			w.run(w.request(), 1+w.choose(25, "waves"), true)
		}
		if w.may(fleet.StartCluster) {
			w.calm()
			w.run(w.operation(fleet.StartCluster, w.spec, fleet.Options{}), enough, false)
		}
		for range 1 + w.choose(3, "rough restores") {
			w.idle()
			w.restoreRoughly()
		}
		w.calm()
		w.restoreCalmly()
	}
	w.takeDown()
}

// finishCreate goes on with a create that has options of its own, in calm weather.
func (w *walk) finishCreate(options fleet.Options) {
	op := w.operation(fleet.CreateCluster, w.spec, options)
	if e := w.run(op, enough, false); e.Verdict == fleet.VerdictDone {
		w.tally.done++
	} else if e.Verdict != fleet.VerdictBlocked || w.lost == 0 {
		broken("creating it from a backup is not done in calm weather: %s %s", e.Verdict, e.Reason)
	}
}

func (w *walk) restoreRoughly() {
	if !w.may(fleet.RestoreCluster) {
		return
	}
	op := w.restoration(true)
	if u := w.unfinished; u != nil && u.Kind == fleet.RestoreCluster && w.once(2, "resume") {
		op = w.resume()
	}
	w.run(op, 1+w.choose(20, "waves"), true)
}

// restoreCalmly has a restore come to its end: where any host answers that has its disk, the
// cluster is back after what is not seen was given up.
func (w *walk) restoreCalmly() {
	var last ending
	for range 3 {
		if !w.may(fleet.RestoreCluster) {
			return
		}
		able := slices.ContainsFunc(w.world.Observe().Hosts, func(h fleet.ObservedHost) bool {
			m := h.Report.Find(h.Member())
			return m != nil && m.Configured != nil && w.world.Observe().Disk(h.Member()) != nil && w.world.Observe().Disk(h.Member()).HostID == h.ID
		})
		op := w.restoration(false)
		last = w.run(op, enough, false)
		switch {
		case last.Verdict == fleet.VerdictDone:
			w.tally.done++
			w.fulfilled(op)
			return
		case last.Verdict == "":
			broken("%s is not over after %d waves in calm weather", op.Kind, enough)
		case !able, w.world.Quorum(): // who is dead of it is for a failover
			return
		case strings.Contains(last.Reason, "the restore has begun with"): // and one of them was lost: likewise
			return
		case w.made[op.Generation] && !w.quorumIsWhole(): // and what was made and is lost again, for a recovery
			return
		}
	}
	broken("hosts answer that have their disks, and nothing serves after three restores in calm weather: %s", last.Reason)
}

// quorumIsWhole says that so many voters have whole data where their hosts are that they
// are a quorum.
func (w *walk) quorumIsWhole() bool {
	whole, voters := 0, 0
	for _, name := range w.world.Names() {
		if w.world.Voter(name) {
			voters++
			if w.world.CanServe(name) {
				whole++
			}
		}
	}
	return whole > voters/2
}

// restoration is asked for by somebody honest, as a recovery is.
func (w *walk) restoration(careless bool) fleet.Operation {
	options := w.recovery(careless).Options
	w.ops-- // that one was not asked for
	options.Restore = w.backup
	return w.operation(fleet.RestoreCluster, w.spec, options)
}

// restoresInPlace judges what a restore does before what it makes serves.
func (r *rules) restoresInPlace(in plan.Input, d fleet.Decision) {
	options := in.Operation.Options
	for _, name := range options.Without {
		if r.world.Up(name) {
			return // the user was wrong, or is by now
		}
	}
	for _, s := range d.Wave {
		switch s.Kind {
		case fleet.StopMember, fleet.StopHost:
			if !r.made[in.Operation.Generation] && len(plan.Loss(in, d)) == 0 {
				broken("%s: nobody is told what is lost", s)
			}
		case fleet.RemoveMember, fleet.ReleaseHost, fleet.DeleteDisk:
			broken("%s: what is restored does not serve yet", s)
		case fleet.RestoreMember:
			for _, name := range r.world.Names() {
				if name != s.Member && r.world.Running(name) && !slices.Contains(options.Without, name) {
					broken("%s: %s runs", s, name)
				}
			}
		}
	}
	r.startsAlike(in, d.Wave)
}

// startsAlike judges that members which are started together, once an operation has made one
// from a backup and before a quorum serves, are of one history: all were made with it.
func (r *rules) startsAlike(in plan.Input, wave []fleet.Step) {
	if !r.made[in.Operation.Generation] {
		return
	}
	tokens := map[string]string{}
	for _, s := range wave {
		if m := in.Observation.Host(s.Member); s.Kind == fleet.StartMember && m != nil {
			token := ""
			if report := m.Report.Find(s.Member); report != nil && report.Restored != nil {
				token = report.Restored.Token
			}
			tokens[token] = s.Member
		}
	}
	if len(tokens) > 1 {
		broken("%v: members of different histories are started together: %v", wave, tokens)
	}
}

// Whatever breaks, and wherever an attempt ends, a restore stops nothing before it says what
// is lost, starts no two members of different histories, gives up nothing before what it
// made serves, and can be gone on with.
func TestRestoreBreaksNoRule(t *testing.T) {
	t.Parallel()
	tally := newTally()
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		if err := newWalk(choose, plan.Next, tally).live((*walk).restoringLife); err != nil {
			t.Fatal(err)
		}
	})
	tally.report(t)
	require.NotZero(t, tally.of(fleet.RestoreCluster).verdicts[fleet.VerdictDone])
}

// restoreMutants are restores with one mistake each, and the words of the rule that it breaks.
var restoreMutants = map[string]struct {
	breaks string
	next   planner
}{
	"restores beside members that run": {"runs", func(in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if in.Operation.Kind == fleet.RestoreCluster && len(d.Wave) > 1 && d.Wave[0].Kind == fleet.StopMember {
			d.Wave = d.Wave[:1]
			d.Wave[0].Kind, d.Wave[0].Restore = fleet.RestoreMember, in.Operation.Options.Restore
		}
		return d
	}},
	"starts what was made before all of it is": {"different histories", func(in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if in.Operation.Kind != fleet.RestoreCluster || len(d.Wave) == 0 || d.Wave[0].Kind != fleet.RestoreMember {
			return d
		}
		for _, h := range in.Observation.Hosts {
			if m := h.Report.Find(h.Member()); m != nil && m.Restored != nil && m.Restored.Token == d.Wave[0].Token {
				return fleet.Decision{Verdict: fleet.VerdictAct, Wave: []fleet.Step{
					{Kind: fleet.StartMember, Member: h.Member(), HostID: h.ID, Token: "x", Existing: true},
					{Kind: fleet.StartMember, Member: d.Wave[0].Member, HostID: d.Wave[0].HostID, Token: "y", Existing: true},
				}}
			}
		}
		d.Wave = d.Wave[:1]
		return d
	}},
	"gives up old disks first": {"does not serve yet", func(in plan.Input) fleet.Decision {
		d := plan.Next(in)
		if in.Operation.Kind == fleet.RestoreCluster && len(d.Wave) > 0 && d.Wave[0].Kind == fleet.RestoreMember {
			for _, disk := range in.Observation.Disks {
				if disk.HostID == "" {
					d.Wave = []fleet.Step{{Kind: fleet.DeleteDisk, Member: disk.Member(), DiskID: disk.ID, Token: "x"}}
				}
			}
		}
		return d
	}},
}

func TestRestoresWithAMistakeAreFound(t *testing.T) {
	for name, mutant := range restoreMutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			findMutant(t, name, mutant.breaks, "", (*walk).restoringLife, mutant.next)
		})
	}
}
