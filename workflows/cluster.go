package workflows

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Bounds of what an entity remembers.
const (
	// keptOperations is how many operations stand in a cluster's record; older
	// ones are in Temporal's own visibility for as long as it keeps them.
	keptOperations = 20
	// keptRequests is how many request IDs are recognised when they come again.
	keptRequests = 200
	// firstRequest is how long an entity waits for its first request: it comes
	// with the start, so an entity without one was refused it.
	firstRequest = 10 * time.Second
)

// ClusterState is what an entity carries from run to run.
type ClusterState struct {
	Name          string            `json:"name"`
	UID           string            `json:"uid,omitempty"`
	Spec          *fleet.Spec       `json:"spec,omitempty"`
	Summary       fleet.Summary     `json:"summary"`
	Operations    []OperationRecord `json:"operations,omitempty"` // newest first
	Requests      []SeenRequest     `json:"requests,omitempty"`   // oldest first
	Endpoints     []fleet.Endpoint  `json:"endpoints,omitempty"`
	FinalSnapshot *fleet.Snapshot   `json:"finalSnapshot,omitempty"`
}

// SeenRequest is a request ID and the operation that it led to.
type SeenRequest struct {
	ID    string      `json:"id"`
	Reply SubmitReply `json:"reply"`
}

// cluster is one run of an entity.
type cluster struct {
	ClusterState
	// running is the operation in hand, from its submission to its end.
	running *fleet.Operation
	started bool // its child workflow has started
	cancel  workflow.CancelFunc
}

// Cluster is the entity workflow: it stands for one cluster for its whole life,
// runs one operation at a time as a child workflow, and sleeps in between. It
// continues as new after every operation, so its history stays short and a new
// version of this code takes over at a quiet moment. It ends when nothing of the
// cluster is left.
func Cluster(ctx workflow.Context, state ClusterState) (ClusterView, error) {
	c := &cluster{ClusterState: state}
	if c.UID == "" {
		c.UID = strings.ReplaceAll(workflow.GetInfo(ctx).FirstRunID, "-", "")[:10]
	}
	if err := c.listen(ctx); err != nil {
		return ClusterView{}, err
	}
	if c.Spec == nil {
		asked, err := workflow.AwaitWithTimeout(ctx, firstRequest, func() bool { return c.running != nil })
		if err != nil || !asked {
			return c.view(), err
		}
	}
	if err := workflow.Await(ctx, func() bool { return c.running != nil }); err != nil {
		return ClusterView{}, err
	}
	if err := c.run(ctx); err != nil {
		return ClusterView{}, err
	}
	if err := workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) }); err != nil {
		return ClusterView{}, err
	}
	if c.Summary.Phase == fleet.PhaseGone {
		return c.view(), nil
	}
	return ClusterView{}, workflow.NewContinueAsNewError(ctx, ClusterType, c.ClusterState)
}

func (c *cluster) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, QueryDescribe, func() (ClusterView, error) { return c.view(), nil }); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateSubmit, c.submit,
		workflow.UpdateHandlerOptions{Validator: c.validate}); err != nil {
		return err
	}
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateCancel, c.cancelOperation,
		workflow.UpdateHandlerOptions{Validator: c.validateCancel}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateProtect, c.protect,
		workflow.UpdateHandlerOptions{Validator: c.validateProtect})
}

// run runs the operation in hand as a child and settles what it leads to.
func (c *cluster) run(ctx workflow.Context) error {
	op := *c.running
	record := &c.Operations[0]
	before := c.Summary.Phase
	switch op.Kind {
	case fleet.CreateCluster:
		c.Summary.Phase = fleet.PhaseCreating
	case fleet.DecommissionCluster:
		c.Summary.Phase = fleet.PhaseDecommissioning
	}
	c.Summary.Operation, c.Summary.LastError = op.ID, ""
	if err := c.publish(ctx); err != nil {
		return err
	}
	child, cancel := workflow.WithCancel(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:          record.WorkflowID,
		WaitForCancellation: true,
		// An operation outlives even the loss of its entity: half done is worse.
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		TypedSearchAttributes: temporal.NewSearchAttributes(AttrCluster.ValueSet(c.Name)),
		StaticSummary:         string(op.Kind) + " " + c.Name,
	}))
	c.cancel = cancel
	future := workflow.ExecuteChildWorkflow(child, string(op.Kind), op)
	err := future.GetChildWorkflowExecution().Get(ctx, nil)
	c.started = true
	var result OperationResult
	if err == nil {
		err = future.Get(ctx, &result)
	}
	c.settle(ctx, op, before, result, err)
	return c.publish(ctx)
}

// settle records how the operation ended and what the cluster is now.
func (c *cluster) settle(ctx workflow.Context, op fleet.Operation, before fleet.Phase, result OperationResult, err error) {
	record := &c.Operations[0]
	record.Ended, record.State = workflow.Now(ctx), fleet.OperationDone
	if err != nil {
		failure := asError(err)
		record.State, record.Error, record.ErrorKind = fleet.OperationFailed, failure.Error(), failure.Kind
		detailsOf(err, &result)
		if temporal.IsCanceledError(err) {
			record.State, record.Error, record.ErrorKind = fleet.OperationCancelled, "", ""
		}
	}
	if !result.Summary.At.IsZero() {
		s := result.Summary
		s.Phase, s.Created = c.Summary.Phase, c.Summary.Created
		c.Summary, c.Endpoints = s, result.Endpoints
	}
	if result.FinalSnapshot != nil {
		c.FinalSnapshot = result.FinalSnapshot
	}
	c.Summary.Operation, c.Summary.LastError = "", record.Error
	c.Summary.Phase = phaseAfter(op.Kind, before, record.State, result)
	c.running, c.cancel, c.started = nil, nil, false
}

// phaseAfter says what a cluster is after an operation.
func phaseAfter(kind fleet.OperationKind, before fleet.Phase, state fleet.OperationState, result OperationResult) fleet.Phase {
	done := state == fleet.OperationDone
	switch {
	case result.Clean:
		return fleet.PhaseGone
	case kind == fleet.CreateCluster && done:
		return fleet.PhaseRunning
	case kind == fleet.CreateCluster:
		return fleet.PhaseIncomplete
	case kind == fleet.DecommissionCluster && before != fleet.PhaseDecommissioning &&
		result.Summary.Members > 0 && result.Summary.Healthy == result.Summary.Members:
		return before // it stopped before anything was touched
	case kind == fleet.DecommissionCluster:
		return fleet.PhaseDecommissioning
	}
	return before
}

// detailsOf reads the result that a failed or cancelled operation carries. One
// without leaves it as it is.
func detailsOf(err error, result *OperationResult) {
	var application *temporal.ApplicationError
	var cancelled *temporal.CanceledError
	switch {
	case errors.As(err, &cancelled) && cancelled.HasDetails():
		_ = cancelled.Details(result)
	case errors.As(err, &application) && application.HasDetails():
		_ = application.Details(result)
	}
}

// publish puts the cluster's row where lists see it.
func (c *cluster) publish(ctx workflow.Context) error {
	if err := workflow.UpsertMemo(ctx, map[string]any{MemoSummary: c.Summary}); err != nil {
		return err
	}
	operation := AttrOperation.ValueUnset()
	if c.running != nil {
		operation = AttrOperation.ValueSet(string(c.running.Kind))
	}
	return workflow.UpsertTypedSearchAttributes(ctx,
		AttrCluster.ValueSet(c.Name), AttrPhase.ValueSet(string(c.Summary.Phase)),
		AttrProvider.ValueSet(c.Summary.Provider), AttrRegion.ValueSet(c.Summary.Region),
		AttrEtcd.ValueSet(c.Summary.Etcd), AttrClass.ValueSet(string(c.Summary.Class)), operation)
}

func (c *cluster) view() ClusterView {
	v := ClusterView{
		Summary: c.Summary, Operations: slices.Clone(c.Operations),
		Endpoints: slices.Clone(c.Endpoints), FinalSnapshot: c.FinalSnapshot,
	}
	if c.Spec != nil {
		v.Spec = c.Spec.Clone()
	}
	return v
}

// operationID follows from the cluster and the request, so that no clock and no
// dice are needed and the same request is the same operation.
func (c *cluster) operationID(requestID string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(c.UID+"\x00"+requestID)))[:8]
}
