package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// awaitLeave waits for whatever has to come before the wave that was decided: the
// end of a pause, an approval, a maintenance window. It says whether it waited.
// Approval comes before the window, so that nobody is woken for it.
func (o *operation) awaitLeave(ctx workflow.Context) (bool, error) {
	switch {
	case o.paused != nil:
		return true, o.awaitResumption(ctx)
	case !slices.ContainsFunc(o.last.Decision.Wave, func(s fleet.Step) bool { return !s.Looks() }):
		return false, nil // there is nothing to approve of yet
	case o.decided == nil && o.needsApproval():
		o.shown = o.mayLose()
		return true, o.awaitApproval(ctx)
	case o.mayLose() != "" && o.mayLose() != o.shown && o.answered(ctx):
	case o.mayLose() != "" && o.mayLose() != o.shown:
		o.decided, o.shown = nil, o.mayLose() // whatever was approved of before, this was not
		return true, o.awaitApproval(ctx)
	case o.mindsWindows() && o.last.Policy.Opens(workflow.Now(ctx)).After(workflow.Now(ctx)):
		return true, o.awaitWindow(ctx)
	}
	return false, nil
}

// mayLose says what the wave may lose of the data, where a person has to say that it may.
func (o *operation) mayLose() string {
	switch o.op.Kind {
	case fleet.RecoverQuorum, fleet.RestoreCluster, fleet.RestorePrefixes:
	default:
		return ""
	}
	if o.op.Options.AcceptLoss {
		return ""
	}
	return strings.Join(o.last.Loss, "; ")
}

// answered says that the cluster's policy lets a recovery go on from what it would go on
// from, and records that. Nobody is asked then.
func (o *operation) answered(ctx workflow.Context) bool {
	if o.op.Kind != fleet.RecoverQuorum || len(o.last.Sources) == 0 || !o.last.Policy.Accepts(o.last.Sources[0]) {
		return false
	}
	o.shown = o.mayLose()
	o.progress.Marks = append(o.progress.Marks, fleet.Mark{
		Kind: fleet.MarkApproved, By: "policy.acceptLoss: " + string(o.last.Policy.AcceptLoss), Why: o.last.Sources[0].Words, At: workflow.Now(ctx),
	})
	return true
}

func (o *operation) awaitResumption(ctx workflow.Context) error {
	return o.wait(ctx, fleet.Waiting{For: fleet.WaitPaused, Why: "paused " + byAndWhy(*o.paused)},
		func() bool { return o.paused == nil })
}

// needsApproval says whether a person has to approve of what the last look planned.
func (o *operation) needsApproval() bool {
	switch o.last.Policy.Approval {
	case fleet.ApprovalAlways:
		return true
	case fleet.ApprovalDestructive:
		return o.op.Kind == fleet.DecommissionCluster || o.op.Kind == fleet.StopCluster ||
			slices.ContainsFunc(slices.Concat(o.last.Plan...), fleet.Step.Destroys) ||
			slices.ContainsFunc(o.last.Decision.Wave, fleet.Step.Destroys)
	}
	return false
}

// awaitApproval shows the plan and waits until a person decides about it. It asks
// once: whoever approves, approves of the operation.
func (o *operation) awaitApproval(ctx workflow.Context) error {
	within := o.last.Policy.WithDefaults().ApprovalWithin
	plan := o.last.Plan
	if len(plan) == 0 { // only a first look forecasts it for an approver
		plan = [][]fleet.Step{o.last.Decision.Wave}
	}
	err := o.wait(ctx, fleet.Waiting{
		For: fleet.WaitApproval, Why: o.whyApproval(),
		Until: workflow.Now(ctx).Add(time.Duration(within)), Plan: plan,
	}, func() bool { return o.decided != nil })
	switch {
	case err != nil:
		return err
	case o.decided == nil:
		return fleet.Errorf(fleet.Denied, o.op.Cluster, "nobody approved of %s %s within %s", o.op.Kind, o.op.ID, within)
	case o.decided.Kind == fleet.MarkRejected:
		return fleet.Errorf(fleet.Denied, o.op.Cluster, "%s %s was rejected %s", o.op.Kind, o.op.ID, byAndWhy(*o.decided))
	}
	return nil
}

func (o *operation) whyApproval() string {
	if loss := o.mayLose(); loss != "" {
		return "needs approval: " + loss
	}
	return fmt.Sprintf("needs approval (policy: %s)", o.last.Policy.Approval)
}

// mindsWindows says whether the wave has to wait for a maintenance window: the first
// one, and each one before which nothing is half done. In between the planner has
// members taken away, and to wait for hours would be worse than to be late.
func (o *operation) mindsWindows() bool {
	return o.op.Kind.Planned() && !o.op.Options.AnyTime && (o.progress.Wave == 0 || o.last.Whole)
}

func (o *operation) awaitWindow(ctx workflow.Context) error {
	return o.wait(ctx, fleet.Waiting{
		For: fleet.WaitWindow, Why: fmt.Sprintf("waits for its maintenance window (%s, UTC)", strings.Join(o.last.Policy.Windows, "; ")),
		Until: o.last.Policy.Opens(workflow.Now(ctx)),
	}, func() bool { return false })
}

// awaitPerson waits, after a step that failed for good, until a person has the
// operation go on, if the policy says so. Then the failures are forgotten and all is
// tried again. Otherwise the decision ends the operation.
func (o *operation) awaitPerson(ctx workflow.Context, d fleet.Decision) error {
	if o.last.Policy.OnFailure != fleet.FailureAsks || d.Kind == "" || len(o.memory.Failures) == 0 {
		return &fleet.Error{Kind: orBlocked(d.Kind), Message: d.Reason}
	}
	if err := o.tellEndpoints(ctx); err != nil {
		return err
	}
	o.resumed = false
	if err := o.wait(ctx, fleet.Waiting{For: fleet.WaitPerson, Why: d.Reason}, func() bool { return o.resumed }); err != nil {
		return err
	}
	o.memory.Failures = nil
	return nil
}

// wait waits until it is over or, where it has an end, for that long. It ends with
// an error when the operation is cancelled.
func (o *operation) wait(ctx workflow.Context, w fleet.Waiting, over func() bool) error {
	w.Since = workflow.Now(ctx)
	o.progress.Waiting, o.progress.Doing = &w, w.Why
	if err := o.publish(ctx); err != nil {
		return err
	}
	var err error
	if w.Until.IsZero() {
		err = workflow.Await(ctx, over)
	} else {
		_, err = workflow.AwaitWithTimeout(ctx, w.Until.Sub(w.Since), over)
	}
	o.progress.Waiting = nil
	if err != nil {
		return err
	}
	return o.publish(ctx)
}
