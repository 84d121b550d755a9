package changes

import (
	"errors"
	"fmt"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestCancelledChangesAreResumed cancels each operation after its first steps, expects
// a cluster that serves, and resumes it. Without FLOTILLA_WHOLE it is a part of
// the journey.
func TestCancelledChangesAreResumed(t *testing.T) {
	abreast(t)
	c := newCrowd(t, 2)
	c.e.StartWorker("flotilla-worker")
	dice := harness.Random(harness.Seed(t))
	c.pass(creation)
	legs := journey("")
	if !harness.Whole() {
		legs = some(legs, 5, dice, "scale out")
	}
	for _, l := range legs {
		if l.Kind == fleet.StopCluster || l.Kind == fleet.StartCluster || l.Kind == fleet.ChangeLeader {
			continue
		}
		c.before(l)
		wave := 1 + dice.IntN(6)
		operations := c.ask(l)
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
