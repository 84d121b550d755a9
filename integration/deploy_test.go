package integration

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/starter"
)

// TestDeploy replaces the worker while an operation runs: the operation ends on the
// build that it began with, the next one runs on the new build, and the old worker
// drains.
func TestDeploy(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	temporal, err := client.Dial(client.Options{HostPort: e.Temporal.Address, Logger: quiet{}})
	require.NoError(t, err)
	defer temporal.Close()
	deployment := temporal.WorkerDeploymentClient().GetHandle("flotilla")
	makeCurrent := func(build string) {
		harness.Eventually(t, build+" is the current build", func(ctx context.Context) error {
			_, err := deployment.SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{BuildID: build})
			return err
		})
	}
	begin := func(name string) starter.Ref {
		reply, err := e.Client.Create(t.Context(), harness.Spec(name, 1, "3.7.3"), starter.Request{})
		require.NoError(t, err)
		return starter.RefOf(name, reply)
	}
	buildOf := func(ref starter.Ref) string {
		described, err := temporal.DescribeWorkflowExecution(t.Context(), ref.WorkflowID, "")
		require.NoError(t, err)
		return described.GetWorkflowExecutionInfo().GetVersioningInfo().GetDeploymentVersion().GetBuildId()
	}

	old := e.StartWorker("flotilla-worker", "FLOTILLA_DEPLOYMENT=flotilla", "FLOTILLA_BUILD_ID=v1")
	makeCurrent("v1")
	require.NoError(t, e.Provider.SetLatency(t.Context(), 500*time.Millisecond)) // so that it is under way
	first := begin("orders")
	e.StartWorker("flotilla-worker", "FLOTILLA_DEPLOYMENT=flotilla", "FLOTILLA_BUILD_ID=v2")
	makeCurrent("v2")
	progress, err := e.Client.Progress(t.Context(), first)
	require.NoError(t, err)
	require.Equal(t, fleet.OperationRunning, progress.State, "the first operation should be under way while v2 is deployed")
	require.NoError(t, e.Provider.ClearFaults(t.Context()))
	second := begin("payments")
	e.Await(first)
	e.Await(second)
	require.Equal(t, "v1", buildOf(first), "build of the operation that was under way")
	require.Equal(t, "v2", buildOf(second), "build of the operation that began later")
	require.Equal(t, 0, old.Terminate(), "exit code of the drained worker")
	for _, name := range []string{"orders", "payments"} {
		e.Decommission(name, fleet.Options{})
	}
	e.ExpectNothingLeft()
}

// quiet drops what the SDK logs.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
