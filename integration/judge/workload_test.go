package judge

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
)

// patience is how long a small machine that does much else may take for what takes
// a second or two.
const patience = 90 * time.Second

// dial gives clients as a user has them, with clientv3's defaults.
func dial(c *etcdtest.Cluster, endpoints ...string) func(context.Context) (*clientv3.Client, error) {
	if len(endpoints) == 0 {
		endpoints = c.Endpoints()
	}
	return func(context.Context) (*clientv3.Client, error) {
		return clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: c.TLS.Clone(), Logger: zap.NewNop()})
	}
}

func startRun(t *testing.T, cfg Config) *Run {
	t.Helper()
	cfg.Log = t.Logf
	run, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	return run
}

// stopRun ends a run and judges it. What is not OK is kept, to look at.
func stopRun(t *testing.T, run *Run) Verdict {
	t.Helper()
	stopped := run.Stop()
	began := time.Now()
	v := run.Verdict()
	t.Logf("judged within %s\n%s", short(time.Since(began)), v)
	if !v.OK() {
		path := filepath.Join(os.TempDir(), "judge-"+t.Name()+".jsonl")
		require.NoError(t, run.History().Save(path))
		t.Logf("the history is in %s", path)
	}
	require.NoError(t, stopped)
	return v
}

// awaitWrites waits until every client has had so many more writes acknowledged.
func awaitWrites(t *testing.T, run *Run, clients, more int) {
	t.Helper()
	from := len(run.History().Calls)
	require.Eventually(t, func() bool {
		count := map[int]int{}
		for _, c := range run.History().Calls[from:] {
			if c.Kind.mutates() && c.Outcome == OK {
				count[c.Client]++
			}
		}
		for id := range clients {
			if count[id] < more {
				return false
			}
		}
		return true
	}, patience, 20*time.Millisecond)
}

// TestLeaderKilled kills a leader under load and starts it again: clients wait for
// an election, and nothing that was acknowledged is lost.
func TestLeaderKilled(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.V37, 3)
	filler := Filler{Bytes: 8 << 20, Seed: 1}
	require.NoError(t, Fill(t.Context(), cluster.Client(t), filler))
	const clients = 4
	run := startRun(t, Config{Dial: dial(cluster), Clients: clients, LeaseTTL: 3 * time.Second, CompactEvery: 2 * time.Second, Filler: &filler})
	awaitWrites(t, run, clients, 30)

	leader := cluster.Leader(t)
	killed := time.Now()
	leader.Kill()
	awaitWrites(t, run, clients, 30)
	recovered := time.Now()
	require.NoError(t, leader.Start())
	leader.AwaitReady(t)
	awaitWrites(t, run, clients, 60)

	require.True(t, stopRun(t, run).OK())
	election := run.Stalls(killed, recovered)
	t.Logf("while the leader was dead:\n%s", election)
	require.Greater(t, election.Overall.Length, 500*time.Millisecond, "an election takes longer")
	require.GreaterOrEqual(t, election.Worst.Length, election.Overall.Length)
}

// TestEndpointsFollowed takes a member away that all clients use, after they were
// told of others: none of them notices.
func TestEndpointsFollowed(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.V36, 3)
	first := cluster.Follower(t)
	var endpoints atomic.Pointer[[]string]
	use := func(urls ...string) { endpoints.Store(&urls) }
	use(first.ClientURL)
	const clients = 2
	run := startRun(t, Config{
		Dial: dial(cluster, first.ClientURL), Clients: clients, Seed: 7, LeaseTTL: 3 * time.Second, EndpointsEvery: 20 * time.Millisecond,
		Endpoints: func(context.Context) ([]string, error) { return *endpoints.Load(), nil },
	})
	awaitWrites(t, run, clients, 10)
	for i := range run.History().Calls {
		require.Equal(t, run.History().Calls[0].Member, run.History().Calls[i].Member, "all use one member")
	}
	use(slices.DeleteFunc(cluster.Endpoints(), func(url string) bool { return url == first.ClientURL })...)
	changed := func() (n int) {
		for _, note := range run.History().Notes {
			if !note.Failed {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return changed() == 2 }, patience, 10*time.Millisecond)
	awaitWrites(t, run, clients, 10)
	first.Stop()
	awaitWrites(t, run, clients, 10)
	v := stopRun(t, run)
	require.True(t, v.OK())
	require.Equal(t, uint64(7), v.Seed)
	require.Contains(t, v.String(), "judge, seed 7: no violation")
	for _, k := range v.Stalls.Kinds {
		require.Empty(t, k.Errors, k.Kind)
	}
}

// TestNoCluster says that a cluster which does not come back is no success.
func TestNoCluster(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.V37, 1)
	run := startRun(t, Config{Dial: dial(cluster), Clients: 1, CallTimeout: 3 * time.Second, CatchUp: time.Second, LeaseTTL: time.Second})
	awaitWrites(t, run, 1, 5)
	cluster.Members[0].Kill()
	require.ErrorContains(t, run.Stop(), "the last write of all keys got no answer")
	v := run.Verdict()
	require.False(t, v.OK())
	require.Contains(t, v.Violations[0], "run: the last write")

	_, err := Start(t.Context(), Config{Dial: dial(cluster), CallTimeout: 100 * time.Millisecond})
	require.ErrorContains(t, err, "the judge's first read")
	_, err = Start(t.Context(), Config{})
	require.ErrorContains(t, err, "dial")
}

// TestBounded ends a run whose record is full, and refuses one whose keys are not
// its own.
func TestBounded(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.V37, 1)
	run := startRun(t, Config{Dial: dial(cluster), Clients: 1, Prefix: "mine/", MaxCalls: 50, LeaseTTL: 3 * time.Second})
	require.Eventually(t, run.over, patience, 10*time.Millisecond)
	require.NoError(t, run.Stop())
	require.NoError(t, run.Stop(), "a second time it does nothing")
	v := run.Verdict()
	require.Len(t, v.Violations, 1)
	require.Contains(t, v.Violations[0], "run: the clients ended early, after 50 calls")

	_, err := Start(t.Context(), Config{Dial: dial(cluster), Prefix: "mine/"})
	require.ErrorContains(t, err, "of an earlier run")

	f := Filler{Bytes: 100 << 10, ValueBytes: 10 << 10}
	client := cluster.Client(t)
	require.NoError(t, Fill(t.Context(), client, f))
	require.NoError(t, f.Verify(t.Context(), client))
	_, err = client.Put(t.Context(), f.withDefaults().key(3), "x")
	require.NoError(t, err)
	require.ErrorContains(t, f.Verify(t.Context(), client), "is not as it was written")
	_, err = client.Delete(t.Context(), f.withDefaults().key(3))
	require.NoError(t, err)
	require.ErrorContains(t, f.Verify(t.Context(), client), "of the filler's 10 keys 9 are there")
}
