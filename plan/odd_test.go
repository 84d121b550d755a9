package plan_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// stoppedCluster gives a cluster that was stopped, whose hosts run again, and an input that
// starts its members.
func stoppedCluster(t *testing.T, voters int) (*model.World, plan.Input) {
	t.Helper()
	spec := fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Voters: voters, Etcd: fleet.EtcdSpec{Version: "3.7.3"},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}.WithDefaults()
	world := model.New()
	in := plan.Input{Policy: fleet.Policy{}.WithDefaults()}
	for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.StopCluster, fleet.StartCluster} {
		in.Operation = fleet.Operation{ID: string(kind), Kind: kind, Cluster: "orders", UID: "7f3a", Spec: spec, Generation: string(kind), Since: 8, NextMember: 8}
		if kind != fleet.CreateCluster {
			in.Operation.Before = &spec
		}
		for {
			in.Observation = world.Observe()
			d := plan.Next(in)
			if d.Verdict == fleet.VerdictDone || kind == fleet.StartCluster && d.Wave[0].Kind == fleet.StartMember {
				break
			}
			for _, step := range d.Wave {
				require.NoError(t, world.Apply(in.Operation, step))
			}
		}
	}
	return world, in
}

// dataOf is what the disks of a cluster's voters hold, all alike.
func dataOf(voters int) (all []fleet.DataReport) {
	var members []fleet.DataMember
	for i := range voters {
		members = append(members, fleet.DataMember{ID: string(rune('a' + i))})
	}
	for i := range voters {
		all = append(all, fleet.DataReport{
			Member: fleet.MemberName("orders", i+1), ClusterID: "c1", MemberID: members[i].ID, Members: members, Revision: 12, Compacted: 3, Hash: 77,
		})
	}
	return all
}

// Whose data a majority contradicts is not started, and who that is, is said. Whatever is
// not known for sure keeps nobody from starting.
func TestDamagedMemberIsLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		voters int
		change func(data []fleet.DataReport) []fleet.DataReport
		odd    []string
	}{
		"all agree":           {3, func(d []fleet.DataReport) []fleet.DataReport { return d }, nil},
		"nothing is known":    {3, func([]fleet.DataReport) []fleet.DataReport { return nil }, nil},
		"the first differs":   {3, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; return d }, []string{"orders-1"}},
		"the last differs":    {3, func(d []fleet.DataReport) []fleet.DataReport { d[2].Hash++; return d }, []string{"orders-3"}},
		"each differs":        {3, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; d[1].Hash--; return d }, nil},
		"one lags behind":     {3, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; d[0].Revision--; return d }, nil},
		"others lag behind":   {3, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; d[1].Revision--; return d }, nil},
		"compacted elsewhere": {3, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; d[0].Compacted++; return d }, nil},
		"of another cluster":  {3, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; d[0].ClusterID = "c2"; return d }, nil},
		"one is not seen":     {3, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; return d[:2] }, nil},
		"one cannot be read": {3, func(d []fleet.DataReport) []fleet.DataReport {
			d[0].Hash++
			d[1].Damage = []string{"its store has no keys"}
			return d
		}, nil},
		"two of five differ": {5, func(d []fleet.DataReport) []fleet.DataReport { d[0].Hash++; d[3].Hash--; return d }, []string{"orders-1", "orders-4"}},
		"three of five differ": {5, func(d []fleet.DataReport) []fleet.DataReport {
			d[0].Hash, d[1].Hash, d[2].Hash = 1, 2, 3
			return d
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			world, in := stoppedCluster(t, c.voters)
			require.True(t, plan.ComparesDisks(in))
			in.Observation.Data = c.change(dataOf(c.voters))
			wave := plan.Next(in).Wave
			require.Len(t, wave, c.voters)
			var odd []string
			for _, step := range wave {
				require.Equal(t, fleet.StartMember, step.Kind)
				if step.Differs != "" {
					odd = append(odd, step.Member)
					in.Failures = append(in.Failures, fleet.Failure{Step: step, Kind: fleet.Lost, Message: step.Differs})
					continue
				}
				require.Empty(t, odd, "who is not started comes last, and nobody waits for it")
				require.NoError(t, world.Apply(in.Operation, step))
			}
			slices.Sort(odd)
			require.Equal(t, c.odd, odd)
			in.Observation = world.Observe()
			require.False(t, plan.ComparesDisks(in), "some run")
			d := plan.Next(in)
			if c.odd == nil {
				require.NotContains(t, d.Reason, "differs")
				return
			}
			require.Equal(t, fleet.VerdictDone, d.Verdict, d.Reason)
			for _, name := range c.odd {
				require.Contains(t, d.Reason, name+": its data differs from what orders-")
				require.Contains(t, d.Reason, "flotilla failover orders "+c.odd[0])
			}
		})
	}
}
