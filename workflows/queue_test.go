package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// three asks for settings, then a release, then machines.
func three(request string) workflows.SubmitRequest {
	r := change(request, fleet.RollCluster, patient)
	r.Options = fleet.Options{AnyTime: true, AllowDowntime: true, Members: []string{"orders-1"}}
	r.Then = []fleet.Change{
		{Kind: fleet.UpgradeCluster, Spec: *change("", "", patient, newer).Spec},
		{Kind: fleet.UpscaleCluster, Spec: *change("", "", patient, newer, larger).Spec},
	}
	return r
}

func TestQueue(t *testing.T) {
	children := map[fleet.OperationKind]child{
		fleet.RollCluster:    well(workflows.OperationResult{Summary: summary(3, 3)}),
		fleet.UpgradeCluster: well(workflows.OperationResult{Summary: summary(3, 3), HighestMember: 8}),
		fleet.UpscaleCluster: well(workflows.OperationResult{Summary: summary(3, 3)}),
	}
	e := newEntity(t, children)
	asked := e.submitAt(0, three("r1"))
	joined := e.submitAt(time.Second, three("r2"))
	fewer := three("r3")
	fewer.Then = fewer.Then[:1]
	refused := e.submitAt(time.Second, fewer)
	var during workflows.ClusterView
	e.at(time.Second, func() { during = e.view() })
	next, _ := e.run(running())
	reply := asked.reply(t)
	require.Len(t, reply.Then, 2)
	require.Equal(t, workflows.OperationID("orders", fleet.UpgradeCluster, reply.Then[0].Operation), reply.Then[0].WorkflowID)
	require.True(t, joined.reply(t).Joined)
	require.Equal(t, reply.Then, joined.reply(t).Then)
	_, said := refused.refusal(t)
	require.Contains(t, said, "is running")
	require.Len(t, during.Queue, 2)
	require.Len(t, next.Queue, 2, "it goes with the state into the next run")
	require.Equal(t, fleet.Duration(3*time.Second), next.Spec.Etcd.ElectionTimeout)

	e = newEntity(t, children)
	var second workflows.ClusterView
	e.at(time.Second, func() { second = e.view() })
	next, _ = e.run(*next)
	require.Equal(t, reply.Then[0].Operation, second.Summary.Operation)
	require.Len(t, second.Queue, 1)
	op := e.started[0]
	require.Equal(t, reply.Then[0].Operation, op.ID)
	require.Equal(t, op.ID, op.Generation)
	require.Equal(t, "3.7.3", op.Before.Etcd.Version)
	require.Equal(t, "3.7.4", op.Spec.Etcd.Version)
	require.Equal(t, fleet.Options{AnyTime: true, AllowDowntime: true}, op.Options, "which members is the first one's own")
	require.Equal(t, "ada", next.Operations[0].By)
	require.Equal(t, "r1", next.Operations[0].RequestID)

	e = newEntity(t, children)
	again := e.submitAt(time.Second, three("r1"))
	next, _ = e.run(*next)
	require.Equal(t, reply.Operation, again.reply(t).Operation)
	require.Equal(t, reply.Then, again.reply(t).Then)
	require.Equal(t, 9, e.started[0].Since)
	require.Equal(t, "large", next.Spec.Machine.Type)
	require.Equal(t, "3.7.4", next.Spec.Etcd.Version)
	require.Empty(t, next.Queue)
	require.Len(t, next.Operations, 3)
}

// What was to follow does not begin when something went wrong before it.
func TestQueueIsDropped(t *testing.T) {
	for name, test := range map[string]struct {
		run    child
		cancel bool
	}{
		"failed":    {half(workflows.OperationResult{}, fleet.RestartMember), false},
		"cancelled": {untilCancelled(workflows.OperationResult{}), true},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, map[fleet.OperationKind]child{fleet.RollCluster: test.run})
			asked := e.submitAt(0, three("r1"))
			if test.cancel {
				e.at(time.Second, func() { e.update(workflows.UpdateCancel, cancelling("ada")) })
			}
			next, _ := e.run(running())
			require.Empty(t, next.Queue)
			require.Equal(t, asked.reply(t).Then, next.Operations[0].Dropped)
			require.Equal(t, fleet.RollCluster, next.Unfinished.Kind)
			require.Len(t, next.Operations, 1)
		})
	}
}

// Between two of them nothing runs, and what is queued can be cancelled and is not
// overtaken.
func TestBetweenTwoOfTheQueue(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{fleet.RollCluster: well(workflows.OperationResult{})})
	e.held(30*time.Second, 10*time.Minute)
	asked := e.submitAt(0, three("r1"))
	overtakes := e.submitAt(2*time.Minute, ask("r2", fleet.FailoverMember))
	var another, cancelled *answer
	e.at(3*time.Minute, func() {
		another = e.update(workflows.UpdateCancel, workflows.CancelRequest{Operation: asked.reply(t).Operation})
		cancelled = e.update(workflows.UpdateCancel, cancelling("ada"))
	})
	next, _ := e.run(running())
	_, said := overtakes.refusal(t)
	require.Contains(t, said, "UpgradeCluster "+asked.reply(t).Then[0].Operation+" is about to begin")
	another.refusal(t)
	require.Equal(t, asked.reply(t).Then[0].Operation, cancelled.reply(t).Operation)
	require.Empty(t, next.Queue)
	require.Equal(t, asked.reply(t).Then, next.Operations[0].Dropped)
	require.Equal(t, fleet.OperationDone, next.Operations[0].State)
}
