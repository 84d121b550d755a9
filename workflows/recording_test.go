package workflows_test

import (
	"context"
	"fmt"
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

// Each share is recorded all the time, by one activity after another, also when one fails
// for good; and the history of it ends some time.
func TestChangesAreRecordedAllTheTime(t *testing.T) {
	for name, w := range map[string]struct {
		run      any
		activity string
	}{
		workflows.ChangesType: {workflows.RecordChanges, fleet.ActivityRecordChanges}, workflows.CopiesType: {workflows.CopyBackups, fleet.ActivityCopyBackups},
	} {
		t.Run(name, func(t *testing.T) { servesShares(t, name, w.run, w.activity) })
	}
}

func servesShares(t *testing.T, name string, run any, served string) {
	t.Helper()
	env := newEnv()
	env.RegisterWorkflowWithOptions(run, workflow.RegisterOptions{Name: name})
	var mu sync.Mutex
	rounds, running, shares := 0, map[int]int{}, 0
	env.RegisterActivityWithOptions(func(_ context.Context, r fleet.RecordRequest) (fleet.RecordReply, error) {
		mu.Lock()
		defer mu.Unlock()
		running[r.Share]++
		rounds, shares = rounds+1, r.Of
		if rounds == 11 {
			return fleet.RecordReply{}, temporal.NewNonRetryableApplicationError("not allowed", string(fleet.Denied), nil)
		}
		return fleet.RecordReply{Clusters: 1}, nil
	}, activity.RegisterOptions{Name: served})
	env.ExecuteWorkflow(name, workflows.ChangesState{Provider: "local", Region: "local-1"})
	require.True(t, env.IsWorkflowCompleted())
	require.True(t, workflow.IsContinueAsNewError(env.GetWorkflowError()), "%v", env.GetWorkflowError())
	mu.Lock() // activities that it ended may still run
	defer mu.Unlock()
	require.Len(t, running, shares)
	for share, n := range running {
		require.Positive(t, n, "share %d", share)
	}
	require.Greater(t, rounds, 600, "one that fails ends nothing")
}

// A backup that is wanted is taken with those that are due, once.
func TestScheduleTakesWhatIsWanted(t *testing.T) {
	var s schedule
	var env *testsuite.TestWorkflowEnvironment
	s.with = func(e *testsuite.TestWorkflowEnvironment) {
		env = e
		for i := range 3 {
			env.RegisterDelayedCallback(func() {
				op := fleet.Operation{ID: fmt.Sprintf("wanted-%d", i/2), Kind: fleet.BackupCluster, Cluster: "orders"}
				env.SignalWorkflow(workflows.SignalWantBackup, op)
			}, 10*time.Minute+time.Duration(i)*time.Second)
		}
	}
	s.run(t, time.Hour, time.Minute, func(n int) (fleet.DueReply, error) {
		if n == 0 {
			return dueOf("a"), nil
		}
		return fleet.DueReply{AtOnce: 2}, nil
	})
	require.ElementsMatch(t, []string{"a-0", "wanted-0", "wanted-1"}, s.begun)
}
