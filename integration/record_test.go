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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/starter"
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
	e.StartWorker("flotilla-worker")
	ctx := t.Context()

	// Created and decommissioned, with a request that is made twice, and answers
	// to those who only ask in between.
	spec := harness.Spec("made", 3, "3.7.3")
	_, err := e.Client.Plan(ctx, fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec})
	require.NoError(t, err)
	request := starter.Request{ID: starter.NewRequestID()}
	for range 2 {
		_, err = e.Client.Create(ctx, spec, request)
		require.NoError(t, err)
	}
	joined, err := e.Client.Create(ctx, spec, starter.Request{})
	require.NoError(t, err)
	require.NoError(t, e.Client.Protect(ctx, spec.Name, true))
	e.Await(starter.RefOf(spec.Name, joined))
	_, csr, err := pki.NewKeyAndRequest("reader")
	require.NoError(t, err)
	_, err = e.Client.Credentials(ctx, spec.Name, "reader", csr, time.Hour)
	require.NoError(t, err)
	_, err = e.Client.Clusters(ctx, starter.Filter{})
	require.NoError(t, err)
	require.NoError(t, e.Client.Protect(ctx, spec.Name, false))
	e.Decommission(spec.Name, fleet.Options{})

	// Stopped half way, then taken down as it is.
	for zone, hosts := range map[string]int{"a": 1, "b": 0, "c": 0} {
		require.NoError(t, e.Provider.SetCapacity(ctx, zone, local.AnyType, hosts))
	}
	spec = harness.Spec("failed", 3, "3.7.3")
	fails(t, e, spec, fleet.OutOfCapacity)
	settled(t, e, spec.Name)
	e.Decommission(spec.Name, fleet.Options{})
	require.NoError(t, e.Provider.ClearFaults(ctx))

	// Stopped before anything was made.
	spec = harness.Spec("refused", 1, "3.7.3")
	spec.Machine.Type = "enormous"
	fails(t, e, spec, fleet.Invalid)

	// Cancelled with steps in hand.
	spec = harness.Spec("cancelled", 3, "3.7.3")
	running, err := e.Begin(spec.Name, fleet.CreateCluster, &spec)
	require.NoError(t, err)
	harness.Eventually(t, "its second wave runs", func(ctx context.Context) error {
		p, err := e.Client.Progress(ctx, running.Ref)
		if err == nil && p.Wave < 2 {
			err = fmt.Errorf("it is in wave %d", p.Wave)
		}
		return err
	})
	_, err = e.Client.Cancel(ctx, spec.Name, "", "to record it")
	require.NoError(t, err)
	_, err = running.Await()
	require.Error(t, err)
	settled(t, e, spec.Name)
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})

	r := newRecorder(t, e)
	for _, execution := range r.ended() {
		r.write(execution)
	}
}

func fails(t *testing.T, e *harness.Env, spec fleet.Spec, kind fleet.Kind) {
	t.Helper()
	running, err := e.Begin(spec.Name, fleet.CreateCluster, &spec)
	require.NoError(t, err)
	_, err = running.Await()
	require.ErrorContains(t, err, string(kind))
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

// ended lists every run once all of them have ended, in their order.
func (r *recorder) ended() (all []*workflowpb.WorkflowExecutionInfo) {
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
			case execution.Status == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:
				return fmt.Errorf("%s runs", execution.Execution.WorkflowId)
			case execution.Type.Name == "Cluster" && execution.Status == enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:
				gone++
			}
		}
		if gone < 4 {
			return fmt.Errorf("%d of 4 clusters are gone", gone)
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
		name += "-" + parts[1]
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
