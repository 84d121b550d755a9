package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// record is the version that histories are recorded for.
var record = flag.String("record", "", "record the histories that workflows are replayed from, for this version")

// TestRecordHistories runs every workflow for real, in every way that it can end,
// and writes their histories to workflows/testdata/replay/<version>.
func TestRecordHistories(t *testing.T) {
	if *record == "" {
		t.Skip("histories are recorded with -record <version>")
	}
	e := harness.Start(t)
	e.Flags = []string{"--second-store", filepath.Join(e.Dir, "second")}
	worker := e.StartWorker("flotilla-worker")
	var told atomic.Int32 // some of them, with -run
	t.Run("stories", func(t *testing.T) {
		for name, tell := range stories {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				told.Add(1)
				tell(story{t: t, e: e, cluster: name})
			})
		}
	})
	if t.Failed() {
		return
	}
	r := newRecorder(t, e)
	worker.Terminate()
	e.StartWorker("flotilla-worker")
	r.awaitShares()
	for _, execution := range r.ended(int(told.Load())) {
		if execution.Type.Name == workflows.BackupsType && r.names[workflows.BackupsType] > 0 {
			continue // it is asked every second, and one tells all
		}
		r.write(execution)
	}
}

// settled waits until a cluster's own record says that nothing runs: that is a
// moment after the operation has ended.
func settled(t *testing.T, e *harness.Env, cluster string) {
	t.Helper()
	harness.Eventually(t, "nothing runs on "+cluster, func(ctx context.Context) error {
		view, err := e.Client.Describe(ctx, cluster)
		if err == nil && view.Summary.Operation != "" {
			err = fmt.Errorf("%s runs", view.Summary.Operation)
		}
		return err
	})
}

// recorder writes down what the service knows of finished workflows.
type recorder struct {
	t        *testing.T
	e        *harness.Env
	temporal client.Client
	dir      string
	names    map[string]int
}

func newRecorder(t *testing.T, e *harness.Env) *recorder {
	t.Helper()
	temporal, err := client.Dial(client.Options{HostPort: e.Temporal.Address})
	require.NoError(t, err)
	t.Cleanup(temporal.Close)
	dir := filepath.Join(harness.Root(), "workflows", "testdata", "replay", *record)
	require.NoError(t, os.RemoveAll(dir))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return &recorder{t: t, e: e, temporal: temporal, dir: dir, names: map[string]int{}}
}

// awaitShares waits until what serves shares has gone on with all of them, after the worker that
// served them had ended.
func (r *recorder) awaitShares() {
	r.t.Helper()
	harness.Eventually(r.t, "each share of the copies is served again", func(ctx context.Context) error {
		ended, begun := 0, 0
		events := r.temporal.GetWorkflowHistory(ctx, workflows.CopiesID("local", harness.Region), "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				return err
			}
			switch event.EventType {
			case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
				ended++
			case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
				begun++
			}
		}
		if ended < workflows.CopyShares || begun < 2*workflows.CopyShares {
			return fmt.Errorf("%d have ended and %d have begun", ended, begun)
		}
		return nil
	})
}

// ended lists every run once all of them have ended, in their order.
func (r *recorder) ended(stories int) (all []*workflowpb.WorkflowExecutionInfo) {
	r.t.Helper()
	harness.Eventually(r.t, "every run has ended and is listed", func(ctx context.Context) error {
		list, err := r.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
		if err != nil {
			return err
		}
		all = list.Executions
		gone := 0
		for _, execution := range all {
			switch {
			case slices.Contains([]string{workflows.ScheduleType, workflows.ChangesType, workflows.CopiesType}, execution.Type.Name): // they never end; what they did so far is recorded
			case execution.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
				return fmt.Errorf("%s runs", execution.Execution.WorkflowId)
			case execution.Type.Name == "Cluster" && execution.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
				gone++
			}
		}
		if gone < stories {
			return fmt.Errorf("%d of %d clusters are gone", gone, stories)
		}
		return nil
	})
	slices.SortFunc(all, func(a, b *workflowpb.WorkflowExecutionInfo) int {
		return a.StartTime.AsTime().Compare(b.StartTime.AsTime())
	})
	return all
}

// write writes one run. Clusters are named for how their story goes, so files are too.
func (r *recorder) write(execution *workflowpb.WorkflowExecutionInfo) {
	r.t.Helper()
	var history historypb.History
	events := r.temporal.GetWorkflowHistory(r.t.Context(), execution.Execution.WorkflowId, execution.Execution.RunId,
		false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		require.NoError(r.t, err)
		history.Events = append(history.Events, event)
	}
	data, err := temporalproto.CustomJSONMarshalOptions{
		Metadata: map[string]any{commonpb.EnablePayloadShorthandMetadataKey: true}, // for people to read
	}.Marshal(&history)
	require.NoError(r.t, err)
	name := execution.Type.Name
	if parts := strings.Split(execution.Execution.WorkflowId, "/"); parts[0] == "cluster" {
		cluster := parts[1]
		if strings.HasPrefix(cluster, "rehearsal-") { // by an ID that is another one each time
			cluster = "rehearsal"
		}
		name += "-" + cluster
	}
	if r.names[name]++; r.names[name] > 1 || execution.Type.Name == "Cluster" {
		name += fmt.Sprintf("-%d", r.names[name])
	}
	require.NoError(r.t, os.WriteFile(filepath.Join(r.dir, name+".json"), r.scrub(data), 0o644))
}

// scrub takes out what tells of the machine that recorded: its name, its user and
// its paths.
func (r *recorder) scrub(data []byte) []byte {
	r.t.Helper()
	data = bytes.ReplaceAll(data, []byte(r.e.Dir), []byte("/flotilla"))
	data = bytes.ReplaceAll(data, []byte(harness.Root()), []byte("/flotilla"))
	var history struct {
		Events []any `json:"events"`
	}
	require.NoError(r.t, json.Unmarshal(data, &history))
	host, err := os.Hostname()
	require.NoError(r.t, err)
	anonymous(history.Events, host)
	lines := make([][]byte, len(history.Events)) // an event a line
	for i, event := range history.Events {
		lines[i], err = json.Marshal(event)
		require.NoError(r.t, err)
	}
	return fmt.Appendf(nil, "{\"events\":[\n%s\n]}\n", bytes.Join(lines, []byte(",\n")))
}

func anonymous(value any, host string) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			text, isText := inner.(string)
			switch {
			case isText && key == "identity":
				value[key] = "worker"
			case isText && key == "by":
				value[key] = "ada"
			case isText && strings.HasPrefix(text, host+":"): // a worker's own queue
				value[key] = "worker" + strings.TrimPrefix(text, host)
			default:
				anonymous(inner, host)
			}
		}
	case []any:
		for _, inner := range value {
			anonymous(inner, host)
		}
	}
}
