package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// TestCreateIsCancelled cancels the creation of clusters at boundaries from its
// beginning to its end. One half is created again and goes on from there, the other
// half is undone.
func TestCreateIsCancelled(t *testing.T) {
	t.Parallel()
	points := enumerate(t)
	var after []string
	for _, point := range points.create {
		// Before the first launch there is nothing to resume or to undo.
		if strings.HasSuffix(point, " after") && !strings.HasPrefix(point, "CreateCluster 1/Look") {
			after = append(after, point)
		}
	}
	some := every(3, after)
	if testing.Short() {
		some = every(8, after)
	}
	var trials []*trial
	for _, point := range some {
		trials = append(trials, &trial{create: []string{point}, undone: true}, &trial{create: []string{point}})
	}
	crowds(t, trials, func(c *crowd) {
		c.tell("create is cancelled at", fleet.CreateCluster)
		c.loose = true // what is left to do depends on where it stopped
		b := c.e.StartBreaker(c.points(fleet.CreateCluster))
		operations := c.begin(fleet.CreateCluster)
		c.missed(b.AwaitStops(operations))
		c.each("expected that it is cancelled, and incomplete", func(tr *trial) error {
			if _, err := c.e.Client.Cancel(c.t.Context(), tr.cluster, "", "a test"); err != nil {
				return err
			}
			if err := b.Release(tr.cluster); err != nil {
				return err
			}
			_, err := operations[tr.cluster].Await()
			var cancelled *temporal.CanceledError
			if !errors.As(err, &cancelled) {
				return fmt.Errorf("expected that it ends as cancelled; it ended with %w", err)
			}
			return c.recorded(tr, fleet.OperationCancelled, fleet.PhaseIncomplete)
		})
		if c.t.Failed() {
			return
		}
		all := c.trials
		c.trials = nil
		for _, tr := range all {
			if !tr.undone {
				c.trials = append(c.trials, tr)
			}
		}
		c.created(c.begin(fleet.CreateCluster))
		c.trials = all
		if c.t.Failed() {
			return
		}
		c.gone(c.begin(fleet.DecommissionCluster))
	})
}
