package starter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// verifyPatience bounds the reading of one backup: what a worker takes at most, and a
// while to wait for one.
const verifyPatience = 70 * time.Minute

// beside starts an operation that runs beside those of the cluster's own workflow. The
// same request ID twice is one operation.
func (c *Client) beside(ctx context.Context, cluster string, kind fleet.OperationKind, request Request) (workflows.SubmitReply, error) {
	view, err := c.Describe(ctx, cluster)
	if err != nil {
		return workflows.SubmitReply{}, err
	}
	if view.Summary.Phase == fleet.PhaseGone {
		return workflows.SubmitReply{}, fleet.Errorf(fleet.NotFound, cluster, "is decommissioned: there is nothing left of it")
	}
	if at := request.Options.At; at != nil {
		if err := at.Check(); err != nil {
			return workflows.SubmitReply{}, err
		}
	}
	submit := c.submission(kind, request)
	operation := inherit(fleet.Operation{Kind: kind, Cluster: cluster, Options: request.Options}, view)
	id := fmt.Sprintf("%x", sha256.Sum256([]byte(operation.UID+"\x00"+submit.RequestID)))[:8]
	operation.ID, operation.Generation, operation.By = id, id, c.by
	operation.Asked = time.Now().UTC().Truncate(time.Second)
	reply := workflows.SubmitReply{Operation: id, Kind: kind, WorkflowID: workflows.OperationID(cluster, kind, id)}
	err = c.ask(ctx, cluster, func(ctx context.Context) error {
		_, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: reply.WorkflowID, TaskQueue: workflows.TaskQueue,
			WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			WorkflowExecutionErrorWhenAlreadyStarted: true,
			TypedSearchAttributes:                    temporal.NewSearchAttributes(workflows.AttrCluster.ValueSet(cluster)),
			StaticSummary:                            string(kind) + " " + cluster,
		}, string(kind), operation)
		var started *serviceerror.WorkflowExecutionAlreadyStarted
		if errors.As(err, &started) {
			reply.Joined, err = true, nil
		}
		return err
	})
	return reply, err
}

// runningBeside gives the operation that runs beside those of a cluster, if one does.
func (c *Client) runningBeside(ctx context.Context, cluster string) (ref Ref, runs bool, err error) {
	query := "WorkflowType=" + quote(string(fleet.BackupCluster)) + " AND ExecutionStatus='Running' AND " +
		workflows.AttrCluster.GetName() + "=" + quote(cluster)
	err = c.scan(ctx, query, func(execution *workflow.WorkflowExecutionInfo) (bool, error) {
		ref, runs = parseOperationID(execution.GetExecution().GetWorkflowId())
		return !runs, nil
	})
	return ref, runs, err
}

// cancelBeside cancels an operation that runs beside those of a cluster.
func (c *Client) cancelBeside(ctx context.Context, ref Ref) (workflows.SubmitReply, error) {
	err := c.ask(ctx, ref.String(), func(ctx context.Context) error { return c.temporal.CancelWorkflow(ctx, ref.WorkflowID, "") })
	return workflows.SubmitReply{Operation: ref.ID, Kind: ref.Kind, WorkflowID: ref.WorkflowID}, err
}

// Backups lists the backups of clusters of one provider and region, by cluster and
// then oldest first, and the gaps between the changes that were recorded. The clusters
// need not exist any more.
func (c *Client) Backups(ctx context.Context, request workflows.BackupsRequest) (workflows.BackupsReply, error) {
	var reply workflows.BackupsReply
	err := c.run(ctx, "backups/"+request.Region, "the list of backups", answerTimeout,
		region{request.Provider, request.Region}, workflows.BackupsType, request, &reply)
	return reply, err
}

// VerifyBackup has a backup read to its last byte. It gives what the backup is, with an
// error of kind fleet.Lost when it is damaged and fleet.NotFound when there is none. A
// cancelled ctx ends the reading. How it stands is told meanwhile, unless tell is nil.
func (c *Client) VerifyBackup(ctx context.Context, request workflows.BackupRequest, tell func(string)) (fleet.Backup, error) {
	if request.Repair {
		request.By = c.by
	}
	return awaitResult[fleet.Backup](ctx, c, "backup of "+request.Cluster, "verify/"+request.Cluster+"/"+NewRequestID()[:8], workflows.VerifyBackupType, request,
		region{request.Provider, request.Region}, verifyPatience, tell)
}

// RehearseBackup has a backup restored for real on a host that is bought for it, and
// compared with its manifest. It gives what the backup is and what became of that. A
// cancelled ctx ends it, and releases the host. tell is as of VerifyBackup.
func (c *Client) RehearseBackup(ctx context.Context, request fleet.RehearseRequest, tell func(string)) (fleet.Backup, error) {
	request.ID, request.By = NewRequestID()[:8], c.by
	return awaitResult[fleet.Backup](ctx, c, "rehearsal of "+request.Spec.Name, workflows.RehearsalID(request.Spec.Name, request.ID), workflows.RehearseType, request,
		region{request.Spec.Provider, request.Spec.Region}, 0, tell) // one that is ended by a timeout would release nothing
}

// CompareKeys says what a RestorePrefixes would do to which keys, and changes nothing. All
// of the backup is read for that. The errors are those of Plan and VerifyBackup. A
// cancelled ctx ends the reading. tell is as of VerifyBackup.
func (c *Client) CompareKeys(ctx context.Context, operation fleet.Operation, tell func(string)) (fleet.KeyComparison, error) {
	view, err := c.Describe(ctx, operation.Cluster)
	if err != nil {
		return fleet.KeyComparison{}, err
	}
	operation = inherit(operation, view)
	operation.ID = NewRequestID()[:8] // names a directory of its own
	keys, err := awaitResult[fleet.KeyRestore](ctx, c, "comparison of keys of "+operation.Cluster, "compare/"+operation.Cluster+"/"+operation.ID,
		workflows.CompareKeysType, operation, region{operation.Spec.Provider, operation.Spec.Region}, verifyPatience, tell)
	return keys.Compared, err
}

// awaitResult runs a workflow that may take long to its end. A cancelled ctx ends it.
func awaitResult[T any](
	ctx context.Context, c *Client, resource, workflowID, kind string, request any, at region, within time.Duration, tell func(string),
) (b T, err error) {
	var id string
	err = c.ask(ctx, resource, func(ctx context.Context) error {
		run, err := c.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
			ID: workflowID, TaskQueue: workflows.TaskQueue, WorkflowExecutionTimeout: within,
		}, kind, request)
		if err == nil {
			id = run.GetID()
		}
		return err
	}, at)
	if err != nil {
		return b, err
	}
	if tell != nil {
		var watch sync.WaitGroup
		watching, end := context.WithCancel(ctx)
		watch.Go(func() { c.tellPending(watching, id, tell) })
		defer watch.Wait()
		defer end()
	}
	err = c.temporal.GetWorkflow(ctx, id, "").Get(ctx, &b)
	switch said := saidByWorkflow(err); {
	case said != nil:
		return b, said
	case err != nil && ctx.Err() != nil:
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
		defer cancel()
		_ = c.temporal.CancelWorkflow(stop, id, "") // it ends by its own timeout otherwise
		return b, context.Cause(ctx)
	}
	return b, c.explain(err, resource)
}

// tellPending tells what a workflow does, and whatever it runs as its children, until ctx ends.
func (c *Client) tellPending(ctx context.Context, workflowID string, tell func(string)) {
	for last := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pollSlow):
		}
		answer, err := c.temporal.DescribeWorkflowExecution(ctx, workflowID, "")
		if err != nil {
			continue // it goes on without being seen
		}
		text := ""
		for _, activity := range answer.GetPendingActivities() {
			text = c.pendingText(activity)
		}
		for _, child := range answer.GetPendingChildren() {
			ref, ok := parseOperationID(child.GetWorkflowId())
			if !ok {
				continue
			}
			text = string(ref.Kind)
			if p, err := c.Progress(ctx, ref); err == nil {
				for _, s := range p.Steps {
					if s.State == fleet.StepRunning {
						text = strings.TrimSuffix(fmt.Sprintf("%s: %s, %s", ref.Kind, s.Step.Kind, s.Note), ", ")
					}
				}
			}
		}
		if text != "" && text != last {
			tell(text)
			last = text
		}
	}
}

// pendingText says how an activity stands, and why it is tried again.
func (c *Client) pendingText(activity *workflow.PendingActivityInfo) string {
	var beat fleet.StepBeat
	if details := activity.GetHeartbeatDetails().GetPayloads(); len(details) > 0 {
		c.decode(details[0], &beat)
	}
	text := beat.Note
	if beat.Percent != nil && *beat.Percent > 0 {
		text += fmt.Sprintf(", %d %%", *beat.Percent)
	}
	if last := activity.GetLastFailure(); last != nil {
		text = fmt.Sprintf("attempt %d, after: %s", activity.GetAttempt(), failureText(last)+nextTry(activity))
	}
	return text
}
