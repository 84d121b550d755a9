package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// listen lets people approve, reject, pause and resume the operation.
func (o *operation) listen(ctx workflow.Context) error {
	for _, update := range []struct {
		name     string
		handle   func(workflow.Context, MarkRequest) error
		validate func(workflow.Context, MarkRequest) error
	}{
		{UpdateApprove, o.approve, o.validateApprove},
		{UpdateReject, o.reject, o.validateReject},
		{UpdatePause, o.pause, o.validatePause},
		{UpdateResume, o.resume, o.validateResume},
	} {
		err := workflow.SetUpdateHandlerWithOptions(ctx, update.name, update.handle, workflow.UpdateHandlerOptions{Validator: update.validate})
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *operation) validateApprove(_ workflow.Context, r MarkRequest) error {
	return o.validateDecision(r, fleet.MarkApproved)
}

func (o *operation) validateReject(_ workflow.Context, r MarkRequest) error {
	return o.validateDecision(r, fleet.MarkRejected)
}

// validateDecision refuses a decision that nobody waits for, or that differs from
// the one that was made.
func (o *operation) validateDecision(r MarkRequest, kind fleet.MarkKind) error {
	switch waiting := o.progress.Waiting; {
	case r.By == "":
		return refuse(fleet.Errorf(fleet.Invalid, "request", "by is missing: the record says who decided"))
	case o.decided != nil && o.decided.Kind == kind:
		return nil // the same again
	case o.decided != nil:
		return refuse(fleet.Errorf(fleet.Conflict, o.name(), "was %s %s", o.decided.Kind, byAndWhy(*o.decided)).
			WithRemedy("end it with flotilla cancel %s", o.op.Cluster))
	case waiting == nil || waiting.For != fleet.WaitApproval:
		return refuse(fleet.Errorf(fleet.Conflict, o.name(), "does not wait for an approval"))
	}
	return nil
}

func (o *operation) approve(ctx workflow.Context, r MarkRequest) error {
	return o.decide(ctx, fleet.MarkApproved, r)
}

func (o *operation) reject(ctx workflow.Context, r MarkRequest) error {
	return o.decide(ctx, fleet.MarkRejected, r)
}

func (o *operation) decide(ctx workflow.Context, kind fleet.MarkKind, r MarkRequest) error {
	if o.decided == nil {
		o.decided = o.mark(ctx, kind, r)
	}
	return nil
}

func (o *operation) validatePause(workflow.Context, MarkRequest) error {
	if o.ending {
		return refuse(fleet.Errorf(fleet.Conflict, o.name(), "is ending"))
	}
	return nil
}

// pause has the operation wait once the steps in hand have ended. One that can be stopped
// and gone on with is.
func (o *operation) pause(ctx workflow.Context, r MarkRequest) error {
	if o.paused == nil {
		o.paused = o.mark(ctx, fleet.MarkPaused, r)
	}
	if o.stop != nil {
		o.stop()
	}
	return nil
}

func (o *operation) validateResume(workflow.Context, MarkRequest) error {
	asks := o.progress.Waiting != nil && o.progress.Waiting.For == fleet.WaitPerson
	if o.paused == nil && !asks {
		return refuse(fleet.Errorf(fleet.Conflict, o.name(), "is not paused"))
	}
	return nil
}

func (o *operation) resume(ctx workflow.Context, r MarkRequest) error {
	o.mark(ctx, fleet.MarkResumed, r)
	o.paused, o.resumed = nil, true
	return nil
}

// mark notes for the record what a person did.
func (o *operation) mark(ctx workflow.Context, kind fleet.MarkKind, r MarkRequest) *fleet.Mark {
	m := fleet.Mark{Kind: kind, By: orSomebody(r.By), Why: r.Why, At: workflow.Now(ctx)}
	o.progress.Marks = append(o.progress.Marks, m)
	return &m
}

func (o *operation) name() string { return string(o.op.Kind) + " " + o.op.ID }

// byAndWhy gives "by ada: it is Friday".
func byAndWhy(m fleet.Mark) string {
	if m.Why == "" {
		return "by " + m.By
	}
	return "by " + m.By + ": " + m.Why
}
