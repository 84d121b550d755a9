package workflows

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The service refuses a child of an ID that runs with an error that only it can
// make, so what follows from it is tested by itself.
func TestPhaseAfterATwin(t *testing.T) {
	twin := fmt.Errorf("child: %w", &temporal.ChildWorkflowExecutionAlreadyStartedError{})
	require.Equal(t, fleet.PhaseIncomplete, phaseUnstarted(fleet.CreateCluster, "", twin))
	require.Equal(t, fleet.PhaseDecommissioning, phaseUnstarted(fleet.DecommissionCluster, fleet.PhaseRunning, twin))
	require.Equal(t, fleet.PhaseGone, phaseUnstarted(fleet.CreateCluster, "", temporal.NewCanceledError()))
	require.Equal(t, fleet.PhaseRunning, phaseUnstarted(fleet.DecommissionCluster, fleet.PhaseRunning, temporal.NewCanceledError()))
	require.Equal(t, fleet.Conflict, asError(twin).Kind)
}

func TestIncarnation(t *testing.T) {
	of := func(first, run string) string {
		return incarnation(&workflow.Info{FirstRunID: first, WorkflowExecution: workflow.Execution{ID: "cluster/a", RunID: run}})
	}
	for _, uid := range []string{of("", ""), of("x", "y"), of("", "y")} {
		require.Regexp(t, regexp.MustCompile("^[0-9a-f]{10}$"), uid)
	}
	require.Equal(t, of("one", "one"), of("one", "two"), "it stays for all runs")
	// Two run IDs of one moment, as the service makes them.
	require.NotEqual(t, of("0198f1a2-7c11-7000-8000-000000000001", ""), of("0198f1a2-7c11-7000-8000-000000000002", ""))
}

func TestEveryStepHasATimeout(t *testing.T) {
	op := fleet.Operation{Spec: fleet.Spec{Provider: "local", Region: "local-1"}}
	for kind, timeout := range stepTimeouts {
		o := stepOptions(op, fleet.Step{Kind: kind}, "id")
		require.Equal(t, timeout, o.ScheduleToCloseTimeout, kind)
		require.Greater(t, timeout, heartbeatTimeout, kind)
	}
	newer := stepOptions(op, fleet.Step{Kind: "PolishMember"}, "id")
	require.Equal(t, launchTimeout, newer.ScheduleToCloseTimeout, "a step that a newer planner knows")
	require.Equal(t, "flotilla.local.local-1", newer.TaskQueue)
	require.Equal(t, heartbeatTimeout, newer.HeartbeatTimeout)
	require.True(t, newer.WaitForCancellation)
}
