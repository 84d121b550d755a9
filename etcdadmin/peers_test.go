package etcdadmin_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// untilHeard asks the peers of a member until they say what is wanted.
func untilHeard(t *testing.T, client *etcdadmin.Client, what string, id uint64, want func(etcdadmin.Hearsay) bool) (h etcdadmin.Hearsay) {
	t.Helper()
	until(t, what, func() (bool, any) {
		h = hearsay(t, client, id)
		return want(h), h
	})
	return h
}

func hearsay(t *testing.T, client *etcdadmin.Client, id uint64) etcdadmin.Hearsay {
	t.Helper()
	var all []etcdadmin.Hearsay
	untilDone(t, "hearsay", func() (err error) {
		all, err = client.Peers(t.Context())
		return err
	})
	for _, h := range all {
		if h.ID == id {
			return h
		}
	}
	require.FailNow(t, "no such member", "%x in %+v", id, all)
	return etcdadmin.Hearsay{}
}

// TestHangingMember stops a member without ending it, and has the others do
// everything that they can do; then it kills one.
func TestHangingMember(t *testing.T) {
	t.Parallel()
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, version, 3)
			client := connect(t, cluster)
			o := untilLook(t, client, "a leader", func(o etcdadmin.Observation) bool { return o.Leader != "" })
			until(t, "live members are heard", func() (bool, any) {
				all, err := client.Peers(t.Context())
				require.NoError(t, err)
				for i, h := range all {
					m := o.Members[i]
					want := etcdadmin.Hearsay{ID: m.ID, Name: m.Name, Voters: 2, Answered: 2, Connected: 2, Heard: max(1, h.Heard), ByLeader: !m.Leader}
					if !reflect.DeepEqual(h, want) || h.Says() != fleet.SaysAlive {
						return false, all
					}
				}
				return true, all
			})

			paused := cluster.Follower(t)
			id := member(t, o, paused.Name).ID
			paused.Pause(t)
			began := time.Now()
			h := untilHeard(t, client, "the leader misses a member that hangs", id, func(h etcdadmin.Hearsay) bool { return h.Says() == fleet.SaysDead })
			t.Logf("a member that hangs is missed after %s, while %d of %d are connected", time.Since(began).Round(time.Millisecond), h.Connected, h.Answered)
			require.True(t, h.ByLeader)
			hanging(t, cluster, client, o, paused)

			paused.Resume(t)
			untilHeard(t, client, "it is heard again", id, func(h etcdadmin.Hearsay) bool { return h.Says() == fleet.SaysAlive })
			if version == etcdtest.V37 {
				leaderHangs(t, cluster, client)
			}

			paused.Kill()
			began = time.Now()
			h = untilHeard(t, client, "a dead member is missed by all", id, func(h etcdadmin.Hearsay) bool {
				return h.Connected == 0 && h.Says() == fleet.SaysDead
			})
			t.Logf("a member that was killed is missed after %s", time.Since(began).Round(time.Millisecond))
			require.Equal(t, 2, h.Answered)

			untilDone(t, "removal of the dead one", func() error { return client.RemoveMember(t.Context(), id) })
			if version == etcdtest.V37 {
				quorumLost(t, cluster, client, paused)
			}
		})
	}
}

// quorumLost kills one of the two members that are left.
func quorumLost(t *testing.T, cluster *etcdtest.Cluster, client *etcdadmin.Client, removed *etcdtest.Member) {
	t.Helper()
	o := listed(t, client)
	for _, m := range cluster.Members {
		if m.Name == o.Leader || m == removed {
			continue
		}
		m.Kill()
		h := untilHeard(t, client, "what is left tells without a quorum", member(t, o, m.Name).ID, func(h etcdadmin.Hearsay) bool {
			return h.Answered == 1 && h.Connected == 0
		})
		require.Equal(t, fleet.SaysDead, h.Says(), "it need not be a quorum of the cluster")
	}
}

// leaderHangs has the others elect one of themselves before they can do anything.
func leaderHangs(t *testing.T, cluster *etcdtest.Cluster, client *etcdadmin.Client) {
	t.Helper()
	leader := cluster.Leader(t)
	leader.Pause(t)
	began := time.Now()
	untilDone(t, "churn without the old leader", func() error { return client.Churn(t.Context(), 2, nil) })
	t.Logf("changes went on %s after the leader began to hang", time.Since(began).Round(time.Millisecond))
	leader.Resume(t)
}

// hanging does what a cluster can do with one of three members silent, each within
// its time.
func hanging(t *testing.T, cluster *etcdtest.Cluster, client *etcdadmin.Client, o etcdadmin.Observation, paused *etcdtest.Member) {
	t.Helper()
	var other fleet.ObservedMember
	for _, m := range o.Members {
		if m.Name != paused.Name && !m.Leader {
			other = m
		}
	}
	do := func(what string, limit time.Duration, call func() error) {
		t.Helper()
		began := time.Now()
		require.NoError(t, call(), what)
		require.Less(t, time.Since(began), limit, what)
	}
	const busy = 2 * time.Second // what a machine that others share adds
	do("churn", 5*time.Second+busy, func() error { return client.Churn(t.Context(), 100, nil) })
	do("lag", 2*time.Second+busy, func() error {
		lag, err := client.Lag(t.Context(), other.ID)
		require.True(t, lag.Answers)
		return err
	})
	do("move", 5*time.Second+busy, func() error { return client.MoveLeader(t.Context(), other.ID) })
	require.Equal(t, other.Name, listed(t, client).Leader)
	do("version", 3*time.Second+busy, func() error {
		v, err := client.ClusterVersion(t.Context())
		require.Equal(t, fleet.Minor(cluster.Version)+".0", v)
		return err
	})
	do("update", 5*time.Second+busy, func() error { return client.UpdateMember(t.Context(), other.ID, other.PeerURLs[0]) })
	lag, err := client.Lag(t.Context(), member(t, o, paused.Name).ID)
	require.NoError(t, err)
	require.Contains(t, lag.Silent, "no answer within 1s")
	refused(t, client.MoveLeader(t.Context(), lag.ID), fleet.Unavailable, paused.Name, "does not answer")
}
