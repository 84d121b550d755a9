package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The recording of changes.
const (
	// RecordShares is into how many shares a region's clusters are dealt, each recorded by
	// an activity: as many workers can share the work.
	RecordShares = 8
	// recordTimeout is longer than an activity goes on by itself, and stores what is left.
	recordTimeout = 70 * time.Minute
	// recordRounds is after how many activities it begins anew: a week of them.
	recordRounds = 7 * 24 * RecordShares
)

// ChangesID is the ID of the workflow that records the changes of a region.
func ChangesID(provider, region string) string { return "changes/" + provider + "/" + region }

// ChangesState is what the recording of a region's changes is begun with.
type ChangesState struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
}

// RecordChanges records what is written to a region's clusters between their backups.
// There is one for each region where a spec asks for it, which the schedule of backups
// has begun. It is activities that record, each a share of the clusters, for an hour at
// a time; when a worker dies another one goes on behind what is stored.
func RecordChanges(ctx workflow.Context, state ChangesState) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue:           ChangesQueue(state.Provider, state.Region),
		StartToCloseTimeout: recordTimeout,
		HeartbeatTimeout:    heartbeatTimeout,
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
	})
	rounds, running := 0, 0
	// At the end of this run all are ended, so that no share waits for another's.
	recording, end := workflow.WithCancel(ctx)
	for share := range RecordShares {
		running++
		workflow.Go(recording, func(ctx workflow.Context) {
			defer func() { running-- }()
			defer end()
			request := fleet.RecordRequest{Provider: state.Provider, Region: state.Region, Share: share, Of: RecordShares}
			for ; rounds < recordRounds && ctx.Err() == nil; rounds++ {
				err := workflow.ExecuteActivity(ctx, fleet.ActivityRecordChanges, request).Get(ctx, nil)
				if err != nil && ctx.Err() == nil {
					workflow.GetLogger(ctx).Warn("changes are not recorded for a while", "share", share, "error", err)
					_ = workflow.Sleep(ctx, time.Minute) // it ends with ctx, which is looked at
				}
			}
		})
	}
	if err := workflow.Await(ctx, func() bool { return running == 0 }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, ChangesType, state)
}
