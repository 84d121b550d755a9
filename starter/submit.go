package starter

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// planTimeout bounds a forecast: one look at what exists and some arithmetic.
const planTimeout = time.Minute

// unborn stands for the UID of a cluster that does not exist yet: a forecast needs
// one, and nothing that exists carries this one.
const unborn = "unborn"

// Request is what goes with every request for an operation.
type Request struct {
	// ID makes the request idempotent; a new one is made when it is empty.
	ID string
	// Options of the operation.
	Options fleet.Options
}

// Plan asks what an operation would do and changes nothing. The operation needs
// Kind and Cluster; CreateCluster also needs Spec, and for the others it is filled
// in from the cluster. What is wrong with the request is in the reply, all at once.
func (c *Client) Plan(ctx context.Context, operation fleet.Operation) (workflows.PlanReply, error) {
	view, err := c.Describe(ctx, operation.Cluster)
	exists := err == nil && view.Summary.Phase != fleet.PhaseGone
	creating := operation.Kind == fleet.CreateCluster
	switch {
	case err != nil && (!creating || !fleet.Is(err, fleet.NotFound)):
		return workflows.PlanReply{}, err
	case creating && !exists:
		operation.UID = unborn
	case creating && view.Summary.Phase != fleet.PhaseIncomplete && view.Summary.Phase != fleet.PhaseCreating:
		return workflows.PlanReply{
			Exists: true, Kind: fleet.Conflict,
			Blocked: fmt.Sprintf("%s exists already (it is %s); choose another name, or see flotilla describe %s",
				operation.Cluster, view.Summary.Phase, operation.Cluster),
		}, nil
	case creating:
		operation.UID = view.Summary.UID
	default:
		operation.Spec, operation.UID = view.Spec, view.Summary.UID
	}
	var reply workflows.PlanReply
	err = c.run(ctx, "plan/"+operation.Cluster, "plan of "+operation.Cluster, planTimeout,
		region{operation.Spec.Provider, operation.Spec.Region}, workflows.PlanType, workflows.PlanRequest{Operation: operation}, &reply)
	return reply, err
}

// Create asks for a cluster. Asking again for one that is incomplete continues it.
// The error is of kind fleet.Invalid when the spec is wrong, fleet.Conflict when the
// name is taken or another operation runs.
func (c *Client) Create(ctx context.Context, spec fleet.Spec, request Request) (workflows.SubmitReply, error) {
	submit := c.submission(fleet.CreateCluster, request)
	submit.Spec = &spec
	resource := "cluster " + spec.Name
	var reply workflows.SubmitReply
	err := c.ask(ctx, resource, func(ctx context.Context) error {
		start := c.temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID:                       workflows.ClusterID(spec.Name),
			TaskQueue:                workflows.TaskQueue,
			WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			// A name may be used again once its cluster is gone.
			WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
			StaticSummary:         "etcd cluster " + spec.Name,
		}, workflows.ClusterType, workflows.ClusterState{Name: spec.Name})
		handle, err := c.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
			StartWorkflowOperation: start,
			UpdateOptions:          update(spec.Name, workflows.UpdateSubmit, submit.RequestID, submit),
		})
		if err != nil {
			return err
		}
		return handle.Get(ctx, &reply)
	})
	return reply, err
}

// Submit asks for an operation other than CreateCluster on a cluster that exists.
// The error is of kind fleet.NotFound when it does not, fleet.Conflict when another
// operation runs, and fleet.Blocked when the request is refused for safety.
func (c *Client) Submit(ctx context.Context, cluster string, kind fleet.OperationKind, request Request) (workflows.SubmitReply, error) {
	submit := c.submission(kind, request)
	var reply workflows.SubmitReply
	err := c.update(ctx, cluster, workflows.UpdateSubmit, submit.RequestID, submit, &reply)
	return reply, err
}

// Cancel asks a cluster's running operation to stop after the steps in hand. An
// empty operation means whichever runs.
func (c *Client) Cancel(ctx context.Context, cluster, operation, why string) (workflows.SubmitReply, error) {
	var reply workflows.SubmitReply
	err := c.update(ctx, cluster, workflows.UpdateCancel, "", workflows.CancelRequest{
		Operation: operation, By: c.by, Why: why,
	}, &reply)
	return reply, err
}

// Protect turns a cluster's deletion protection on or off. While it is on, a
// decommission is refused.
func (c *Client) Protect(ctx context.Context, cluster string, protected bool) error {
	return c.update(ctx, cluster, workflows.UpdateProtect, "", workflows.ProtectRequest{Protected: protected, By: c.by}, nil)
}

func (c *Client) submission(kind fleet.OperationKind, request Request) workflows.SubmitRequest {
	if request.ID == "" {
		request.ID = NewRequestID()
	}
	return workflows.SubmitRequest{RequestID: request.ID, Kind: kind, Options: request.Options, By: c.by}
}

func (c *Client) update(ctx context.Context, cluster, name, updateID string, request, reply any) error {
	return c.ask(ctx, cluster, func(ctx context.Context) error {
		handle, err := c.temporal.UpdateWorkflow(ctx, update(cluster, name, updateID, request))
		if err != nil {
			return err
		}
		return handle.Get(ctx, reply)
	})
}

func update(cluster, name, id string, request any) client.UpdateWorkflowOptions {
	return client.UpdateWorkflowOptions{
		UpdateID:     id,
		WorkflowID:   workflows.ClusterID(cluster),
		UpdateName:   name,
		Args:         []any{request},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	}
}

// run starts a short workflow and waits for its result. It is ended by its own
// timeout, also when nobody waits any more.
func (c *Client) run(ctx context.Context, idPrefix, resource string, timeout time.Duration, where region, workflowType string, request, reply any) error {
	return c.ask(ctx, resource, func(ctx context.Context) error {
		run, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID:                       idPrefix + "/" + uuid.NewString()[:8],
			TaskQueue:                workflows.TaskQueue,
			WorkflowExecutionTimeout: timeout,
		}, workflowType, request)
		if err != nil {
			return err
		}
		return run.Get(ctx, reply)
	}, where)
}
