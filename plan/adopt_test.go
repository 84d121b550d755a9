package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// TestAdoptionIsForecast forecasts an adoption before anybody can ask the members, whose
// authority is not ours yet: they are taken to serve.
func TestAdoptionIsForecast(t *testing.T) {
	spec := fleet.Spec{
		Name: "legacy", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Etcd: fleet.EtcdSpec{Version: "3.6.16"},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}.WithDefaults()
	adoption := &fleet.Adoption{}
	var obs fleet.Observation
	for i, name := range []string{"etcd-a", "etcd-b", "etcd-c"} {
		host := fleet.Host{
			ID: "h-" + name, Zone: spec.Zones[i], Type: "small", State: fleet.HostRunning, Address: "10.0.0." + name[5:],
			Ports: fleet.PortRange{First: 2379, Count: 100},
		}
		disk := fleet.Disk{ID: "d-" + name, Zone: host.Zone, Size: spec.Machine.Disk.Size, Category: "ssd", State: fleet.DiskInUse, HostID: host.ID}
		obs.Hosts = append(obs.Hosts, fleet.ObservedHost{Host: host, Report: &fleet.HostReport{}})
		obs.Disks = append(obs.Disks, disk)
		at := plan.EndpointOf(host)
		at.Member = name
		adoption.Members = append(adoption.Members, fleet.AdoptedMember{Name: name, HostID: host.ID, DiskID: disk.ID, Endpoint: at, DataDir: "/data"})
	}
	waves, end := plan.Forecast(plan.Input{
		Operation: fleet.Operation{
			ID: "op-1", Kind: fleet.AdoptCluster, Cluster: spec.Name, UID: "7f3a", Spec: spec, Generation: "op-1", Since: 1, NextMember: 1,
			Options: fleet.Options{Adopt: adoption},
		},
		Observation: obs, Policy: fleet.Policy{}.WithDefaults(),
	})
	require.Equal(t, fleet.VerdictDone, end.Verdict, end.Reason)
	steps := map[fleet.StepKind][]string{}
	for _, wave := range waves {
		for _, step := range wave {
			steps[step.Kind] = append(steps[step.Kind], step.Member)
		}
	}
	all := []string{"etcd-a", "etcd-b", "etcd-c"}
	require.Len(t, steps[fleet.ImportAuthority], 1)
	require.ElementsMatch(t, all, steps[fleet.AdoptHost])
	require.ElementsMatch(t, all, steps[fleet.AdoptMember], "each is taken over once")
	require.ElementsMatch(t, all, steps[fleet.RestartMember], "each accepts only peers of ours at the end")
	require.Contains(t, steps, fleet.MoveLeader, "the leader moves before it is taken over")
}
