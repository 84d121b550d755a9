package workflows_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// child is what stands for an operation's workflow in the tests of the entity.
type child func(workflow.Context, fleet.Operation) (workflows.OperationResult, error)

// entity is one run of a cluster's workflow, with children that a test chooses.
type entity struct {
	t   *testing.T
	env *testsuite.TestWorkflowEnvironment
	// entry is the type of the workflow that is run.
	entry string
	// started are the operations whose workflows began.
	started []fleet.Operation
}

func newEntity(t *testing.T, children map[fleet.OperationKind]child) *entity {
	e := &entity{t: t, env: newEnv(), entry: workflows.ClusterType}
	e.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: workflows.ClusterID("orders"), TaskQueue: workflows.TaskQueue})
	e.env.RegisterWorkflowWithOptions(workflows.Cluster, workflow.RegisterOptions{Name: workflows.ClusterType})
	for kind, run := range children {
		e.env.RegisterWorkflowWithOptions(func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
			e.started = append(e.started, op)
			return run(ctx, op)
		}, workflow.RegisterOptions{Name: string(kind)})
	}
	return e
}

// at does something when the run is that old.
func (e *entity) at(age time.Duration, do func()) { e.env.RegisterDelayedCallback(do, age) }

// run runs the entity to the end of its run, and gives the state that it carried
// into the next one, or nil and the view when there is no next one.
func (e *entity) run(state workflows.ClusterState) (*workflows.ClusterState, workflows.ClusterView) {
	e.t.Helper()
	e.env.ExecuteWorkflow(e.entry, state)
	require.True(e.t, e.env.IsWorkflowCompleted(), "the entity hangs")
	err := e.env.GetWorkflowError()
	var again *workflow.ContinueAsNewError
	if errors.As(err, &again) {
		var next workflows.ClusterState
		require.NoError(e.t, converter.GetDefaultDataConverter().FromPayloads(again.Input, &next))
		return &next, workflows.ClusterView{}
	}
	require.NoError(e.t, err)
	var view workflows.ClusterView
	require.NoError(e.t, e.env.GetWorkflowResult(&view))
	return nil, view
}

func (e *entity) view() workflows.ClusterView {
	e.t.Helper()
	value, err := e.env.QueryWorkflow(workflows.QueryDescribe)
	require.NoError(e.t, err)
	var view workflows.ClusterView
	require.NoError(e.t, value.Get(&view))
	return view
}

// answer is what became of an update.
type answer struct {
	accepted bool
	ended    bool
	refused  error
	value    any
	err      error
	// then is done when it has been answered.
	then func()
}

func (e *entity) update(name string, args ...any) *answer {
	a := &answer{}
	e.send(a, name, args...)
	return a
}

func (e *entity) send(a *answer, name string, args ...any) { a.await(e.env, name, args...) }

// await sends an update and keeps what becomes of it.
func (a *answer) await(env *testsuite.TestWorkflowEnvironment, name string, args ...any) {
	env.UpdateWorkflow(name, "", &testsuite.TestUpdateCallback{
		OnAccept: func() { a.accepted = true },
		OnReject: func(err error) { a.refused = err },
		OnComplete: func(value any, err error) {
			if a.ended, a.value, a.err = true, value, err; a.then != nil {
				a.then()
			}
		},
	}, args...)
}

// submitAt submits a request when the run is that old.
func (e *entity) submitAt(age time.Duration, r workflows.SubmitRequest) *answer {
	var a answer
	e.at(age, func() { e.send(&a, workflows.UpdateSubmit, r) })
	return &a
}

func (a *answer) reply(t *testing.T) workflows.SubmitReply {
	t.Helper()
	require.NoError(t, a.refused)
	require.True(t, a.ended, "the request was never answered")
	require.NoError(t, a.err)
	return a.value.(workflows.SubmitReply)
}

// refusal gives the kind and the sentence of a refused or failed request.
func (a *answer) refusal(t *testing.T) (fleet.Kind, string) {
	t.Helper()
	err := a.refused
	if err == nil {
		require.True(t, a.ended, "the request was never answered")
		err = a.err
	}
	require.Error(t, err, "expected that the request is refused")
	var said *temporal.ApplicationError
	require.ErrorAs(t, err, &said)
	return fleet.Kind(said.Type()), said.Message()
}

func spec() fleet.Spec {
	return fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Voters: 3,
		Etcd:    fleet.EtcdSpec{Version: "3.7.3"},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Size: 20 * fleet.GiB, Category: "ssd"}},
	}
}

func create(request string) workflows.SubmitRequest {
	s := spec()
	return workflows.SubmitRequest{RequestID: request, Kind: fleet.CreateCluster, Spec: &s, By: "ada"}
}

func decommission(request string) workflows.SubmitRequest {
	return workflows.SubmitRequest{RequestID: request, Kind: fleet.DecommissionCluster}
}

// summary is what a look at a healthy cluster gives.
func summary(healthy, members int) fleet.Summary {
	return fleet.Summary{
		Name: "orders", Provider: "local", Region: "local-1", Etcd: "3.7.3", Class: fleet.Burstable, Voters: 3,
		Healthy: healthy, Members: members, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

// done is an operation that takes some time and succeeds.
func done(after time.Duration, result workflows.OperationResult) child {
	return func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
		result.Progress.Operation = op.ID
		return result, workflow.Sleep(ctx, after)
	}
}

// failed is an operation that takes some time and fails after these steps.
func failed(after time.Duration, kind fleet.Kind, result workflows.OperationResult, steps ...fleet.StepKind) child {
	return func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
		result.Progress.Operation = op.ID
		for _, step := range steps {
			result.Progress.Steps = append(result.Progress.Steps, fleet.StepProgress{Step: fleet.Step{Kind: step}})
		}
		_ = workflow.Sleep(ctx, after)
		return result, temporal.NewApplicationErrorWithOptions("it went wrong", string(kind),
			temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{result}})
	}
}

// untilCancelled is an operation that goes on until it is cancelled.
func untilCancelled(result workflows.OperationResult) child {
	return func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
		result.Progress.Operation = op.ID
		if err := workflow.Sleep(ctx, time.Hour); err == nil {
			return result, nil
		}
		return result, temporal.NewCanceledError(result)
	}
}

// running is the state of a cluster that serves.
func running() workflows.ClusterState {
	s := spec().WithDefaults()
	sum := summary(3, 3)
	sum.Phase, sum.UID = fleet.PhaseRunning, "0123456789"
	return workflows.ClusterState{Name: "orders", UID: "0123456789", Spec: &s, Summary: sum}
}

func fresh() workflows.ClusterState { return workflows.ClusterState{Name: "orders"} }
