package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// While a cluster moves to another region, and until nothing is left where it was, every
// operation knows of both.
func TestAMoveIsKnownUntilItIsDone(t *testing.T) {
	moved := func(s *fleet.Spec) { s.Region = "local-2" }
	here, there := fleet.Place{Provider: "local", Region: "local-1"}, fleet.Place{Provider: "local", Region: "local-2"}
	s := summary(3, 3)
	s.Region = there.Region
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.MigrateByLearner: half(workflows.OperationResult{Summary: s, HighestMember: 4}, fleet.LaunchHost),
	})
	e.submitAt(0, change("r1", fleet.MigrateByLearner, moved))
	next, _ := e.run(running())
	require.Equal(t, []fleet.Place{here}, e.started[0].Elsewhere)
	require.Equal(t, []fleet.Place{there}, next.Elsewhere)
	require.Equal(t, here.Region, next.Summary.Region, "it has not moved")

	e = newEntity(t, map[fleet.OperationKind]child{
		fleet.RollCluster: well(workflows.OperationResult{Summary: summary(3, 4), Elsewhere: []fleet.Place{there}}),
	})
	e.submitAt(0, ask("r2", fleet.RollCluster))
	next, _ = e.run(*next)
	require.Equal(t, []fleet.Place{there}, e.started[0].Elsewhere)
	require.Equal(t, []fleet.Place{there}, next.Elsewhere, "something was seen there")

	e = newEntity(t, map[fleet.OperationKind]child{fleet.MigrateByLearner: well(workflows.OperationResult{Summary: s})})
	e.submitAt(0, change("r3", fleet.MigrateByLearner, moved))
	next, _ = e.run(*next)
	require.Equal(t, []fleet.Place{here}, e.started[0].Elsewhere)
	require.Empty(t, next.Elsewhere)
	require.Equal(t, there.Region, next.Summary.Region)
}
