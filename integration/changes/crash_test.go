package changes

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// crashes is how a run of TestWorkerDiesInChanges is laid out.
type crashes struct {
	// scouts are the clusters that go through each leg first, undisturbed: what they pass
	// is where the others die.
	scouts int
	// dying are the clusters that die: one death of the worker is one crash for each of them.
	dying int
	// deaths is how many boundaries of a leg are tried, all if it is 0.
	deaths int
	// reached is the least share of them that must really be died at: which boundaries an
	// operation passes depends a little on elections, on time, and on earlier deaths.
	reached float64
}

var (
	sampledCrashes = crashes{scouts: 1, dying: 6, deaths: 12, reached: 0.8}
	allCrashes     = crashes{scouts: 2, dying: 10, reached: 0.8}
)

// stretches are parts of the journey in which the controller dies; what leads there is
// not disturbed. Each is a run of its own: go test -run TestWorkerDiesInChanges/resize.
var stretches = []struct {
	name string
	legs []string
}{
	{"grow", []string{"scale out", "roll settings", "change leader", "migrate a member"}},
	{"resize", []string{"upscale in place", "fail over a dead process", "fail over a dead host"}},
	{"upgrade", []string{"upgrade", "trust a new authority", "use it", "renew certificates", "downgrade"}},
	{"stop", []string{"stop", "start", "scale in"}},
	{"replace", []string{"upscale by replacing"}},
}

// TestWorkerDiesInChanges kills the worker with -9 at boundaries of every operation on
// a running cluster: before and after each activity, and after each call out of one.
// Which there are is taken from clusters that nothing happens to. FLOTILLA_WHOLE tries
// all of them.
func TestWorkerDiesInChanges(t *testing.T) {
	dice := harness.Random(harness.Seed(t))
	if !harness.Whole() {
		abreast(t)
		legs := some(journey(""), 4, dice, "scale out") // it makes a cluster of three of one, which the others need
		newCrowd(t, sampledCrashes.scouts+sampledCrashes.dying).travel(sampledCrashes, slices.Concat([]leg{creation}, legs), legs, dice)
		return
	}
	t.Parallel()
	for _, stretch := range stretches {
		legs := only(journey(""), stretch.legs...)
		seed := dice.Uint64()
		t.Run(stretch.name, func(t *testing.T) {
			abreast(t)
			newCrowd(t, allCrashes.scouts+allCrashes.dying).travel(allCrashes, slices.Concat([]leg{creation}, leadingTo(legs)), legs, harness.Random(seed))
		})
	}
}

// travel takes a crowd through legs, from the one that makes clusters of it until they are
// decommissioned, and kills its workers at boundaries of some of them.
func (c *crowd) travel(how crashes, legs, deadly []leg, dice *rand.Rand) {
	c.through(how, legs, deadly, dice)
	bought, err := c.e.Bought(c.clusters[0])
	require.NoError(c.t, err)
	c.decommission(bought)
}

// through is travel without its end.
func (c *crowd) through(how crashes, legs, deadly []leg, dice *rand.Rand) {
	scouts, dying := c.among(c.clusters[:how.scouts]), c.among(c.clusters[how.scouts:])
	b := c.e.StartBreaker(nil)
	all, died, missed := 0, 0, 0
	for _, l := range legs {
		if !slices.ContainsFunc(deadly, func(d leg) bool { return d.name == l.name }) {
			c.pass(l)
			continue
		}
		next := c.e.StartBreaker(nil) // with a trace of its own: kinds come again
		b.Terminate()
		scouts.pass(l)
		points := scouts.passed(next, l)
		var deaths harness.Deaths
		at := harness.Points{}
		for i, hand := range harness.Deal(points, how.dying, how.deaths, dice) {
			at[dying.clusters[i]] = hand
		}
		b, deaths = dying.die(next, l, at)
		all, died, missed = all+len(points), died+deaths.Died.Count(), missed+deaths.Missed.Count()
		c.t.Logf("%s: %d boundaries, the worker killed at %d, not passed again %d: %v", l.name, len(points),
			deaths.Died.Count(), deaths.Missed.Count(), deaths.Missed)
	}
	c.t.Logf("killed the worker at %d boundaries of %d; %d more were not passed again", died, all, missed)
	require.GreaterOrEqual(c.t, float64(died), how.reached*float64(died+missed), "too few of the boundaries were passed again to say anything")
}

// pass takes the clusters through a leg, undisturbed.
func (c *crowd) pass(l leg) {
	c.before(l)
	c.done(l, c.ask(l), func(int) string { return "undisturbed" })
}

// passed gives the boundaries of a leg that the clusters have passed, in order.
func (c *crowd) passed(b *harness.Breaker, l leg) []string {
	var points []string
	for _, cluster := range c.clusters {
		for _, point := range b.Trace(cluster) {
			if !slices.Contains(points, point) && (l.Kind == "" || strings.HasPrefix(point, string(l.Kind)+" ")) {
				points = append(points, point)
			}
		}
	}
	require.NotEmpty(c.t, points, "boundaries of %s", l.name)
	return points
}

// die takes the clusters through a leg, in which their workers are killed at these
// boundaries, one after another. It gives the worker that lives.
func (c *crowd) die(before *harness.Breaker, l leg, at harness.Points) (*harness.Breaker, harness.Deaths) {
	c.before(l)
	b := c.e.StartBreaker(at)
	before.Kill()
	operations := c.ask(l)
	b, deaths := b.DieInTurn(operations)
	c.done(l, operations, func(i int) string {
		return "the worker killed at " + strings.Join(deaths.Died[c.clusters[i]], ", ")
	})
	return b, deaths
}
