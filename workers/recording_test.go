package workers_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/workers"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// TestDrainEndsRecordings tells a worker to end that records changes. They go on for an
// hour, and do not keep it: each ends whole, so that another worker takes its share.
func TestDrainEndsRecordings(t *testing.T) {
	e := needsTemporal(t)
	c := config(t, e.Temporal.Address)
	stop, ended := run(t, c, workers.Options{})
	awaitReady(t, c)
	temporal, err := client.DialContext(t.Context(), client.Options{HostPort: e.Temporal.Address})
	require.NoError(t, err)
	defer temporal.Close()
	id := workflows.ChangesID(c.Provider, c.Region)
	_, err = temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue},
		workflows.ChangesType, workflows.ChangesState{Provider: c.Provider, Region: c.Region})
	require.NoError(t, err)
	shares := func() []*workflow.PendingActivityInfo {
		seen, err := temporal.DescribeWorkflowExecution(t.Context(), id, "")
		require.NoError(t, err)
		return seen.GetPendingActivities()
	}
	require.Eventually(t, func() bool {
		all := shares()
		return len(all) > 0 && !slices.ContainsFunc(all, func(a *workflow.PendingActivityInfo) bool {
			return a.GetState() != enums.PENDING_ACTIVITY_STATE_STARTED || a.GetLastHeartbeatTime() == nil
		})
	}, harness.Patience, 50*time.Millisecond, "changes are not recorded")
	stop()
	require.NoError(t, <-ended)
	// Not by the history: it has none of those that end while a workflow task is the worker's.
	for _, a := range shares() {
		require.Equal(t, enums.PENDING_ACTIVITY_STATE_SCHEDULED, a.GetState(), "another worker may begin it now")
		require.Nil(t, a.GetLastFailure())
	}
}
