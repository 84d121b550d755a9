package changes

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestStandbyTakesOver has the zones of all voters fail in the middle of writes. The
// learner in a zone of its own becomes the cluster, clients that follow the record are
// switched to it, and the old voters that come back together are not heard.
func TestStandbyTakesOver(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	published := filepath.Join(e.Dir, "endpoints")
	e.Flags = append(e.Flags, "--zones", "a,b,c,d", "--publish", "file://"+published)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 3, newer)
	spec.Learners, spec.Standby.Zones, spec.Clients.Record = 1, []string{"d"}, "orders.example.com"
	e.Create(spec.WithDefaults())
	hosts, err := e.HostsOf(t.Context(), spec.Name)
	require.NoError(t, err)
	const standby = "orders-4"
	for _, h := range hosts {
		require.Equal(t, h.Member() == standby, h.Zone == "d", "%s is in zone %s", h.Member(), h.Zone)
	}
	record := filepath.Join(published, "orders.example.com.json")
	old := follow(t, record)
	require.Len(t, old, 3)

	a, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer a.Close()
	a.SetEndpoints(old...)
	var failed time.Time
	acknowledged := writeUntil(t, a.Client, func() {
		failed = time.Now()
		for _, zone := range spec.Zones {
			require.NoError(t, e.Provider.FailZone(t.Context(), zone))
		}
	})
	asked := time.Now()
	r, err := e.BeginChange(spec.Name, harness.Change{
		Kind: fleet.RecoverQuorum, Options: fleet.Options{Without: []string{"orders-1", "orders-2", "orders-3"}, AcceptLoss: true},
	})
	require.NoError(t, err)
	last := writesAgain(t, a, record)
	took, since := time.Since(asked), time.Since(failed)
	require.Len(t, last, 1)
	require.NotContains(t, old, last[0])
	lost := lostAtTheEnd(t, a, acknowledged)
	t.Logf("%d of %d acknowledged writes are lost; the first new one was acknowledged %s after the recovery was asked for, %s after the zones failed",
		lost, len(acknowledged), took.Round(time.Millisecond), since.Round(time.Millisecond))

	// The old side comes back as a quorum of its own, and whoever still asks it is not heard.
	// Its members are told that they were removed as soon as they begin, long before they can
	// elect anybody; on a machine that is starved it may be the other way round, once.
	late, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer late.Close()
	refused := writeToOldSide(t, late, old)
	for _, zone := range spec.Zones {
		require.NoError(t, e.Provider.HealZone(t.Context(), zone))
	}
	_, err = r.Await()
	refused.end(t, a)
	require.NoError(t, err)
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	require.Len(t, follow(t, record), 3)
	for _, url := range follow(t, record) {
		require.NotContains(t, old, url)
	}
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	require.NoFileExists(t, record)
	e.ExpectNothingLeft()
}
