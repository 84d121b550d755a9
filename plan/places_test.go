package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// While a place elsewhere does not answer, nobody is changed whose members may be there. A
// failover of a dead voter does not wait for a learner there.
func TestPlaceOutOfReach(t *testing.T) {
	const uid = "7f3a"
	spec := fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Voters: 3, Learners: 1,
		Standby: fleet.StandbySpec{Region: "local-2", Zones: []string{"a"}},
		Etcd:    fleet.EtcdSpec{Version: "3.7.3", EtcdSettings: fleet.EtcdSettings{MaxLearners: 2}},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}.WithDefaults()
	obs := fleet.Observation{Authority: true, Quorum: true, Leader: "orders-1"}
	for i, zone := range spec.Zones {
		name := plan.MemberNames(spec)[i]
		tags := map[string]string{fleet.TagCluster: "orders", fleet.TagUID: uid, fleet.TagMember: name}
		address := "127.0.0." + string(rune('1'+i))
		obs.Hosts = append(obs.Hosts, fleet.ObservedHost{
			Host: fleet.Host{ID: "h-" + name, Name: name, Zone: zone, Type: "small", State: fleet.HostRunning, Address: address, Tags: tags},
			Report: &fleet.HostReport{Members: []fleet.MemberReport{{
				Name: name, State: fleet.MemberRunning, Up: fleet.Duration(1 << 40),
				Configured: &fleet.MemberConfig{Version: "3.7.3", Settings: spec.Etcd.EtcdSettings},
			}}},
		})
		obs.Disks = append(obs.Disks, fleet.Disk{ID: "d-" + name, Name: name, Zone: zone, HostID: "h-" + name, State: fleet.DiskInUse, Tags: tags})
		obs.Members = append(obs.Members, fleet.ObservedMember{ID: uint64(i + 1), Name: name, Answers: true, Applied: 10, Leader: i == 0, Version: "3.7.3"})
	}
	obs.Members = append(obs.Members, fleet.ObservedMember{ID: 4, Name: "orders-4", Learner: true})
	obs.Unreached = []fleet.Unreached{{Place: spec.StandbyPlace(), Why: "no answer"}}
	in := plan.Input{
		Operation: fleet.Operation{ID: "op", Kind: fleet.RollCluster, Cluster: "orders", UID: uid, Spec: spec, Before: &spec, Since: 5, NextMember: 5},
		Policy:    fleet.Policy{}.WithDefaults(),
	}
	in.Observation = obs
	d := plan.Next(in)
	require.Equal(t, fleet.VerdictWait, d.Verdict)
	require.Contains(t, d.Reason, "no host of orders-4 is seen, and the cloud of local/local-2 does not answer (no answer)")

	in.Operation.Kind, in.Operation.Options.Members = fleet.FailoverMember, []string{"orders-2"}
	in.Observation.Members[1].Answers = false
	in.Observation.Evidence = []fleet.Evidence{{
		Member: "orders-2", Cloud: fleet.SaysDead, Host: fleet.SaysDead, Peers: fleet.SaysDead, Client: fleet.SaysDead, DiskLost: true,
		Looks: fleet.MinLooks, Over: in.Policy.DeadAfter,
	}}
	d = plan.Next(in)
	require.Equal(t, fleet.VerdictAct, d.Verdict, d.Reason)
	require.Equal(t, fleet.RemoveMember, d.Wave[0].Kind)
	in.Observation.Members = append(in.Observation.Members[:1:1], in.Observation.Members[2:]...)
	d = plan.Next(in)
	require.Equal(t, fleet.VerdictAct, d.Verdict, d.Reason)
	require.Equal(t, fleet.LaunchHost, d.Wave[0].Kind)
	require.Equal(t, "orders-5", d.Wave[0].Member)

	// Once all members are seen, what else may be there stops nobody.
	in.Operation.Kind, in.Operation.Options.Members = fleet.RecoverQuorum, nil
	in.Observation.Members = obs.Members[:1]
	in.Operation.Spec.Voters, in.Operation.Spec.Learners = 1, 0
	in.Observation.Hosts, in.Observation.Disks = obs.Hosts[:1], obs.Disks[:1]
	d = plan.Next(in)
	require.Equal(t, fleet.VerdictDone, d.Verdict, d.Reason)
	require.Contains(t, d.Reason, "what may be left there is not given up")
}
