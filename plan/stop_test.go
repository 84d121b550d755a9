package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// TestStopAndStartAreForecast plays a cluster through its life, each operation in as many
// waves as its forecast has: that knows of the world only what an observation shows.
func TestStopAndStartAreForecast(t *testing.T) {
	spec := fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Etcd: fleet.EtcdSpec{Version: "3.7.3"},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}.WithDefaults()
	world := model.New()
	for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.StopCluster, fleet.StartCluster, fleet.StopCluster, fleet.StartCluster} {
		op := fleet.Operation{ID: string(kind), Kind: kind, Cluster: "orders", UID: "7f3a", Spec: spec, Generation: string(kind), Since: 4, NextMember: 4}
		if kind != fleet.CreateCluster {
			op.Before = &spec
		}
		input := plan.Input{Operation: op, Policy: fleet.Policy{}.WithDefaults()}
		input.Observation = world.Observe()
		waves, end := plan.Forecast(input)
		require.Equal(t, fleet.VerdictDone, end.Verdict, "%s: %s", kind, end.Reason)
		for range waves {
			input.Observation = world.Observe()
			for _, step := range plan.Next(input).Wave {
				require.NoError(t, world.Apply(op, step), "%s: %s", kind, step)
			}
		}
		require.Equal(t, kind != fleet.StopCluster, world.Serving(), kind)
	}
}
