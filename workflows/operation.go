package workflows

import (
	"fmt"
	"slices"

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
	memory   fleet.Memory
	last     fleet.Look
	// looks is how often it looked since the last wave.
	looks int
	// acted says that steps ran since the last look: it is not how things are.
	acted bool
	// furthest is the highest revision that was seen, for what a decommission loses.
	furthest int64
	// told are the endpoints that clients were last told of.
	told []fleet.Endpoint
	// published are the endpoints that the cluster's record says.
	published []fleet.Endpoint
	// decided is the approval or the rejection, paused the pause that holds, and
	// resumed says that a person had it go on.
	decided, paused *fleet.Mark
	resumed         bool
	// shown is what may be lost, as it was shown to whoever had to approve of it.
	shown string
	// stop stops the steps in hand for a pause; nil while there are none that can be.
	stop workflow.CancelFunc
	// sources are what a recovery could go on from when it chose, the chosen one first, and
	// recovered is the last revision that it brought back.
	sources   []fleet.Source
	recovered int64
	// ending says that no wave runs any more.
	ending bool
}

// runOperation runs an operation to its end. The error is an ApplicationError
// whose type is the fleet.Kind, or a CanceledError; both carry the OperationResult.
func runOperation(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	o := &operation{
		op:     op,
		memory: fleet.Memory{Purchases: slices.Clone(op.Purchases), Highest: max(0, op.NextMember-1), Keys: op.Keys},
		progress: fleet.Progress{
			Operation: op.ID, Kind: op.Kind, Cluster: op.Cluster, By: op.By, State: fleet.OperationRunning, Started: workflow.Now(ctx),
		},
	}
	if err := workflow.SetQueryHandler(ctx, QueryProgress, func() (fleet.Progress, error) { return o.stands(), nil }); err != nil {
		return OperationResult{}, err
	}
	if err := o.listen(ctx); err != nil {
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
		switch d := o.last.Decision; d.Verdict {
		case fleet.VerdictDone:
			o.progress.Doing = d.Reason
			return o.publishEndpoints(ctx)
		case fleet.VerdictAct:
			if err := o.act(ctx, d.Wave); err != nil {
				return err
			}
		default:
			if err := o.awaitPerson(ctx, d); err != nil {
				return err
			}
		}
	}
	return fleet.Errorf(fleet.Blocked, o.op.Cluster, "%s is not done after %d waves", o.op.Kind, maxWaves)
}

// look observes and plans.
func (o *operation) look(ctx workflow.Context) error {
	id := fmt.Sprintf("%d/%s", o.progress.Wave+1, fleet.ActivityLook)
	if o.looks++; o.looks > 1 {
		id = fmt.Sprintf("%s/%d", id, o.looks)
	}
	ctx = workflow.WithActivityOptions(ctx, lookOptions(o.op, id))
	var look fleet.Look
	if err := workflow.ExecuteActivity(ctx, fleet.ActivityLook, o.question()).Get(ctx, &look); err != nil {
		return err
	}
	o.saw(look)
	o.progress.WavesAhead = look.Ahead
	return nil
}

func (o *operation) question() fleet.LookRequest {
	acted := slices.ContainsFunc(o.progress.Steps, func(p fleet.StepProgress) bool { return !p.Step.Looks() })
	return fleet.LookRequest{Operation: o.op, Memory: o.memory, First: !acted}
}

func (o *operation) saw(look fleet.Look) {
	o.last, o.acted = look, false
	if len(look.Sources) > 0 {
		o.sources = look.Sources
	}
	o.furthest = max(o.furthest, look.Observation.Revision)
	for _, host := range look.Observation.Hosts {
		o.met(host.Member())
	}
	for _, disk := range look.Observation.Disks {
		o.met(disk.Member())
	}
	for _, member := range look.Observation.Members {
		o.met(member.Name)
	}
}

// met notes a member whose name is not to be given to another one.
func (o *operation) met(member string) {
	o.memory.Highest = max(o.memory.Highest, fleet.MemberNumber(o.op.Cluster, member))
}

// act runs a wave, unless something had to be waited for first: then things may
// have changed, and it does nothing.
func (o *operation) act(ctx workflow.Context, wave []fleet.Step) error {
	if len(wave) == 0 {
		return fleet.Errorf(fleet.Blocked, o.op.Cluster, "the planner says to act and names no step")
	}
	if waited, err := o.awaitLeave(ctx); waited || err != nil {
		return err
	}
	if err := o.tellEndpoints(ctx); err != nil {
		return err
	}
	if err := o.publishEndpoints(ctx); err != nil {
		return err
	}
	return o.wave(ctx, wave)
}

// wave runs steps side by side and waits for all of them. A step that fails is
// recorded for the planner, which says what follows; only cancellation ends the
// operation from here.
func (o *operation) wave(ctx workflow.Context, steps []fleet.Step) error {
	o.acted, o.looks = true, 0
	o.progress.Wave++
	o.progress.Doing = steps[0].String()
	futures := make([]workflow.Future, len(steps))
	first := len(o.progress.Steps)
	twins := map[string]int{} // two hosts of one member, say: an activity's ID is its own
	for i, step := range steps {
		o.memory.Begin(o.op.Cluster, step)
		o.met(step.Member)
		o.progress.Steps = append(o.progress.Steps, fleet.StepProgress{
			Wave: o.progress.Wave, Step: step, State: fleet.StepRunning, Started: workflow.Now(ctx),
		})
		id := fmt.Sprintf("%d/%s/%s", o.progress.Wave, step.Kind, step.Member)
		if twins[id]++; twins[id] > 1 {
			id = fmt.Sprintf("%s/%d", id, twins[id])
		}
		ctx := workflow.WithActivityOptions(ctx, stepOptions(o.op, step, o.last.Policy, id))
		if step.Stoppable() {
			ctx, o.stop = workflow.WithCancel(ctx)
		}
		request := fleet.StepRequest{Operation: o.op, Step: step, Policy: o.last.Policy}
		if step.Kind == fleet.RestoreKeys {
			request.Keys = o.memory.Keys
		}
		futures[i] = workflow.ExecuteActivity(ctx, string(step.Kind), request)
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
	o.stop = nil
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
		o.recovered = max(o.recovered, reply.Revision)
		o.memory.Done(p.Step, o.last.Observation)
		o.memory.Told(reply)
	case temporal.IsCanceledError(err):
		p.State, p.Error = fleet.StepFailed, "cancelled"
	default:
		failure := asError(err)
		p.State, p.Error = fleet.StepFailed, failure.Error()
		o.progress.LastError = failure.Error()
		o.memory.Fail(p.Step, failure.Kind, failure.Error())
	}
}

// tellEndpoints tells the cluster's own workflow where clients should connect, and
// waits until it knows: a member is not offered to them any more when it is taken
// away. A creation tells it in its result, because there is no client before.
func (o *operation) tellEndpoints(ctx workflow.Context) error {
	if o.op.Kind == fleet.CreateCluster || o.op.Kind == fleet.DecommissionCluster || o.op.Kind.Beside() || slices.Equal(o.told, o.last.Endpoints) {
		return nil
	}
	signal := EndpointsSignal{Operation: o.op.ID, Endpoints: o.last.Endpoints}
	err := workflow.SignalExternalWorkflow(ctx, ClusterID(o.op.Cluster), "", SignalEndpoints, signal).Get(ctx, nil)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // the cluster's workflow is lost, and nobody can ask it; half done would be worse
		workflow.GetLogger(ctx).Warn("no cluster to tell of its endpoints", "cluster", o.op.Cluster, "error", err)
		return nil
	}
	o.told = o.last.Endpoints
	return nil
}

// stands is the progress as people ask for it.
func (o *operation) stands() fleet.Progress {
	p := o.progress
	if o.paused != nil && p.Waiting == nil && !o.ending {
		p.Doing += "; it pauses after that"
	}
	return p
}

// publish puts the progress where lists see it: all of it but the steps of earlier
// waves, what only a step itself needs, and the plan that an approver decides about,
// because a memo is to be small.
func (o *operation) publish(ctx workflow.Context) error {
	brief := o.progress
	brief.Steps = nil
	for _, p := range o.progress.Steps {
		if p.Wave == brief.Wave {
			p.Step = fleet.Step{Kind: p.Step.Kind, Member: p.Step.Member}
			brief.Steps = append(brief.Steps, p)
		}
	}
	if brief.Waiting != nil {
		waiting := *brief.Waiting
		waiting.Plan = nil
		brief.Waiting = &waiting
	}
	return workflow.UpsertMemo(ctx, map[string]any{MemoProgress: brief})
}
