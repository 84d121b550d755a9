package etcdadmin_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// painted is a member that says what a test wants: that it lags while it serves, or
// that it runs a release that nobody should run. It cannot hand over, and takes what
// it is asked to change for done.
type painted struct {
	etcdserverpb.UnimplementedClusterServer
	etcdserverpb.UnimplementedMaintenanceServer
	id      uint64
	url     string
	status  *etcdserverpb.StatusResponse
	cluster *picture
}

// picture is a cluster of painted members.
type picture struct {
	mu      sync.Mutex
	list    []*etcdserverpb.Member
	changes []string
}

// paint starts one member per status; the first has ID 1 and so on.
func paint(t *testing.T, learners []uint64, statuses ...*etcdserverpb.StatusResponse) (*picture, *etcdadmin.Client) {
	t.Helper()
	cluster := &picture{}
	var urls []string
	for i, status := range statuses {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		m := &painted{id: uint64(i + 1), url: "http://" + listener.Addr().String(), status: status, cluster: cluster}
		cluster.list = append(cluster.list, &etcdserverpb.Member{
			ID: m.id, Name: "painted-" + string(rune('0'+m.id)), ClientURLs: []string{m.url}, PeerURLs: []string{m.url + "/peer"},
			IsLearner: slices.Contains(learners, m.id),
		})
		status.Header = m.header()
		urls = append(urls, m.url)
		server := grpc.NewServer()
		etcdserverpb.RegisterClusterServer(server, m)
		etcdserverpb.RegisterMaintenanceServer(server, m)
		var served sync.WaitGroup
		served.Go(func() { _ = server.Serve(listener) })
		t.Cleanup(func() { server.Stop(); served.Wait() })
	}
	client, err := etcdadmin.Connect(etcdadmin.Config{Endpoints: urls})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return cluster, client
}

func (m *painted) header() *etcdserverpb.ResponseHeader {
	return &etcdserverpb.ResponseHeader{ClusterId: 1, MemberId: m.id, Revision: 1}
}

func (m *painted) MemberList(context.Context, *etcdserverpb.MemberListRequest) (*etcdserverpb.MemberListResponse, error) {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	return &etcdserverpb.MemberListResponse{Header: m.header(), Members: m.cluster.list}, nil
}

func (m *painted) Status(context.Context, *etcdserverpb.StatusRequest) (*etcdserverpb.StatusResponse, error) {
	return m.status, nil
}

func (m *painted) MemberUpdate(context.Context, *etcdserverpb.MemberUpdateRequest) (*etcdserverpb.MemberUpdateResponse, error) {
	m.change("update")
	return &etcdserverpb.MemberUpdateResponse{Header: m.header()}, nil
}

func (m *painted) MoveLeader(context.Context, *etcdserverpb.MoveLeaderRequest) (*etcdserverpb.MoveLeaderResponse, error) {
	m.change("move")
	return &etcdserverpb.MoveLeaderResponse{Header: m.header()}, nil
}

func (m *painted) change(what string) {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	m.cluster.changes = append(m.cluster.changes, what)
}

func says(version string, leader, applied uint64) *etcdserverpb.StatusResponse {
	return &etcdserverpb.StatusResponse{Version: version, Leader: leader, RaftTerm: 2, RaftAppliedIndex: applied}
}

func TestMoveLeaderToOneThatLags(t *testing.T) {
	const far = 10_000
	cluster, client := paint(t, nil, says("3.7.3", 1, far), says("3.7.3", 1, far-fleet.SyncLag-1), says("3.7.3", 1, far))
	refused(t, client.MoveLeader(t.Context(), 2), fleet.Conflict, "painted-2", "is not in sync", "1001 behind")
	require.Empty(t, cluster.changes)
	lag, err := client.Lag(t.Context(), 2)
	require.NoError(t, err)
	require.Equal(t, 89, lag.Percent())
	require.Equal(t, "painted-2 is 1001 entries behind leader painted-1", lag.String())

	err = client.MoveLeader(t.Context(), 3)
	refused(t, err, fleet.Unavailable, "painted-3", "the old leader has handed over", "it says that the leader is 1")
	require.Equal(t, []string{"move"}, cluster.changes)
}

// TestUpdateOfLearner asks releases that would take the learner for a voter.
func TestUpdateOfLearner(t *testing.T) {
	for version, allowed := range map[string]bool{
		"3.5.30": false, "3.5.31": true, "3.6.11": false, "3.6.12": true, "3.7.0": true,
		"3.4.99": false, "3.8.0": false, "3.6.12-rc.0": false,
	} {
		cluster, client := paint(t, []uint64{2}, says("3.7.3", 1, 9), says(version, 1, 9))
		err := client.UpdateMember(t.Context(), 2, "https://10.0.0.9:2380")
		if allowed {
			require.NoError(t, err, version)
			require.Equal(t, []string{"update"}, cluster.changes)
		} else {
			refused(t, err, fleet.Conflict, "painted-2", version, "take it for a voter")
			require.Empty(t, cluster.changes)
		}
		require.NoError(t, client.UpdateMember(t.Context(), 1, "https://10.0.0.9:2380"), "a voter stays one")
	}
	cluster, client := paint(t, []uint64{2}, says("3.6.11", 1, 9), says("3.6.11", 1, 9))
	require.NoError(t, client.UpdateMember(t.Context(), 2, cluster.list[1].PeerURLs[0]), "it is there already")
	require.Empty(t, cluster.changes)
}

// TestWithoutLeader asks members that know of none.
func TestWithoutLeader(t *testing.T) {
	cluster, client := paint(t, []uint64{2}, says("3.7.3", 0, 9), says("3.7.3", 0, 9), says("3.7.3", 0, 9))
	for what, err := range map[string]error{
		"removal": client.RemoveMember(t.Context(), 3), "promotion": client.Promote(t.Context(), 2),
		"move": client.MoveLeader(t.Context(), 3), "churn": client.Churn(t.Context(), 2, nil),
		"add": client.AddLearner(t.Context(), "https://10.0.0.9:2380"), "downgrade": client.EnableDowngrade(t.Context(), "3.6"),
	} {
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%s: %v", what, err)
	}
	_, err := client.Lag(t.Context(), 2)
	refused(t, err, fleet.Unavailable, "painted-2", "or there is none")
	_, err = client.ClusterVersion(t.Context())
	refused(t, err, fleet.Unavailable)
	require.Empty(t, cluster.changes)
	all, err := client.Peers(t.Context())
	require.NoError(t, err)
	require.Len(t, all[0].Silent, 1, "who has no metrics tells nothing")
	require.Equal(t, fleet.SaysUnknown, all[0].Says())
}

func TestGate(t *testing.T) {
	at := func(applied, leader uint64) etcdadmin.Lag {
		return etcdadmin.Lag{Answers: true, Applied: applied, LeaderApplied: leader}
	}
	after := func(lags ...etcdadmin.Lag) (g etcdadmin.Gate) {
		for _, l := range lags {
			g = g.After(l)
		}
		return g
	}
	require.Equal(t, 3, etcdadmin.GateStreak)
	idle := at(100, 100)
	require.False(t, after(idle, idle, idle).InSync(), "the first question has none before it")
	require.True(t, after(idle, idle, idle, idle).InSync())
	require.True(t, after(at(50, 100), at(100, 150), at(150, 200), at(200, 250)).InSync(), "it follows, always a little late")
	require.False(t, after(idle, idle, idle, at(90, 100), idle, idle).InSync(), "it begins anew")
	require.False(t, after(idle, idle, idle, etcdadmin.Lag{LeaderApplied: 100}, idle, idle).InSync(), "it did not answer")
	far := at(10_000, 10_001+fleet.SyncLag)
	require.False(t, after(at(9000, 10_000), far, far, far, far).InSync(), "it is too far away")
	few := at(0, 20) // a large store of few entries, whose snapshot is on its way
	require.False(t, after(few, few, few, few, few).InSync())
}

func TestHearsay(t *testing.T) {
	for _, c := range []struct {
		h    etcdadmin.Hearsay
		says fleet.Testimony
	}{
		{etcdadmin.Hearsay{Voters: 2, Answered: 2, Connected: 0}, fleet.SaysDead},
		{etcdadmin.Hearsay{Voters: 2, Answered: 2, Connected: 2, ByLeader: true}, fleet.SaysDead},
		{etcdadmin.Hearsay{Voters: 2, Answered: 2, Connected: 2}, fleet.SaysUnknown},
		{etcdadmin.Hearsay{Voters: 2, Answered: 1, Connected: 0, ByLeader: true}, fleet.SaysUnknown},
		{etcdadmin.Hearsay{Voters: 2, Answered: 1, Heard: 1}, fleet.SaysAlive},
		{etcdadmin.Hearsay{Voters: 0}, fleet.SaysUnknown},
		{etcdadmin.Hearsay{Voters: 1, Answered: 1}, fleet.SaysDead},
		{etcdadmin.Hearsay{Voters: 4, Answered: 2}, fleet.SaysUnknown},
		{etcdadmin.Hearsay{Voters: 4, Answered: 3}, fleet.SaysDead},
	} {
		require.Equal(t, c.says, c.h.Says(), "%+v", c.h)
	}
}
