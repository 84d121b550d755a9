package changes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

const (
	// crowded is how many clusters go through their journeys side by side: one death of
	// the worker is then one crash for each of them.
	crowded = 6
	// sampled is how many do in a run that does not try everything.
	sampled = 3
	// legsSampled is how many legs of the journey it has.
	legsSampled = 5
	// reached is the least share of the crashes that must really have happened: which
	// boundaries an operation passes depends a little on elections and on time.
	reached = 0.8
)

// travels are the legs of a run: all of them, or some. The first makes a cluster of three
// of one, without which most others cannot be.
func travels(dice *rand.Rand) []leg {
	legs := journey("")
	if harness.Whole() {
		return legs
	}
	return some(legs, legsSampled, dice, "scale out")
}

// route is what an undisturbed journey passes, leg by leg.
type route struct {
	legs       []leg
	boundaries [][]string // by leg, in order
	bought     int        // hosts, in all
}

// crowd are clusters on the same journey in one environment.
type crowd struct {
	t        *testing.T
	e        *harness.Env
	clusters []string
}

func newCrowd(t *testing.T, n int) *crowd {
	c := &crowd{t: t, e: harness.Start(t)}
	for i := range n {
		c.clusters = append(c.clusters, fmt.Sprintf("c%02d", i))
	}
	return c
}

// each does something for all clusters at once; what is wrong with one is said in a line.
func (c *crowd) each(what string, f func(i int, cluster string) error) {
	var group sync.WaitGroup
	for i, cluster := range c.clusters {
		group.Go(func() {
			if err := f(i, cluster); err != nil {
				c.t.Errorf("cluster %s: %s: %v", cluster, what, err)
			}
		})
	}
	group.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// begin asks for an operation on each cluster.
func (c *crowd) begin(what string, ask func(cluster string) (*harness.Running, error)) map[string]*harness.Running {
	var mu sync.Mutex
	all := map[string]*harness.Running{}
	c.each("expected that it can begin to "+what, func(_ int, cluster string) error {
		r, err := ask(cluster)
		mu.Lock()
		defer mu.Unlock()
		all[cluster] = r
		return err
	})
	return all
}

// done expects that each operation came to its end as if nothing had happened.
func (c *crowd) done(l leg, operations map[string]*harness.Running, story func(i int) string) {
	c.each("expected a cluster as if nothing had happened", func(i int, cluster string) error {
		result, err := operations[cluster].Await()
		switch {
		case err != nil:
			return fmt.Errorf("%s, %s: it failed: %w", l.name, story(i), err)
		case result.Progress.LastError != "":
			return fmt.Errorf("%s, %s: its record has %q", l.name, story(i), result.Progress.LastError)
		}
		if err := c.stands(l, cluster); err != nil {
			return fmt.Errorf("%s, %s: %w", l.name, story(i), err)
		}
		return nil
	})
}

func (c *crowd) stands(l leg, cluster string) error {
	if !l.stopped {
		return c.e.Stands(c.t.Context(), cluster)
	}
	view, err := c.e.Settled(cluster)
	if err == nil && view.Summary.Phase != fleet.PhaseStopped {
		err = fmt.Errorf("expected that it is stopped; it is %s", view.Summary.Phase)
	}
	return err
}

func (c *crowd) create() {
	operations := c.begin("create", func(cluster string) (*harness.Running, error) {
		spec := small(cluster, 1, older)
		return c.e.Begin(cluster, fleet.CreateCluster, &spec)
	})
	c.done(leg{name: "create"}, operations, func(int) string { return "undisturbed" })
}

func (c *crowd) before(l leg) {
	if l.before != nil {
		c.each("preparing to "+l.name, func(_ int, cluster string) error { return l.before(c.t.Context(), c.e, cluster) })
	}
}

// decommission expects that nothing is left, and that no more hosts were bought than
// an undisturbed journey needs.
func (c *crowd) decommission(bought int) {
	operations := c.begin("decommission", func(cluster string) (*harness.Running, error) {
		return c.e.Begin(cluster, fleet.DecommissionCluster, nil)
	})
	c.each("expected that nothing is left", func(_ int, cluster string) error {
		if _, err := operations[cluster].Await(); err != nil {
			return err
		}
		n, err := c.e.Bought(cluster)
		if err == nil && bought > 0 && n != bought {
			err = fmt.Errorf("expected %d purchases of hosts in its life; there were %d", bought, n)
		}
		return err
	})
	c.e.ExpectNothingLeft()
}

// survey takes two clusters through the whole journey, undisturbed, and writes down
// what they pass.
func survey(t *testing.T, legs []leg) route {
	c := newCrowd(t, 2)
	b := c.e.StartBreaker(nil)
	c.create()
	r := route{legs: legs}
	for _, l := range legs {
		c.before(l)
		next := c.e.StartBreaker(nil) // with a trace of its own: kinds come again
		b.Terminate()
		b = next
		operations := c.begin(l.name, func(cluster string) (*harness.Running, error) {
			return c.e.BeginChange(cluster, l.of(cluster))
		})
		c.done(l, operations, func(int) string { return "undisturbed" })
		var points []string
		for _, cluster := range c.clusters {
			for _, point := range b.Trace(cluster) {
				if !slices.Contains(points, point) && strings.HasPrefix(point, string(l.Kind)) {
					points = append(points, point)
				}
			}
		}
		require.NotEmpty(t, points, "boundaries of %s", l.name)
		r.boundaries = append(r.boundaries, points)
	}
	var err error
	r.bought, err = c.e.Bought(c.clusters[0])
	require.NoError(t, err)
	c.decommission(r.bought)
	return r
}

// TestWorkerDiesInChanges kills the worker with -9 at boundaries of every operation on
// a running cluster: before and after each activity, and after each call out of one.
// Which there are is taken from an undisturbed run. FLOTILLA_WHOLE tries all of them.
func TestWorkerDiesInChanges(t *testing.T) {
	abreast(t)
	dice := harness.Random(harness.Seed(t))
	var all route
	if !t.Run("survey", func(t *testing.T) { all = survey(t, travels(dice)) }) {
		t.FailNow()
	}
	most, total := 0, 0
	for i, l := range all.legs {
		points := all.boundaries[i]
		dice.Shuffle(len(points), func(a, b int) { points[a], points[b] = points[b], points[a] })
		most, total = max(most, len(points)), total+len(points)
		t.Logf("%s: %d boundaries", l.name, len(points))
	}
	size := crowded
	crowds := (most + size - 1) / size
	if !harness.Whole() {
		crowds, size = 1, sampled
	}
	crashes, missed := 0, 0
	for n := range crowds {
		t.Run(fmt.Sprintf("crowd %d", n+1), func(t *testing.T) {
			c := newCrowd(t, size)
			did, not := c.travel(all, n)
			crashes, missed = crashes+did, missed+not
		})
	}
	t.Logf("killed the worker at %d boundaries of %d; %d more were not passed again", crashes, total, missed)
	require.GreaterOrEqual(t, float64(crashes), reached*float64(crashes+missed), "too few of the boundaries were passed again to say anything")
}

// travel takes the clusters through the journey, each with a boundary of its own in
// each leg, and kills the worker when all stand there.
func (c *crowd) travel(all route, n int) (crashes, missed int) {
	points := func(i int) map[string]string {
		at := map[string]string{}
		for k, cluster := range c.clusters {
			at[cluster] = all.boundaries[i][(n*len(c.clusters)+k)%len(all.boundaries[i])]
		}
		return at
	}
	first := c.e.StartWorker("flotilla-worker")
	c.create()
	for i, l := range all.legs {
		c.before(l)
		at := points(i)
		b := c.e.StartBreaker(at)
		first.Kill()
		operations := c.begin(l.name, func(cluster string) (*harness.Running, error) {
			return c.e.BeginChange(cluster, l.of(cluster))
		})
		not := b.AwaitStops(operations)
		crashes, missed = crashes+len(c.clusters)-len(not), missed+len(not)
		b.Kill()
		first = c.e.StartWorker("flotilla-worker")
		c.done(l, operations, func(k int) string { return "the worker killed at " + at[c.clusters[k]] })
	}
	c.decommission(all.bought)
	return crashes, missed
}

// TestCancelledChangesAreResumed cancels each operation after its first steps, expects
// a cluster that serves, and resumes it. Without FLOTILLA_WHOLE it is a part of
// the journey.
func TestCancelledChangesAreResumed(t *testing.T) {
	abreast(t)
	c := newCrowd(t, 2)
	c.e.StartWorker("flotilla-worker")
	dice := harness.Random(harness.Seed(t))
	c.create()
	for _, l := range travels(dice) {
		if l.Kind == fleet.StopCluster || l.Kind == fleet.StartCluster || l.Kind == fleet.ChangeLeader {
			continue
		}
		c.before(l)
		wave := 1 + dice.IntN(6)
		operations := c.begin(l.name, func(cluster string) (*harness.Running, error) {
			return c.e.BeginChange(cluster, l.of(cluster))
		})
		c.each("cancelling "+l.name, func(_ int, cluster string) error {
			if err := c.cancelAt(cluster, operations[cluster], wave); err != nil {
				return err
			}
			if _, err := c.e.Settled(cluster); err != nil {
				return err
			}
			return c.serves(cluster)
		})
		again := c.begin("resume "+l.name, func(cluster string) (*harness.Running, error) {
			r, err := c.e.Resume(cluster)
			if fleet.Is(err, fleet.Conflict) { // it had ended before it was cancelled
				return operations[cluster], nil
			}
			return r, err
		})
		c.done(l, again, func(int) string { return fmt.Sprintf("cancelled in wave %d and resumed", wave) })
	}
	c.decommission(0)
}

// cancelAt cancels an operation once it has come to a wave, and waits for its end.
func (c *crowd) cancelAt(cluster string, r *harness.Running, wave int) error {
	err := c.e.Within(harness.Patience, func() error {
		p, err := c.e.Client.Progress(c.t.Context(), r.Ref)
		if err == nil && p.Wave < wave && !r.Ended() {
			err = fmt.Errorf("it is in wave %d", p.Wave)
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, err := c.e.Client.Cancel(c.t.Context(), cluster, r.Ref.ID, "to see what is left"); err != nil && !fleet.Is(err, fleet.Conflict) {
		return err
	}
	var execution *temporal.WorkflowExecutionError
	if _, err := r.Await(); err != nil && (!errors.As(err, &execution) || !temporal.IsCanceledError(err)) {
		return fmt.Errorf("expected that it is cancelled: %w", err)
	}
	return nil
}

// serves expects that clients can write.
func (c *crowd) serves(cluster string) error {
	a, err := c.e.Connect(c.t.Context(), cluster)
	if err != nil {
		return err
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), harness.Patience)
	defer cancel()
	_, err = a.Put(ctx, "/serves", cluster)
	return err
}
