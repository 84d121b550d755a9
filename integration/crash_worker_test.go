package integration

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

const (
	// dying are how many clusters die again and again, until all boundaries are done.
	dying = 14
	// slowly are how many do of whom a member is slow.
	slowly = 2
	// reached is the least share of the boundaries that must really be died at: after a
	// death an attempt may have less to do.
	reached = 0.9
)

// TestWorkerDies kills the worker with -9 at every boundary of create and
// decommission: before and after each activity, and after each call out of one.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	points, dice := enumerate(t), harness.Random(harness.Seed(t))
	each := 0 // all
	if testing.Short() {
		each = dying
	}
	var trials []*trial
	for _, at := range harness.Deal(points.create, dying, each, dice) {
		trials = append(trials, &trial{create: at})
	}
	for _, at := range harness.Deal(points.slow, slowly, each, dice) {
		trials = append(trials, &trial{create: at, slow: true})
	}
	for i, at := range harness.Deal(points.decommission, len(trials), each, dice) {
		trials[i].decommission = at
	}
	var mu sync.Mutex
	died, missed := 0, 0
	die := func(c *crowd, b *harness.Breaker, operations map[string]*harness.Running) *harness.Breaker {
		b, deaths := b.DieInTurn(operations)
		mu.Lock()
		died, missed = died+deaths.Died.Count(), missed+deaths.Missed.Count()
		mu.Unlock()
		c.t.Logf("killed the worker at %d boundaries, %d were not passed again: %v", deaths.Died.Count(), deaths.Missed.Count(), deaths.Missed)
		return b
	}
	crowds(t, trials, func(c *crowd) {
		c.tell("the worker is killed at", fleet.CreateCluster)
		b := c.e.StartBreaker(c.points(fleet.CreateCluster))
		operations := c.begin(fleet.CreateCluster)
		c.slow(b)
		b = die(c, b, operations)
		c.created(operations)
		if c.t.Failed() {
			return
		}
		c.tell("the worker is killed at", fleet.DecommissionCluster)
		next := c.e.StartBreaker(c.points(fleet.DecommissionCluster))
		b.Kill()
		operations = c.begin(fleet.DecommissionCluster)
		die(c, next, operations)
		c.gone(operations)
	})
	t.Logf("create: %d boundaries, and %d with a slow member; decommission: %d; killed the worker at %d, %d were not passed again",
		len(points.create), len(points.slow), len(points.decommission), died, missed)
	require.GreaterOrEqual(t, float64(died), reached*float64(died+missed), "too few of the boundaries were passed again to say anything")
}
