package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

var bought = []fleet.Step{{Kind: fleet.LaunchHost, Member: "orders-4", Token: "t"}}

// stopped is the state after an upscale that stopped half way.
func stopped(t *testing.T) workflows.ClusterState {
	t.Helper()
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.UpscaleCluster: half(workflows.OperationResult{
			Summary: summary(3, 4), HighestMember: 4, Purchases: bought, Left: []string{"orders-4 is a learner"},
			Progress: fleet.Progress{Marks: []fleet.Mark{{Kind: fleet.MarkApproved, By: "bob"}}},
		}, fleet.LaunchHost),
	})
	r := change("r1", fleet.UpscaleCluster, larger)
	r.Options.AllowDowntime = true
	e.submitAt(0, r)
	next, _ := e.run(running())
	require.NotNil(t, next)
	return *next
}

func TestUnfinished(t *testing.T) {
	state := stopped(t)
	require.Equal(t, "small", state.Spec.Machine.Type, "it is not what was asked for")
	require.Equal(t, fleet.PhaseRunning, state.Summary.Phase)
	record := state.Operations[0]
	require.Equal(t, []string{"orders-4 is a learner"}, record.Left)
	require.Equal(t, "bob", record.Marks[0].By)
	u := state.Unfinished
	require.Equal(t, record.ID, u.ID)
	require.Equal(t, fleet.UpscaleCluster, u.Kind)
	require.Equal(t, "large", u.Spec.Machine.Type)
	require.Equal(t, bought, u.Purchases)
	require.Equal(t, 5, state.NextMember)
}

// Whoever goes on with an operation knows which members are the old ones and what
// was bought, as often as it takes.
func TestResume(t *testing.T) {
	state := stopped(t)
	first := state.Operations[0].ID
	for name, r := range map[string]workflows.SubmitRequest{
		"resumed": resume("r2"),
		"the same again": func() workflows.SubmitRequest {
			r := change("r2", fleet.UpscaleCluster, larger)
			r.Options.AllowDowntime = true
			return r
		}(),
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, map[fleet.OperationKind]child{
				fleet.UpscaleCluster: half(workflows.OperationResult{HighestMember: 5, Purchases: nil}),
			})
			asked := e.submitAt(0, r)
			again := e.submitAt(time.Second, resume("r3"))
			next, _ := e.run(state)
			second := asked.reply(t).Operation
			require.NotEqual(t, first, second)
			require.True(t, again.reply(t).Joined, "to ask for it twice is to ask for it")
			require.Equal(t, second, again.reply(t).Operation)
			op := e.started[0]
			require.Equal(t, second, op.ID)
			require.Equal(t, fleet.UpscaleCluster, op.Kind)
			require.Equal(t, first, op.Generation)
			require.Equal(t, 4, op.Since)
			require.Equal(t, 5, op.NextMember)
			require.Equal(t, bought, op.Purchases)
			require.True(t, op.Options.AllowDowntime)
			require.Equal(t, "large", op.Spec.Machine.Type)
			require.Equal(t, "small", op.Before.Machine.Type)
			require.Equal(t, first, next.Operations[0].Resumes)

			e = newEntity(t, map[fleet.OperationKind]child{
				fleet.UpscaleCluster: well(workflows.OperationResult{HighestMember: 5}),
			})
			e.submitAt(0, resume("r4"))
			last, _ := e.run(*next)
			require.Equal(t, first, e.started[0].Generation)
			require.Equal(t, 4, e.started[0].Since)
			require.Equal(t, 6, e.started[0].NextMember)
			require.Empty(t, e.started[0].Purchases, "what the second one released is not bought any more")
			require.Nil(t, last.Unfinished)
			require.Equal(t, "large", last.Spec.Machine.Type)
		})
	}
}

// Another target is another operation, and one that is done ends what was unfinished.
func TestAnotherTargetIsNotAResumption(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{fleet.UpscaleCluster: well(workflows.OperationResult{HighestMember: 7})})
	asked := e.submitAt(0, change("r2", fleet.UpscaleCluster, func(s *fleet.Spec) { s.Machine.Type = "huge" }))
	next, _ := e.run(stopped(t))
	op := e.started[0]
	require.Equal(t, asked.reply(t).Operation, op.Generation)
	require.Equal(t, 5, op.Since)
	require.Empty(t, op.Purchases)
	require.Nil(t, next.Unfinished)
	require.Equal(t, "huge", next.Spec.Machine.Type)
}

func TestWhatIsKeptAsUnfinished(t *testing.T) {
	for name, test := range map[string]struct {
		run  child
		kind fleet.OperationKind
	}{
		"one that changed nothing replaces none": {half(workflows.OperationResult{}), fleet.UpscaleCluster},
		"one that changed something does":        {half(workflows.OperationResult{}, fleet.RemoveMember), fleet.FailoverMember},
		"one that is done leaves none":           {well(workflows.OperationResult{}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, map[fleet.OperationKind]child{fleet.FailoverMember: test.run})
			e.submitAt(0, ask("r2", fleet.FailoverMember))
			next, _ := e.run(stopped(t))
			if test.kind == "" {
				require.Nil(t, next.Unfinished)
				return
			}
			require.Equal(t, test.kind, next.Unfinished.Kind)
		})
	}
}

func TestCancelledCanBeResumed(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.RollCluster: untilCancelled(workflows.OperationResult{Summary: summary(3, 3)}),
	})
	e.submitAt(0, ask("r", fleet.RollCluster))
	e.at(time.Second, func() { e.update(workflows.UpdateCancel, cancelling("ada")) })
	next, _ := e.run(running())
	require.Equal(t, fleet.OperationCancelled, next.Operations[0].State)
	require.Equal(t, fleet.RollCluster, next.Unfinished.Kind)
}

// What was amended since goes with it.
func TestResumedAsAmended(t *testing.T) {
	state := stopped(t)
	state.Spec.Policy.Approval = fleet.ApprovalAlways
	e := newEntity(t, map[fleet.OperationKind]child{fleet.UpscaleCluster: well(workflows.OperationResult{})})
	e.submitAt(0, resume("r2"))
	next, _ := e.run(state)
	require.Equal(t, fleet.ApprovalAlways, e.started[0].Spec.Policy.Approval)
	require.Equal(t, "large", e.started[0].Spec.Machine.Type)
	require.Equal(t, fleet.ApprovalAlways, next.Spec.Policy.Approval)
}

// States of versions that kept no unfinished operation go on too, in either way.
func TestResumeOfAnEarlyVersion(t *testing.T) {
	for name, test := range map[string]struct {
		phase fleet.Phase
		kind  fleet.OperationKind
		asks  []workflows.SubmitRequest
		since int
	}{
		"create":       {fleet.PhaseIncomplete, fleet.CreateCluster, []workflows.SubmitRequest{create("r"), resume("r")}, 1},
		"decommission": {fleet.PhaseDecommissioning, fleet.DecommissionCluster, []workflows.SubmitRequest{decommission("r"), resume("r")}, 4},
	} {
		for _, r := range test.asks {
			t.Run(name, func(t *testing.T) {
				state := in(test.phase)
				state.Operations = []workflows.OperationRecord{{ID: "old", Kind: test.kind, State: fleet.OperationFailed}}
				e := newEntity(t, map[fleet.OperationKind]child{test.kind: well(workflows.OperationResult{})})
				var view workflows.ClusterView
				e.at(time.Second, func() { view = e.view() })
				e.submitAt(2*time.Second, r)
				e.run(state)
				require.Equal(t, "old", view.Unfinished.ID)
				op := e.started[0]
				require.Equal(t, test.kind, op.Kind)
				require.Equal(t, "old", op.Generation)
				require.Equal(t, test.since, op.Since)
				require.Equal(t, *state.Spec, op.Spec)
			})
		}
	}
}

// A decommission goes on, whatever the second one is told about its snapshot.
func TestDecommissionGoesOnWithOtherOptions(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.DecommissionCluster: half(workflows.OperationResult{}, fleet.StopMember),
	})
	e.submitAt(0, decommission("r1"))
	next, _ := e.run(running())
	e = newEntity(t, map[fleet.OperationKind]child{fleet.DecommissionCluster: well(workflows.OperationResult{Clean: true})})
	r := decommission("r2")
	r.Options.SkipFinalSnapshot = true
	e.submitAt(0, r)
	_, view := e.run(*next)
	require.Equal(t, fleet.PhaseGone, view.Summary.Phase)
	require.Equal(t, next.Operations[0].ID, e.started[0].Generation)
	require.True(t, e.started[0].Options.SkipFinalSnapshot)
}
