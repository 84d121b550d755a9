package workers_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/enums/v1"
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
	shares := 0
	require.Eventually(t, func() bool {
		seen, err := temporal.DescribeWorkflowExecution(t.Context(), id, "")
		require.NoError(t, err)
		shares = len(seen.GetPendingActivities())
		for _, a := range seen.GetPendingActivities() {
			if a.GetState() != enums.PENDING_ACTIVITY_STATE_STARTED || a.GetLastHeartbeatTime() == nil {
				return false
			}
		}
		return shares > 0
	}, harness.Patience, 50*time.Millisecond, "changes are not recorded")
	stop()
	require.NoError(t, <-ended)
	completed := 0
	history := temporal.GetWorkflowHistory(t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		require.NoError(t, err)
		if event.GetEventType() == enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED {
			completed++
		}
	}
	require.GreaterOrEqual(t, completed, shares)
}
