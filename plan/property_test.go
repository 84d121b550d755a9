package plan_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// The lives that are lived are the same in every run, so that what fails is what was
// changed. FLOTILLA_WHOLE=1 lives others, and many more.
func TestMain(m *testing.M) {
	settings := map[string]string{"rapid.checks": "600", "rapid.seed": "1", "rapid.shrinktime": "5s", "rapid.nofailfile": "true"}
	if os.Getenv("FLOTILLA_WHOLE") != "" {
		settings["rapid.checks"], settings["rapid.seed"] = "10000", "0"
	}
	for name, value := range settings {
		if err := flag.Set(name, value); err != nil { // the command line wins
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// enough is more waves than an undisturbed operation takes: seven members are replaced
// one after the other, in a dozen waves each.
const enough = 150

// shortLife is the life of a cluster that is created, at times in several attempts, and
// taken down, at times from half way, at times in several attempts. Any number of
// things may break at a time. It panics with a violation when a rule is broken.
func (w *walk) shortLife() {
	for range 1 + w.choose(3, "rough creates") {
		if w.run(w.operation(fleet.CreateCluster, w.spec, fleet.Options{}), 1+w.choose(25, "waves"), true).Verdict == fleet.VerdictDone {
			break
		}
	}
	if w.choose(3, "finish the create") > 0 && w.may(fleet.CreateCluster) {
		w.calmCreate()
	}
	w.takeDown()
}

// themes are what most operations of a life are.
var themes = []fleet.OperationKind{"", "", "", fleet.UpgradeCluster, fleet.RollCluster, fleet.StopCluster}

// about chooses a theme, and leaves the rest to another chooser.
func about(theme fleet.OperationKind, choose chooser) chooser {
	if theme == "" {
		return choose
	}
	return func(n int, label string) int {
		if chosen := choose(n, label); label != "theme" {
			return chosen
		}
		return slices.Index(themes, theme)
	}
}

// longLife is the life of a cluster that runs, and is changed while up to two things
// at a time break, in any order of operations, each of them ended anywhere.
func (w *walk) longLife() {
	w.limit = 2
	w.theme = themes[w.choose(len(themes), "theme")]
	w.calmCreate()
	if w.phase == fleet.PhaseRunning {
		for range 1 + w.choose(6, "operations") {
			w.idle()
			rough := w.choose(5, "weather of the operation") > 0
			if rough {
				w.run(w.request(), 1+w.choose(40, "waves"), true)
				continue
			}
			w.calm()
			w.finish(w.request())
		}
		w.mend()
	}
	w.takeDown()
}

// mend has operations put right whatever is left, in calm weather: each of them ends,
// done or for a reason that holds.
func (w *walk) mend() {
	w.calm()
	if w.may(fleet.StartCluster) {
		w.finish(w.operation(fleet.StartCluster, w.spec, fleet.Options{}))
	}
	if w.may(fleet.FailoverMember) && w.once(2, "repair first") {
		w.finish(w.operation(fleet.FailoverMember, w.spec, fleet.Options{}))
	}
	if w.unfinished != nil && w.may(w.unfinished.Kind) && w.once(2, "resume") {
		w.finish(w.resume())
	}
	if w.may(fleet.FailoverMember) {
		w.finish(w.operation(fleet.FailoverMember, w.spec, fleet.Options{}))
		w.finish(w.request())
	}
}

// finish runs an operation to its end in calm weather.
func (w *walk) finish(op fleet.Operation) {
	e := w.run(op, enough, false)
	switch {
	case e.Verdict == fleet.VerdictDone:
		w.tally.done++
		w.fulfilled(op)
	case e.Verdict == "":
		broken("%s is not over after %d waves in calm weather", op.Kind, enough)
	case !w.excused(op, e.Decision):
		broken("%s is not done in calm weather, without a reason that holds: %s %s", op.Kind, e.Verdict, e.Reason)
	}
}

// takeDown ends a cluster.
func (w *walk) takeDown() {
	for range w.choose(3, "rough decommissions") {
		w.idle()
		options := fleet.Options{SkipFinalSnapshot: w.once(6, "skip the final snapshot")}
		op := w.operation(fleet.DecommissionCluster, w.spec, options)
		op.Spec.DeletionProtection = w.once(6, "protected")
		if e := w.run(op, 1+w.choose(12, "waves"), true); e.Verdict == fleet.VerdictDone && !w.world.Empty() {
			broken("%s: decommissioned, and something is left", w.spec.Name)
		}
	}
	w.idle()
	w.calmDecommission()
}

// idle is the time between two operations: clients write, and something may break.
func (w *walk) idle() {
	if w.once(2, "clients write") {
		w.world.Write()
	}
	if w.limit > 0 {
		w.disturb()
	}
}

func (w *walk) calmCreate() {
	w.calm()
	op := w.operation(fleet.CreateCluster, w.spec, fleet.Options{})
	e := w.run(op, enough, false)
	switch {
	case e.Verdict == fleet.VerdictDone:
		w.tally.done++
		w.fulfilled(op)
	case e.Verdict != fleet.VerdictBlocked:
		broken("%s: creating it is not over after %d waves: %s", w.spec.Name, enough, e.Reason)
	case w.lost == 0:
		broken("%s: creating it is blocked although nothing was lost: %s", w.spec.Name, e.Reason)
	}
}

func (w *walk) calmDecommission() {
	w.calm()
	op := w.operation(fleet.DecommissionCluster, w.spec, fleet.Options{})
	e := w.run(op, enough, false)
	if e.Verdict != fleet.VerdictDone {
		if w.world.Formed() && w.world.Serving() {
			broken("%s: its decommission is blocked although it serves: %s", w.spec.Name, e.Reason)
		}
		op = w.operation(fleet.DecommissionCluster, w.spec, fleet.Options{SkipFinalSnapshot: true})
		e = w.run(op, enough, false)
	}
	if e.Verdict != fleet.VerdictDone || !w.world.Empty() {
		broken("%s: not decommissioned in calm weather, empty %v: %s %s", w.spec.Name, w.world.Empty(), e.Verdict, e.Reason)
	}
	w.tally.done++
}

// live lives a life and gives the violation, if there is one.
func (w *walk) live(life func(*walk)) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case violation:
			err = fmt.Errorf("%s\n%s", string(v), w.log.String())
		default:
			panic(v)
		}
	}()
	life(w)
	return nil
}

// Whatever breaks, and however often an operation is begun again, no rule of
// design.md is broken, and once things work again it comes to an end.
func TestNoRuleIsBroken(t *testing.T) {
	for name, life := range map[string]func(*walk){"making and ending": (*walk).shortLife, "changing": (*walk).longLife} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tally := newTally()
			rapid.Check(t, func(t *rapid.T) {
				choose := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
				if err := newWalk(choose, plan.Next, tally).live(life); err != nil {
					t.Fatal(err)
				}
			})
			tally.report(t)
		})
	}
}

// report says how much was visited.
func (t *tally) report(tb testing.TB) {
	var kinds []string
	for kind := range t.kinds {
		kinds = append(kinds, string(kind))
	}
	slices.Sort(kinds)
	var b strings.Builder
	for _, name := range kinds {
		k := t.kinds[fleet.OperationKind(name)]
		fmt.Fprintf(&b, "\n%-20s %6d operations, %7d waves, %7d distinct states, %7d distinct transitions, verdicts %v",
			name, k.operations, k.waves, len(k.states), len(k.transitions), k.verdicts)
	}
	tb.Logf("visited %d distinct states by %d distinct transitions; %d operations done in calm weather%s",
		len(t.states), len(t.transitions), t.done, b.String())
}

// dice is a chooser without shrinking, for looking at many lives quickly.
func dice(seed uint64) chooser {
	r := rand.New(rand.NewPCG(seed, 0))
	return func(n int, _ string) int { return r.IntN(n) }
}
