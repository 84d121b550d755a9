package workflows_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// schedule runs that of a region until it is cancelled after a time, with what its looks
// find and backups that take a while.
type schedule struct {
	mu           sync.Mutex
	asked        []fleet.DueRequest
	begun        []string
	running, top int
	with         func(env *testsuite.TestWorkflowEnvironment)
}

func (s *schedule) run(t *testing.T, runs, takes time.Duration, due func(n int) (fleet.DueReply, error)) {
	t.Helper()
	env := newEnv()
	env.RegisterWorkflowWithOptions(workflows.ScheduleBackups, workflow.RegisterOptions{Name: workflows.ScheduleType})
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
		s.mu.Lock()
		s.begun, s.running = append(s.begun, op.ID), s.running+1
		s.top = max(s.top, s.running)
		s.mu.Unlock()
		err := workflow.Sleep(ctx, takes)
		s.mu.Lock()
		s.running--
		s.mu.Unlock()
		if op.Cluster == "broken" {
			return workflows.OperationResult{}, temporal.NewNonRetryableApplicationError("no quorum", string(fleet.Blocked), nil)
		}
		return workflows.OperationResult{}, err
	}, workflow.RegisterOptions{Name: string(fleet.BackupCluster)})
	env.RegisterActivityWithOptions(func(_ context.Context, r fleet.DueRequest) (fleet.DueReply, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		reply, err := due(len(s.asked))
		if err == nil {
			s.asked = append(s.asked, r)
		}
		return reply, err
	}, activity.RegisterOptions{Name: fleet.ActivityDueBackups})
	if s.with != nil {
		s.with(env)
	}
	env.RegisterDelayedCallback(env.CancelWorkflow, runs)
	env.ExecuteWorkflow(workflows.ScheduleType, workflows.ScheduleState{Provider: "local", Region: "local-1"})
	require.True(t, env.IsWorkflowCompleted())
	require.True(t, temporal.IsCanceledError(env.GetWorkflowError()), "%v", env.GetWorkflowError())
}

func dueOf(clusters ...string) fleet.DueReply {
	reply := fleet.DueReply{AtOnce: 2}
	for i, c := range clusters {
		reply.Due = append(reply.Due, fleet.Operation{ID: fmt.Sprintf("%s-%d", c, i), Kind: fleet.BackupCluster, Cluster: c})
	}
	return reply
}

// So many at a time, each once and in their order; one that fails keeps nobody waiting.
func TestScheduleTakesSoManyAtATime(t *testing.T) {
	var s schedule
	s.run(t, time.Hour, 3*time.Minute, func(n int) (fleet.DueReply, error) {
		if n == 0 {
			return dueOf("a", "broken", "c", "d", "e", "f", "g"), nil
		}
		return fleet.DueReply{AtOnce: 2}, nil
	})
	all := []string{"a-0", "broken-1", "c-2", "d-3", "e-4", "f-5", "g-6"}
	require.ElementsMatch(t, all, s.begun)
	for i, id := range s.begun { // two that begin at once may do so either way round
		require.InDelta(t, slices.Index(all, id), i, 1, "%v", s.begun)
	}
	require.Equal(t, 2, s.top)
}

// No time is looked at twice and none is left out, also when a look fails for a while.
func TestScheduleLooksAtEachTimeOnce(t *testing.T) {
	var s schedule
	failed := 0
	s.run(t, time.Hour, time.Second, func(n int) (fleet.DueReply, error) {
		if n == 5 && failed < 8 {
			failed++
			return fleet.DueReply{}, fmt.Errorf("the list is not to be had")
		}
		return fleet.DueReply{AtOnce: 1}, nil
	})
	require.Equal(t, 8, failed)
	require.Greater(t, len(s.asked), 40)
	for i := 1; i < len(s.asked); i++ {
		require.Equal(t, s.asked[i-1].Until, s.asked[i].After, "look %d", i)
		require.True(t, s.asked[i].Until.After(s.asked[i].After))
	}
}
