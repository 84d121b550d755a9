package integration

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestTemporalDies kills the Temporal server with -9 before, inside and after one
// activity of each kind, and starts it again. The worker lives on.
func TestTemporalDies(t *testing.T) {
	t.Parallel()
	points := enumerate(t)
	create, slow := kinds(points.create), kinds(points.slow)
	slow = slices.DeleteFunc(slow, func(point string) bool { return strings.Contains(point, "/Look ") })
	decommission := kinds(points.decommission)
	if testing.Short() {
		create, slow, decommission = every(6, create), every(6, slow), every(6, decommission)
	}
	t.Logf("create: %d boundaries, and %d with a slow member; decommission: %d", len(create), len(slow), len(decommission))
	trials := pairs(slices.Concat(create, slow), decommission)
	for _, tr := range trials {
		tr.slow = slices.Contains(slow, tr.create[0])
	}
	crowds(t, trials, func(c *crowd) {
		c.tell("Temporal is killed at", fleet.CreateCluster)
		b := c.e.StartBreaker(c.points(fleet.CreateCluster))
		operations := c.begin(fleet.CreateCluster)
		c.slow(b)
		c.missed(b.AwaitStops(operations))
		c.e.Temporal.Kill()
		c.e.Temporal.Restart()
		c.release(b)
		c.created(operations)
		if c.t.Failed() {
			return
		}
		b.Terminate()

		c.tell("Temporal is killed at", fleet.DecommissionCluster)
		b = c.e.StartBreaker(c.points(fleet.DecommissionCluster))
		operations = c.begin(fleet.DecommissionCluster)
		c.missed(b.AwaitStops(operations))
		c.e.Temporal.Kill()
		c.e.Temporal.Restart()
		c.release(b)
		c.gone(operations)
	})
}

// pairs gives trials with one boundary of each kind; the shorter list begins again.
func pairs(create, decommission []string) []*trial {
	var all []*trial
	for i := range max(len(create), len(decommission)) {
		all = append(all, &trial{create: []string{create[i%len(create)]}, decommission: []string{decommission[i%len(decommission)]}})
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

// TestWorkerAndTemporalDie kills both at once at random boundaries.
func TestWorkerAndTemporalDie(t *testing.T) {
	t.Parallel()
	points, dice := enumerate(t), harness.Random(harness.Seed(t))
	var trials []*trial
	for range 6 {
		trials = append(trials, &trial{
			create:       []string{points.create[dice.IntN(len(points.create))]},
			decommission: []string{points.decommission[dice.IntN(len(points.decommission))]},
		})
	}
	crowds(t, trials, func(c *crowd) {
		c.tell("worker and Temporal are killed at", fleet.CreateCluster)
		b := c.e.StartBreaker(c.points(fleet.CreateCluster))
		operations := c.begin(fleet.CreateCluster)
		c.missed(b.AwaitStops(operations))
		b.Kill()
		c.e.Temporal.Kill()
		c.e.Temporal.Restart()
		b = c.e.StartBreaker(c.points(fleet.DecommissionCluster))
		c.created(operations)
		if c.t.Failed() {
			return
		}
		c.tell("worker and Temporal are killed at", fleet.DecommissionCluster)
		operations = c.begin(fleet.DecommissionCluster)
		c.missed(b.AwaitStops(operations))
		c.e.Temporal.Kill()
		b.Kill()
		c.e.Temporal.Restart()
		c.e.StartWorker("flotilla-worker")
		c.gone(operations)
	})
}

var parts = regexp.MustCompile(`^\w+ \d+/(\w+)(?:/\d*)? (.+)$`)

// kinds chooses three boundaries for each kind of activity: before one, in the middle
// of one, and after one.
func kinds(points []string) []string {
	var chosen []string
	var order []string
	of := map[string][]string{}
	for _, point := range points {
		kind := parts.FindStringSubmatch(point)[1]
		if of[kind] == nil {
			order = append(order, kind)
		}
		of[kind] = append(of[kind], point)
	}
	for _, kind := range order {
		var before, calls, after []string
		for _, point := range of[kind] {
			switch what := parts.FindStringSubmatch(point)[2]; what {
			case "before":
				before = append(before, point)
			case "after":
				after = append(after, point)
			default:
				calls = append(calls, point)
			}
		}
		for _, some := range [][]string{before, calls, after} {
			chosen = append(chosen, some[len(some)/2])
		}
	}
	return chosen
}

func TestKinds(t *testing.T) {
	require.Equal(t, []string{"C 1/Look before", "C 1/Look call List#1", "C 1/Look after", "C 2/A/1 before", "C 2/A/2 call B#1", "C 2/A/1 after"},
		kinds([]string{"C 1/Look before", "C 1/Look call List#1", "C 1/Look after", "C 2/A/1 before", "C 2/A/1 call B#1", "C 2/A/2 call B#1", "C 2/A/1 after"}))
}
