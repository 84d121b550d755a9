package starter

import (
	"context"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Approve lets an operation begin that waits for approval. Who approved it, and why,
// stands in its record. The error is of kind fleet.Conflict when it does not wait for
// that, and fleet.NotFound when it has ended.
func (c *Client) Approve(ctx context.Context, ref Ref, why string) error {
	return c.mark(ctx, ref, workflows.UpdateApprove, why)
}

// Reject ends an operation that waits for approval.
func (c *Client) Reject(ctx context.Context, ref Ref, why string) error {
	return c.mark(ctx, ref, workflows.UpdateReject, why)
}

// Pause has an operation wait after the steps in hand, for as long as nobody resumes
// or cancels it.
func (c *Client) Pause(ctx context.Context, ref Ref, why string) error {
	return c.mark(ctx, ref, workflows.UpdatePause, why)
}

// ResumePaused has an operation go on that is paused, or that waits for a person after
// a failed step. One that has ended is gone on with by Resume.
func (c *Client) ResumePaused(ctx context.Context, ref Ref, why string) error {
	return c.mark(ctx, ref, workflows.UpdateResume, why)
}

// mark does something to a running operation, under the name of who asks.
func (c *Client) mark(ctx context.Context, ref Ref, name, why string) error {
	return c.ask(ctx, "operation "+ref.ID+" of "+ref.Cluster, func(ctx context.Context) error {
		handle, err := c.temporal.UpdateWorkflow(ctx, update(ref.WorkflowID, name, "", workflows.MarkRequest{By: c.by, Why: why}))
		if err != nil {
			return err
		}
		return handle.Get(ctx, nil)
	})
}

// Running gives the operation that runs on a cluster now, if one does.
func Running(view workflows.ClusterView) (Ref, bool) {
	for _, record := range view.Operations {
		if record.State == fleet.OperationRunning {
			return Ref{Cluster: view.Summary.Name, ID: record.ID, Kind: record.Kind, WorkflowID: record.WorkflowID}, true
		}
	}
	return Ref{}, false
}

// Endpoints gives where clients of a cluster should connect now: its operations say so
// before they take a member away.
func (c *Client) Endpoints(ctx context.Context, cluster string) ([]fleet.Endpoint, error) {
	var endpoints []fleet.Endpoint
	err := c.ask(ctx, cluster, func(ctx context.Context) error {
		value, err := c.temporal.QueryWorkflow(ctx, workflows.ClusterID(cluster), "", workflows.QueryEndpoints)
		if err != nil {
			return err
		}
		return value.Get(&endpoints)
	})
	return endpoints, err
}
