package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func cancelling(by string) workflows.CancelRequest {
	return workflows.CancelRequest{By: by, Why: "too dear"}
}

func TestCancel(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.CreateCluster: untilCancelled(workflows.OperationResult{Summary: summary(0, 1)}),
	})
	asked := e.submitAt(0, create("r1"))
	var none, wrong, first, second *answer
	var busy *answer
	e.at(time.Second, func() {
		wrong = e.update(workflows.UpdateCancel, workflows.CancelRequest{Operation: "another"})
		first = e.update(workflows.UpdateCancel, cancelling("ada"))
		second = e.update(workflows.UpdateCancel, cancelling("bob"))
		busy = e.update(workflows.UpdateSubmit, create("r2"))
	})
	next, _ := e.run(fresh())
	kind, _ := wrong.refusal(t)
	require.Equal(t, fleet.Conflict, kind)
	require.Equal(t, asked.reply(t).Operation, first.reply(t).Operation)
	second.reply(t)
	_, said := busy.refusal(t)
	require.Contains(t, said, "is being cancelled", "to join what is ending would give nothing")
	record := next.Operations[0]
	require.Equal(t, fleet.OperationCancelled, record.State)
	require.Equal(t, "by ada: too dear", record.Cancelled)
	require.Empty(t, record.Error)
	require.Equal(t, fleet.PhaseIncomplete, next.Summary.Phase)
	require.Equal(t, 1, next.Summary.Members, "the details of a cancelled operation count")

	e = newEntity(t, nil)
	e.at(0, func() { none = e.update(workflows.UpdateCancel, cancelling("ada")) })
	e.at(time.Second, e.env.CancelWorkflow)
	e.run(running())
	_, said = none.refusal(t)
	require.Contains(t, said, "nothing is running")
}

// A cancellation that arrives with the request it is for finds no child yet.
func TestCancelBeforeTheStart(t *testing.T) {
	for name, test := range map[string]struct {
		from    workflows.ClusterState
		request workflows.SubmitRequest
	}{
		"create":       {fresh(), create("r1")},
		"decommission": {running(), decommission("r1")},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, map[fleet.OperationKind]child{test.request.Kind: untilCancelled(workflows.OperationResult{})})
			var asked, cancelled *answer
			e.at(0, func() {
				asked = e.update(workflows.UpdateSubmit, test.request)
				cancelled = e.update(workflows.UpdateCancel, cancelling("ada"))
			})
			next, view := e.run(test.from)
			cancelled.reply(t)
			require.True(t, asked.ended)
			require.Empty(t, e.started)
			_, said := asked.refusal(t)
			require.Contains(t, said, "cancelled before it began")
			if test.request.Kind == fleet.CreateCluster {
				require.Nil(t, next, "nothing was ever made, so nothing is to be known")
				require.Equal(t, fleet.PhaseGone, view.Summary.Phase)
				return
			}
			require.Equal(t, fleet.PhaseRunning, next.Summary.Phase)
			require.Equal(t, fleet.OperationCancelled, next.Operations[0].State)
			require.Empty(t, next.Requests, "the same request may be made again")
		})
	}
}

// held lets a test keep a run of the entity from ending: an update that is still
// being answered.
func (e *entity) held(from, to time.Duration) {
	e.env.RegisterWorkflowWithOptions(func(ctx workflow.Context, state workflows.ClusterState) (workflows.ClusterView, error) {
		err := workflow.SetUpdateHandler(ctx, "hold", func(ctx workflow.Context) error { return workflow.Sleep(ctx, to-from) })
		if err != nil {
			return workflows.ClusterView{}, err
		}
		return workflows.Cluster(ctx, state)
	}, workflow.RegisterOptions{Name: "HeldCluster"})
	e.entry = "HeldCluster"
	e.at(from, func() { e.update("hold") })
}

// A request may be accepted after an operation has ended and before the run has:
// while another one is still being answered. It is done in the same run.
func TestRequestBetweenTheEndAndTheNextRun(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.CreateCluster:       done(time.Minute, workflows.OperationResult{Summary: summary(3, 3)}),
		fleet.DecommissionCluster: failed(time.Hour, fleet.Blocked, workflows.OperationResult{Summary: summary(3, 3)}),
	})
	e.held(30*time.Second, 10*time.Minute)
	e.submitAt(0, create("r1"))
	late := e.submitAt(2*time.Minute, decommission("r2"))
	e.at(3*time.Minute, func() {
		late.reply(t) // it does not wait for the one that is still being answered
		require.Equal(t, fleet.PhaseDecommissioning, e.view().Summary.Phase)
	})
	next, _ := e.run(fresh())
	require.NotNil(t, next)
	require.Len(t, next.Operations, 2)
	require.Equal(t, fleet.OperationFailed, next.Operations[0].State, "it was done, not lost")
	require.Equal(t, fleet.PhaseRunning, next.Summary.Phase)
	require.Len(t, next.Requests, 2)
}

// The run of a cluster that is gone waits for its answers and takes no new request:
// the next cluster of that name is another one.
func TestRequestBetweenTheEndAndGone(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.DecommissionCluster: done(time.Minute, workflows.OperationResult{Clean: true}),
	})
	e.held(30*time.Second, 10*time.Minute)
	e.submitAt(0, decommission("r1"))
	late := e.submitAt(2*time.Minute, create("r2"))
	next, view := e.run(running())
	require.Nil(t, next)
	require.Equal(t, fleet.PhaseGone, view.Summary.Phase)
	kind, said := late.refusal(t)
	require.Equal(t, fleet.Conflict, kind)
	require.Contains(t, said, "ask again")
}

// The first request may come in the moment in which the wait for it is over.
func TestRequestInTheLastMoment(t *testing.T) {
	e := newEntity(t, creating(time.Minute))
	e.held(5*time.Second, 20*time.Second)
	late := e.submitAt(15*time.Second, create("r1"))
	next, _ := e.run(fresh())
	late.reply(t)
	require.NotNil(t, next)
	require.Equal(t, fleet.PhaseRunning, next.Summary.Phase)
}

func TestChildCannotBeStarted(t *testing.T) {
	for name, test := range map[string]struct {
		from    workflows.ClusterState
		request workflows.SubmitRequest
		phase   fleet.Phase
	}{
		"create":       {fresh(), create("r1"), fleet.PhaseGone},
		"decommission": {running(), decommission("r1"), fleet.PhaseRunning},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, map[fleet.OperationKind]child{test.request.Kind: done(0, workflows.OperationResult{})})
			e.env.OnWorkflow(string(test.request.Kind), mock.Anything, mock.Anything).
				Return(workflows.OperationResult{}, testsuite.ErrMockStartChildWorkflowFailed)
			asked := e.submitAt(0, test.request)
			next, view := e.run(test.from)
			_, said := asked.refusal(t)
			require.Contains(t, said, "could not be started")
			if test.phase == fleet.PhaseGone {
				require.Nil(t, next)
				require.Equal(t, test.phase, view.Summary.Phase)
				return
			}
			require.Equal(t, test.phase, next.Summary.Phase)
			require.Equal(t, fleet.OperationFailed, next.Operations[0].State)
			require.Empty(t, next.Requests, "the same request may be made again")
		})
	}
}

func TestCancelledFromOutside(t *testing.T) {
	t.Run("asleep", func(t *testing.T) {
		e := newEntity(t, nil)
		e.at(time.Hour, e.env.CancelWorkflow)
		next, _ := e.run(running())
		require.Equal(t, running(), *next, "a cluster that exists stays known")
	})
	t.Run("before the first request", func(t *testing.T) {
		e := newEntity(t, nil)
		e.at(time.Second, e.env.CancelWorkflow)
		next, _ := e.run(fresh())
		require.Nil(t, next)
	})
	t.Run("at work", func(t *testing.T) {
		e := newEntity(t, map[fleet.OperationKind]child{
			fleet.DecommissionCluster: untilCancelled(workflows.OperationResult{Summary: summary(3, 3)}),
		})
		asked := e.submitAt(0, decommission("r1"))
		e.at(time.Minute, e.env.CancelWorkflow)
		next, _ := e.run(running())
		asked.reply(t)
		require.Equal(t, fleet.OperationCancelled, next.Operations[0].State)
		require.Equal(t, "by a cancellation of the cluster's workflow", next.Operations[0].Cancelled)
		require.Equal(t, fleet.PhaseRunning, next.Summary.Phase)
	})
}

// Requests that come together with a cancellation from outside are still done.
func TestRequestWithACancellationFromOutside(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.DecommissionCluster: func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
			err := workflow.Sleep(ctx, time.Minute)
			return workflows.OperationResult{Progress: fleet.Progress{Operation: op.ID}, Summary: summary(3, 3)}, err
		},
	})
	var asked *answer
	e.at(time.Hour, func() {
		asked = e.update(workflows.UpdateSubmit, decommission("r1"))
		e.env.CancelWorkflow()
	})
	next, _ := e.run(running())
	require.NotNil(t, next)
	require.True(t, asked.ended, "nobody waits for ever")
	require.Equal(t, fleet.OperationCancelled, next.Operations[0].State)
}
