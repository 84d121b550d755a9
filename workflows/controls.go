package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func (c *cluster) validateCancel(_ workflow.Context, r CancelRequest) error {
	switch {
	case c.running == nil && len(c.Queue) > 0 && (r.Operation == "" || r.Operation == c.Queue[0].Operation):
		return nil
	case c.running == nil:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "nothing is running, so there is nothing to cancel"))
	case r.Operation != "" && r.Operation != c.running.ID:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "%s is not running; %s %s is", r.Operation, c.running.Kind, c.running.ID))
	}
	return nil
}

// cancelOperation asks the running operation to stop after the steps in hand. What is
// queued behind it does not begin, also when it is only about to.
func (c *cluster) cancelOperation(_ workflow.Context, r CancelRequest) (SubmitReply, error) {
	why := "by " + orSomebody(r.By)
	if r.Why != "" {
		why += ": " + r.Why
	}
	if c.running == nil {
		next := c.Queue[0]
		c.Operations[0].Dropped = c.dropQueue()
		return SubmitReply{Operation: next.Operation, Kind: next.Kind, WorkflowID: next.WorkflowID, Joined: true}, nil
	}
	c.stop(why)
	op := c.running
	return SubmitReply{Operation: op.ID, Kind: op.Kind, WorkflowID: OperationID(c.Name, op.Kind, op.ID), Joined: true}, nil
}

// stop cancels the operation in hand, also one that is only about to begin.
func (c *cluster) stop(why string) {
	if !c.running.cancelled {
		c.Operations[0].Cancelled = why // the first one is who did it
	}
	c.running.cancelled = true
	if c.running.cancel != nil {
		c.running.cancel()
	}
}

func (c *cluster) validateProtect(workflow.Context, ProtectRequest) error { return c.mayChange() }

// mayChange refuses to change what a cluster that ends is to be.
func (c *cluster) mayChange() error {
	switch {
	case c.Spec == nil:
		return refuse(fleet.Errorf(fleet.NotFound, c.Name, "does not exist"))
	case c.Summary.Phase == fleet.PhaseGone:
		return refuse(fleet.Errorf(fleet.NotFound, c.Name, "has just gone"))
	case c.running != nil && c.running.Kind == fleet.DecommissionCluster:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "is being decommissioned").
			WithRemedy("cancel that first: flotilla cancel %s", c.Name))
	}
	return nil
}

// protect turns deletion protection on or off.
func (c *cluster) protect(_ workflow.Context, r ProtectRequest) error {
	c.Spec.DeletionProtection = r.Protected
	return nil
}

func (c *cluster) validateAmend(_ workflow.Context, r AmendRequest) error {
	if err := c.mayChange(); err != nil {
		return err
	}
	if r.Spec.Name != c.Name {
		return refuse(fleet.Errorf(fleet.Invalid, "request", "name: the spec is of %q, the request of %q", r.Spec.Name, c.Name))
	}
	if err := c.Spec.Amended(r.Spec).Validate().Err("spec of " + c.Name); err != nil {
		return refuse(err)
	}
	return nil
}

// amend changes of the spec what needs no operation. The running operation goes on
// under the policy that it began with.
func (c *cluster) amend(ctx workflow.Context, r AmendRequest) error {
	spec := c.Spec.Amended(r.Spec)
	// No history of an older version has a spec with a backup policy, so what follows
	// changes none of them.
	backups := spec.Backup != c.Spec.Backup
	c.Spec = &spec
	if !backups {
		return nil
	}
	c.noteBackups()
	return c.publish(ctx)
}

func orSomebody(name string) string {
	if name == "" {
		return "somebody"
	}
	return name
}

// refuse makes the answer to a request that is wrong: its type is the kind.
func refuse(err error) error {
	return temporal.NewNonRetryableApplicationError(err.Error(), string(fleet.KindOf(err)), nil)
}
