package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// RehearsalID is the ID of the workflow of a rehearsal.
func RehearsalID(cluster, id string) string { return "rehearsal/" + cluster + "/" + id }

// RehearseBackup restores a backup for real: a cluster of one begins with it, on a host of
// its own, and what it serves is compared with the manifest. What becomes of it is recorded
// beside the backup. Whatever happens, what was bought is released.
func RehearseBackup(ctx workflow.Context, request fleet.RehearseRequest) (fleet.Backup, error) {
	spec := request.Spec
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              RegionQueue(spec.Provider, spec.Region),
		ScheduleToCloseTimeout: listTimeout,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            retries,
	})
	var found BackupsReply
	list := BackupsRequest{Provider: spec.Provider, Region: spec.Region, Clusters: []fleet.BackupsOf{{Cluster: spec.Name, UID: request.UID}}}
	if err := workflow.ExecuteActivity(ctx, fleet.ActivityListBackups, list).Get(ctx, &found); err != nil {
		return fleet.Backup{}, err
	}
	b, err := toRehearse(request, found.Backups)
	if err != nil {
		return b, temporal.NewApplicationErrorWithOptions(err.Error(), string(fleet.KindOf(err)), temporal.ApplicationErrorOptions{NonRetryable: true})
	}
	scratch := request.Scratch(b)
	result := fleet.RehearsalRequest{Scratch: scratch, Began: workflow.Now(ctx)}
	create, failed := OperationResult{}, error(nil)
	if err := workflow.ExecuteChildWorkflow(childOf(ctx, scratch), string(scratch.Kind), scratch).Get(ctx, &create); err != nil {
		failed = err
		detailsOf(err, &create)
		result.Failed = notRestored(create)
	}
	for _, s := range create.Progress.Steps {
		switch s.Step.Kind {
		case fleet.RestoreMember:
			result.Began = s.Started
		case fleet.StartMember, fleet.AwaitHealthy: // the second is left out where the look after the first sees that it serves
			result.Took = max(result.Took, fleet.Duration(s.Ended.Sub(result.Began)))
		}
	}
	if failed == nil || result.Failed != "" {
		b.Rehearsal = &fleet.Rehearsal{}
		failed = workflow.ExecuteActivity(ctx, fleet.ActivityCompareRehearsal, result).Get(ctx, b.Rehearsal)
	}
	return b, unreleased(failed, release(ctx, scratch))
}

// unreleased is the error of a rehearsal and of releasing what was bought for it: neither
// hides the other, since somebody has to see to what is still paid for.
func unreleased(failed, left error) error {
	if failed == nil || left == nil {
		return cmp.Or(failed, left)
	}
	text := sentence(failed) + "; and " + sentence(left)
	return temporal.NewApplicationErrorWithOptions(text, string(fleet.Unavailable), temporal.ApplicationErrorOptions{NonRetryable: true, Cause: failed})
}

// sentence is what an activity or a child says of its failure, without Temporal's own words.
func sentence(err error) string {
	var said *temporal.ApplicationError
	if errors.As(err, &said) {
		return said.Message()
	}
	return err.Error()
}

// toRehearse gives the backup that is meant.
func toRehearse(request fleet.RehearseRequest, found []fleet.Backup) (fleet.Backup, error) {
	for i := len(found) - 1; i >= 0; i-- {
		b := found[i]
		if request.Backup == "" && b.Damaged == "" || request.Backup != "" && (strings.HasPrefix(b.ID, request.Backup) || b.Operation == request.Backup) {
			return b, nil
		}
	}
	return fleet.Backup{}, fleet.Errorf(fleet.NotFound, "backup "+request.Backup+" of "+request.Spec.Name, "there is none that counts").
		WithRemedy("flotilla backups %s shows what there is", request.Spec.Name)
}

// notRestored says what is wrong with the backup, if that is why it could not be restored:
// it is not the backup's fault that no zone has a host left.
func notRestored(create OperationResult) string {
	for _, s := range create.Progress.Steps {
		if s.Step.Kind == fleet.RestoreMember && s.State == fleet.StepFailed {
			return s.Error
		}
	}
	return ""
}

// release gives back what was bought, also when the rehearsal is cancelled.
func release(ctx workflow.Context, scratch fleet.Operation) error {
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	scratch.Kind, scratch.Options = fleet.DecommissionCluster, fleet.Options{SkipFinalSnapshot: true, Policy: fleet.Policy{Approval: fleet.ApprovalNever}}
	before := scratch.Spec
	scratch.Before = &before
	if err := workflow.ExecuteChildWorkflow(childOf(ctx, scratch), string(scratch.Kind), scratch).Get(ctx, nil); err != nil {
		return temporal.NewApplicationErrorWithOptions(
			fmt.Sprintf("what was bought for %s is not released: %s; flotilla sweep finds it", scratch.Cluster, sentence(err)), string(fleet.Unavailable),
			temporal.ApplicationErrorOptions{NonRetryable: true, Cause: err})
	}
	return nil
}

func childOf(ctx workflow.Context, op fleet.Operation) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            OperationID(op.Cluster, op.Kind, op.ID),
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WaitForCancellation:   true,
		TypedSearchAttributes: temporal.NewSearchAttributes(AttrCluster.ValueSet(op.Cluster)),
		StaticSummary:         string(op.Kind) + " " + op.Cluster,
	})
}
