package etcdadmin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
)

// lookLimit is how long one look may take: two answer timeouts, and what a busy
// machine adds.
const lookLimit = 2*etcdadmin.DefaultAnswerTimeout + 3*time.Second

func connect(t *testing.T, c *etcdtest.Cluster, endpoints ...string) *etcdadmin.Client {
	t.Helper()
	if len(endpoints) == 0 {
		endpoints = c.Endpoints()
	}
	client, err := etcdadmin.Connect(etcdadmin.Config{Endpoints: endpoints, TLS: c.TLS})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

func look(t *testing.T, c *etcdadmin.Client) etcdadmin.Observation {
	t.Helper()
	began := time.Now()
	o := c.Observe(t.Context())
	require.Less(t, time.Since(began), lookLimit, "a look at a cluster took too long")
	return o
}

// untilLook looks until it sees what is wanted.
func untilLook(t *testing.T, c *etcdadmin.Client, what string, want func(etcdadmin.Observation) bool) etcdadmin.Observation {
	t.Helper()
	var o etcdadmin.Observation
	require.Eventually(t, func() bool { o = look(t, c); return want(o) }, 30*time.Second, 50*time.Millisecond, what)
	return o
}

func member(t *testing.T, o etcdadmin.Observation, name string) fleet.ObservedMember {
	t.Helper()
	for _, m := range o.Members {
		if m.Name == name {
			return m
		}
	}
	require.FailNow(t, "no such member", "%s in %+v", name, o)
	return fleet.ObservedMember{}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, version, 3)
			client := connect(t, cluster)
			require.NoError(t, client.Quorum(t.Context()))
			_, err := cluster.Client(t).Put(t.Context(), "k", "v")
			require.NoError(t, err)

			o := untilLook(t, client, "all members have the put", func(o etcdadmin.Observation) bool {
				for _, m := range o.Members {
					if m.Revision != 2 {
						return false
					}
				}
				return o.Why == ""
			})
			require.True(t, o.Quorum)
			require.Equal(t, int64(2), o.Revision)
			require.Equal(t, cluster.Leader(t).Name, o.Leader)
			require.Len(t, o.Members, 3)
			for _, m := range cluster.Members {
				seen := member(t, o, m.Name)
				require.True(t, seen.Answers)
				require.Equal(t, version, seen.Version)
				require.Equal(t, []string{m.ClientURL}, seen.ClientURLs)
				require.Equal(t, []string{m.PeerURL}, seen.PeerURLs)
				require.Positive(t, seen.DBSize)
				require.Positive(t, seen.Applied)
				require.Positive(t, seen.Term)
				require.Empty(t, seen.Errors)
				require.Equal(t, m.Name == o.Leader, seen.Leader)
			}
			t.Run("from one endpoint", func(t *testing.T) {
				o := look(t, connect(t, cluster, cluster.Members[1].ClientURL))
				require.Len(t, o.Members, 3)
				require.Empty(t, o.Why)
			})
			alarms(t, cluster, client)
			learners(t, cluster, client)
			silence(t, cluster, client)
		})
	}
}

// learners adds one that is only announced, and then starts it.
func learners(t *testing.T, cluster *etcdtest.Cluster, client *etcdadmin.Client) {
	announced := cluster.AddLearner(t, false)
	o := look(t, client)
	require.Len(t, o.Members, 4)
	m := member(t, o, "")
	require.True(t, m.Learner)
	require.False(t, m.Answers)
	require.Contains(t, m.Silent, "has not started yet")
	require.Contains(t, o.Why, "has not started yet")

	require.NoError(t, announced.Start())
	o = untilLook(t, client, "the learner answers", func(o etcdadmin.Observation) bool { return o.Why == "" })
	m = member(t, o, announced.Name)
	require.True(t, m.Learner)
	require.True(t, m.Answers)
	require.Positive(t, m.Applied)

	// A learner alone knows no quorum and no membership.
	alone := connect(t, cluster, announced.ClientURL)
	o = look(t, alone)
	require.Nil(t, o.Members)
	require.False(t, o.Quorum)
	require.Contains(t, o.Why, "the membership is unknown")
	require.Contains(t, o.Why, "learner")
	require.Contains(t, o.Why, announced.ClientURL+" answers and has a leader")
	require.Error(t, alone.Quorum(t.Context()))
}

// silence pauses and kills members, ends without a quorum, and undoes it.
func silence(t *testing.T, cluster *etcdtest.Cluster, client *etcdadmin.Client) {
	paused := cluster.Follower(t)
	paused.Pause(t)
	for range 3 {
		o := look(t, client)
		require.True(t, o.Quorum, o.Why)
		require.Len(t, o.Members, 4)
		m := member(t, o, paused.Name)
		require.False(t, m.Answers)
		require.Contains(t, m.Silent, "no answer within 1s")
		require.Contains(t, o.Why, "member "+paused.Name)
		require.NotEmpty(t, o.Leader)
	}
	leader, killed := cluster.Leader(t), paused
	for _, m := range cluster.Members[:3] {
		if m != paused && m != leader {
			killed = m
		}
	}
	killed.Kill()
	o := untilLook(t, client, "the quorum is gone", func(o etcdadmin.Observation) bool {
		return !o.Quorum && strings.Contains(o.Why, "connection refused")
	})
	require.Nil(t, o.Members, "unknown is not an empty membership")
	require.Contains(t, o.Why, "the membership is unknown")
	require.Contains(t, o.Why, killed.ClientURL)
	err := client.Quorum(t.Context())
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	_, err = client.Members(t.Context())
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)

	paused.Resume(t)
	require.NoError(t, killed.Start())
	untilLook(t, client, "all is well again", func(o etcdadmin.Observation) bool { return o.Quorum && o.Why == "" && o.Leader != "" })
}

func TestRefusedTLS(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.V37, 1)
	other, err := pki.NewAuthority("other", "u", time.Now())
	require.NoError(t, err)
	foreign, err := other.ClientTLS("flotilla", time.Now())
	require.NoError(t, err)
	distrusted := cluster.TLS.Clone()
	distrusted.Certificates = foreign.Certificates
	anonymous := cluster.TLS.Clone()
	anonymous.Certificates = nil
	for name, config := range map[string]*etcdadmin.Config{
		"we do not trust the member":   {TLS: foreign},
		"the member does not trust us": {TLS: distrusted},
		"no certificate of ours":       {TLS: anonymous},
	} {
		t.Run(name, func(t *testing.T) {
			core, logged := observer.New(zap.DebugLevel)
			config.Endpoints, config.Log = cluster.Endpoints(), zap.New(core)
			client, err := etcdadmin.Connect(*config)
			require.NoError(t, err)
			defer func() { require.NoError(t, client.Close()) }()
			check := func(err error) {
				t.Helper()
				require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
				require.ErrorContains(t, err, cluster.Members[0].ClientURL)
				require.ErrorContains(t, err, "do not trust each other")
			}
			check(client.Quorum(t.Context()))
			_, err = client.Members(t.Context())
			check(err)
			_, err = client.Snapshot(t.Context(), cluster.Members[0].ClientURL)
			check(err)
			require.Nil(t, look(t, client).Members)
			require.Empty(t, logged.All(), "the client library fills the log")
		})
	}
}

func TestConnect(t *testing.T) {
	for _, endpoints := range [][]string{nil, {"127.0.0.1:2379"}, {"https://127.0.0.1:2379"}, {"http://"}} {
		_, err := etcdadmin.Connect(etcdadmin.Config{Endpoints: endpoints})
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	}
	client, err := etcdadmin.Connect(etcdadmin.Config{Endpoints: []string{"http://127.0.0.1:1"}})
	require.NoError(t, err)
	require.Contains(t, client.Observe(t.Context()).Why, "connection refused")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = client.Quorum(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, client.Close())
	require.NoError(t, client.Close())
	require.Equal(t, fleet.Invalid, fleet.KindOf(client.Quorum(t.Context())))
}
