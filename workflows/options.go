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
	// listTimeout covers the manifests of some thousand backups, read one by one.
	listTimeout = 5 * time.Minute
	// syncTimeout covers 16 GiB at 10 MB/s, which a member gets from the leader and then
	// loads, twice: while it gets them, the leader may have to send a newer copy.
	syncTimeout = 60 * time.Minute
	// raftSnapshotTimeout covers ten thousand small entries at a few a second, so that
	// no client feels them: after so many a quiet member writes a raft snapshot.
	raftSnapshotTimeout = 60 * time.Minute
	// recoverTimeout covers 16 GiB at 20 MB/s: read, copied, served once and read again; or
	// fetched, made into a store, and read again.
	recoverTimeout = 60 * time.Minute
	// keysTimeout covers sixteen million small keys at a thousand a second, which is slow.
	keysTimeout = 6 * time.Hour
	// growTimeout: clouds lay out a larger disk within minutes, and say so late when
	// they are busy; the file system takes seconds.
	growTimeout = 60 * time.Minute
	// copyTimeout is how long a recovery waits to be told that the cloud takes a copy of a
	// disk, throttling included; it goes on without. Clients wait too, as a rule, and what is
	// broken may be the cloud.
	copyTimeout = 20 * time.Second
	// restartMargin is what a restart takes beside the member's own start, which the
	// policy bounds: stopping it, writing its configuration, asking a busy host.
	restartMargin = 5 * time.Minute
	// quickTimeout is for what takes a second and may have to wait out throttling.
	quickTimeout = 5 * time.Minute
	// publishTimeout covers a change of Route 53, which takes a minute as a rule, and
	// another try. What repairs does not wait that long.
	publishTimeout       = 6 * time.Minute
	publishRepairTimeout = 90 * time.Second
	// newerTimeout is for a step that a newer planner knows: as long as what takes
	// minutes, because nothing is known of it.
	newerTimeout = 10 * time.Minute
	// forecastTimeout: a person waits for the answer.
	forecastTimeout = 30 * time.Second
	// examineTimeout covers some fifty calls to a cloud that throttles, and a command on a host.
	examineTimeout = 3 * time.Minute
	// removeTimeout covers hundreds of hosts that end side by side, and then their disks.
	removeTimeout = 30 * time.Minute
)

// stepTimeout is how long a step may go on in all, retries included. After that it
// counts as failed and the planner says what follows. One that is not known is of a
// newer planner.
func stepTimeout(kind fleet.StepKind, policy fleet.Policy) (timeout time.Duration, known bool) {
	policy = policy.WithDefaults()
	switch kind {
	case fleet.LaunchHost, fleet.AttachDisk, fleet.ReleaseHost, fleet.DeleteDisk, fleet.StopHost, fleet.StartHost, fleet.ResizeHost:
		return launchTimeout, true
	case fleet.PrepareHost:
		return prepareTimeout, true
	case fleet.StartMember, fleet.StopMember, fleet.AddLearner, fleet.Promote, fleet.RemoveMember, fleet.UpdateMember:
		return memberTimeout, true
	case fleet.AwaitHealthy:
		return healthTimeout, true
	case fleet.AwaitSettled:
		return time.Duration(policy.Soak) + healthTimeout, true
	case fleet.AwaitInSync:
		return syncTimeout, true
	case fleet.RestartMember, fleet.RollBackMember, fleet.AdoptMember:
		return time.Duration(policy.ReadyWithin) + restartMargin, true
	case fleet.TakeRaftSnapshot:
		return raftSnapshotTimeout, true
	case fleet.SaveBackup, fleet.ExpireBackups, fleet.SaveFinalSnapshot, fleet.VerifyBackup, fleet.CompareKeys:
		return snapshotTimeout, true
	case fleet.RecoverMember, fleet.RestoreMember:
		return recoverTimeout, true
	case fleet.RestoreKeys:
		return keysTimeout, true
	case fleet.GrowDisk, fleet.RetypeDisk:
		return growTimeout, true
	case fleet.SnapshotDisk:
		return copyTimeout, true
	case fleet.CreateAuthority, fleet.ExtendAuthority, fleet.SwitchAuthority, fleet.RetireAuthority, fleet.DestroyAuthority,
		fleet.ImportAuthority, fleet.RenewCertificates, fleet.MoveLeader, fleet.DiscardData, fleet.DeleteDiskSnapshot, fleet.EnableDowngrade, fleet.CancelDowngrade,
		fleet.CloseSnapshot, fleet.ReopenSnapshot, fleet.AdoptHost:
		return quickTimeout, true
	}
	return newerTimeout, false
}

// retries is how a step is tried again. Which errors are worth it is said by the
// activities; a delay that a cloud asked for comes with the error.
var retries = &temporal.RetryPolicy{
	InitialInterval:    200 * time.Millisecond,
	BackoffCoefficient: 2,
	MaximumInterval:    15 * time.Second,
}

// stepOptions are the options of a step's activity, on the queue of its region.
func stepOptions(op fleet.Operation, step fleet.Step, policy fleet.Policy, id string) workflow.ActivityOptions {
	timeout, _ := stepTimeout(step.Kind, policy)
	return workflow.ActivityOptions{
		TaskQueue:              RegionQueue(op.Spec.Provider, op.Spec.Region),
		ActivityID:             id,
		ScheduleToCloseTimeout: timeout,
		HeartbeatTimeout:       heartbeatTimeout,
		RetryPolicy:            retries,
		WaitForCancellation:    true,
	}
}

// publishOptions are the options of changing a cluster's record.
func publishOptions(op fleet.Operation) workflow.ActivityOptions {
	timeout := publishRepairTimeout
	if mustPublish(op.Kind) {
		timeout = publishTimeout
	}
	return workflow.ActivityOptions{
		TaskQueue:              RegionQueue(op.Spec.Provider, op.Spec.Region),
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

// upkeepOptions are the options of what a person asks of a whole region. A worker that
// dies meanwhile is noticed, and another one begins anew.
func upkeepOptions(provider, region string, timeout time.Duration) workflow.ActivityOptions {
	options := askOptions(provider, region)
	options.ScheduleToCloseTimeout = timeout
	return options
}
