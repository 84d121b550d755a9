package changes

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

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
	var last []string
	require.NoError(t, e.Within(harness.Patience, func() error {
		if now := follow(t, record); !slices.Equal(now, last) {
			last = now
			a.SetEndpoints(now...)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Put(ctx, "taken over", "by the standby")
		return err
	}), "a client that follows the record writes again")
	took, since := time.Since(asked), time.Since(failed)
	require.Len(t, last, 1)
	require.NotContains(t, old, last[0])

	there, err := a.Get(t.Context(), "k/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	require.NoError(t, err)
	keys := map[string]bool{}
	for _, kv := range there.Kvs {
		keys[string(kv.Key)] = true
	}
	lost := slices.DeleteFunc(slices.Clone(acknowledged), func(key string) bool { return keys[key] })
	t.Logf("%d of %d acknowledged writes are lost; the first new one was acknowledged %s after the recovery was asked for, %s after the zones failed",
		len(lost), len(acknowledged), took.Round(time.Millisecond), since.Round(time.Millisecond))
	// What a learner has is the beginning of the log: of each writer, only its last writes
	// may be lost.
	require.Less(t, len(lost), len(acknowledged))
	gone := map[string]bool{}
	for _, key := range acknowledged { // in the order in which each writer wrote
		writer := filepath.Dir(key)
		require.False(t, gone[writer] && keys[key], "%s is there, and one before it is lost", key)
		gone[writer] = gone[writer] || !keys[key]
	}

	// The old side comes back as a quorum of its own, and whoever still asks it is not heard.
	// Its members are told that they were removed as soon as they begin, long before they can
	// elect anybody; on a machine that is starved it may be the other way round, once.
	late, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer late.Close()
	late.SetEndpoints(old...)
	ctx, end := context.WithCancel(t.Context())
	var refused sync.WaitGroup
	tries, heard := 0, 0
	back := time.Now()
	refused.Go(func() {
		for ; ctx.Err() == nil; tries++ {
			try, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
			if _, err := late.Put(try, "late", "v"); err == nil {
				heard++
				if time.Since(back) > 20*time.Second {
					t.Error("voters of the old side go on acknowledging writes")
				}
			}
			cancel()
		}
	})
	for _, zone := range spec.Zones {
		require.NoError(t, e.Provider.HealZone(t.Context(), zone))
	}
	_, err = r.Await()
	end()
	refused.Wait()
	require.NoError(t, err)
	t.Logf("of %d writes to the old side, it acknowledged %d", tries, heard)
	require.NotZero(t, tries)
	require.Less(t, heard, max(tries/2, 1))
	stale, err := a.Get(t.Context(), "late")
	require.NoError(t, err)
	require.Zero(t, stale.Count, "what the old side took is not in the cluster")
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	require.Len(t, follow(t, record), 3)
	for _, url := range follow(t, record) {
		require.NotContains(t, old, url)
	}
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	require.NoFileExists(t, record)
	e.ExpectNothingLeft()
}

// follow gives what a record says now; nothing if there is none.
func follow(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	require.NoError(t, err)
	var said struct {
		Cluster string   `json:"cluster"`
		URLs    []string `json:"urls"`
	}
	require.NoError(t, json.Unmarshal(data, &said))
	return said.URLs
}
