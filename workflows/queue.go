package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// unfinished gives the operation that can be gone on with, or nil. The early versions
// kept only what phase it was that ended half way.
func (c *cluster) unfinished() *fleet.Operation {
	if c.Unfinished != nil || c.Spec == nil {
		return c.Unfinished
	}
	op := fleet.Operation{Cluster: c.Name, UID: c.UID, Spec: c.Spec.Clone(), Since: c.nextMember()}
	switch c.Summary.Phase {
	case fleet.PhaseIncomplete:
		op.Kind, op.Since = fleet.CreateCluster, 1
	case fleet.PhaseDecommissioning:
		op.Kind = fleet.DecommissionCluster
	default:
		return nil
	}
	for _, record := range c.Operations {
		if record.Kind == op.Kind && record.State != fleet.OperationRunning {
			op.ID, op.Generation = record.ID, record.ID
			return &op
		}
	}
	return nil
}

// continues gives the operation that a request goes on with, or nil: asking again for
// what stopped half way is to go on with it.
func (c *cluster) continues(r SubmitRequest) *fleet.Operation {
	u := c.unfinished()
	switch {
	case u == nil || r.Resume:
		return u
	case r.Kind != u.Kind:
		return nil
	}
	switch r.Kind {
	case fleet.CreateCluster, fleet.AdoptCluster, fleet.DecommissionCluster:
		return u // whatever it was told, what is left to do is the same
	}
	if u.Options.Equal(r.Options) && c.target(r).Equal(u.Spec.Amended(*c.Spec)) {
		return u
	}
	return nil
}

// target is what the cluster is to be after what a request asks for.
func (c *cluster) target(r SubmitRequest) fleet.Spec {
	switch {
	case r.Resume:
		return c.unfinished().Spec.Amended(*c.Spec)
	case r.Options.ToStandby && c.Spec != nil:
		return c.Spec.AtStandby()
	case changes(r.Kind) && r.Spec != nil:
		return r.Spec.WithDefaults()
	}
	return c.Spec.Clone()
}

// operation gives the operation that a request asks for.
func (c *cluster) operation(r SubmitRequest) fleet.Operation {
	op := fleet.Operation{Kind: r.Kind, Options: r.Options, Spec: c.target(r)}
	u := c.continues(r)
	if r.Resume {
		op.Kind, op.Options = u.Kind, u.Options
	}
	op = c.complete(op, c.operationID(r.RequestID))
	if u != nil {
		op.Generation, op.Since, op.Purchases, op.Keys = u.Generation, u.Since, slices.Clone(u.Purchases), u.Keys
	}
	return op
}

// complete fills in what does not depend on the request.
func (c *cluster) complete(op fleet.Operation, id string) fleet.Operation {
	op.ID, op.Cluster, op.UID, op.Generation = id, c.Name, c.UID, id
	op.Since, op.NextMember = c.nextMember(), c.nextMember()
	op.Elsewhere = places(op.Spec.Place(), append(slices.Clone(c.Elsewhere), c.Spec.Place())...)
	if op.Kind != fleet.CreateCluster && op.Kind != fleet.AdoptCluster {
		before := c.Spec.Clone()
		op.Before = &before
	}
	return op
}

// nextMember is the number of the first member that never existed.
func (c *cluster) nextMember() int {
	switch {
	case c.NextMember > 0:
		return c.NextMember
	case c.Spec == nil:
		return 1
	}
	return c.Spec.Voters + c.Spec.Learners + 1
}

// enqueue notes the operations that are to follow the one of a request.
func (c *cluster) enqueue(r SubmitRequest) {
	for i, change := range r.Then {
		id := c.operationID(fmt.Sprintf("%s/then/%d", r.RequestID, i+1))
		c.Queue = append(c.Queue, QueuedOperation{
			OperationRef: OperationRef{Operation: id, Kind: change.Kind, WorkflowID: OperationID(c.Name, change.Kind, id)},
			RequestID:    r.RequestID, By: r.By, Spec: change.Spec.WithDefaults(), Options: inherited(r.Options),
		})
	}
}

// inherited are the options that hold for all operations of a request.
func inherited(o fleet.Options) fleet.Options {
	return fleet.Options{AllowDowntime: o.AllowDowntime, AnyTime: o.AnyTime, Policy: o.Policy}
}

// queued are the operations of the queue.
func (c *cluster) queued() []OperationRef {
	var refs []OperationRef
	for _, q := range c.Queue {
		refs = append(refs, q.OperationRef)
	}
	return refs
}

// takeNext takes the first operation of the queue in hand.
func (c *cluster) takeNext(ctx workflow.Context) {
	if len(c.Queue) == 0 {
		return
	}
	q := c.Queue[0]
	c.Queue = c.Queue[1:]
	op := fleet.Operation{Kind: q.Kind, Options: q.Options, Spec: q.Spec.Amended(*c.Spec)}
	c.begin(ctx, c.complete(op, q.Operation), q.RequestID, q.By)
}

// dropQueue forgets the operations that were to follow, and says which they were.
func (c *cluster) dropQueue() []OperationRef {
	refs := c.queued()
	c.Queue = nil
	return refs
}
