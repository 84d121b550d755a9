package etcdadmin_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// patience is how long a fact may take on a machine that others share.
	patience = 60 * time.Second
	pollEach = 30 * time.Millisecond
	// slow lets a snapshot of 20 MB take long enough to be looked at, fast ends that.
	slow, fast = 1 << 20, 1 << 30
)

// until looks until it sees what is wanted, and fails with what it saw last.
func until(t *testing.T, what string, look func() (bool, any)) {
	t.Helper()
	tick := time.NewTicker(pollEach)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		ok, seen := look()
		if ok {
			return
		}
		require.True(t, time.Now().Before(deadline), "waited %s for: %s; at last %+v", patience, what, seen)
	}
}

// untilDone calls until it succeeds, as an activity does; every refusal in between
// must be one that may pass.
func untilDone(t *testing.T, what string, do func() error) {
	t.Helper()
	until(t, what, func() (bool, any) {
		err := do()
		if err != nil && !fleet.Is(err, fleet.Unavailable) && !fleet.Is(err, fleet.Conflict) {
			require.NoError(t, err, what)
		}
		return err == nil, err
	})
}

// untilInSync asks the gate until it opens.
func untilInSync(t *testing.T, client *etcdadmin.Client, id uint64) {
	t.Helper()
	var gate etcdadmin.Gate
	var lag etcdadmin.Lag
	until(t, "the member is in sync", func() (bool, any) {
		lag, gate = ask(t, client, gate, id)
		return gate.InSync(), lag
	})
	require.True(t, lag.Answers)
	require.LessOrEqual(t, lag.Behind(), uint64(fleet.SyncLag))
}

func ask(t *testing.T, client *etcdadmin.Client, gate etcdadmin.Gate, id uint64) (etcdadmin.Lag, etcdadmin.Gate) {
	t.Helper()
	var lag etcdadmin.Lag
	untilDone(t, "a question", func() (err error) {
		lag, err = client.Lag(t.Context(), id)
		return err
	})
	return lag, gate.After(lag)
}

// listed looks until a quorum gives the membership: one look may come between two
// leaders.
func listed(t *testing.T, client *etcdadmin.Client) etcdadmin.Observation {
	t.Helper()
	return untilLook(t, client, "a membership", func(o etcdadmin.Observation) bool { return o.Quorum && o.Leader != "" })
}

// refused checks that an error names what failed and says why.
func refused(t *testing.T, err error, kind fleet.Kind, words ...string) {
	t.Helper()
	var e *fleet.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, kind, e.Kind, "%v", err)
	require.NotEmpty(t, e.Resource)
	for _, w := range words {
		require.ErrorContains(t, err, w)
	}
}

// load writes a little all the time, as clients do, and keeps what was acknowledged.
type load struct {
	stop   func()
	acked  int
	failed []error
	gap    time.Duration // the longest between two acknowledged writes
}

func startLoad(t *testing.T, cluster *etcdtest.Cluster) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	client, l := cluster.Client(t), &load{}
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			_, err := client.Put(ctx, fmt.Sprintf("load/%06d", l.acked), "x")
			switch {
			case ctx.Err() != nil:
				return
			case err != nil:
				l.failed = append(l.failed, err)
			default:
				l.gap, last = max(l.gap, time.Since(last)), time.Now()
				l.acked++
			}
		}
	})
	l.stop = func() { cancel(); running.Wait() }
	t.Cleanup(l.stop)
	return l
}

// fill writes values of 256 KiB.
func fill(t *testing.T, client *clientv3.Client, values int) {
	t.Helper()
	value := strings.Repeat("x", 256<<10)
	for i := range values {
		_, err := client.Put(t.Context(), fmt.Sprintf("big/%02d", i), value)
		require.NoError(t, err)
	}
}

// shortLog has members write a raft snapshot after 100 entries and forget what is older.
func shortLog(version string) []string {
	catchUp := "--snapshot-catchup-entries=50"
	if version == etcdtest.V35 {
		catchUp = "--experimental-snapshot-catchup-entries=50"
	}
	return []string{"--snapshot-count=100", catchUp}
}

// churn makes raft entries, so that whoever joins then needs a snapshot, and checks
// what it leaves.
func churn(t *testing.T, cluster *etcdtest.Cluster, client *etcdadmin.Client) {
	t.Helper()
	const entries = 1000
	before, began := listed(t, client), time.Now()
	made := 0
	require.NoError(t, client.Churn(t.Context(), entries, func(n int) {
		require.GreaterOrEqual(t, n, made)
		made = n
	}))
	require.GreaterOrEqual(t, made, entries)
	t.Logf("%d raft entries on %d members in %s", made, len(cluster.Members), time.Since(began).Round(time.Millisecond))
	after := untilLook(t, client, "the churn is applied by all", func(o etcdadmin.Observation) bool {
		for _, m := range o.Members {
			if m.Answers && m.Applied < before.Members[0].Applied+entries {
				return false
			}
		}
		return true
	})
	require.Equal(t, before.Revision, after.Revision, "the key space has not changed")
	leases, err := cluster.Client(t).Leases(t.Context())
	require.NoError(t, err)
	require.Empty(t, leases.Leases)
	for _, m := range cluster.Members {
		if member(t, after, m.Name).Answers {
			until(t, m.Name+" has written a raft snapshot", func() (bool, any) {
				newest := newestSnap(t, m)
				return newest.After(began), newest
			})
		}
	}
}

// newestSnap gives when a member wrote its newest raft snapshot.
func newestSnap(t *testing.T, m *etcdtest.Member) (newest time.Time) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(m.DataDir, "member", "snap", "*.snap"))
	require.NoError(t, err)
	for _, p := range paths {
		info, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // etcd keeps the last five
		}
		require.NoError(t, err)
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

// TestReplaceMember replaces the leader of a loaded cluster by a member that joins
// over a slow network.
func TestReplaceMember(t *testing.T) {
	t.Parallel()
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, version, 3, shortLog(version)...)
			client := connect(t, cluster)
			fill(t, cluster.Client(t), 80)
			churn(t, cluster, client)
			load := startLoad(t, cluster)

			learner, link := cluster.AddLearnerBehind(t, slow)
			o := listed(t, client)
			added, old := member(t, o, ""), member(t, o, o.Leader)
			receiving(t, client, added.ID)
			link.SetPace(fast)
			untilInSync(t, client, added.ID)

			refused(t, client.MoveLeader(t.Context(), added.ID), fleet.Conflict, learner.Name, "is a learner")
			for range 2 {
				untilDone(t, "promotion", func() error { return client.Promote(t.Context(), added.ID) })
				require.False(t, member(t, listed(t, client), learner.Name).Learner)
			}
			for range 2 {
				untilDone(t, "move", func() error { return client.MoveLeader(t.Context(), added.ID) })
				require.Equal(t, learner.Name, listed(t, client).Leader)
			}
			for range 2 {
				untilDone(t, "removal", func() error { return client.RemoveMember(t.Context(), old.ID) })
				require.Len(t, listed(t, client).Members, 3)
			}
			for range 2 {
				untilDone(t, "update", func() error { return client.UpdateMember(t.Context(), added.ID, learner.PeerURL) })
				require.Equal(t, []string{learner.PeerURL}, member(t, listed(t, client), learner.Name).PeerURLs)
			}
			refused(t, client.Promote(t.Context(), old.ID), fleet.NotFound)
			refused(t, client.MoveLeader(t.Context(), old.ID), fleet.NotFound)
			refused(t, client.UpdateMember(t.Context(), old.ID, old.PeerURLs[0]), fleet.NotFound)
			_, err := client.Lag(t.Context(), old.ID)
			refused(t, err, fleet.NotFound)

			load.stop()
			t.Logf("%d writes, the longest gap %s, failed: %v", load.acked, load.gap.Round(time.Millisecond), load.failed)
			got, err := cluster.Client(t).Get(t.Context(), "load/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			require.NoError(t, err)
			require.GreaterOrEqual(t, got.Count, int64(load.acked))
			untilLook(t, client, "all is well", func(o etcdadmin.Observation) bool { return o.Quorum && o.Why == "" })
		})
	}
}

// receiving checks that a learner whose snapshot is on its way is not in sync.
func receiving(t *testing.T, client *etcdadmin.Client, id uint64) {
	t.Helper()
	var gate etcdadmin.Gate
	var lag etcdadmin.Lag
	for seen := 0; seen <= etcdadmin.GateStreak; {
		lag, gate = ask(t, client, gate, id)
		require.False(t, gate.InSync(), "%+v", lag)
		if lag.Receiving {
			seen++
			require.Less(t, lag.Percent(), 100)
			require.Contains(t, lag.String(), "is receiving a snapshot")
		}
	}
	refused(t, client.Promote(t.Context(), id), fleet.Conflict, lag.Member, "does not answer")
}

// TestDeadLearner shows that etcd promotes a learner that is dead, and that we do not.
func TestDeadLearner(t *testing.T) {
	t.Parallel()
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, version, 1)
			client := connect(t, cluster)
			learner := cluster.AddLearner(t, true)
			id := member(t, listed(t, client), learner.Name).ID
			untilInSync(t, client, id)

			link := etcdtest.NewLink(t, strings.TrimPrefix(learner.PeerURL, "https://"), fast)
			for range 2 {
				require.NoError(t, client.UpdateMember(t.Context(), id, link.URL))
				m := member(t, listed(t, client), learner.Name)
				require.Equal(t, []string{link.URL}, m.PeerURLs)
				require.True(t, m.Learner, "still one")
			}
			untilInSync(t, client, id)

			learner.Kill()
			var gate etcdadmin.Gate
			for range 2 * etcdadmin.GateStreak {
				var lag etcdadmin.Lag
				lag, gate = ask(t, client, gate, id)
				require.False(t, lag.Answers)
				require.False(t, lag.Receiving)
				require.Zero(t, gate.Streak)
				require.Contains(t, lag.String(), "does not answer")
			}
			refused(t, client.Promote(t.Context(), id), fleet.Conflict, learner.Name, "does not answer")
			require.True(t, member(t, listed(t, client), learner.Name).Learner)
			_, err := cluster.Client(t, cluster.Members[0].ClientURL).MemberPromote(t.Context(), id)
			require.NoError(t, err, "etcd itself promotes it")
		})
	}
}
