package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The recording of changes, and the copying of what is stored.
const (
	// RecordShares is into how many shares a region's clusters are dealt, each recorded by
	// an activity: as many workers can share the work.
	RecordShares = 8
	// recordTimeout is longer than an activity goes on by itself, and stores what is left.
	recordTimeout = 70 * time.Minute
	// CopyShares is the same of copying: fewer, because a backup is copied once.
	CopyShares = 4
	// weekOfHours is after how many rounds of activities these workflows begin anew.
	weekOfHours = 7 * 24
)

// ChangesID is the ID of the workflow that records the changes of a region.
func ChangesID(provider, region string) string { return "changes/" + provider + "/" + region }

// CopiesID is the ID of the workflow that copies the backups of a region.
func CopiesID(provider, region string) string { return "copies/" + provider + "/" + region }

// ChangesState is what the recording of a region's changes, or the copying of its
// backups, is begun with.
type ChangesState struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
}

// RecordChanges records what is written to a region's clusters between their backups.
// There is one for each region where a spec asks for it, which the schedule of backups
// has begun. It is activities that record, each a share of the clusters, for an hour at
// a time; when a worker dies another one goes on behind what is stored.
func RecordChanges(ctx workflow.Context, state ChangesState) error {
	ctx = workflow.WithActivityOptions(ctx, shareOptions(ChangesQueue(state.Provider, state.Region)))
	return inShares(ctx, state, RecordShares, ChangesType, fleet.ActivityRecordChanges)
}

// CopyBackups copies the backups and changes of a region's clusters into the second store.
// There is one for each region whose workers have one, which they start. It is activities
// that copy, as they record. Where no worker has a second store any more, they wait.
func CopyBackups(ctx workflow.Context, state ChangesState) error {
	ctx = workflow.WithActivityOptions(ctx, shareOptions(CopiesQueue(state.Provider, state.Region)))
	return inShares(ctx, state, CopyShares, CopiesType, fleet.ActivityCopyBackups)
}

func shareOptions(queue string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           queue,
		StartToCloseTimeout: recordTimeout,
		HeartbeatTimeout:    heartbeatTimeout,
		WaitForCancellation: true,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: time.Minute},
	}
}

// inShares runs an activity for each share of a region's clusters, again and again, and
// begins anew after a week.
func inShares(ctx workflow.Context, state ChangesState, shares int, workflowType, activity string) error {
	rounds, running := 0, 0
	// At the end of this run all are ended, so that no share waits for another's.
	sharing, end := workflow.WithCancel(ctx)
	for share := range shares {
		running++
		workflow.Go(sharing, func(ctx workflow.Context) {
			defer func() { running-- }()
			defer end()
			request := fleet.RecordRequest{Provider: state.Provider, Region: state.Region, Share: share, Of: shares}
			for ; rounds < weekOfHours*shares && ctx.Err() == nil; rounds++ {
				err := workflow.ExecuteActivity(ctx, activity, request).Get(ctx, nil)
				if err != nil && ctx.Err() == nil {
					workflow.GetLogger(ctx).Warn("a share is not served for a while", "activity", activity, "share", share, "error", err)
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
	return workflow.NewContinueAsNewError(ctx, workflowType, state)
}
