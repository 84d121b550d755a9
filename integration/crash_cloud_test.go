package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestZonesSellNothing has a cloud with room for one host. Creating stops with one
// clear sentence; when there is room again, creating goes on from there.
func TestZonesSellNothing(t *testing.T) {
	t.Parallel()
	crowds(t, []*trial{{story: "no zone has room for its second host"}}, func(c *crowd) {
		tr := c.trials[0]
		capacity := func(a, b, c3 int) {
			for zone, hosts := range map[string]int{"a": a, "b": b, "c": c3} {
				require.NoError(c.t, c.e.Provider.SetCapacity(c.t.Context(), zone, local.AnyType, hosts))
			}
		}
		capacity(1, 0, 0)
		c.e.StartWorker("flotilla-worker")
		operations := c.begin(fleet.CreateCluster)
		c.each("expected that creating stops and says why", func(tr *trial) error {
			_, err := operations[tr.cluster].Await()
			var said *temporal.ApplicationError
			if !errors.As(err, &said) || said.Type() != string(fleet.OutOfCapacity) || !strings.Contains(said.Message(), "no zone of a, b, c has a small left") {
				return fmt.Errorf("expected %s and a sentence about the zones; it said %w", fleet.OutOfCapacity, err)
			}
			hosts, err := c.e.HostsOf(c.t.Context(), tr.cluster)
			if err != nil || len(hosts) != 1 {
				return fmt.Errorf("expected its first host; there are %v, %w", hosts, err)
			}
			return c.e.Within(harness.Patience, func() error {
				view, err := c.e.Client.Describe(c.t.Context(), tr.cluster)
				if err != nil || view.Summary.Phase != fleet.PhaseIncomplete || view.Operations[0].ErrorKind != fleet.OutOfCapacity {
					return fmt.Errorf("expected it to be incomplete for want of capacity; it is %v, %w", view.Summary, err)
				}
				return nil
			})
		})
		capacity(-1, -1, -1)
		tr.story, c.loose = "it is created again when there is room", true
		c.created(c.begin(fleet.CreateCluster))
		if !c.t.Failed() {
			c.gone(c.begin(fleet.DecommissionCluster))
		}
	})
}

// TestCloudIsBad has a cloud that throttles, fails or is slow all the time. That only
// takes longer.
func TestCloudIsBad(t *testing.T) {
	t.Parallel()
	ways := map[string]func(ctx context.Context, p *local.Provider) error{
		"every third call is throttled": func(ctx context.Context, p *local.Provider) error { return p.SetThrottle(ctx, 3) },
		"every fifth call fails":        func(ctx context.Context, p *local.Provider) error { return p.SetErrorRate(ctx, 0.2) },
		"every call takes 100 ms more": func(ctx context.Context, p *local.Provider) error {
			return p.SetLatency(ctx, 100*time.Millisecond)
		},
	}
	for story, worsen := range ways {
		t.Run(strings.ReplaceAll(story, " ", "-"), func(t *testing.T) {
			t.Parallel()
			crowds(t, []*trial{{story: story}}, func(c *crowd) {
				c.loose = true
				c.e.StartWorker("flotilla-worker")
				require.NoError(c.t, worsen(c.t.Context(), c.e.Provider))
				operations := c.begin(fleet.CreateCluster)
				_, err := operations[c.trials[0].cluster].Await()
				require.NoError(c.t, err, story)
				require.NoError(c.t, c.e.Provider.ClearFaults(c.t.Context())) // for a look that tells the truth
				c.created(operations)
				if c.t.Failed() {
					return
				}
				require.NoError(c.t, worsen(c.t.Context(), c.e.Provider))
				operations = c.begin(fleet.DecommissionCluster)
				_, err = operations[c.trials[0].cluster].Await()
				require.NoError(c.t, err, story)
				require.NoError(c.t, c.e.Provider.ClearFaults(c.t.Context()))
				c.gone(operations)
			})
		})
	}
}
