package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The timeouts, each with the reason for its value.
const (
	// heartbeatTimeout is how long a dead worker goes unnoticed. Every wait beats
	// at least once a second, so this allows for a few beats lost to a busy machine.
	heartbeatTimeout = 5 * time.Second
	// lookTimeout bounds one look, waiting for a clearer one included: clouds
	// take minutes to settle what they are asked, rarely more.
	lookTimeout = 5 * time.Minute
	// lookPatience is how long looks may go on failing before the operation
	// stops and says so; it can be submitted again.
	lookPatience = 20 * time.Minute
	// launchTimeout: a VM takes one to three minutes to boot; ten mean that it will not.
	launchTimeout = 10 * time.Minute
	// prepareTimeout covers a download of 30 MB over a bad line.
	prepareTimeout = 10 * time.Minute
	// memberTimeout: a member with 8 GiB to load starts in a minute or two.
	memberTimeout = 5 * time.Minute
	// healthTimeout covers elections and the 5 s health window of etcd many times over.
	healthTimeout = 5 * time.Minute
	// snapshotTimeout covers 16 GiB at 10 MB/s, stored and restored.
	snapshotTimeout = 60 * time.Minute
	// quickTimeout is for what takes a second and may have to wait out throttling.
	quickTimeout = 5 * time.Minute
	// forecastTimeout: a person waits for the answer.
	forecastTimeout = 30 * time.Second
)

// stepTimeouts is how long a step may go on in all, retries included. After that
// it counts as failed and the planner says what follows.
var stepTimeouts = map[fleet.StepKind]time.Duration{
	fleet.CreateAuthority:   quickTimeout,
	fleet.LaunchHost:        launchTimeout,
	fleet.AttachDisk:        launchTimeout,
	fleet.PrepareHost:       prepareTimeout,
	fleet.StartMember:       memberTimeout,
	fleet.AddLearner:        memberTimeout,
	fleet.AwaitHealthy:      healthTimeout,
	fleet.SaveFinalSnapshot: snapshotTimeout,
	fleet.StopMember:        memberTimeout,
	fleet.CloseSnapshot:     quickTimeout,
	fleet.ReleaseHost:       launchTimeout,
	fleet.DeleteDisk:        launchTimeout,
	fleet.DestroyAuthority:  quickTimeout,
}

// retries is how a step is tried again. Which errors are worth it is said by the
// activities; a delay that a cloud asked for comes with the error.
var retries = &temporal.RetryPolicy{
	InitialInterval:    200 * time.Millisecond,
	BackoffCoefficient: 2,
	MaximumInterval:    15 * time.Second,
}

// stepOptions are the options of a step's activity, on the queue of its region.
func stepOptions(op fleet.Operation, step fleet.Step, id string) workflow.ActivityOptions {
	timeout, known := stepTimeouts[step.Kind]
	if !known {
		timeout = launchTimeout // a step that a newer planner knows
	}
	return workflow.ActivityOptions{
		TaskQueue:              RegionQueue(op.Spec.Provider, op.Spec.Region),
		ActivityID:             id,
		ScheduleToCloseTimeout: timeout,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            retries,
		WaitForCancellation:    true,
	}
}

// lookOptions are the options of a look.
func lookOptions(op fleet.Operation, id string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:              RegionQueue(op.Spec.Provider, op.Spec.Region),
		ActivityID:             id,
		StartToCloseTimeout:    lookTimeout,
		ScheduleToCloseTimeout: lookPatience,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            retries,
	}
}

// askOptions are the options of what a person waits for: few tries, an answer soon.
func askOptions(provider, region string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:              RegionQueue(provider, region),
		ScheduleToCloseTimeout: forecastTimeout,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            retries,
	}
}
