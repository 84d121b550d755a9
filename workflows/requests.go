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
	if c.running == nil || c.running.cancelled || !c.same(r) {
		return SubmitReply{}, false
	}
	op := c.running
	return SubmitReply{
		Operation: op.ID, Kind: op.Kind, WorkflowID: OperationID(c.Name, op.Kind, op.ID), Joined: true, Then: c.queued(),
	}, true
}

// same says whether a request asks for the running operation and what follows it.
func (c *cluster) same(r SubmitRequest) bool {
	op := c.running
	if r.Resume {
		return op.Generation != op.ID
	}
	if op.Kind != r.Kind || !op.Options.Equal(r.Options) || len(r.Then) != len(c.Queue) {
		return false
	}
	for i, change := range r.Then {
		if change.Kind != c.Queue[i].Kind || !change.Spec.WithDefaults().Equal(c.Queue[i].Spec) {
			return false
		}
	}
	switch {
	case r.Kind == fleet.CreateCluster || r.Kind == fleet.AdoptCluster:
		return r.Spec != nil && c.wants(*r.Spec)
	case changes(r.Kind):
		return c.target(r).Equal(op.Spec)
	}
	return true
}

// wants says whether a spec asks for the cluster as it is wanted already. Its
// protection has a request of its own and may have changed since.
func (c *cluster) wants(spec fleet.Spec) bool {
	spec = spec.WithDefaults()
	spec.DeletionProtection = c.Spec.DeletionProtection
	return spec.Equal(*c.Spec)
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
		c.adoptSpec(ctx, r.Spec.WithDefaults(), r.Options.Adopt)
	}
	c.enqueue(r)
	reply := c.begin(ctx, c.operation(r), r.RequestID, r.By)
	c.remember(r.RequestID, reply)
	return reply, c.awaitStart(ctx, reply.Operation)
}

// begin takes an operation in hand and notes it in the record.
func (c *cluster) begin(ctx workflow.Context, op fleet.Operation, requestID, by string) SubmitReply {
	op.By = by
	if op.Kind == fleet.RecoverQuorum {
		op = c.lookedBack(ctx, op)
	}
	reply := SubmitReply{Operation: op.ID, Kind: op.Kind, WorkflowID: OperationID(c.Name, op.Kind, op.ID), Then: c.queued()}
	record := OperationRecord{
		ID: op.ID, RequestID: requestID, Kind: op.Kind, WorkflowID: reply.WorkflowID,
		State: fleet.OperationRunning, By: by, Started: workflow.Now(ctx),
	}
	if op.Generation != op.ID {
		record.Resumes = op.Generation
	}
	c.Operations = slices.Insert(c.Operations, 0, record)
	c.Operations = c.Operations[:min(len(c.Operations), keptOperations)]
	c.running = &inHand{Operation: op}
	return reply
}

// lookedBack notes when a recovery was asked for first, and how far the cluster was when
// it was looked at last: by that it tells what is lost.
func (c *cluster) lookedBack(ctx workflow.Context, op fleet.Operation) fleet.Operation {
	op.Asked = workflow.Now(ctx).UTC()
	if c.Summary.Revision > 0 {
		op.Seen = &fleet.Sighting{Revision: c.Summary.Revision, At: c.Summary.At}
	}
	if u := c.Unfinished; u != nil && u.Kind == fleet.RecoverQuorum && !u.Asked.IsZero() {
		op.Asked = u.Asked
		if op.Seen == nil {
			op.Seen = u.Seen
		}
	}
	return op
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

// adoptSpec makes a spec the cluster's, before there is anything of it. Members that
// exist already keep their numbers.
func (c *cluster) adoptSpec(ctx workflow.Context, spec fleet.Spec, adopted *fleet.Adoption) {
	c.Spec, c.NextMember = &spec, 1
	if adopted != nil {
		for _, m := range adopted.Members {
			c.NextMember = max(c.NextMember, fleet.MemberNumber(c.Name, m.Name)+1)
		}
	}
	c.Summary = fleet.Summary{
		Name: c.Name, UID: c.UID, Provider: spec.Provider, Region: spec.Region, Etcd: spec.Etcd.Version,
		Class: spec.Class, Voters: spec.Voters, Created: workflow.Now(ctx),
	}
	c.noteBackups()
}

func (c *cluster) remember(requestID string, reply SubmitReply) {
	c.Requests = append(c.Requests, SeenRequest{ID: requestID, Reply: reply})
	c.Requests = c.Requests[max(0, len(c.Requests)-keptRequests):]
}

// forget lets the requests for an operation that never began be made again.
func (c *cluster) forget(operation string) {
	c.Requests = slices.DeleteFunc(c.Requests, func(r SeenRequest) bool { return r.Reply.Operation == operation })
}
