package starter

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/failure/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// bare takes away every configuration of the machine that the test runs on.
func bare(t *testing.T) {
	for _, name := range []string{"ADDRESS", "NAMESPACE", "PROFILE", "API_KEY", "TLS", "TLS_CLIENT_CERT_PATH", "TLS_CLIENT_KEY_PATH"} {
		t.Setenv("TEMPORAL_"+name, "")
		require.NoError(t, os.Unsetenv("TEMPORAL_"+name))
	}
	t.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull)
}

func TestWhichControlPlane(t *testing.T) {
	bare(t)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	clone := t.TempDir()
	data := filepath.Join(clone, devenv.DirName)
	require.NoError(t, os.Mkdir(data, 0o700))
	record := devenv.Record{DataDir: data, Ready: true, Address: listener.Addr().String(), Namespace: "dev", UI: "http://ui"}
	require.NoError(t, record.Write())

	resolve := func(o Options) Origin {
		t.Helper()
		_, origin, err := o.resolve(t.Context())
		require.NoError(t, err)
		return origin
	}
	got := resolve(Options{Dir: clone})
	assert.Equal(t, Origin{Address: record.Address, Namespace: "dev", Source: devenv.Path(data), UI: "http://ui", DataDir: data}, got)
	assert.Equal(t, "other", resolve(Options{Dir: clone, Namespace: "other"}).Namespace)
	assert.Equal(t, "flag:1", resolve(Options{Dir: clone, Address: "flag:1"}).Address)
	assert.Equal(t, client.DefaultHostPort, resolve(Options{Dir: t.TempDir()}).Address)

	require.NoError(t, listener.Close())
	assert.Equal(t, "the default", resolve(Options{Dir: clone}).Source, "an environment that does not answer is not meant")

	t.Setenv("TEMPORAL_ADDRESS", "env:1")
	t.Setenv("TEMPORAL_NAMESPACE", "ns")
	got = resolve(Options{Dir: clone})
	assert.Equal(t, Origin{Address: "env:1", Namespace: "ns", Source: "TEMPORAL_ADDRESS"}, got)

	_, _, err = Options{Profile: "nope"}.resolve(t.Context())
	assert.Equal(t, fleet.Invalid, fleet.KindOf(err))
}

func TestNotReachableIsOneSentenceInTime(t *testing.T) {
	bare(t)
	begun := time.Now()
	_, err := Dial(t.Context(), Options{Address: "127.0.0.1:1"})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	assert.Less(t, time.Since(begun), dialTimeout+2*time.Second)
	assert.Regexp(t, `^Temporal at 127\.0\.0\.1:1: is not reachable \(address from --address\); `, err.Error())
}

func TestErrorsBecomeSentences(t *testing.T) {
	c := &Client{origin: Origin{Address: "temporal:7233"}}
	for _, test := range []struct {
		err  error
		kind fleet.Kind
		text string
	}{
		{temporal.NewNonRetryableApplicationError("orders: is protected", string(fleet.Blocked), nil), fleet.Blocked, "orders: is protected"},
		{temporal.NewNonRetryableApplicationError("odd", "PanicError", nil), "", "odd"},
		{temporal.NewCanceledError(), fleet.Conflict, "it was cancelled"},
		{serviceerror.NewNotFound("x"), fleet.NotFound, "orders does not exist; flotilla get clusters shows what does"},
		{serviceerror.NewNamespaceNotFound("ns"), fleet.Invalid, "namespace ns: "},
		{serviceerror.NewUnavailable("down"), fleet.Unavailable, "orders: Temporal at temporal:7233 failed"},
		{serviceerror.NewDeadlineExceeded("late"), fleet.Unavailable, "did not answer in time"},
		{serviceerror.NewPermissionDenied("no", ""), fleet.Denied, "did not let us in"},
		{context.DeadlineExceeded, fleet.Unavailable, "did not answer in time"},
	} {
		got := c.explain(test.err, "orders")
		assert.Equal(t, test.kind, fleet.KindOf(got), "%v", test.err)
		assert.ErrorContains(t, got, test.text)
		var known *fleet.Error
		assert.ErrorAs(t, got, &known)
	}
	assert.NoError(t, c.explain(nil, "orders"))
	assert.True(t, errors.Is(c.explain(context.Canceled, "orders"), context.Canceled))
}

func TestQueryOfTheList(t *testing.T) {
	assert.Equal(t, "WorkflowType='Cluster' AND ExecutionStatus='Running'", Filter{}.query())
	assert.Equal(t, "WorkflowType='Cluster' AND ExecutionStatus='Running' AND FlotillaPhase IN ('Running', 'Incomplete')"+
		" AND FlotillaProvider IN ('aws') AND WorkflowId IN ('cluster/it''s')",
		Filter{Phases: []fleet.Phase{fleet.PhaseRunning, fleet.PhaseIncomplete}, Provider: "aws", Names: []string{"it's"}}.query())
}

func TestOperationIDsAreRead(t *testing.T) {
	id := workflows.OperationID("orders", fleet.CreateCluster, "7f3a")
	ref, ok := parseOperationID(id)
	require.True(t, ok)
	assert.Equal(t, Ref{Cluster: "orders", ID: "7f3a", Kind: fleet.CreateCluster, WorkflowID: id}, ref)
	for _, other := range []string{"cluster/orders", "plan/orders/1", "cluster/orders/Nothing/1", "orders", "cluster/a/b/c/d"} {
		_, ok := parseOperationID(other)
		assert.False(t, ok, other)
	}
}

func TestProgressShowsWhatTheStepsSayNow(t *testing.T) {
	c := &Client{data: converter.GetDefaultDataConverter()}
	percent := 71
	beat, err := c.data.ToPayload(fleet.StepBeat{Note: "learner at 71 %", Percent: &percent})
	require.NoError(t, err)
	progress := fleet.Progress{Doing: "looking", Steps: []fleet.StepProgress{
		{Wave: 2, Step: fleet.Step{Kind: fleet.StartMember, Member: "orders-1"}, State: fleet.StepRunning},
		{Wave: 2, Step: fleet.Step{Kind: fleet.StartMember, Member: "orders-2"}, State: fleet.StepDone},
		{Wave: 3, Step: fleet.Step{Kind: fleet.AwaitHealthy}, State: fleet.StepRunning},
	}}
	c.mergePending(&progress, []*workflow.PendingActivityInfo{
		{ActivityId: "2/StartMember/orders-1", Attempt: 3, HeartbeatDetails: &common.Payloads{Payloads: []*common.Payload{beat}},
			LastFailure: &failure.Failure{Message: "host orders-1: is full"}},
		{ActivityId: "3/AwaitHealthy/", Attempt: 2, LastFailure: &failure.Failure{FailureInfo: &failure.Failure_TimeoutFailureInfo{
			TimeoutFailureInfo: &failure.TimeoutFailureInfo{TimeoutType: enums.TIMEOUT_TYPE_HEARTBEAT}}}},
		{ActivityId: "4/Look", Attempt: 5, LastFailure: &failure.Failure{Message: "the cloud does not answer"}},
	})
	assert.Equal(t, "learner at 71 %", progress.Steps[0].Note)
	assert.Equal(t, &percent, progress.Steps[0].Percent)
	assert.Equal(t, 3, progress.Steps[0].Attempt)
	assert.Equal(t, "host orders-1: is full", progress.Steps[0].Error)
	assert.Empty(t, progress.Steps[1].Error)
	assert.Equal(t, "the worker that did it stopped answering", progress.Steps[2].Error)
	assert.Equal(t, "looking (attempt 5, after: the cloud does not answer)", progress.Doing)
}

// What reads for long says how far it is, and why it begins again.
func TestPendingText(t *testing.T) {
	c := &Client{data: converter.GetDefaultDataConverter()}
	percent := 42
	beat, err := c.data.ToPayload(fleet.StepBeat{Note: "reading, 1.2 GiB", Percent: &percent})
	require.NoError(t, err)
	reading := &workflow.PendingActivityInfo{Attempt: 1, HeartbeatDetails: &common.Payloads{Payloads: []*common.Payload{beat}}}
	assert.Equal(t, "reading, 1.2 GiB, 42 %", c.pendingText(reading))
	reading.Attempt, reading.LastFailure = 3, &failure.Failure{Message: "object store s3://etcd/: no answer"}
	assert.Equal(t, "attempt 3, after: object store s3://etcd/: no answer", c.pendingText(reading))
	assert.Empty(t, c.pendingText(&workflow.PendingActivityInfo{}))
}

func TestWorkflowURL(t *testing.T) {
	c := &Client{namespace: "default", origin: Origin{UI: "http://127.0.0.1:8233/"}}
	assert.Equal(t, "http://127.0.0.1:8233/namespaces/default/workflows/cluster%2Forders", c.WorkflowURL("cluster/orders"))
	assert.Empty(t, (&Client{}).WorkflowURL("cluster/orders"))
}
