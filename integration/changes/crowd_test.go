package changes

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// crowd are clusters on the same journey in one environment.
type crowd struct {
	t        *testing.T
	e        *harness.Env
	clusters []string
}

func newCrowd(t *testing.T, n int, options ...harness.Option) *crowd {
	c := &crowd{t: t, e: harness.Start(t, options...)}
	for i := range n {
		c.clusters = append(c.clusters, fmt.Sprintf("c%02d", i))
	}
	return c
}

// among gives some of the crowd.
func (c *crowd) among(clusters []string) *crowd { return &crowd{t: c.t, e: c.e, clusters: clusters} }

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

// ask asks for the operation of a leg on each cluster.
func (c *crowd) ask(l leg) map[string]*harness.Running {
	return c.begin(l.name, func(cluster string) (*harness.Running, error) { return l.ask(c.e, cluster) })
}

// done expects that each operation came to its end as if nothing had happened.
func (c *crowd) done(l leg, operations map[string]*harness.Running, story func(i int) string) {
	c.each("expected a cluster as if nothing had happened", func(i int, cluster string) error {
		result, err := operations[cluster].Await()
		switch {
		case err != nil:
			return fmt.Errorf("%s, %s: it failed: %w", l.name, story(i), err)
		case result.Progress.LastError != "" && !l.borne(result.Progress):
			return fmt.Errorf("%s, %s: its record has %q", l.name, story(i), result.Progress.LastError)
		}
		if err := c.stands(l, cluster); err != nil {
			return fmt.Errorf("%s, %s: %w", l.name, story(i), err)
		}
		return nil
	})
}

func (c *crowd) stands(l leg, cluster string) error {
	if l.stopped {
		view, err := c.e.Settled(cluster)
		if err == nil && view.Summary.Phase != fleet.PhaseStopped {
			err = fmt.Errorf("expected that it is stopped; it is %s", view.Summary.Phase)
		}
		return err
	}
	var err error
	if !l.gone {
		err = c.e.Stands(c.t.Context(), cluster)
	}
	if err == nil && l.after != nil {
		err = l.after(c.t.Context(), c.e, cluster)
	}
	return err
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
