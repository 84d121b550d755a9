package changes

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestRegionIsLost loses a whole region in the middle of writes: its hosts, its workers and
// its cloud. The learner in the other region becomes the cluster by that region's own
// workers, which grow it there; clients that follow the record are switched to it. The
// lost region comes back, its voters are not heard, and their hosts are given up.
func TestRegionIsLost(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	published := filepath.Join(e.Dir, "endpoints")
	publish := []string{"--publish", "file://" + published}
	other := e.TwoRegions("local-2")
	e.Flags, other.Flags = append(e.Flags, publish...), append(other.Flags, publish...)
	home := e.StartWorker("flotilla-worker")
	e.StartWorkerOf(other)
	spec := acrossRegions()
	e.Create(spec)
	expectPlaces(t, e, other, 3, 1)

	r, err := e.BeginChange(spec.Name, harness.Change{Kind: fleet.RollCluster, To: func(s *fleet.Spec) { s.Etcd.MaxTxnOps = 256 }})
	require.NoError(t, err)
	_, err = r.Await()
	require.NoError(t, err, "a cluster in two regions is rolled like any other")

	record := filepath.Join(published, "orders.example.com.json")
	old := follow(t, record)
	require.Len(t, old, 3)
	a, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer a.Close()
	late, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer late.Close()
	a.SetEndpoints(old...)
	var failed time.Time
	acknowledged := writeUntil(t, a.Client, func() {
		failed = time.Now()
		home.Kill()
		for _, zone := range spec.Zones {
			require.NoError(t, e.Provider.FailZone(t.Context(), zone))
		}
		require.NoError(t, e.Provider.SetErrorRate(t.Context(), 1))
	})

	asked := time.Now()
	r, err = e.BeginChange(spec.Name, harness.Change{
		Kind:    fleet.RecoverQuorum,
		Options: fleet.Options{Without: []string{"orders-1", "orders-2", "orders-3"}, AcceptLoss: true, ToStandby: true},
	})
	require.NoError(t, err)
	last := writesAgain(t, a, record)
	took, since := time.Since(asked), time.Since(failed)
	require.Len(t, last, 1)
	require.NotContains(t, old, last[0])
	lost := lostAtTheEnd(t, a, acknowledged)
	t.Logf("%d of %d acknowledged writes are lost; the first new one was acknowledged %s after the recovery was asked for, %s after the region failed",
		lost, len(acknowledged), took.Round(time.Millisecond), since.Round(time.Millisecond))

	result, err := r.Await()
	require.NoError(t, err)
	require.Contains(t, result.Progress.Doing, "the cloud of local/local-1 does not answer")
	view, err := e.Settled(spec.Name)
	require.NoError(t, err)
	require.Equal(t, "local-2", view.Summary.Region)
	require.Equal(t, []fleet.Place{{Provider: "local", Region: harness.Region}}, view.Elsewhere, "what is there is not forgotten")
	require.Empty(t, view.Spec.Standby.Zones)
	require.Len(t, follow(t, record), 3)
	for _, url := range follow(t, record) {
		require.NotContains(t, old, url)
	}

	// The old side comes back, with nobody to look after it.
	refused := writeToOldSide(t, late, old)
	require.NoError(t, e.Provider.ClearFaults(t.Context()))
	require.NoError(t, e.Within(harness.Patience, func() error {
		if refused.tried() < 30 {
			return errors.New("it was hardly tried")
		}
		return nil
	}))
	refused.end(t, a)
	r, err = e.BeginChange(spec.Name, harness.Change{Kind: fleet.RecoverQuorum})
	require.NoError(t, err)
	_, err = r.Await()
	require.NoError(t, err)
	expectPlaces(t, e, other, 0, 3)
	view, err = e.Settled(spec.Name)
	require.NoError(t, err)
	require.Empty(t, view.Elsewhere)
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	expectPlaces(t, e, other, 0, 0)
	e.ExpectNothingLeft()
}

// acrossRegions is a small cluster with its standby in another region, on other machines.
func acrossRegions() fleet.Spec {
	spec := small("orders", 3, newer)
	spec.Learners, spec.Etcd.MaxLearners, spec.Clients.Record = 1, 2, "orders.example.com"
	spec.Standby = fleet.StandbySpec{Region: "local-2", Zones: []string{"b"}, Machine: fleet.StandbyMachine{Type: "medium"}}
	return spec.WithDefaults()
}

// expectPlaces expects so many hosts and disks of the cluster in each of two regions.
func expectPlaces(t *testing.T, e *harness.Env, other harness.Elsewhere, here, there int) {
	t.Helper()
	count := func(provider *local.Provider, want int, machine, region string) {
		hosts, err := provider.ListHosts(t.Context(), iaas.Tags{fleet.TagCluster: "orders"})
		require.NoError(t, err)
		disks, err := provider.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: "orders"})
		require.NoError(t, err)
		require.Len(t, hosts, want, "hosts in %s", region)
		require.Len(t, disks, want, "disks in %s", region)
		for _, h := range hosts {
			require.Equal(t, machine, h.Type, "%s in %s", h.Member(), region)
		}
	}
	count(e.Provider, here, "small", harness.Region)
	count(other.Provider, there, "medium", "local-2")
}
