package plan_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"rapid.checks": "1000", "rapid.shrinktime": "5s"} {
		if err := flag.Set(name, value); err != nil { // the command line wins
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// enough is more waves than an undisturbed operation takes: each of seven
// launches may be refused, and learners come one by one.
const enough = 60

// life is the life of a cluster: created, at times in several attempts, and taken
// down, at times from half way, at times in several attempts. It panics with a
// violation when a rule is broken.
func (w *walk) life() {
	for range 1 + w.choose(3, "rough creates") {
		d := w.run(w.operation(fleet.CreateCluster), 1+w.choose(25, "waves"), true)
		w.earlier = append(w.earlier, w.seen...)
		if d.Verdict == fleet.VerdictDone {
			break
		}
	}
	if w.choose(3, "finish the create") > 0 {
		w.calmCreate()
	}
	for range w.choose(3, "rough decommissions") {
		w.idle()
		op := w.operation(fleet.DecommissionCluster)
		op.Options.SkipFinalSnapshot = w.once(6, "skip the final snapshot")
		op.Spec.DeletionProtection = w.once(6, "protected")
		if d := w.run(op, 1+w.choose(12, "waves"), true); d.Verdict == fleet.VerdictDone && !w.world.Empty() {
			broken("%s: decommissioned, and something is left", w.spec.Name)
		}
	}
	w.idle()
	w.calmDecommission()
}

// idle is the time between two operations: clients write.
func (w *walk) idle() {
	if w.once(2, "clients write") {
		w.world.Write()
	}
}

// calm ends what breaks: stock is there again, hosts answer.
func (w *walk) calm() {
	for _, zone := range w.spec.Zones {
		w.world.SoldOut(zone, false)
	}
	for _, h := range w.world.Observe().Hosts {
		w.world.Silence(h.ID, false)
	}
}

func (w *walk) calmCreate() {
	w.calm()
	d := w.run(w.operation(fleet.CreateCluster), enough, false)
	switch {
	case d.Verdict == fleet.VerdictDone:
		w.tally.done++
		if want := w.spec.Voters + w.spec.Learners; !w.world.Serving() || w.world.Members() != want {
			broken("%s: created, but %d of %d members are there and serving is %v", w.spec.Name, w.world.Members(), want, w.world.Serving())
		}
	case d.Verdict != fleet.VerdictBlocked:
		broken("%s: creating it is not over after %d waves", w.spec.Name, enough)
	case w.lost == 0:
		broken("%s: creating it is blocked although nothing was lost: %s", w.spec.Name, d.Reason)
	}
}

func (w *walk) calmDecommission() {
	w.calm()
	op := w.operation(fleet.DecommissionCluster)
	d := w.run(op, enough, false)
	if d.Verdict == fleet.VerdictBlocked {
		if w.lost == 0 && w.world.Formed() && w.world.Serving() {
			broken("%s: its decommission is blocked although it serves: %s", w.spec.Name, d.Reason)
		}
		op = w.operation(fleet.DecommissionCluster)
		op.Options.SkipFinalSnapshot = true
		d = w.run(op, enough, false)
	}
	if d.Verdict != fleet.VerdictDone || !w.world.Empty() {
		broken("%s: not decommissioned in calm weather, empty %v: %s %s", w.spec.Name, w.world.Empty(), d.Verdict, d.Reason)
	}
	w.tally.done++
}

// live lives a life and gives the violation, if there is one.
func (w *walk) live() (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case violation:
			err = fmt.Errorf("%s\n%s", string(v), w.log.String())
		default:
			panic(v)
		}
	}()
	w.life()
	return nil
}

// Whatever breaks, and however often an operation is begun again, no rule of
// design.md is broken, and once things work again it comes to an end.
func TestNoRuleIsBroken(t *testing.T) {
	tally := newTally()
	rapid.Check(t, func(t *rapid.T) {
		choose := func(n int, label string) int { return rapid.IntRange(0, n-1).Draw(t, label) }
		if err := newWalk(choose, plan.Next, tally).live(); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("visited %d distinct states by %d distinct transitions in %d waves; %d operations done in calm weather; verdicts %v",
		len(tally.states), len(tally.transitions), tally.waves, tally.done, tally.verdicts)
}

// dice is a chooser without shrinking, for looking at many lives quickly.
func dice(seed uint64) chooser {
	r := rand.New(rand.NewPCG(seed, 0))
	return func(n int, _ string) int { return r.IntN(n) }
}

// What a forecast says is what happens, step by step, when nothing breaks,
// wherever it is asked for.
func TestForecastIsWhatHappens(t *testing.T) {
	whole := 0
	for seed := range uint64(500) {
		choose := dice(seed)
		w := newWalk(choose, plan.Next, newTally())
		w.run(w.operation(fleet.CreateCluster), choose(20, "waves"), choose(2, "rough") == 0)
		w.calm()
		w.world.Settle()
		if w.lost > 0 {
			continue // a token may give a host that is gone, which nothing observed tells
		}
		whole++
		w.world.Slow()
		for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.DecommissionCluster} {
			in := plan.Input{Operation: w.operation(kind), Observation: w.world.Observe()}
			waves, last := plan.Forecast(in)
			for i, wave := range waves {
				in.Observation = w.world.Observe()
				d := plan.Next(in)
				require.Equal(t, plan.Words(wave), plan.Words(d.Wave), "seed %d: wave %d of %s is not as forecast", seed, i+1, kind)
				require.Empty(t, w.wave(in.Operation, d.Wave, false), "seed %d: wave %d of %s fails, unlike forecast", seed, i+1, kind)
			}
			in.Observation = w.world.Observe()
			d := plan.Next(in)
			require.Equal(t, last.Verdict, d.Verdict, "seed %d: %s ends otherwise than forecast (%s): %s", seed, kind, last.Reason, d.Reason)
		}
	}
	require.Greater(t, whole, 100, "too few lives without a lost host to say anything")
}
