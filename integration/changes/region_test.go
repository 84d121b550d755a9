package changes

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// TestClusterMovesToAnotherRegion moves a cluster to another region while clients use it,
// has that cancelled half way, changes the cluster while it lies in both, and moves the
// rest. Nothing is left where it was.
func TestClusterMovesToAnotherRegion(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	other := e.TwoRegions("local-2")
	e.StartWorker("flotilla-worker")
	e.StartWorkerOf(other)
	spec := small("orders", 3, newer)
	e.Create(spec)
	c := &court{t: t, e: e, cluster: spec.Name, seed: harness.Seed(t), filler: judge.Filler{Prefix: "filler/", Bytes: 1 << 20}}
	client, err := c.dial(t.Context())
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, judge.Fill(t.Context(), client, c.filler))

	move := harness.Change{Kind: fleet.MigrateByLearner, To: func(s *fleet.Spec) {
		s.Region, s.Zones, s.Machine.Type = "local-2", []string{"b", "c"}, "medium"
	}}
	hosts := func(provider *local.Provider) int {
		list, err := provider.ListHosts(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name})
		require.NoError(t, err)
		return len(list)
	}
	c.hears("a move to another region, half way", func() error {
		r, err := e.BeginChange(spec.Name, move)
		if err != nil {
			return err
		}
		harness.Eventually(t, "a member left where it was", func(context.Context) error {
			if hosts(e.Provider) == 3 {
				return errors.New("all of them are there")
			}
			return nil
		})
		if _, err := e.Client.Cancel(t.Context(), spec.Name, "", "half of it will do"); err != nil {
			return err
		}
		_, _ = r.Await()
		view, err := e.Settled(spec.Name)
		require.NoError(t, err)
		require.Equal(t, []fleet.Place{{Provider: "local", Region: "local-2"}}, view.Elsewhere)
		require.Equal(t, harness.Region, view.Summary.Region)
		return nil
	})
	require.Positive(t, hosts(other.Provider))
	c.hears("a roll of a cluster in two regions", func() error {
		r, err := e.BeginChange(spec.Name, harness.Change{Kind: fleet.RollCluster, To: func(s *fleet.Spec) { s.Etcd.MaxTxnOps = 256 }})
		if err != nil {
			return err
		}
		_, err = r.Await()
		return err
	})
	c.hears("the rest of the move", func() error {
		r, err := e.BeginChange(spec.Name, move)
		if err != nil {
			return err
		}
		_, err = r.Await()
		return err
	})
	view, err := e.Settled(spec.Name)
	require.NoError(t, err)
	require.Equal(t, "local-2", view.Summary.Region)
	require.Empty(t, view.Elsewhere)
	require.Len(t, view.Endpoints, 3)
	require.Zero(t, hosts(e.Provider), "nothing is left where it was")
	require.Equal(t, 3, hosts(other.Provider))
	e.Decommission(spec.Name, fleet.Options{})
	require.Zero(t, hosts(other.Provider))
	e.ExpectNothingLeft()
}
