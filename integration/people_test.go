package integration

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workers"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// region stands for a region in which each operation takes two steps: a member is
// restarted, then all are waited for. What is asked of the workflows is real.
type region struct {
	client *starter.Client
	mu     sync.Mutex
	// did are the steps of each operation, in their order, with where clients of the
	// cluster were sent while they ran.
	did map[string][]string
}

var planned = []fleet.Step{{Kind: fleet.RestartMember, Member: "orders-2"}, {Kind: fleet.AwaitSettled}}

func (r *region) look(_ context.Context, request fleet.LookRequest) (fleet.Look, error) {
	op := request.Operation
	r.mu.Lock()
	next := len(r.did[op.ID])
	r.mu.Unlock()
	look := fleet.Look{
		Observation: fleet.Observation{At: time.Now(), Authority: true}, Policy: op.Options.Policy.Over(op.Spec.Policy).WithDefaults(),
		Decision: fleet.Decision{Verdict: fleet.VerdictDone, Reason: "as it should be"},
		Summary: fleet.Summary{Name: op.Cluster, UID: op.UID, Provider: op.Spec.Provider, Region: op.Spec.Region,
			Etcd: op.Spec.Etcd.Version, Class: op.Spec.Class, At: time.Now()},
		Endpoints: []fleet.Endpoint{{Member: "orders-1"}, {Member: "orders-2"}, {Member: "orders-3"}},
	}
	if next < len(planned) && op.Kind != fleet.CreateCluster && op.Kind != fleet.DecommissionCluster {
		look.Decision = fleet.Decision{Verdict: fleet.VerdictAct, Wave: planned[next : next+1]}
		look.Plan = [][]fleet.Step{planned[next : next+1]}
		if next == 0 {
			look.Endpoints = []fleet.Endpoint{look.Endpoints[0], look.Endpoints[2]}
		}
	}
	return look, nil
}

func (r *region) step(ctx context.Context, request fleet.StepRequest) (fleet.StepReply, error) {
	endpoints, err := r.client.Endpoints(ctx, request.Operation.Cluster)
	if err != nil {
		return fleet.StepReply{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	did := fmt.Sprintf("%s beside", request.Step)
	for _, e := range endpoints {
		did += " " + e.Member
	}
	if !slices.Contains(r.did[request.Operation.ID], did) { // a first try may have been taken for dead
		r.did[request.Operation.ID] = append(r.did[request.Operation.ID], did)
	}
	return fleet.StepReply{}, nil
}

func (r *region) of(operation string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.did[operation]
}

// TestWhatPeopleSay has people approve, pause, resume, reject and queue operations on
// a real service, with workers of the workflows that crash in between, and shows that
// every history replays.
func TestWhatPeopleSay(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	e.Flags = []string{"--serve", workers.ServeWorkflows}
	first := e.StartWorker("flotilla-worker")
	temporal, err := client.Dial(client.Options{HostPort: e.Temporal.Address})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	r := &region{client: e.Client, did: map[string][]string{}}
	activities := worker.New(temporal, workflows.RegionQueue("local", harness.Region), worker.Options{})
	activities.RegisterActivityWithOptions(r.look, activity.RegisterOptions{Name: fleet.ActivityLook})
	for _, s := range planned {
		activities.RegisterActivityWithOptions(r.step, activity.RegisterOptions{Name: string(s.Kind)})
	}
	require.NoError(t, activities.Start())
	t.Cleanup(activities.Stop)

	ctx := t.Context()
	spec := harness.Spec("orders", 3, "3.7.2")
	e.Create(spec)
	slower, newer := spec.Clone(), spec.Clone()
	slower.Etcd.ElectionTimeout = fleet.Duration(3 * time.Second)
	newer.Etcd.ElectionTimeout, newer.Etcd.Version = slower.Etcd.ElectionTimeout, "3.7.3"
	reply, err := e.Client.Change(ctx, spec.Name, fleet.RollCluster, &slower, starter.Request{
		Options: fleet.Options{Policy: fleet.Policy{Approval: fleet.ApprovalAlways}},
		Then:    []fleet.Change{{Kind: fleet.UpgradeCluster, Spec: newer}},
	})
	require.NoError(t, err)
	roll := starter.RefOf(spec.Name, reply)
	waits(t, e, roll, fleet.WaitApproval)

	// The worker that knows of it is gone; another one reads up on it.
	first.Kill()
	e.StartWorker("flotilla-worker")
	require.NoError(t, e.Client.Pause(ctx, roll, "not yet"))
	require.NoError(t, e.Client.Approve(ctx, roll, "looks well"))
	waits(t, e, roll, fleet.WaitPaused)
	require.Empty(t, r.of(roll.ID))
	require.NoError(t, e.Client.ResumePaused(ctx, roll, ""))
	result := e.Await(roll)
	require.Equal(t, []string{"RestartMember orders-2 beside orders-1 orders-3", "AwaitSettled beside orders-1 orders-2 orders-3"}, r.of(roll.ID))
	require.Len(t, result.Progress.Marks, 3)

	// What is queued behind it begins by itself, and can be rejected and gone on with.
	require.Len(t, reply.Then, 1)
	upgrade := starter.Ref{Cluster: spec.Name, ID: reply.Then[0].Operation, Kind: reply.Then[0].Kind, WorkflowID: reply.Then[0].WorkflowID}
	waits(t, e, upgrade, fleet.WaitApproval)
	require.NoError(t, e.Client.Reject(ctx, upgrade, "not on a Friday"))
	settled(t, e, spec.Name)
	view, err := e.Client.Describe(ctx, spec.Name)
	require.NoError(t, err)
	require.Equal(t, fleet.Denied, view.Operations[0].ErrorKind)
	require.Contains(t, view.Operations[0].Error, "not on a Friday")
	require.Equal(t, upgrade.ID, view.Unfinished.ID)
	require.Equal(t, "3.7.2", view.Spec.Etcd.Version)
	require.Equal(t, slower.Etcd.ElectionTimeout, view.Spec.Etcd.ElectionTimeout)
	reply, err = e.Client.Resume(ctx, spec.Name, starter.NewRequestID())
	require.NoError(t, err)
	again := starter.RefOf(spec.Name, reply)
	waits(t, e, again, fleet.WaitApproval)
	require.NoError(t, e.Client.Approve(ctx, again, ""))
	e.Await(again)
	settled(t, e, spec.Name)
	view, err = e.Client.Describe(ctx, spec.Name)
	require.NoError(t, err)
	require.Equal(t, upgrade.ID, view.Operations[0].Resumes)
	require.Equal(t, "3.7.3", view.Spec.Etcd.Version)
	require.Nil(t, view.Unfinished)
	e.Decommission(spec.Name, fleet.Options{})
	replays(t, temporal)
}

func waits(t *testing.T, e *harness.Env, ref starter.Ref, what fleet.WaitKind) {
	t.Helper()
	harness.Eventually(t, fmt.Sprintf("%s waits for %s", ref, what), func(ctx context.Context) error {
		p, err := e.Client.Progress(ctx, ref)
		if err == nil && (p.Waiting == nil || p.Waiting.For != what) {
			err = fmt.Errorf("it is %s, %q", p.State, p.Doing)
		}
		return err
	})
}

// replays shows that the workflows do with every history what they did then.
func replays(t *testing.T, temporal client.Client) {
	t.Helper()
	replayer := worker.NewWorkflowReplayer()
	workers.RegisterWorkflows(replayer)
	list, err := temporal.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
	require.NoError(t, err)
	require.NotEmpty(t, list.Executions)
	for _, execution := range list.Executions {
		var history historypb.History
		events := temporal.GetWorkflowHistory(t.Context(), execution.Execution.WorkflowId, execution.Execution.RunId,
			false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			require.NoError(t, err)
			history.Events = append(history.Events, event)
		}
		require.NoError(t, replayer.ReplayWorkflowHistory(nil, &history), "%s", execution.Execution.WorkflowId)
	}
}
