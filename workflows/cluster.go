package workflows

import (
	"crypto/sha256"
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
	// Unfinished is the latest operation that changed something and did not end well, with
	// what the next one has to know to go on with it.
	Unfinished *fleet.Operation `json:"unfinished,omitempty"`
	// Queue are the operations to run next, in their order.
	Queue []QueuedOperation `json:"queue,omitempty"`
	// NextMember is the number of the first member that never existed; zero in the state
	// of a cluster that no operation has changed since it was created by an early version.
	NextMember int `json:"nextMember,omitempty"`
	// Elsewhere are the places other than the spec's where something of the cluster may be.
	Elsewhere []fleet.Place `json:"elsewhere,omitempty"`
	// AsideUntil is when what restores and recoveries put aside is discarded; zero: not
	// before a person does.
	AsideUntil time.Time `json:"asideUntil,omitzero"`
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
	running *inHand
}

// inHand is an operation that was taken in hand.
type inHand struct {
	fleet.Operation
	// settled is set when its workflow has started, or could not be started
	// because of failed: from then on the one who asked can have an answer.
	settled bool
	failed  error
	// cancelled says that it was asked to stop. cancel does it, once there is
	// something to stop.
	cancelled bool
	cancel    workflow.CancelFunc
}

// Cluster is the entity workflow: it stands for one cluster for its whole life,
// runs one operation at a time as a child workflow, then those that are queued, and
// sleeps in between. It continues as new after every operation, so its history stays short and a new
// version of this code takes over at a quiet moment. It ends when nothing of the
// cluster is left, and not before: cancelling it from outside cancels the
// operation in hand, because without it nobody knows what the cluster was to be.
func Cluster(ctx workflow.Context, state ClusterState) (ClusterView, error) {
	c := &cluster{ClusterState: state}
	if c.UID == "" {
		c.UID = incarnation(workflow.GetInfo(ctx))
	}
	c.takeNext(ctx) // before any request is heard: some are as soon as they can be
	if err := c.listen(ctx); err != nil {
		return ClusterView{}, err
	}
	outside := ctx
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		outside.Done().Receive(ctx, nil)
		if c.running != nil {
			c.stop("by a cancellation of the cluster's workflow")
		}
	})
	workflow.Go(ctx, c.hearEndpoints)
	if err := c.awaitRequest(ctx, outside); err != nil {
		return ClusterView{}, err
	}
	// Requests go on arriving while the last answers are given. One that was
	// accepted then has to be done before this run may end, or it would be lost.
	for c.running != nil {
		if err := c.run(ctx); err != nil {
			return ClusterView{}, err
		}
		if err := workflow.Await(ctx, func() bool { return c.running != nil || workflow.AllHandlersFinished(ctx) }); err != nil {
			return ClusterView{}, err
		}
	}
	if c.Spec == nil || c.Summary.Phase == fleet.PhaseGone {
		return c.view(), nil
	}
	return ClusterView{}, workflow.NewContinueAsNewError(ctx, ClusterType, c.ClusterState)
}

// awaitRequest sleeps until there is an operation to do, or a reason to end this
// run without one: nobody asked for anything, or it was cancelled from outside.
func (c *cluster) awaitRequest(ctx, outside workflow.Context) error {
	woken := func() bool {
		return c.running != nil || outside.Err() != nil && workflow.AllHandlersFinished(ctx)
	}
	if c.Spec != nil {
		return c.sleep(ctx, woken)
	}
	if _, err := workflow.AwaitWithTimeout(ctx, firstRequest, woken); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return c.running != nil || workflow.AllHandlersFinished(ctx) })
}

// incarnation tells this cluster from all that ever had its name. It is a hash,
// because the first characters of a run ID are a clock.
func incarnation(info *workflow.Info) string {
	first := info.FirstRunID
	if first == "" {
		first = info.WorkflowExecution.RunID
	}
	return digest(first)[:10]
}

func (c *cluster) listen(ctx workflow.Context) error {
	if err := workflow.SetQueryHandler(ctx, QueryDescribe, func() (ClusterView, error) { return c.view(), nil }); err != nil {
		return err
	}
	if err := workflow.SetQueryHandler(ctx, QueryEndpoints, func() ([]fleet.Endpoint, error) { return slices.Clone(c.Endpoints), nil }); err != nil {
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
	if err := workflow.SetUpdateHandlerWithOptions(ctx, UpdateProtect, c.protect,
		workflow.UpdateHandlerOptions{Validator: c.validateProtect}); err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, UpdateAmend, c.amend,
		workflow.UpdateHandlerOptions{Validator: c.validateAmend})
}

// hearEndpoints keeps what the running operation says of where clients should connect.
func (c *cluster) hearEndpoints(ctx workflow.Context) {
	said := workflow.GetSignalChannel(ctx, SignalEndpoints)
	for {
		var signal EndpointsSignal
		said.Receive(ctx, &signal)
		if c.running != nil && c.running.ID == signal.Operation {
			c.Endpoints = signal.Endpoints
		}
	}
}

// run runs the operation in hand as a child and settles what it leads to.
func (c *cluster) run(ctx workflow.Context) error {
	op := c.running
	before := c.Summary.Phase
	c.Summary.Phase = phaseDuring(op.Kind, before)
	c.Summary.Operation, c.Summary.LastError = op.ID, ""
	if err := c.publish(ctx); err != nil {
		return err
	}
	result, err := c.child(ctx, op)
	c.settle(ctx, op, before, result, err)
	return c.publish(ctx)
}

// child runs an operation's workflow to its end.
func (c *cluster) child(ctx workflow.Context, op *inHand) (OperationResult, error) {
	ctx, op.cancel = workflow.WithCancel(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:          OperationID(c.Name, op.Kind, op.ID),
		WaitForCancellation: true,
		// An operation outlives even the loss of its entity: half done is worse.
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		TypedSearchAttributes: temporal.NewSearchAttributes(AttrCluster.ValueSet(c.Name)),
		StaticSummary:         string(op.Kind) + " " + c.Name,
	}))
	var result OperationResult
	if op.cancelled { // before there was anything to stop
		op.settled, op.failed = true, temporal.NewCanceledError()
		return result, op.failed
	}
	future := workflow.ExecuteChildWorkflow(ctx, string(op.Kind), op.Operation)
	op.failed = future.GetChildWorkflowExecution().Get(ctx, nil)
	op.settled = true
	if op.failed != nil {
		return result, op.failed
	}
	err := future.Get(ctx, &result)
	return result, err
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
		Unfinished: c.unfinished(), Queue: slices.Clone(c.Queue), NextMember: c.nextMember(), AsideUntil: c.AsideUntil,
	}
	if c.Spec != nil {
		v.Spec, v.Elsewhere = c.Spec.Clone(), c.elsewhere()
	}
	return v
}

// operationID follows from the cluster and the request, so that no clock and no
// dice are needed and the same request is the same operation.
func (c *cluster) operationID(requestID string) string {
	return digest(c.UID, requestID)[:8]
}

func digest(parts ...string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, "\x00"))))
}
