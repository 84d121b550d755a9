package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

const week = 7 * 24 * time.Hour

// What a restore in place and a recovery put aside is kept for as long as the policy says
// that held then.
func TestHowLongAsideIsKept(t *testing.T) {
	for _, kind := range []fleet.OperationKind{fleet.RestoreCluster, fleet.RecoverQuorum} {
		t.Run(string(kind), func(t *testing.T) {
			l := newLoop(t, nil, under(fleet.Policy{KeepAside: fleet.Duration(week)}, sees(3, finished))...)
			result, err := l.run(kind)
			require.NoError(t, err)
			require.Equal(t, fleet.Duration(week), result.KeepAside)

			e := newEntity(t, map[fleet.OperationKind]child{kind: done(time.Minute, workflows.OperationResult{Summary: summary(3, 3), KeepAside: result.KeepAside})})
			e.submitAt(time.Second, workflows.SubmitRequest{RequestID: "r1", Kind: kind, By: "ada", Options: wellSaid(kind)})
			next, _ := e.run(running())
			require.Equal(t, next.Operations[0].Ended.Add(week), next.AsideUntil)

			again := newEntity(t, map[fleet.OperationKind]child{kind: done(time.Minute, workflows.OperationResult{Summary: summary(3, 3)})})
			again.submitAt(time.Second, workflows.SubmitRequest{RequestID: "r2", Kind: kind, By: "ada", Options: wellSaid(kind)})
			next, _ = again.run(*next)
			require.Zero(t, next.AsideUntil, "the policy of the last one holds: a person discards it")
		})
	}
	l := newLoop(t, nil, under(fleet.Policy{KeepAside: fleet.Duration(week)}, sees(3, finished))...)
	result, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	require.Zero(t, result.KeepAside, "it puts nothing aside")
}

func wellSaid(kind fleet.OperationKind) fleet.Options {
	if kind == fleet.RestoreCluster {
		return fleet.Options{Restore: &fleet.Restore{Cluster: "orders", UID: "0123456789", ID: "b1"}}
	}
	return fleet.Options{}
}

func TestAsideIsDiscardedByThePolicy(t *testing.T) {
	worked := done(time.Minute, workflows.OperationResult{Summary: summary(3, 3)})
	children := map[fleet.OperationKind]child{
		fleet.DiscardSetAside: worked, fleet.RollCluster: worked,
	}
	kept := func(e *entity) workflows.ClusterState {
		state := running()
		state.AsideUntil = e.env.Now().UTC().Add(week)
		return state
	}

	e := newEntity(t, children)
	state := kept(e)
	next, _ := e.run(state)
	require.Len(t, e.started, 1)
	require.Equal(t, fleet.DiscardSetAside, e.started[0].Kind)
	record := next.Operations[0]
	require.Equal(t, "policy.keepAside", record.By)
	require.False(t, record.Started.Before(state.AsideUntil))
	require.Zero(t, next.AsideUntil, "once")

	e = newEntity(t, children)
	state = kept(e)
	e.submitAt(time.Hour, workflows.SubmitRequest{RequestID: "r1", Kind: fleet.RollCluster, By: "ada"})
	next, _ = e.run(state)
	require.Equal(t, fleet.RollCluster, next.Operations[0].Kind)
	require.Equal(t, state.AsideUntil, next.AsideUntil, "what somebody else does in between changes nothing")

	for members, left := range map[string]bool{"": false, "orders-1": true} {
		e = newEntity(t, children)
		state = kept(e)
		request := workflows.SubmitRequest{RequestID: "r1", Kind: fleet.DiscardSetAside, By: "ada"}
		if members != "" {
			request.Options.Members = []string{members}
		}
		e.submitAt(time.Hour, request)
		next, _ = e.run(state)
		require.Equal(t, "ada", next.Operations[0].By)
		require.Equal(t, left, !next.AsideUntil.IsZero(), "a person discarded that of %q", members)
	}

	e = newEntity(t, map[fleet.OperationKind]child{
		fleet.DiscardSetAside: failed(time.Minute, fleet.Unavailable, workflows.OperationResult{Summary: summary(2, 3)}),
	})
	next, _ = e.run(kept(e))
	require.Equal(t, next.Operations[0].Ended.Add(24*time.Hour), next.AsideUntil, "it is tried again")

	e = newEntity(t, map[fleet.OperationKind]child{fleet.StartCluster: worked})
	state = kept(e)
	state.Summary.Phase = fleet.PhaseStopped
	e.submitAt(2*week, workflows.SubmitRequest{RequestID: "r1", Kind: fleet.StartCluster, By: "ada"})
	next, _ = e.run(state)
	require.Equal(t, fleet.StartCluster, next.Operations[0].Kind, "nothing is discarded while it is stopped")
	require.True(t, next.AsideUntil.After(next.Operations[0].Started))
}
