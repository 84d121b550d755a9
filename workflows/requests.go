package workflows

import (
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// seen gives the reply to a request that came before.
func (c *cluster) seen(requestID string) (SubmitReply, bool) {
	for _, r := range c.Requests {
		if r.ID == requestID {
			r.Reply.Joined = true
			return r.Reply, true
		}
	}
	return SubmitReply{}, false
}

// joins gives the running operation when the request asks for just that: who
// lost the connection while creating and asks again must not be refused.
func (c *cluster) joins(r SubmitRequest) (SubmitReply, bool) {
	op := c.running
	if op == nil || op.cancelled || op.Kind != r.Kind || !op.Options.Equal(r.Options) {
		return SubmitReply{}, false
	}
	if r.Kind == fleet.CreateCluster && (r.Spec == nil || !c.wants(*r.Spec)) {
		return SubmitReply{}, false
	}
	return SubmitReply{Operation: op.ID, Kind: op.Kind, WorkflowID: OperationID(c.Name, op.Kind, op.ID), Joined: true}, true
}

// wants says whether a spec asks for the cluster as it is wanted already. Its
// protection has a request of its own and may have changed since.
func (c *cluster) wants(spec fleet.Spec) bool {
	spec = spec.WithDefaults()
	spec.DeletionProtection = c.Spec.DeletionProtection
	return spec.Equal(*c.Spec)
}

// validate refuses a request before it costs any history.
func (c *cluster) validate(_ workflow.Context, r SubmitRequest) error {
	if r.RequestID == "" {
		return refuse(fleet.Errorf(fleet.Invalid, "request", "requestId is missing: it makes the same request twice one operation"))
	}
	if _, again := c.seen(r.RequestID); again {
		return nil
	}
	if _, joins := c.joins(r); joins {
		return nil
	}
	switch {
	case c.running != nil && c.running.cancelled:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "%s %s is being cancelled", c.running.Kind, c.running.ID).
			WithRemedy("ask again when it has ended; watch it with flotilla watch %s", c.Name))
	case c.running != nil:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "%s %s is running", c.running.Kind, c.running.ID).
			WithRemedy("watch it with flotilla watch %s, or end it with flotilla cancel %s", c.Name, c.Name))
	case c.Summary.Phase == fleet.PhaseGone: // this workflow ends in a moment, and the next one is another cluster
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "has just gone").WithRemedy("ask again"))
	}
	switch r.Kind {
	case fleet.CreateCluster:
		return c.validateCreate(r)
	case fleet.DecommissionCluster:
		return c.validateDecommission(r)
	}
	return refuse(fleet.Errorf(fleet.Invalid, "request", "there is no operation %q", r.Kind))
}

func (c *cluster) validateCreate(r SubmitRequest) error {
	switch {
	case r.Spec == nil:
		return refuse(fleet.Errorf(fleet.Invalid, "request", "spec is missing"))
	case r.Spec.Name != c.Name:
		return refuse(fleet.Errorf(fleet.Invalid, "request", "name: the spec is of %q, the request of %q", r.Spec.Name, c.Name))
	}
	if err := r.Spec.WithDefaults().Validate().Err("spec of " + c.Name); err != nil {
		return refuse(err)
	}
	switch {
	case c.Spec == nil:
		return nil
	case c.Summary.Phase != fleet.PhaseIncomplete:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "exists already (it is %s)", c.Summary.Phase).
			WithRemedy("choose another name, or see flotilla describe %s", c.Name))
	case !c.wants(*r.Spec):
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "is half created with another spec").
			WithRemedy("go on with flotilla resume %s, or undo it with flotilla decommission %s", c.Name, c.Name))
	}
	return nil
}

func (c *cluster) validateDecommission(r SubmitRequest) error {
	switch {
	case c.Spec == nil:
		return refuse(fleet.Errorf(fleet.NotFound, c.Name, "does not exist"))
	case r.Spec != nil:
		return refuse(fleet.Errorf(fleet.Invalid, "request", "a decommission takes no spec"))
	case c.Spec.DeletionProtection:
		return refuse(fleet.Errorf(fleet.Blocked, c.Name, "is protected from deletion").
			WithRemedy("turn that off first: flotilla protect %s --off", c.Name))
	}
	return nil
}

// submit takes an operation in hand and answers once its workflow has started.
func (c *cluster) submit(ctx workflow.Context, r SubmitRequest) (SubmitReply, error) {
	if reply, again := c.seen(r.RequestID); again {
		return reply, c.awaitStart(ctx, reply.Operation)
	}
	if reply, joins := c.joins(r); joins {
		c.remember(r.RequestID, reply)
		return reply, c.awaitStart(ctx, reply.Operation)
	}
	if c.Spec == nil {
		c.adoptSpec(ctx, r.Spec.WithDefaults())
	}
	op := &inHand{Operation: fleet.Operation{
		ID: c.operationID(r.RequestID), Kind: r.Kind, Cluster: c.Name, UID: c.UID, Spec: c.Spec.Clone(), Options: r.Options,
	}}
	reply := SubmitReply{Operation: op.ID, Kind: r.Kind, WorkflowID: OperationID(c.Name, r.Kind, op.ID)}
	c.remember(r.RequestID, reply)
	c.Operations = slices.Insert(c.Operations, 0, OperationRecord{
		ID: op.ID, RequestID: r.RequestID, Kind: r.Kind, WorkflowID: reply.WorkflowID,
		State: fleet.OperationRunning, By: r.By, Started: workflow.Now(ctx),
	})
	c.Operations = c.Operations[:min(len(c.Operations), keptOperations)]
	c.running = op
	return reply, c.awaitStart(ctx, op.ID)
}

// awaitStart waits until an operation's workflow can be asked for its progress. A
// cancellation of the entity does not end the wait: it ends by itself.
func (c *cluster) awaitStart(ctx workflow.Context, id string) error {
	op := c.running
	if op == nil || op.ID != id {
		return nil // it has ended
	}
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	if err := workflow.Await(ctx, func() bool { return op.settled }); err != nil {
		return err
	}
	switch {
	case op.failed == nil:
		return nil
	case temporal.IsCanceledError(op.failed):
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "%s %s was cancelled before it began", op.Kind, op.ID))
	}
	return refuse(fleet.Errorf(fleet.Conflict, c.Name, "%s %s could not be started: %s", op.Kind, op.ID, asError(op.failed).Message))
}

func (c *cluster) adoptSpec(ctx workflow.Context, spec fleet.Spec) {
	c.Spec = &spec
	c.Summary = fleet.Summary{
		Name: c.Name, UID: c.UID, Provider: spec.Provider, Region: spec.Region, Etcd: spec.Etcd.Version,
		Class: spec.Class, Voters: spec.Voters, Created: workflow.Now(ctx),
	}
}

func (c *cluster) remember(requestID string, reply SubmitReply) {
	c.Requests = append(c.Requests, SeenRequest{ID: requestID, Reply: reply})
	c.Requests = c.Requests[max(0, len(c.Requests)-keptRequests):]
}

// forget lets the requests for an operation that never began be made again.
func (c *cluster) forget(operation string) {
	c.Requests = slices.DeleteFunc(c.Requests, func(r SeenRequest) bool { return r.Reply.Operation == operation })
}

func (c *cluster) validateCancel(_ workflow.Context, r CancelRequest) error {
	switch {
	case c.running == nil:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "nothing is running, so there is nothing to cancel"))
	case r.Operation != "" && r.Operation != c.running.ID:
		return refuse(fleet.Errorf(fleet.Conflict, c.Name, "%s is not running; %s %s is", r.Operation, c.running.Kind, c.running.ID))
	}
	return nil
}

// cancelOperation asks the running operation to stop after the steps in hand.
func (c *cluster) cancelOperation(_ workflow.Context, r CancelRequest) (SubmitReply, error) {
	why := "by " + orSomebody(r.By)
	if r.Why != "" {
		why += ": " + r.Why
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

func (c *cluster) validateProtect(workflow.Context, ProtectRequest) error {
	switch {
	case c.Spec == nil:
		return refuse(fleet.Errorf(fleet.NotFound, c.Name, "does not exist"))
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
