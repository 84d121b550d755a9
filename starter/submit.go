package starter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// planTimeout bounds a forecast: one look at what exists and some arithmetic.
const planTimeout = time.Minute

// What a forecast needs and nothing that exists carries.
const (
	// unborn stands for the UID of a cluster that does not exist yet.
	unborn = "unborn"
	// forecast stands for the operation: what it does once is not done yet.
	forecast = "forecast"
)

// Request is what goes with every request for an operation.
type Request struct {
	// ID makes the request idempotent; a new one is made when it is empty.
	ID string
	// Options of the operation.
	Options fleet.Options
	// Then are operations to run after it, in their order (fleet.Changes gives them).
	Then []fleet.Change
}

// Plan asks what an operation would do and changes nothing. The operation needs
// Kind and Cluster. CreateCluster and AdoptCluster also need Spec; for the others an
// empty one is the cluster's own, and what the operation follows from (what was
// before, what an unfinished one of the same kind and aim left) is filled in as the
// cluster's workflow would. What is wrong with the request is in the reply, all at once.
func (c *Client) Plan(ctx context.Context, operation fleet.Operation) (workflows.PlanReply, error) {
	view, err := c.Describe(ctx, operation.Cluster)
	exists := err == nil && view.Summary.Phase != fleet.PhaseGone
	creating := operation.Kind == fleet.CreateCluster || operation.Kind == fleet.AdoptCluster
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
		operation = inherit(operation, view)
	}
	var reply workflows.PlanReply
	err = c.run(ctx, "plan/"+operation.Cluster, "plan of "+operation.Cluster, planTimeout,
		region{operation.Spec.Provider, operation.Spec.Region}, workflows.PlanType, workflows.PlanRequest{Operation: operation}, &reply)
	return reply, err
}

// inherit fills in what an operation on a cluster follows from, as the cluster's own
// workflow does.
func inherit(operation fleet.Operation, view workflows.ClusterView) fleet.Operation {
	before := view.Spec.Clone()
	operation.UID, operation.Before = view.Summary.UID, &before
	if operation.Spec.Name == "" {
		operation.Spec = view.Spec.Clone()
	}
	if operation.Options.ToStandby {
		operation.Spec = view.Spec.AtStandby()
	}
	operation.ID, operation.Generation = forecast, forecast
	operation.Since, operation.NextMember = view.NextMember, view.NextMember
	operation.Elsewhere = slices.DeleteFunc(append(slices.Clone(view.Elsewhere), view.Spec.Place()),
		func(place fleet.Place) bool { return place == operation.Spec.Place() })
	if left := Continues(operation, view); left != nil {
		operation.Generation, operation.Since, operation.Purchases, operation.Keys = left.Generation, left.Since, left.Purchases, left.Keys
	}
	return operation
}

// Continues gives the cluster's unfinished operation if what is asked for is just that
// one: asking for it again goes on with it. It gives nil otherwise.
func Continues(operation fleet.Operation, view workflows.ClusterView) *fleet.Operation {
	left := view.Unfinished
	switch {
	case left == nil || left.Kind != operation.Kind:
		return nil
	case left.Kind == fleet.DecommissionCluster:
		return left // whatever it was told, what is left to do is the same
	case left.Options.Equal(operation.Options) && left.Spec.Amended(view.Spec).Equal(operation.Spec.Amended(view.Spec)):
		return left
	}
	return nil
}

// Create asks for a cluster. Asking again for one that is incomplete continues it.
// The error is of kind fleet.Invalid when the spec is wrong, fleet.Conflict when the
// name is taken or another operation runs.
func (c *Client) Create(ctx context.Context, spec fleet.Spec, request Request) (workflows.SubmitReply, error) {
	return c.begin(ctx, fleet.CreateCluster, spec, request)
}

// Adopt asks to take over a cluster that something else created: spec describes it as
// it is, and request.Options.Adopt says where its members are. Its authority is in
// there sealed (pki.SealAuthority) to the Recipient of its region. The errors are those
// of Create.
func (c *Client) Adopt(ctx context.Context, spec fleet.Spec, request Request) (workflows.SubmitReply, error) {
	return c.begin(ctx, fleet.AdoptCluster, spec, request)
}

// begin asks for an operation that may be the first one of its cluster.
func (c *Client) begin(ctx context.Context, kind fleet.OperationKind, spec fleet.Spec, request Request) (workflows.SubmitReply, error) {
	submit := c.submission(kind, request)
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
			UpdateOptions:          update(workflows.ClusterID(spec.Name), workflows.UpdateSubmit, submit.RequestID, submit),
		})
		if err != nil {
			return err
		}
		return handle.Get(ctx, &reply)
	})
	return reply, err
}

// Change asks for an operation on a cluster that exists. spec is what the cluster is
// to be after it, as a whole; nil for the kinds that change no spec. The error is of
// kind fleet.NotFound when there is no such cluster, fleet.Invalid when the request is
// wrong, fleet.Conflict when another operation runs or the spec was changed by somebody
// else meanwhile, and fleet.Blocked when it is refused for safety.
func (c *Client) Change(ctx context.Context, cluster string, kind fleet.OperationKind, spec *fleet.Spec, request Request) (workflows.SubmitReply, error) {
	if kind.Beside() {
		return c.beside(ctx, cluster, kind, request)
	}
	submit := c.submission(kind, request)
	submit.Spec = spec
	return c.submit(ctx, cluster, submit)
}

// Submit is Change without a spec.
func (c *Client) Submit(ctx context.Context, cluster string, kind fleet.OperationKind, request Request) (workflows.SubmitReply, error) {
	return c.Change(ctx, cluster, kind, nil, request)
}

// Resume asks for what is left of the operation that did not end well, with the spec
// and the options of that one. The error is of kind fleet.Conflict when there is none.
func (c *Client) Resume(ctx context.Context, cluster, requestID string) (workflows.SubmitReply, error) {
	submit := c.submission("", Request{ID: requestID})
	submit.Resume = true
	return c.submit(ctx, cluster, submit)
}

func (c *Client) submit(ctx context.Context, cluster string, submit workflows.SubmitRequest) (workflows.SubmitReply, error) {
	var reply workflows.SubmitReply
	err := c.update(ctx, cluster, workflows.UpdateSubmit, submit.RequestID, submit, &reply)
	return reply, err
}

// Amend changes of a cluster's spec what needs no operation: labels, policy, deletion
// protection and how machines are changed. Nothing else of spec is taken.
func (c *Client) Amend(ctx context.Context, cluster string, spec fleet.Spec) error {
	return c.update(ctx, cluster, workflows.UpdateAmend, "", workflows.AmendRequest{Spec: spec, By: c.by}, nil)
}

// Cancel asks a cluster's running operation to stop after the steps in hand. An
// empty operation means whichever runs: one that changes the cluster, else a backup.
func (c *Client) Cancel(ctx context.Context, cluster, operation, why string) (workflows.SubmitReply, error) {
	ref, runs, err := c.runningBeside(ctx, cluster)
	if err != nil {
		return workflows.SubmitReply{}, err
	}
	if runs {
		view, err := c.Describe(ctx, cluster)
		_, others := Running(view)
		if operation != "" && strings.HasPrefix(ref.ID, operation) || operation == "" && err == nil && !others {
			return c.cancelBeside(ctx, ref)
		}
	}
	var reply workflows.SubmitReply
	err = c.update(ctx, cluster, workflows.UpdateCancel, "", workflows.CancelRequest{
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
	return workflows.SubmitRequest{RequestID: request.ID, Kind: kind, Options: request.Options, Then: request.Then, By: c.by}
}

func (c *Client) update(ctx context.Context, cluster, name, updateID string, request, reply any) error {
	return c.ask(ctx, cluster, func(ctx context.Context) error {
		handle, err := c.temporal.UpdateWorkflow(ctx, update(workflows.ClusterID(cluster), name, updateID, request))
		if err != nil {
			return err
		}
		return handle.Get(ctx, reply)
	})
}

func update(workflowID, name, id string, request any) client.UpdateWorkflowOptions {
	return client.UpdateWorkflowOptions{
		UpdateID:     id,
		WorkflowID:   workflowID,
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
