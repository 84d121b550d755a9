package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestCalm(t *testing.T) {
	at := func(second int) time.Time { return noon.Add(time.Duration(second) * time.Second) }
	ages := func(seconds ...int) (all []time.Duration) {
		for _, s := range seconds {
			all = append(all, time.Duration(s)*time.Second)
		}
		return all
	}
	var c calm
	c.see(at(0), true)
	c.see(at(3), true)
	require.Equal(t, 3*time.Second, c.lasts(at(3)), "what was seen")
	c.aged(at(3), ages(100, 20, 60))
	require.Equal(t, 20*time.Second, c.lasts(at(3)), "the youngest process counts")
	require.Equal(t, 25*time.Second, c.lasts(at(8)), "and grows older")
	c.aged(at(8), ages(100, 2, 60))
	require.Equal(t, 2*time.Second, c.lasts(at(8)), "it was restarted between two looks")
	c.aged(at(8), ages(100, 0, 60))
	require.Equal(t, 2*time.Second, c.lasts(at(8)), "of a process that is not known, looks tell")
	c.see(at(9), false)
	c.see(at(10), true)
	require.Nil(t, c.uptime, "hosts are asked again after trouble")
	require.Equal(t, time.Second, c.lasts(at(11)))
}

func TestUnhealthyInWords(t *testing.T) {
	healthy := func() etcdadmin.Observation {
		return etcdadmin.Observation{Quorum: true, Leader: "orders-1", Why: "because", Members: []fleet.ObservedMember{
			{Name: "orders-1", Answers: true, Applied: 5000}, {Name: "orders-2", Answers: true, Applied: 5000 - fleet.SyncLag},
		}}
	}
	require.Empty(t, unhealthy(healthy()))
	for says, spoil := range map[string]func(*etcdadmin.Observation){
		"because":                        func(o *etcdadmin.Observation) { o.Quorum = false },
		"there is no leader":             func(o *etcdadmin.Observation) { o.Leader = "" },
		"orders-2 does not answer: dead": func(o *etcdadmin.Observation) { o.Members[1].Answers, o.Members[1].Silent = false, "dead" },
		"orders-2 is 1001 entries behind": func(o *etcdadmin.Observation) {
			o.Members[1].Applied = 3999
		},
	} {
		o := healthy()
		spoil(&o)
		require.Equal(t, says, unhealthy(o))
	}
	require.Equal(t, "because", unhealthy(etcdadmin.Observation{Quorum: true, Why: "because"}), "an unknown membership is no healthy one")
}

func TestOnlyTheNamedMemberIsRemoved(t *testing.T) {
	place := func(address string) *fleet.Endpoint { return &fleet.Endpoint{Address: address, PeerPort: 2380} }
	members := []fleet.ObservedMember{
		{ID: 1, Name: "orders-1", PeerURLs: []string{"https://10.0.0.1:2380"}},
		{ID: 2, Name: "orders-2", PeerURLs: []string{"https://10.0.0.2:2380"}},
		{ID: 3, Learner: true, PeerURLs: []string{"https://10.0.0.3:2380"}},
		{ID: 4, PeerURLs: []string{"https://10.0.0.4:2380"}},
	}
	for name, c := range map[string]struct {
		step    fleet.Step
		removes uint64
		blocked bool
	}{
		"by ID and name":                    {fleet.Step{Member: "orders-1", MemberID: 1}, 1, false},
		"by name":                           {fleet.Step{Member: "orders-2"}, 2, false},
		"gone by ID":                        {fleet.Step{Member: "orders-9", MemberID: 9}, 0, false},
		"gone by name":                      {fleet.Step{Member: "orders-9"}, 0, false},
		"another's ID":                      {fleet.Step{Member: "orders-1", MemberID: 2}, 0, true},
		"never started, by place":           {fleet.Step{Member: "orders-3", MemberID: 3, Endpoint: place("10.0.0.3")}, 3, false},
		"never started, another's place":    {fleet.Step{Member: "orders-3", MemberID: 3, Endpoint: place("10.0.0.4")}, 0, true},
		"learner of an unknown place":       {fleet.Step{Member: "unstarted-3", MemberID: 3}, 3, false},
		"voter without a name":              {fleet.Step{Member: "unstarted-4", MemberID: 4}, 0, true},
		"voter without a name, by place":    {fleet.Step{Member: "orders-4", MemberID: 4, Endpoint: place("10.0.0.4")}, 4, false},
		"its place is not asked for a name": {fleet.Step{Member: "orders-1", MemberID: 1, Endpoint: place("10.0.0.7")}, 1, false},
	} {
		target, err := toRemove(members, c.step)
		require.Equal(t, c.blocked, fleet.Is(err, fleet.Blocked), "%s: %v", name, err)
		if c.removes == 0 {
			require.Nil(t, target, name)
		} else {
			require.NotNil(t, target, name)
			require.Equal(t, c.removes, target.ID, name)
		}
	}
}

func TestLowered(t *testing.T) {
	members := []fleet.ObservedMember{
		{Name: "orders-1", Answers: true, Storage: "3.6.0"}, {Name: "orders-2", Answers: true, Storage: "3.7.0"},
		{Name: "orders-3", Storage: "3.6.0"}, {Name: "orders-4", Answers: true},
	}
	done, words := lowered(members[:2], "3.6")
	require.Equal(t, 1, done)
	require.Equal(t, "the store of orders-2 is at 3.7.0", words)
	done, words = lowered(members, "3.7")
	require.Equal(t, 3, done, "one that does not answer is not known to be there")
	require.Equal(t, "orders-3 does not answer", words)
}

// TestRaftSnapshotsAreJudged also holds that clocks of hosts do not matter: that of the
// second is a day ahead in the first case, and its MinorSince says nothing about the others.
func TestRaftSnapshotsAreJudged(t *testing.T) {
	report := func(version string, ahead time.Duration, first, newest uint64, count int64) *fleet.MemberReport {
		return &fleet.MemberReport{
			Configured: &fleet.MemberConfig{Version: version, Settings: fleet.EtcdSettings{SnapshotCount: count}},
			MinorSince: noon.Add(ahead), MinorSnapshot: first, RaftSnapshot: newest,
		}
	}
	s := judgeSnapshots([]*fleet.MemberReport{report("3.6.16", 0, 120, 300, 0), report("3.6.16", 24*time.Hour, 250, 350, 1000), report("3.6.16", -time.Hour, 200, 200, 500)})
	require.EqualValues(t, 250, s.since, "what each of them wrote before ends before its first one; the last of those counts")
	require.Equal(t, 1, s.old, "the third has what others wrote before 250")
	require.Equal(t, 10101, s.count, "as many as the most patient member takes, and some more")
	s = judgeSnapshots([]*fleet.MemberReport{report("3.6.16", 0, 120, 300, 1000), report("3.6.16", -time.Hour, 0, 900, 1000)})
	require.Zero(t, s.since)
	require.Equal(t, 1, s.old, "one that has only snapshots of the minor before has not passed, and nobody knows where it ends")
	s = judgeSnapshots([]*fleet.MemberReport{report("3.6.16", 0, 4, 4, 1000), report("3.7.3", time.Hour, 0, 2, 1000)})
	require.EqualValues(t, 4, s.since)
	require.Zero(t, s.old, "who runs 3.7 already has passed")
	require.Equal(t, 1011, s.count)
}
