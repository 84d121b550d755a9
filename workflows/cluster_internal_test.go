package workflows

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"testing"
	"time"

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

// steps are all kinds of steps, read from where they are named.
func steps(t *testing.T) []fleet.StepKind {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../fleet/step.go", nil, 0)
	require.NoError(t, err)
	var kinds []fleet.StepKind
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if name, typed := specType(spec, ok); typed && name == "StepKind" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			kinds = append(kinds, fleet.StepKind(text))
		}
		return true
	})
	require.Greater(t, len(kinds), 30)
	return kinds
}

func specType(spec *ast.ValueSpec, ok bool) (string, bool) {
	if !ok {
		return "", false
	}
	name, ok := spec.Type.(*ast.Ident)
	if !ok {
		return "", false
	}
	return name.Name, true
}

func TestEveryStepHasATimeout(t *testing.T) {
	op := fleet.Operation{Spec: fleet.Spec{Provider: "local", Region: "local-1"}}
	policy := fleet.Policy{Soak: fleet.Duration(time.Hour), ReadyWithin: fleet.Duration(2 * time.Hour)}
	for _, kind := range steps(t) {
		timeout, known := stepTimeout(kind, fleet.Policy{})
		require.True(t, known, "%s has no timeout", kind)
		require.Equal(t, timeout, stepOptions(op, fleet.Step{Kind: kind}, fleet.Policy{}, "id").ScheduleToCloseTimeout, kind)
		if kind != fleet.SnapshotDisk {
			require.Greater(t, timeout, time.Minute, kind)
		}
		longer, _ := stepTimeout(kind, policy)
		switch kind {
		case fleet.AwaitSettled:
			require.Greater(t, longer, time.Hour, "a soak must fit in")
		case fleet.RestartMember, fleet.RollBackMember, fleet.AdoptMember:
			require.Greater(t, longer, 2*time.Hour, "%s: the start that the policy allows must fit in", kind)
		default:
			require.Equal(t, timeout, longer, kind)
		}
	}
	newer := stepOptions(op, fleet.Step{Kind: "PolishMember"}, fleet.Policy{}, "id")
	require.Equal(t, newerTimeout, newer.ScheduleToCloseTimeout, "a step that a newer planner knows")
	require.Equal(t, "flotilla.local.local-1", newer.TaskQueue)
	require.Equal(t, heartbeatTimeout, newer.HeartbeatTimeout)
	require.True(t, newer.WaitForCancellation)
}
