package workflows

import (
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The schedule of backups.
const (
	// scheduleEvery is how often it is looked whose backup is due: the shortest interval
	// that a spec may ask for.
	scheduleEvery = time.Minute
	// scheduleEvents is after how many events of its history it begins anew, once none
	// of its backups runs: a tenth of what Temporal allows.
	scheduleEvents = 5000
	// dueTimeout covers a list of ten thousand clusters.
	dueTimeout = 2 * time.Minute
)

// SignalWantBackup asks the schedule for a backup that is due by no time: fleet.Operation.
const SignalWantBackup = "want-backup"

// ScheduleID is the ID of the workflow that takes the backups of a region.
func ScheduleID(provider, region string) string { return "backups/" + provider + "/" + region }

// ScheduleState is what the schedule of a region carries from run to run.
type ScheduleState struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
	// Looked is until when it has looked; what was due before is begun or waits.
	Looked time.Time `json:"looked,omitzero"`
	// Waiting are the backups that wait for others to end.
	Waiting []fleet.Operation `json:"waiting,omitempty"`
}

// ScheduleBackups takes the backups that the specs of a region's clusters ask for, so
// many at a time. There is one for each region, which its workers start. When a backup
// is due follows from the spec and the cluster's UID (fleet.BackupPolicy.Due), so all
// that it remembers is until when it has looked: what was missed while no worker ran is
// made up for, once.
func ScheduleBackups(ctx workflow.Context, state ScheduleState) error {
	if state.Looked.IsZero() {
		state.Looked = workflow.Now(ctx)
	}
	look := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           RegionQueue(state.Provider, state.Region),
		StartToCloseTimeout: dueTimeout,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: scheduleEvery},
	})
	wanted := workflow.GetSignalChannel(ctx, SignalWantBackup)
	running, atOnce := 0, 1
	for {
		if err := workflow.Sleep(ctx, scheduleEvery-time.Duration(workflow.Now(ctx).UnixNano())%scheduleEvery); err != nil {
			return err
		}
		request := fleet.DueRequest{Provider: state.Provider, Region: state.Region, After: state.Looked, Until: workflow.Now(ctx)}
		var reply fleet.DueReply
		if err := workflow.ExecuteActivity(look, fleet.ActivityDueBackups, request).Get(ctx, &reply); err != nil {
			return err
		}
		state.Looked, state.Waiting, atOnce = request.Until, append(state.Waiting, reply.Due...), max(1, reply.AtOnce)
		for op := (fleet.Operation{}); wanted.ReceiveAsync(&op); op = (fleet.Operation{}) {
			if !slices.ContainsFunc(state.Waiting, func(w fleet.Operation) bool { return w.ID == op.ID }) {
				state.Waiting = append(state.Waiting, op)
			}
		}
		full := workflow.GetInfo(ctx).GetCurrentHistoryLength() > scheduleEvents
		if full && running == 0 {
			return workflow.NewContinueAsNewError(ctx, ScheduleType, state)
		}
		begin := func() {}
		begin = func() {
			for !full && running < atOnce && len(state.Waiting) > 0 {
				op := state.Waiting[0]
				state.Waiting = state.Waiting[1:]
				running++
				workflow.Go(ctx, func(ctx workflow.Context) {
					scheduledBackup(ctx, op)
					running--
					begin()
				})
			}
		}
		begin()
		for _, rehearsal := range reply.Rehearse {
			if full {
				break // it is due again in an hour
			}
			running++
			workflow.Go(ctx, func(ctx workflow.Context) {
				scheduledRehearsal(ctx, rehearsal)
				running--
				begin()
			})
		}
	}
}

// scheduledRehearsal has a backup rehearsed. What becomes of it is recorded beside the
// backup; one that could not be made is due again.
func scheduledRehearsal(ctx workflow.Context, request fleet.RehearseRequest) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            RehearsalID(request.Spec.Name, request.ID),
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		StaticSummary:         "rehearsal of " + request.Spec.Name,
	})
	if err := workflow.ExecuteChildWorkflow(ctx, RehearseType, request).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("a scheduled rehearsal failed", "cluster", request.Spec.Name, "rehearsal", request.ID, "error", err)
	}
}

// scheduledBackup takes one backup. That it fails is in its own record; the next one is
// due soon enough.
func scheduledBackup(ctx workflow.Context, op fleet.Operation) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            OperationID(op.Cluster, op.Kind, op.ID),
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		TypedSearchAttributes: temporal.NewSearchAttributes(AttrCluster.ValueSet(op.Cluster)),
		StaticSummary:         string(op.Kind) + " " + op.Cluster,
	})
	if err := workflow.ExecuteChildWorkflow(ctx, string(op.Kind), op).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("a scheduled backup failed", "cluster", op.Cluster, "operation", op.ID, "error", err)
	}
}
