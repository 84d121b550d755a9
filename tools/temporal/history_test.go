package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// await asks again until there is no error, or says what is still missing.
func await(ctx context.Context, t *testing.T, what string, ask func() error) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := ask()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		case <-again.C:
		}
	}
}

func awaitCount(ctx context.Context, t *testing.T, c client.Client, query string, want int64) {
	t.Helper()
	await(ctx, t, "workflows with "+query, func() error {
		list, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
		if err == nil && list.GetCount() != want {
			err = fmt.Errorf("%d are listed, want %d", list.GetCount(), want)
		}
		return err
	})
}

func countEvents(ctx context.Context, t *testing.T, c client.Client, id string, kind enums.EventType) int {
	t.Helper()
	n := 0
	events := c.GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatalf("history of %s: %v", id, err)
		}
		if event.GetEventType() == kind {
			n++
		}
	}
	return n
}

func awaitTimer(ctx context.Context, t *testing.T, c client.Client, id string) {
	t.Helper()
	await(ctx, t, "the timer of workflow "+id, func() error {
		if countEvents(ctx, t, c, id, enums.EVENT_TYPE_TIMER_STARTED) == 0 {
			return errors.New("not started")
		}
		return nil
	})
}

// chain runs n activities one after the other and returns the average round trip.
func chain(ctx workflow.Context, n int) (time.Duration, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 10 * time.Second})
	begin := workflow.Now(ctx)
	for range n {
		if err := workflow.ExecuteActivity(ctx, greet, "x").Get(ctx, nil); err != nil {
			return 0, err
		}
	}
	return workflow.Now(ctx).Sub(begin) / time.Duration(n), nil
}

// BenchmarkActivity reports the round trip of an activity, which an operation of forty
// steps waits for forty times.
func BenchmarkActivity(b *testing.B) {
	p := start(b, "server", flags(b)...)
	ctx := testContext(b)
	c := p.client("default")
	w := worker.New(c, queue, worker.Options{})
	w.RegisterWorkflow(chain)
	w.RegisterActivity(greet)
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	defer w.Stop()
	for b.Loop() {
		run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: queue}, chain, 40)
		var each time.Duration
		if err == nil {
			err = run.Get(ctx, &each)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(each.Microseconds())/1000, "ms/activity")
	}
}
