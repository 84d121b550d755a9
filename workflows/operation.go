package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// maxWaves ends an operation that goes in circles, long before its history is too long.
const maxWaves = 200

// operation is the loop that every operation is: look, run the wave that was
// decided, look again. It decides nothing itself.
type operation struct {
	op       fleet.Operation
	progress fleet.Progress
	failures []fleet.Failure
	last     fleet.Look
	// acted says that steps ran since the last look: it is not how things are.
	acted bool
	// furthest is the highest revision that was seen, for what a decommission loses.
	furthest int64
}

// runOperation runs an operation to its end. The error is an ApplicationError
// whose type is the fleet.Kind, or a CanceledError; both carry the OperationResult.
func runOperation(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	o := &operation{op: op, progress: fleet.Progress{
		Operation: op.ID, Kind: op.Kind, Cluster: op.Cluster, State: fleet.OperationRunning, Started: workflow.Now(ctx),
	}}
	if err := workflow.SetQueryHandler(ctx, QueryProgress, func() (fleet.Progress, error) { return o.progress, nil }); err != nil {
		return OperationResult{}, err
	}
	if err := workflow.UpsertTypedSearchAttributes(ctx, AttrCluster.ValueSet(op.Cluster), AttrProvider.ValueSet(op.Spec.Provider),
		AttrRegion.ValueSet(op.Spec.Region)); err != nil {
		return OperationResult{}, err
	}
	err := o.loop(ctx)
	return o.end(ctx, err)
}

func (o *operation) loop(ctx workflow.Context) error {
	for o.progress.Wave < maxWaves {
		o.progress.Doing = "looking"
		if err := o.look(ctx); err != nil {
			return err
		}
		d := o.last.Decision
		switch d.Verdict {
		case fleet.VerdictDone:
			o.progress.Doing = d.Reason
			return nil
		case fleet.VerdictAct:
			if len(d.Wave) == 0 {
				return fleet.Errorf(fleet.Blocked, o.op.Cluster, "the planner says to act and names no step")
			}
			if err := o.wave(ctx, d.Wave); err != nil {
				return err
			}
		default:
			return &fleet.Error{Kind: orBlocked(d.Kind), Message: d.Reason}
		}
	}
	return fleet.Errorf(fleet.Blocked, o.op.Cluster, "%s is not done after %d waves", o.op.Kind, maxWaves)
}

// look observes and plans.
func (o *operation) look(ctx workflow.Context) error {
	id := fmt.Sprintf("%d/%s", o.progress.Wave+1, fleet.ActivityLook)
	ctx = workflow.WithActivityOptions(ctx, lookOptions(o.op, id))
	request := fleet.LookRequest{Operation: o.op, Memory: fleet.Memory{Failures: o.failures}}
	var look fleet.Look
	if err := workflow.ExecuteActivity(ctx, fleet.ActivityLook, request).Get(ctx, &look); err != nil {
		return err
	}
	o.saw(look)
	o.progress.WavesAhead = look.Ahead
	return nil
}

func (o *operation) saw(look fleet.Look) {
	o.last, o.acted = look, false
	o.furthest = max(o.furthest, look.Observation.Revision)
}

// wave runs steps side by side and waits for all of them. A step that fails is
// recorded for the planner, which says what follows; only cancellation ends the
// operation from here.
func (o *operation) wave(ctx workflow.Context, steps []fleet.Step) error {
	o.acted = true
	o.progress.Wave++
	o.progress.Doing = steps[0].String()
	futures := make([]workflow.Future, len(steps))
	first := len(o.progress.Steps)
	twins := map[string]int{} // two hosts of one member, say: an activity's ID is its own
	for i, step := range steps {
		o.progress.Steps = append(o.progress.Steps, fleet.StepProgress{
			Wave: o.progress.Wave, Step: step, State: fleet.StepRunning, Started: workflow.Now(ctx),
		})
		id := fmt.Sprintf("%d/%s/%s", o.progress.Wave, step.Kind, step.Member)
		if twins[id]++; twins[id] > 1 {
			id = fmt.Sprintf("%s/%d", id, twins[id])
		}
		ctx := workflow.WithActivityOptions(ctx, stepOptions(o.op, step, id))
		futures[i] = workflow.ExecuteActivity(ctx, string(step.Kind), fleet.StepRequest{Operation: o.op, Step: step})
	}
	if err := o.publish(ctx); err != nil {
		return err
	}
	waiting := workflow.NewSelector(ctx)
	for i, future := range futures {
		waiting.AddFuture(future, func(f workflow.Future) { o.settle(ctx, f, first+i) })
	}
	for range futures {
		waiting.Select(ctx)
	}
	return ctx.Err()
}

// settle records how a step ended.
func (o *operation) settle(ctx workflow.Context, future workflow.Future, index int) {
	p := &o.progress.Steps[index]
	p.Ended = workflow.Now(ctx)
	var reply fleet.StepReply
	err := future.Get(ctx, &reply)
	switch {
	case err == nil:
		p.State, p.Note = fleet.StepDone, reply.Note
	case temporal.IsCanceledError(err):
		p.State, p.Error = fleet.StepFailed, "cancelled"
	default:
		failure := asError(err)
		p.State, p.Error = fleet.StepFailed, failure.Error()
		o.progress.LastError = failure.Error()
		o.failures = append(o.failures, fleet.Failure{Step: p.Step, Kind: failure.Kind, Message: failure.Error()})
	}
}

// publish puts the progress where lists see it: all of it but the steps of earlier
// waves and what only a step itself needs, because a memo is to be small.
func (o *operation) publish(ctx workflow.Context) error {
	brief := o.progress
	brief.Steps = nil
	for _, p := range o.progress.Steps {
		if p.Wave == brief.Wave {
			p.Step = fleet.Step{Kind: p.Step.Kind, Member: p.Step.Member}
			brief.Steps = append(brief.Steps, p)
		}
	}
	return workflow.UpsertMemo(ctx, map[string]any{MemoProgress: brief})
}

// end settles the operation's progress and result. After a failure or a
// cancellation it looks once more, to say what is left.
func (o *operation) end(ctx workflow.Context, err error) (OperationResult, error) {
	// What was done before the cancellation arrived is done.
	cancelled := err != nil && (temporal.IsCanceledError(err) || ctx.Err() != nil)
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	state, failure := fleet.OperationDone, (*fleet.Error)(nil)
	if err != nil {
		failure = asError(err)
		state, o.progress.LastError = fleet.OperationFailed, failure.Error()
		if cancelled {
			state, o.progress.LastError = fleet.OperationCancelled, "cancelled"
		}
		o.lastLook(ctx)
		o.progress.Doing = ""
	}
	o.progress.State, o.progress.Ended = state, workflow.Now(ctx)
	result := OperationResult{
		Progress: o.progress, Summary: o.last.Summary, Endpoints: o.last.Endpoints,
		FinalSnapshot: o.last.Observation.FinalSnapshot, Lost: o.lost(),
		Clean: o.looked() && o.last.Empty(),
	}
	if perr := o.publish(ctx); perr != nil && err == nil {
		return result, perr
	}
	switch {
	case cancelled:
		return result, temporal.NewCanceledError(result)
	case err != nil:
		return result, temporal.NewApplicationErrorWithOptions(failure.Error(), string(failure.Kind),
			temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{result}, Cause: err})
	}
	return result, nil
}

// looked says that the last look shows how things are now.
func (o *operation) looked() bool { return !o.last.Observation.At.IsZero() && !o.acted }

// lastLook is a look that may fail: then the one before stands.
func (o *operation) lastLook(ctx workflow.Context) {
	o.progress.Doing = "looking at what is left"
	options := lookOptions(o.op, "last/"+fleet.ActivityLook)
	options.ScheduleToCloseTimeout = forecastTimeout
	ctx = workflow.WithActivityOptions(ctx, options)
	var look fleet.Look
	if workflow.ExecuteActivity(ctx, fleet.ActivityLook, fleet.LookRequest{Operation: o.op, Memory: fleet.Memory{Failures: o.failures}}).Get(ctx, &look) == nil {
		o.saw(look)
	}
}

// lost says what a decommission destroyed that is in no snapshot.
func (o *operation) lost() string {
	snapshot := o.last.Observation.FinalSnapshot
	if o.op.Kind != fleet.DecommissionCluster || o.furthest == 0 {
		return ""
	}
	if snapshot == nil {
		return fmt.Sprintf("all data, up to revision %d: the final snapshot was waived", o.furthest)
	}
	if o.furthest > snapshot.Revision {
		return fmt.Sprintf("at least %d revisions, written after the final snapshot at revision %d",
			o.furthest-snapshot.Revision, snapshot.Revision)
	}
	return ""
}

// asError gives the fleet.Error that an activity or child failed with.
func asError(err error) *fleet.Error {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return &fleet.Error{Kind: kindOf(application), Message: application.Message()}
	}
	var timeout *temporal.TimeoutError
	if errors.As(err, &timeout) {
		message := fmt.Sprintf("no end within its time (%s)", timeout.TimeoutType())
		if cause := timeout.Unwrap(); cause != nil {
			message += "; the last try: " + asError(cause).Error()
		}
		return &fleet.Error{Kind: fleet.Unavailable, Message: message}
	}
	var terminated *temporal.TerminatedError
	var twin *temporal.ChildWorkflowExecutionAlreadyStartedError
	var own *fleet.Error
	switch {
	case errors.As(err, &terminated):
		return &fleet.Error{Kind: fleet.Unavailable, Message: "its workflow was terminated from outside"}
	case errors.As(err, &twin):
		return &fleet.Error{Kind: fleet.Conflict, Message: "a workflow of that ID runs already; when it has ended, ask again"}
	case errors.As(err, &own):
		return own
	}
	return &fleet.Error{Kind: fleet.Unavailable, Message: err.Error()}
}

// kindOf gives the kind of an error that crossed Temporal. What is not ours (a
// panic, a result that cannot be read) tells nothing about the world.
func kindOf(err *temporal.ApplicationError) fleet.Kind {
	switch kind := fleet.Kind(err.Type()); kind {
	case fleet.Invalid, fleet.NotFound, fleet.Conflict, fleet.Throttled, fleet.OutOfCapacity,
		fleet.Unavailable, fleet.Lost, fleet.Denied, fleet.Blocked:
		return kind
	}
	return fleet.Unavailable
}

func orBlocked(kind fleet.Kind) fleet.Kind {
	if kind == "" {
		return fleet.Blocked
	}
	return kind
}
