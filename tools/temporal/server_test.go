package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

const queue = "test"

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func greet(_ context.Context, name string) (string, error) { return "hello " + name, nil }

func greeting(ctx workflow.Context, name string) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	var answer string
	err := workflow.ExecuteActivity(ctx, greet, name).Get(ctx, &answer)
	return answer, err
}

// counter adds up what its updates bring until one of them asks it to end.
func counter(ctx workflow.Context) (int, error) {
	sum := 0
	err := workflow.SetUpdateHandler(ctx, "add", func(_ workflow.Context, n int) (int, error) {
		sum += n
		return sum, nil
	})
	if err != nil {
		return 0, err
	}
	err = workflow.Await(ctx, func() bool { return sum >= 10 && workflow.AllHandlersFinished(ctx) })
	return sum, err
}

// nap runs an activity, sleeps on a timer and runs another.
func nap(ctx workflow.Context, d time.Duration) (string, error) {
	if _, err := greeting(ctx, "before"); err != nil {
		return "", err
	}
	if err := workflow.Sleep(ctx, d); err != nil {
		return "", err
	}
	return greeting(ctx, "after")
}

func startWorker(t testing.TB, c client.Client, opts worker.Options) {
	t.Helper()
	w := worker.New(c, queue, opts)
	behaviour := workflow.RegisterOptions{}
	if opts.DeploymentOptions.UseVersioning {
		behaviour.VersioningBehavior = workflow.VersioningBehaviorPinned
	}
	for _, wf := range []any{greeting, counter, nap} {
		w.RegisterWorkflowWithOptions(wf, behaviour)
	}
	w.RegisterActivityWithOptions(greet, activity.RegisterOptions{})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func run1(t testing.TB, c client.Client, id string, wf any, args ...any) (result string) {
	t.Helper()
	ctx := testContext(t)
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: queue}, wf, args...)
	if err == nil {
		err = run.Get(ctx, &result)
	}
	if err != nil {
		t.Fatalf("workflow %s: %v", id, err)
	}
	return result
}

func TestWorkflowUpdateAndSearch(t *testing.T) {
	p := start(t, "server", flags(t, "--namespace", "second")...)
	ctx := testContext(t)
	c := p.client("default")
	startWorker(t, c, worker.Options{})

	if got := run1(t, c, "greeting", greeting, "fleet"); got != "hello fleet" {
		t.Errorf("workflow with an activity returned %q", got)
	}

	op := c.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: "counter", TaskQueue: queue,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, counter)
	handle, err := c.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: op,
		UpdateOptions: client.UpdateWorkflowOptions{
			UpdateName: "add", Args: []any{12}, WaitForStage: client.WorkflowUpdateStageCompleted,
		},
	})
	var sum int
	if err == nil {
		err = handle.Get(ctx, &sum)
	}
	if err != nil || sum != 12 {
		t.Errorf("update-with-start: got %d, %v; want 12", sum, err)
	}

	_, err = c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: "default",
		SearchAttributes: map[string]enums.IndexedValueType{
			"FlotillaPhase":   enums.INDEXED_VALUE_TYPE_KEYWORD,
			"FlotillaMembers": enums.INDEXED_VALUE_TYPE_INT,
		},
	})
	if err != nil {
		t.Fatalf("AddSearchAttributes: %v", err)
	}
	begin := time.Now()
	startFound(ctx, t, c)
	awaitCount(ctx, t, c, `FlotillaPhase = 'running' AND FlotillaMembers > 2`, 1)
	t.Logf("a new search attribute was usable, and its workflow listed, after %s", time.Since(begin).Round(time.Millisecond))

	second := p.client("second")
	startWorker(t, second, worker.Options{})
	if got := run1(t, second, "greeting", greeting, "second"); got != "hello second" {
		t.Errorf("workflow in the second namespace returned %q", got)
	}
}

// startFound starts a workflow that carries the new attributes, as soon as it may.
func startFound(ctx context.Context, t *testing.T, c client.Client) {
	t.Helper()
	attributes := temporal.NewSearchAttributes(
		temporal.NewSearchAttributeKeyKeyword("FlotillaPhase").ValueSet("running"),
		temporal.NewSearchAttributeKeyInt64("FlotillaMembers").ValueSet(3),
	)
	await(ctx, t, "start of a workflow with new search attributes", func() error {
		_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: "found", TaskQueue: queue, TypedSearchAttributes: attributes,
		}, greeting, "found")
		return err
	})
}

func TestWorkerDeployment(t *testing.T) {
	p := start(t, "server", flags(t)...)
	ctx := testContext(t)
	c := p.client("default")
	version := worker.WorkerDeploymentVersion{DeploymentName: "fleet", BuildID: "1"}
	startWorker(t, c, worker.Options{DeploymentOptions: worker.DeploymentOptions{UseVersioning: true, Version: version}})

	deployment := c.WorkerDeploymentClient().GetHandle("fleet")
	await(ctx, t, "the deployment that the worker's first poll makes", func() error {
		_, err := deployment.SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{BuildID: "1"})
		return err
	})
	if got := run1(t, c, "pinned", greeting, "pinned"); got != "hello pinned" {
		t.Errorf("pinned workflow returned %q", got)
	}
	awaitCount(ctx, t, c, `TemporalWorkerDeploymentVersion = 'fleet:1'`, 1)
}

func TestSurvivesKill(t *testing.T) {
	args := flags(t)
	p := start(t, "server", args...)
	ctx := testContext(t)
	c := p.client("default")
	startWorker(t, c, worker.Options{})
	const length = 4 * time.Second
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "nap", TaskQueue: queue}, nap, length)
	if err != nil {
		t.Fatal(err)
	}
	awaitTimer(ctx, t, c, "nap")
	p.kill()

	begin := time.Now()
	args[1] = strings.TrimPrefix(p.address, "127.0.0.1:") // the worker finds it where it was
	start(t, "server", args...)
	t.Logf("ready again after %s", time.Since(begin).Round(time.Millisecond))
	var answer string
	if err := run.Get(ctx, &answer); err != nil || answer != "hello after" {
		t.Errorf("workflow over a kill -9 of the server: got %q, %v", answer, err)
	}
	if got := countEvents(ctx, t, c, "nap", enums.EVENT_TYPE_ACTIVITY_TASK_COMPLETED); got != 2 {
		t.Errorf("activities completed: %d, want 2", got)
	}
}

func TestWebUI(t *testing.T) {
	port, err := freePort(t.Context(), "127.0.0.1", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "server", flags(t, "--ui-port", fmt.Sprint(port))...)
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	if !strings.Contains(p.ready, " ui="+url) {
		t.Errorf("ready line %q does not name the UI %s", p.ready, url)
	}
	for path, want := range map[string]string{"/": "<!doctype html>", "/api/v1/namespaces/default": `"NAMESPACE_STATE_REGISTERED"`} {
		answer, err := http.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: status %d, %v, no %q", path, answer.StatusCode, err, want)
		}
	}
}
