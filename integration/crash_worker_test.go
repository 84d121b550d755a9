package integration

import (
	"slices"
	"testing"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// TestWorkerDies kills the worker with -9 at every boundary of create and
// decommission: before and after each activity, and after each call out of one.
func TestWorkerDies(t *testing.T) {
	t.Parallel()
	points := enumerate(t)
	create, slow, decommission := thinned(points.create), thinned(points.slow), thinned(points.decommission)
	if testing.Short() {
		slow, create, decommission = every(8, slow), every(8, create), every(8, decommission)
	}
	t.Logf("create: %d of %d boundaries, and %d of %d with a slow member; decommission: %d of %d",
		len(create), len(points.create), len(slow), len(points.slow), len(decommission), len(points.decommission))
	trials := pairs(slices.Concat(create, slow), decommission)
	for _, tr := range trials {
		tr.slow = slices.Contains(slow, tr.create)
	}
	crowds(t, trials, func(c *crowd) {
		c.tell("the worker is killed at", fleet.CreateCluster)
		b := c.e.StartBreaker(c.points(fleet.CreateCluster))
		operations := c.begin(fleet.CreateCluster)
		c.slow(b)
		c.missed(b.AwaitStops(operations))
		b.Kill()

		b = c.e.StartBreaker(c.points(fleet.DecommissionCluster))
		c.created(operations)
		if c.t.Failed() {
			return
		}
		c.tell("the worker is killed at", fleet.DecommissionCluster)
		operations = c.begin(fleet.DecommissionCluster)
		c.missed(b.AwaitStops(operations))
		b.Kill()
		c.e.StartWorker("flotilla-worker")
		c.gone(operations)
	})
}

// pairs gives trials with one boundary of each kind; the shorter list begins again.
func pairs(create, decommission []string) []*trial {
	var all []*trial
	for i := range max(len(create), len(decommission)) {
		all = append(all, &trial{create: create[i%len(create)], decommission: decommission[i%len(decommission)]})
	}
	return all
}

// every gives each n-th.
func every(n int, points []string) []string {
	var some []string
	for i := 0; i < len(points); i += n {
		some = append(some, points[i])
	}
	return some
}
