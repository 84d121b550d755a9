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
)

// TestClusterMovesToAnotherRegion moves a cluster to another region while clients use it,
// has that cancelled half way, changes the cluster while it lies in both, and moves the
// rest. Nothing is left where it was. With FLOTILLA_WHOLE all of that is done under fire,
// with 200 MB of data.
func TestClusterMovesToAnotherRegion(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	other := e.TwoRegions("local-2")
	spec := small("orders", 3, newer)
	c := newCourt(t, e, spec.Name, load())
	burning := mayBurn(c, nil, other)
	c.opens(spec)

	move := harness.Change{Kind: fleet.MigrateByLearner, To: func(s *fleet.Spec) {
		s.Region, s.Zones, s.Machine.Type = "local-2", []string{"b", "c"}, "medium"
	}}
	has := func(provider *local.Provider) (int, error) {
		list, err := provider.ListHosts(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name})
		return len(list), err
	}
	hosts := func(provider *local.Provider) int {
		n, err := has(provider)
		require.NoError(t, err)
		return n
	}
	c.hears("a move to another region, half way", func() error { return burning(func() error { return c.half(move, has) }) })
	view, err := e.Settled(spec.Name)
	require.NoError(t, err)
	require.Equal(t, []fleet.Place{{Provider: "local", Region: "local-2"}}, view.Elsewhere)
	require.Equal(t, harness.Region, view.Summary.Region)
	require.Positive(t, hosts(other.Provider))
	roll := harness.Change{Kind: fleet.RollCluster, To: func(s *fleet.Spec) { s.Etcd.MaxTxnOps = 256 }}
	c.hears("a roll of a cluster in two regions", func() error { return burning(func() error { return c.goes(leg{name: "roll", Change: roll}) }) })
	c.hears("the rest of the move", func() error { return burning(func() error { return c.goes(leg{name: "move", Change: move}) }) })
	view, err = e.Settled(spec.Name)
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

// half begins a move and cancels it once a member left where it was. Where fire ends it
// before, it is resumed.
func (c *court) half(move harness.Change, has func(*local.Provider) (int, error)) error {
	r, err := c.e.BeginChange(c.cluster, move)
	if err != nil {
		return err
	}
	harness.Eventually(c.t, "a member left where it was", func(context.Context) error {
		n, err := has(c.e.Provider)
		if err == nil && n == 3 {
			err = errors.New("all of them are there")
		}
		if err != nil && r.Ended() {
			if again, resumed := c.e.Resume(c.cluster); resumed == nil {
				r = again
			}
		}
		return err
	})
	err = c.e.Within(harness.Patience, func() error {
		_, err := c.e.Client.Cancel(c.t.Context(), c.cluster, "", "half of it will do")
		if r.Ended() {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	_, _ = r.Await()
	return nil
}
