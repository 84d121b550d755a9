package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// loop is one operation whose looks and steps a test makes up.
type loop struct {
	t   *testing.T
	env *testsuite.TestWorkflowEnvironment

	// op is the operation that is run; its kind is filled in.
	op fleet.Operation

	mu    sync.Mutex
	looks []fleet.LookRequest
	steps []string // activity IDs, in the order in which they ran
	asked []fleet.StepRequest
	// happened are the steps and what the cluster was told, in their order.
	happened []string
	// deaf is what the cluster's workflow answers when it is told something.
	deaf error
}

// operations are the workflows of all operations.
var operations = map[fleet.OperationKind]any{
	fleet.CreateCluster: workflows.CreateCluster, fleet.DecommissionCluster: workflows.DecommissionCluster,
	fleet.AdoptCluster: workflows.AdoptCluster, fleet.UpscaleCluster: workflows.UpscaleCluster,
	fleet.ScaleCluster: workflows.ScaleCluster, fleet.MigrateByLearner: workflows.MigrateByLearner,
	fleet.RecoverQuorum: workflows.RecoverQuorum, fleet.RestoreCluster: workflows.RestoreCluster, fleet.FailoverMember: workflows.FailoverMember, fleet.UpgradeCluster: workflows.UpgradeCluster,
	fleet.RollCluster: workflows.RollCluster, fleet.ChangeLeader: workflows.ChangeLeader,
	fleet.StopCluster: workflows.StopCluster, fleet.StartCluster: workflows.StartCluster,
	fleet.RestorePrefixes: workflows.RestorePrefixes, fleet.DiscardSetAside: workflows.DiscardSetAside,
}

// step is what a step does in a test.
type step func(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error)

// newLoop makes an operation with these looks, one after another; the last one
// stands for all that follow.
func newLoop(t *testing.T, do map[fleet.StepKind]step, looks ...fleet.Look) *loop {
	l := &loop{t: t, env: newEnv(), op: fleet.Operation{ID: "op", Cluster: "orders", UID: "uid", Spec: spec()}}
	l.env.SetStartTime(noon)
	for kind, run := range operations {
		l.env.RegisterWorkflowWithOptions(run, workflow.RegisterOptions{Name: string(kind)})
	}
	l.env.RegisterActivityWithOptions(func(ctx context.Context, r fleet.LookRequest) (fleet.Look, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.looks = append(l.looks, r)
		look := looks[min(len(l.looks), len(looks))-1]
		if look.Decision.Verdict == "" {
			return look, temporal.NewNonRetryableApplicationError("the cloud says no", string(fleet.Denied), nil)
		}
		return look, ctx.Err()
	}, activity.RegisterOptions{Name: fleet.ActivityLook})
	for kind, run := range do {
		l.env.RegisterActivityWithOptions(func(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
			l.mu.Lock()
			l.steps = append(l.steps, activity.GetInfo(ctx).ActivityID)
			l.happened = append(l.happened, r.Step.String())
			l.asked = append(l.asked, r)
			l.mu.Unlock()
			return run(ctx, r)
		}, activity.RegisterOptions{Name: string(kind)})
	}
	l.env.OnSignalExternalWorkflow(mock.Anything, mock.Anything, mock.Anything, mock.Anything, mock.Anything).Return(
		func(_, workflowID, _, name string, told any) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			signal := told.(workflows.EndpointsSignal)
			members := make([]string, len(signal.Endpoints))
			for i, e := range signal.Endpoints {
				members[i] = e.Member
			}
			l.happened = append(l.happened, fmt.Sprintf("%s %s %s: %v", workflowID, name, signal.Operation, members))
			return l.deaf
		}).Maybe()
	return l
}

func (l *loop) run(kind fleet.OperationKind) (workflows.OperationResult, error) {
	l.t.Helper()
	l.op.Kind = kind
	l.env.ExecuteWorkflow(string(kind), l.op)
	require.True(l.t, l.env.IsWorkflowCompleted())
	var result workflows.OperationResult
	err := l.env.GetWorkflowError()
	if err == nil {
		require.NoError(l.t, l.env.GetWorkflowResult(&result))
		return result, nil
	}
	var application *temporal.ApplicationError
	var cancelled *temporal.CanceledError
	switch {
	case errors.As(err, &cancelled):
		require.NoError(l.t, cancelled.Details(&result), "a cancelled operation carries its result")
		return result, cancelled
	case errors.As(err, &application):
		require.NoError(l.t, application.Details(&result), "a failed operation carries its result")
		return result, application
	}
	return result, err
}

func (l *loop) progress() fleet.Progress {
	l.t.Helper()
	value, err := l.env.QueryWorkflow(workflows.QueryProgress)
	require.NoError(l.t, err)
	var p fleet.Progress
	require.NoError(l.t, value.Get(&p))
	return p
}

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// sees is a look that saw that many hosts.
func sees(hosts int, d fleet.Decision) fleet.Look {
	o := fleet.Observation{At: noon, Authority: hosts > 0}
	for range hosts {
		o.Hosts = append(o.Hosts, fleet.ObservedHost{})
	}
	return fleet.Look{Observation: o, Decision: d, Summary: fleet.Summary{Name: "orders", Members: hosts, At: noon}}
}

func act(steps ...fleet.Step) fleet.Decision {
	return fleet.Decision{Verdict: fleet.VerdictAct, Wave: steps}
}

func launch(member string) fleet.Step { return fleet.Step{Kind: fleet.LaunchHost, Member: member} }

var finished = fleet.Decision{Verdict: fleet.VerdictDone, Reason: "it serves"}

func succeeds(context.Context, fleet.StepRequest) (fleet.StepReply, error) {
	return fleet.StepReply{Note: "well"}, nil
}

func fails(kind fleet.Kind) step {
	return func(context.Context, fleet.StepRequest) (fleet.StepReply, error) {
		return fleet.StepReply{}, temporal.NewNonRetryableApplicationError("no stock", string(kind), nil)
	}
}

// together waits until n steps are there at once: alone it would never end.
func together(n int) step {
	var all sync.WaitGroup
	all.Add(n)
	return func(context.Context, fleet.StepRequest) (fleet.StepReply, error) {
		all.Done()
		all.Wait()
		return fleet.StepReply{}, nil
	}
}

func TestWavesRunSideBySide(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: together(3), fleet.AwaitHealthy: succeeds},
		sees(0, act(launch("orders-1"), launch("orders-2"), launch("orders-3"))),
		sees(3, act(fleet.Step{Kind: fleet.AwaitHealthy})), sees(3, finished))
	result, err := l.run(fleet.CreateCluster)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"1/LaunchHost/orders-1", "1/LaunchHost/orders-2", "1/LaunchHost/orders-3"}, l.steps[:3])
	require.Equal(t, []string{"2/AwaitHealthy/"}, l.steps[3:])
	require.Len(t, l.looks, 3)
	require.Equal(t, fleet.OperationDone, result.Progress.State)
	require.Equal(t, 2, result.Progress.Wave)
	require.Equal(t, "it serves", result.Progress.Doing)
	require.Equal(t, 3, result.Summary.Members)
	require.False(t, result.Clean)
	for _, s := range result.Progress.Steps {
		require.Equal(t, fleet.StepDone, s.State, s.Step)
		require.False(t, s.Ended.IsZero())
	}
}

// A step that fails does not end the wave, nor the operation: the next look is told.
func TestFailuresAreForThePlanner(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: fails(fleet.OutOfCapacity), fleet.CreateAuthority: succeeds},
		sees(0, act(launch("orders-1"), fleet.Step{Kind: fleet.CreateAuthority})), sees(0, finished))
	result, err := l.run(fleet.CreateCluster)
	require.NoError(t, err)
	require.Empty(t, l.looks[0].Failures)
	require.Equal(t, []fleet.Failure{{Step: launch("orders-1"), Kind: fleet.OutOfCapacity, Message: "no stock"}}, l.looks[1].Failures)
	require.Equal(t, fleet.StepFailed, result.Progress.Steps[0].State)
	require.Equal(t, "no stock", result.Progress.Steps[0].Error)
	require.Equal(t, fleet.StepDone, result.Progress.Steps[1].State)
	require.Equal(t, "well", result.Progress.Steps[1].Note)
	require.Equal(t, "no stock", result.Progress.LastError)
}

func TestBlocked(t *testing.T) {
	l := newLoop(t, nil, sees(3, fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Blocked, Reason: "no quorum"}))
	result, err := l.run(fleet.DecommissionCluster)
	var said *temporal.ApplicationError
	require.ErrorAs(t, err, &said)
	require.Equal(t, string(fleet.Blocked), said.Type())
	require.Equal(t, "no quorum", said.Message())
	require.True(t, said.NonRetryable())
	require.Len(t, l.looks, 2, "one more look says what is left")
	require.Equal(t, fleet.OperationFailed, result.Progress.State)
	require.Equal(t, 3, result.Summary.Members)
	require.Empty(t, result.Progress.Doing)
}

func TestDecisionsThatMakeNoSense(t *testing.T) {
	for name, decision := range map[string]fleet.Decision{
		"act on nothing":     act(),
		"a verdict of later": {Verdict: "ponder", Reason: "hm"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newLoop(t, nil, sees(0, decision)).run(fleet.CreateCluster)
			var said *temporal.ApplicationError
			require.ErrorAs(t, err, &said)
			require.Equal(t, string(fleet.Blocked), said.Type())
		})
	}
}

func TestLookFails(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: succeeds}, sees(0, act(launch("orders-1"))), fleet.Look{})
	result, err := l.run(fleet.CreateCluster)
	var said *temporal.ApplicationError
	require.ErrorAs(t, err, &said)
	require.Equal(t, string(fleet.Denied), said.Type())
	// The look before the wave saw nothing; a host has been bought since.
	require.False(t, result.Clean, "an old look must not call a cluster gone")
}

func TestFailedBeforeAnythingWasMade(t *testing.T) {
	l := newLoop(t, nil, sees(0, fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Invalid, Reason: "no such type"}))
	result, err := l.run(fleet.CreateCluster)
	require.Error(t, err)
	require.True(t, result.Clean)
}

func TestCircles(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: succeeds}, sees(1, act(launch("orders-1"))))
	result, err := l.run(fleet.CreateCluster)
	require.ErrorContains(t, err, "is not done after 200 waves")
	require.Equal(t, 200, result.Progress.Wave)
	require.Len(t, l.steps, 200)
}

func TestStepOfANewerPlanner(t *testing.T) {
	polish := fleet.Step{Kind: "PolishMember", Member: "orders-1"}
	l := newLoop(t, map[fleet.StepKind]step{"PolishMember": succeeds}, sees(1, act(polish)), sees(1, finished))
	_, err := l.run(fleet.CreateCluster)
	require.NoError(t, err)
	require.Equal(t, []string{"1/PolishMember/orders-1"}, l.steps)
}

// Two hosts that carry one member's name are released in one wave.
func TestTwins(t *testing.T) {
	release := func(host string) fleet.Step {
		return fleet.Step{Kind: fleet.ReleaseHost, Member: "orders-1", HostID: host}
	}
	l := newLoop(t, map[fleet.StepKind]step{fleet.ReleaseHost: together(2)},
		sees(2, act(release("h-1"), release("h-2"))), sees(0, finished))
	result, err := l.run(fleet.DecommissionCluster)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"1/ReleaseHost/orders-1", "1/ReleaseHost/orders-1/2"}, l.steps)
	require.True(t, result.Clean)
}

func TestCancelledInAWave(t *testing.T) {
	stays := func(ctx context.Context, _ fleet.StepRequest) (fleet.StepReply, error) {
		<-ctx.Done()
		return fleet.StepReply{}, ctx.Err()
	}
	l := newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: stays}, sees(0, act(launch("orders-1"))), sees(1, finished))
	var once sync.Once
	l.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == string(fleet.LaunchHost) {
			once.Do(l.env.CancelWorkflow)
		}
	})
	result, err := l.run(fleet.CreateCluster)
	var cancelled *temporal.CanceledError
	require.ErrorAs(t, err, &cancelled)
	require.Len(t, l.looks, 2, "what is left is looked at although the operation is cancelled")
	require.Equal(t, fleet.OperationCancelled, result.Progress.State)
	require.False(t, result.Clean)
	require.Equal(t, 1, result.Summary.Members)
	require.Equal(t, "cancelled", result.Progress.Steps[0].Error)
	require.Empty(t, l.looks[1].Failures, "a cancelled step did not fail")
}

func TestProgressIsToldAtEachStage(t *testing.T) {
	var l *loop
	var looking, acting []fleet.Progress
	l = newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: succeeds}, sees(0, act(launch("orders-1"))), sees(1, finished))
	l.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == fleet.ActivityLook {
			looking = append(looking, l.progress())
			return
		}
		acting = append(acting, l.progress())
	})
	_, err := l.run(fleet.CreateCluster)
	require.NoError(t, err)
	for _, p := range append(looking, acting...) {
		require.Equal(t, fleet.OperationRunning, p.State)
		require.True(t, p.Ended.IsZero())
	}
	require.Equal(t, "looking", looking[0].Doing)
	require.Equal(t, 0, looking[0].Wave)
	require.Equal(t, "LaunchHost orders-1", acting[0].Doing)
	require.Equal(t, 1, acting[0].Wave)
	require.Equal(t, fleet.StepRunning, acting[0].Steps[0].State)
	require.Equal(t, fleet.StepDone, looking[1].Steps[0].State)
	last := l.progress()
	require.Equal(t, fleet.OperationDone, last.State)
	require.False(t, last.Ended.IsZero())
}

func TestWhatADecommissionLoses(t *testing.T) {
	at := func(revision int64, snapshot *fleet.Snapshot, d fleet.Decision) fleet.Look {
		look := sees(1, d)
		look.Observation.Revision, look.Observation.FinalSnapshot = revision, snapshot
		return look
	}
	stop := act(fleet.Step{Kind: fleet.StopMember, Member: "orders-1"})
	taken := &fleet.Snapshot{Revision: 40}
	for name, test := range map[string]struct {
		looks []fleet.Look
		lost  string
	}{
		"nothing": {[]fleet.Look{at(40, taken, stop), at(0, taken, finished)}, ""},
		"late":    {[]fleet.Look{at(42, taken, stop), at(0, taken, finished)}, "at least 2 revisions, written after the final snapshot at revision 40"},
		"waived":  {[]fleet.Look{at(42, nil, stop), at(0, nil, finished)}, "all data, up to revision 42: the final snapshot was waived"},
		"empty":   {[]fleet.Look{at(0, nil, stop), at(0, nil, finished)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := newLoop(t, map[fleet.StepKind]step{fleet.StopMember: succeeds}, test.looks...).run(fleet.DecommissionCluster)
			require.NoError(t, err)
			require.Equal(t, test.lost, result.Lost)
		})
	}
}

func ExampleClusterID() {
	fmt.Println(workflows.OperationID("orders", fleet.CreateCluster, "1a2b3c4d"))
	// Output: cluster/orders/CreateCluster/1a2b3c4d
}
