package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// BackupCluster stores a snapshot of a cluster. It is not a child of the cluster's own
// workflow: it changes nothing there, and must not keep a failover waiting for as long
// as a large store takes. The cluster may change, or go, while it runs; then the step
// is tried with another member, or fails, and nothing half stored counts.
func BackupCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}

// ListBackups lists what the object store has of clusters of one region.
func ListBackups(ctx workflow.Context, request BackupsRequest) (BackupsReply, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              RegionQueue(request.Provider, request.Region),
		ScheduleToCloseTimeout: listTimeout,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            retries,
	})
	var reply BackupsReply
	err := workflow.ExecuteActivity(ctx, fleet.ActivityListBackups, request).Get(ctx, &reply)
	return reply, err
}

// VerifyBackup reads a backup to its last byte and compares every digest.
func VerifyBackup(ctx workflow.Context, request BackupRequest) (fleet.Backup, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:              RegionQueue(request.Provider, request.Region),
		ScheduleToCloseTimeout: snapshotTimeout,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            retries,
		WaitForCancellation:    true,
	})
	var reply fleet.Backup
	err := workflow.ExecuteActivity(ctx, fleet.ActivityCheckBackup, request).Get(ctx, &reply)
	return reply, err
}
