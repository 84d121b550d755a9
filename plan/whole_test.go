package plan

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestWhole(t *testing.T) {
	const uid = "0123456789"
	host := func(name string) fleet.ObservedHost {
		return fleet.ObservedHost{Host: fleet.Host{ID: "h-" + name, State: fleet.HostRunning,
			Tags: map[string]string{fleet.TagCluster: "orders", fleet.TagUID: uid, fleet.TagMember: name}}}
	}
	member := func(name string) fleet.ObservedMember {
		return fleet.ObservedMember{Name: name, Answers: true, Applied: 100}
	}
	healthy := func() Input {
		in := Input{Operation: fleet.Operation{Kind: fleet.MigrateByLearner, Cluster: "orders", UID: uid, Spec: fleet.Spec{Voters: 3}}}
		in.Observation.Quorum = true
		for i := range 3 {
			name := fleet.MemberName("orders", i+1)
			in.Observation.Hosts = append(in.Observation.Hosts, host(name))
			in.Observation.Members = append(in.Observation.Members, member(name))
		}
		return in
	}
	in := healthy()
	require.True(t, Whole(in))
	in.Purchases = []fleet.Step{{Kind: fleet.LaunchHost, Member: "orders-3"}}
	require.True(t, Whole(in), "what was bought became a member")
	in = healthy()
	in.Observation.Members = append(in.Observation.Members, member("orders-4"))
	in.Observation.Members[3].Learner, in.Operation.Spec.Learners = true, 1
	require.True(t, Whole(in), "a learner that is to stay one")
	for kind, whole := range map[fleet.OperationKind]bool{
		fleet.RollCluster: true, fleet.ScaleCluster: true, fleet.StopCluster: false, fleet.StartCluster: false, fleet.DecommissionCluster: false,
	} {
		in := healthy()
		in.Operation.Kind = kind
		require.Equal(t, whole, Whole(in), kind)
	}
	for name, change := range map[string]func(*Input){
		"nothing answers":     func(in *Input) { in.Observation.Members, in.Observation.Quorum = nil, false },
		"no quorum":           func(in *Input) { in.Observation.Quorum = false },
		"one does not answer": func(in *Input) { in.Observation.Members[1].Answers = false },
		"one is behind":       func(in *Input) { in.Observation.Members[0].Applied = 100 + 2*fleet.SyncLag },
		"a host was bought":   func(in *Input) { in.Observation.Hosts = append(in.Observation.Hosts, host("orders-4")) },
		"a purchase that no list shows": func(in *Input) {
			in.Purchases = []fleet.Step{{Kind: fleet.LaunchHost, Member: "orders-4"}}
		},
		"a learner that was added": func(in *Input) {
			in.Observation.Members = append(in.Observation.Members, member("orders-4"))
			in.Observation.Members[3].Learner = true
		},
		"one voter more": func(in *Input) { in.Observation.Members = append(in.Observation.Members, member("orders-4")) },
	} {
		t.Run(name, func(t *testing.T) {
			in := healthy()
			change(&in)
			require.False(t, Whole(in), fmt.Sprint(name, " is half done"))
		})
	}
}
