package starter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

const (
	// queryTimeout bounds one question to the operation's worker. When that worker
	// is dead the last recorded progress is shown until another takes over.
	queryTimeout = 2 * time.Second
	// pollFast and pollSlow pace watching: fast while a person is likely to look,
	// slow for operations that take long.
	pollFast  = 200 * time.Millisecond
	pollSlow  = time.Second
	fastWhile = 2 * time.Minute
	// recordTimeout is how long a cluster may take to record the end of its operation.
	recordTimeout = 5 * time.Second
)

// Progress says how an operation stands: what its workflow knows, with what the
// steps in hand say now and how their last attempt failed. While no worker answers
// it is the progress as of the last wave, and Doing says so.
func (c *Client) Progress(ctx context.Context, ref Ref) (fleet.Progress, error) {
	described, err := c.temporal.DescribeWorkflowExecution(ctx, ref.WorkflowID, "")
	if err != nil {
		return fleet.Progress{}, c.explain(err, "operation "+ref.ID+" of "+ref.Cluster)
	}
	info := described.GetWorkflowExecutionInfo()
	queryCtx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var progress fleet.Progress
	value, err := c.temporal.QueryWorkflow(queryCtx, ref.WorkflowID, info.GetExecution().GetRunId(), workflows.QueryProgress)
	if err == nil {
		err = value.Get(&progress)
	}
	switch {
	case ctx.Err() != nil:
		return fleet.Progress{}, ctx.Err()
	case err != nil:
		progress = c.remembered(info, ref)
	}
	c.mergePending(&progress, described.GetPendingActivities())
	return progress, nil
}

// remembered is the progress that can be told without a worker.
func (c *Client) remembered(info *workflow.WorkflowExecutionInfo, ref Ref) fleet.Progress {
	var progress fleet.Progress
	if !c.memo(info, workflows.MemoProgress, &progress) {
		progress = fleet.Progress{Operation: ref.ID, Kind: ref.Kind, Cluster: ref.Cluster,
			State: fleet.OperationRunning, Started: info.GetStartTime().AsTime()}
	}
	if running(info) {
		progress.Doing = "no worker answers; it goes on as soon as one does"
	}
	return progress
}

// mergePending adds what Temporal knows of the steps in hand.
func (c *Client) mergePending(progress *fleet.Progress, pending []*workflow.PendingActivityInfo) {
	byID := map[string]*workflow.PendingActivityInfo{}
	for _, activity := range pending {
		byID[strings.TrimSuffix(activity.GetActivityId(), "/")] = activity
	}
	for i := range progress.Steps {
		step := &progress.Steps[i]
		id := strings.TrimSuffix(fmt.Sprintf("%d/%s/%s", step.Wave, step.Step.Kind, step.Step.Member), "/")
		activity, ok := byID[id]
		if !ok {
			continue
		}
		delete(byID, id)
		step.State = fleet.StepRunning
		step.Attempt = max(step.Attempt, int(activity.GetAttempt()))
		var beat fleet.StepBeat
		if details := activity.GetHeartbeatDetails().GetPayloads(); len(details) > 0 && c.decode(details[0], &beat) {
			step.Note, step.Percent = beat.Note, beat.Percent
		}
		if last := activity.GetLastFailure(); last != nil {
			step.Error = failureText(last) + nextTry(activity)
		}
	}
	// What is left is no step: the look between two waves.
	for _, activity := range byID {
		var beat fleet.StepBeat
		if details := activity.GetHeartbeatDetails().GetPayloads(); len(details) > 0 && c.decode(details[0], &beat) && beat.Note != "" {
			progress.Doing += ": " + beat.Note
		}
		if last := activity.GetLastFailure(); last != nil {
			progress.Doing = fmt.Sprintf("%s (attempt %d, after: %s)", progress.Doing, activity.GetAttempt(), failureText(last)+nextTry(activity))
		}
	}
}

// failureText gives the sentence of a failed attempt.
func failureText(f *failure.Failure) string {
	if timeout := f.GetTimeoutFailureInfo(); timeout != nil {
		if timeout.GetTimeoutType() == enums.TIMEOUT_TYPE_HEARTBEAT {
			return "the worker that did it stopped answering"
		}
		return "it took longer than its timeout allows"
	}
	return f.GetMessage()
}

func nextTry(activity *workflow.PendingActivityInfo) string {
	at := activity.GetNextAttemptScheduleTime()
	if activity.GetState() != enums.PENDING_ACTIVITY_STATE_SCHEDULED || at == nil {
		return ""
	}
	if in := time.Until(at.AsTime()); in > 500*time.Millisecond {
		return fmt.Sprintf("; next try in %s", in.Round(time.Second))
	}
	return ""
}

// Watch calls f with the operation's progress until it ends, and gives its result
// or the error that ended it; the result then says what it left half done. A cancelled ctx ends the watching, never the
// operation, and is the error then. A control plane that stops answering for a
// while is waited for.
func (c *Client) Watch(ctx context.Context, ref Ref, f func(fleet.Progress)) (workflows.OperationResult, error) {
	type outcome struct {
		result workflows.OperationResult
		err    error
	}
	ended := make(chan outcome, 1)
	go func() {
		var o outcome
		o.result, o.err = c.result(ctx, ref)
		ended <- o
	}()
	begun := time.Now()
	for {
		pause := pollFast
		if time.Since(begun) > fastWhile {
			pause = pollSlow
		}
		select {
		case o := <-ended:
			c.awaitRecord(ctx, ref)
			return o.result, c.last(ctx, ref, o.result, o.err, f)
		case <-time.After(pause):
		}
		progress, err := c.Progress(ctx, ref)
		switch {
		case err == nil && progress.State == fleet.OperationRunning:
			f(progress)
		case fleet.Is(err, fleet.NotFound):
			return workflows.OperationResult{}, err
		}
	}
}

// awaitRecord waits until the cluster knows that its operation has ended, which is
// a moment later: who asks for the next one right away must not be told that this
// one is running. It is not waited for long, because it changes no result.
func (c *Client) awaitRecord(ctx context.Context, ref Ref) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	for {
		view, err := c.Describe(ctx, ref.Cluster)
		if err != nil || view.Summary.Operation != ref.ID {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollFast):
		}
	}
}

// AwaitBegun waits until an operation that was queued behind another one has begun. It
// gives false when it is not going to, because the one before it did not end well.
func (c *Client) AwaitBegun(ctx context.Context, ref Ref) (bool, error) {
	for {
		_, err := c.temporal.DescribeWorkflowExecution(ctx, ref.WorkflowID, "")
		if err == nil {
			return true, nil
		}
		if err = c.explain(err, "operation "+ref.ID+" of "+ref.Cluster); !fleet.Is(err, fleet.NotFound) {
			return false, err
		}
		view, err := c.Describe(ctx, ref.Cluster)
		if err != nil {
			return false, err
		}
		if !awaited(view, ref.ID) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pollFast):
		}
	}
}

// awaited says that an operation is queued or was taken in hand.
func awaited(view workflows.ClusterView, id string) bool {
	return slices.ContainsFunc(view.Queue, func(q workflows.QueuedOperation) bool { return q.Operation == id }) ||
		slices.ContainsFunc(view.Operations, func(r workflows.OperationRecord) bool { return r.ID == id })
}

// last shows the final progress and gives the error that ended the operation.
func (c *Client) last(ctx context.Context, ref Ref, result workflows.OperationResult, err error, f func(fleet.Progress)) error {
	if err == nil {
		if result.Progress.Operation != "" {
			f(result.Progress)
		}
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if progress, progressErr := c.Progress(ctx, ref); progressErr == nil {
		f(progress)
	}
	return err
}

// details reads the result that a failed or cancelled operation carries.
func details(err error, result *workflows.OperationResult) {
	var application *temporal.ApplicationError
	var cancelled *temporal.CanceledError
	switch {
	case errors.As(err, &cancelled) && cancelled.HasDetails():
		_ = cancelled.Details(result) // without them it is the error alone that is told
	case errors.As(err, &application) && application.HasDetails():
		_ = application.Details(result)
	}
}

// result waits for the end of an operation's workflow, through restarts of the
// service.
func (c *Client) result(ctx context.Context, ref Ref) (workflows.OperationResult, error) {
	resource := "operation " + ref.ID + " of " + ref.Cluster
	for {
		var result workflows.OperationResult
		err := c.temporal.GetWorkflow(ctx, ref.WorkflowID, "").Get(ctx, &result)
		if err == nil {
			return result, nil
		}
		if said := saidByWorkflow(err); said != nil {
			details(err, &result)
			return result, said
		}
		if ctx.Err() != nil {
			return result, context.Cause(ctx)
		}
		err = c.explain(err, resource)
		var known *fleet.Error
		if !errors.As(err, &known) || known.Kind != fleet.Unavailable {
			return result, err
		}
		select {
		case <-ctx.Done():
			return result, context.Cause(ctx)
		case <-time.After(pollSlow):
		}
	}
}
