package workflows_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func TestClusterIsCreated(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.CreateCluster: done(time.Minute, workflows.OperationResult{
			Summary: summary(3, 3), Endpoints: []fleet.Endpoint{{Member: "orders-1"}},
		}),
	})
	var rows []fleet.Summary
	e.env.OnUpsertMemo(mock.Anything).Return(nil).Run(func(args mock.Arguments) {
		rows = append(rows, args.Get(0).(map[string]any)[workflows.MemoSummary].(fleet.Summary))
	})
	var attributes []temporal.SearchAttributes
	e.env.OnUpsertTypedSearchAttributes(mock.Anything).Return(nil).Run(func(args mock.Arguments) {
		attributes = append(attributes, args.Get(0).(temporal.SearchAttributes))
	})
	asked := e.submitAt(0, create("r1"))
	e.at(time.Second, func() {
		reply := asked.reply(t)
		require.Equal(t, workflows.OperationID("orders", fleet.CreateCluster, reply.Operation), reply.WorkflowID)
		require.False(t, reply.Joined)
		view := e.view()
		require.Equal(t, fleet.PhaseCreating, view.Summary.Phase)
		require.Equal(t, reply.Operation, view.Summary.Operation)
		require.Equal(t, fleet.OperationRunning, view.Operations[0].State)
	})
	next, _ := e.run(fresh())
	require.NotNil(t, next)
	require.Equal(t, fleet.PhaseRunning, next.Summary.Phase)
	require.Equal(t, 3, next.Summary.Healthy)
	require.Empty(t, next.Summary.Operation)
	require.False(t, next.Summary.Created.IsZero())
	require.Len(t, next.UID, 10)
	require.Len(t, next.Endpoints, 1)
	require.Equal(t, "ada", next.Operations[0].By)
	require.Equal(t, fleet.OperationDone, next.Operations[0].State)
	require.Len(t, e.started, 1)
	require.Equal(t, next.UID, e.started[0].UID)

	require.Len(t, rows, 2)
	require.Equal(t, fleet.PhaseCreating, rows[0].Phase)
	require.Equal(t, fleet.PhaseRunning, rows[1].Phase)
	kind, ok := attributes[0].GetKeyword(workflows.AttrOperation)
	require.True(t, ok)
	require.Equal(t, string(fleet.CreateCluster), kind)
	_, ok = attributes[1].GetKeyword(workflows.AttrOperation)
	require.False(t, ok, "nothing runs any more")
	phase, _ := attributes[1].GetKeyword(workflows.AttrPhase)
	require.Equal(t, string(fleet.PhaseRunning), phase)
}

func TestNobodyAsks(t *testing.T) {
	e := newEntity(t, nil)
	next, view := e.run(fresh())
	require.Nil(t, next)
	require.Empty(t, view.Operations)
}

func TestRefusedFirstRequestLeavesNothing(t *testing.T) {
	e := newEntity(t, nil)
	r := create("r1")
	r.Spec.Voters = 2
	asked := e.submitAt(0, r)
	next, _ := e.run(fresh())
	require.Nil(t, next)
	kind, _ := asked.refusal(t)
	require.Equal(t, fleet.Invalid, kind)
}

func TestOutcomes(t *testing.T) {
	incomplete := running()
	incomplete.Summary.Phase = fleet.PhaseIncomplete
	decommissioning := running()
	decommissioning.Summary.Phase = fleet.PhaseDecommissioning
	for name, test := range map[string]struct {
		from    workflows.ClusterState
		request workflows.SubmitRequest
		run     child
		phase   fleet.Phase
		state   fleet.OperationState
	}{
		"create that made nothing": {
			fresh(), create("r"), failed(time.Second, fleet.Denied, workflows.OperationResult{Clean: true}), fleet.PhaseGone, fleet.OperationFailed,
		},
		"create that stopped half way": {
			fresh(), create("r"), failed(time.Second, fleet.OutOfCapacity, workflows.OperationResult{Summary: summary(0, 1)}, fleet.LaunchHost),
			fleet.PhaseIncomplete, fleet.OperationFailed,
		},
		"create that goes on": {
			incomplete, create("r"), done(time.Second, workflows.OperationResult{Summary: summary(3, 3)}), fleet.PhaseRunning, fleet.OperationDone,
		},
		"decommission": {
			running(), decommission("r"), done(time.Second, workflows.OperationResult{Clean: true}), fleet.PhaseGone, fleet.OperationDone,
		},
		"decommission beside another cluster of that name": {
			running(), decommission("r"), done(time.Second, workflows.OperationResult{}), fleet.PhaseGone, fleet.OperationDone,
		},
		"decommission that touched nothing": {
			running(), decommission("r"), failed(time.Second, fleet.Unavailable, workflows.OperationResult{Summary: summary(3, 3)}, fleet.SaveFinalSnapshot),
			fleet.PhaseRunning, fleet.OperationFailed,
		},
		"decommission that touched nothing of a sick cluster": {
			running(), decommission("r"), failed(time.Second, fleet.Blocked, workflows.OperationResult{Summary: summary(1, 3)}),
			fleet.PhaseRunning, fleet.OperationFailed,
		},
		"decommission of an incomplete cluster that touched nothing": {
			incomplete, decommission("r"), failed(time.Second, fleet.Blocked, workflows.OperationResult{}), fleet.PhaseIncomplete, fleet.OperationFailed,
		},
		"decommission that stopped half way": {
			running(), decommission("r"), failed(time.Second, fleet.Unavailable, workflows.OperationResult{Summary: summary(2, 3)},
				fleet.SaveFinalSnapshot, fleet.StopMember),
			fleet.PhaseDecommissioning, fleet.OperationFailed,
		},
		"decommission that says nothing": {
			running(), decommission("r"), func(workflow.Context, fleet.Operation) (workflows.OperationResult, error) {
				return workflows.OperationResult{}, temporal.NewNonRetryableApplicationError("it panicked", "PanicError", nil)
			},
			fleet.PhaseDecommissioning, fleet.OperationFailed,
		},
		"decommission that goes on and touches nothing more": {
			decommissioning, decommission("r"), failed(time.Second, fleet.Unavailable, workflows.OperationResult{Summary: summary(3, 3)}),
			fleet.PhaseDecommissioning, fleet.OperationFailed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, map[fleet.OperationKind]child{test.request.Kind: test.run})
			asked := e.submitAt(0, test.request)
			next, view := e.run(test.from)
			if test.phase != fleet.PhaseGone {
				require.NotNil(t, next, "a cluster that is not gone stays known")
				view = workflows.ClusterView{Summary: next.Summary, Operations: next.Operations}
			}
			asked.reply(t)
			require.Equal(t, test.phase, view.Summary.Phase)
			require.Equal(t, test.state, view.Operations[0].State)
			require.False(t, view.Operations[0].Ended.IsZero())
			require.Equal(t, test.state == fleet.OperationFailed, view.Summary.LastError != "")
		})
	}
}

func TestUnknownKindsOfErrorsAreUnavailable(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.CreateCluster: func(workflow.Context, fleet.Operation) (workflows.OperationResult, error) { panic("no") },
	})
	e.submitAt(0, create("r"))
	next, _ := e.run(fresh())
	require.Equal(t, fleet.Unavailable, next.Operations[0].ErrorKind)
	require.Equal(t, fleet.PhaseIncomplete, next.Summary.Phase, "who panicked may have made something")
}

func TestMemoryIsBounded(t *testing.T) {
	state := running()
	for i := range 20 {
		state.Operations = append(state.Operations, workflows.OperationRecord{ID: fmt.Sprintf("old-%d", i)})
	}
	for i := range 200 {
		state.Requests = append(state.Requests, workflows.SeenRequest{ID: fmt.Sprintf("old-%d", i)})
	}
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.DecommissionCluster: failed(time.Second, fleet.Blocked, workflows.OperationResult{}),
	})
	asked := e.submitAt(0, decommission("new"))
	next, _ := e.run(state)
	require.Len(t, next.Operations, 20)
	require.Equal(t, asked.reply(t).Operation, next.Operations[0].ID, "newest first")
	require.Equal(t, fleet.OperationFailed, next.Operations[0].State)
	require.Equal(t, "old-18", next.Operations[19].ID)
	require.Len(t, next.Requests, 200)
	require.Equal(t, "old-1", next.Requests[0].ID, "oldest first")
	require.Equal(t, "new", next.Requests[199].ID)
}
