package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// end settles the operation's progress and result. After a failure or a
// cancellation it looks once more, to say what is left.
func (o *operation) end(ctx workflow.Context, err error) (OperationResult, error) {
	// What was done before the cancellation arrived is done.
	cancelled := err != nil && (temporal.IsCanceledError(err) || ctx.Err() != nil)
	o.ending = true
	ctx, _ = workflow.NewDisconnectedContext(ctx)
	state, failure := fleet.OperationDone, (*fleet.Error)(nil)
	if err != nil {
		failure = asError(err)
		state, o.progress.LastError = fleet.OperationFailed, failure.Error()
		if cancelled {
			state, o.progress.LastError = fleet.OperationCancelled, "cancelled"
		}
		o.lastLook(ctx)
		o.progress.Doing = ""
	}
	if terr := o.tellEndpoints(ctx); terr != nil && err == nil {
		return OperationResult{}, terr
	}
	o.progress.State, o.progress.Ended = state, workflow.Now(ctx)
	result := OperationResult{
		Progress: o.progress, Summary: o.last.Summary, Endpoints: o.last.Endpoints,
		FinalSnapshot: o.last.Observation.FinalSnapshot, Backup: o.last.Observation.Backup, Lost: o.lost(),
		Clean: o.looked() && o.last.Empty(), Purchases: o.memory.Purchases, HighestMember: o.memory.Highest,
		Elsewhere: o.last.Elsewhere,
	}
	if err == nil && putsAside(o.op.Kind) {
		result.KeepAside = o.last.Policy.KeepAside
	}
	if err == nil || o.memory.Keys.Begun() { // else whoever goes on compares anew
		result.Keys = o.memory.Keys
	}
	if err != nil {
		result.Left = o.left()
	}
	if perr := o.publish(ctx); perr != nil && err == nil {
		return result, perr
	}
	switch {
	case cancelled:
		return result, temporal.NewCanceledError(result)
	case err != nil:
		return result, temporal.NewApplicationErrorWithOptions(failure.Error(), string(failure.Kind),
			temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{result}, Cause: err})
	}
	return result, nil
}

// looked says that the last look shows how things are now.
func (o *operation) looked() bool { return !o.last.Observation.At.IsZero() && !o.acted }

// lastLook is a look that may fail: then the one before stands.
func (o *operation) lastLook(ctx workflow.Context) {
	o.progress.Doing = "looking at what is left"
	options := lookOptions(o.op, "last/"+fleet.ActivityLook)
	options.ScheduleToCloseTimeout = forecastTimeout
	ctx = workflow.WithActivityOptions(ctx, options)
	var look fleet.Look
	if workflow.ExecuteActivity(ctx, fleet.ActivityLook, o.question()).Get(ctx, &look) == nil {
		o.saw(look)
	}
}

// left says what an operation that did not end well leaves half done.
func (o *operation) left() []string {
	if !o.looked() {
		return []string{"what it left could not be looked at"}
	}
	return o.last.Left
}

// lost says what a decommission destroyed that is in no snapshot, and what a recovery did
// not bring back.
func (o *operation) lost() string {
	if o.op.Kind == fleet.RecoverQuorum {
		return o.notRecovered()
	}
	snapshot := o.last.Observation.FinalSnapshot
	if o.op.Kind != fleet.DecommissionCluster || o.furthest == 0 {
		return ""
	}
	if snapshot == nil {
		return fmt.Sprintf("all data, up to revision %d: the final snapshot was waived", o.furthest)
	}
	if o.furthest > snapshot.Revision {
		return fmt.Sprintf("at least %d revisions, written after the final snapshot at revision %d",
			o.furthest-snapshot.Revision, snapshot.Revision)
	}
	return ""
}

// notRecovered says what a recovery did not bring back, as far as that can be known: in
// revisions, by the last one that any look, recorder, backup or disk had seen, and in
// time. Empty where it chose nothing, because a quorum was whole, or did not get so far.
func (o *operation) notRecovered() string {
	if len(o.sources) == 0 || o.recovered == 0 {
		return ""
	}
	from := o.sources[0]
	text := fmt.Sprintf("recovered from %s %s at revision %d; ", from.Kind, from.Name, o.recovered)
	switch lost := from.Newest() - o.recovered; {
	case lost > 0:
		text += fmt.Sprintf("lost: at least %d revisions, for revision %d was seen before", lost, from.Newest())
	default:
		text += fmt.Sprintf("no revision is known that is lost: the last one seen before was %d", from.Newest())
	}
	switch {
	case from.Kind == fleet.SourceBackup && from.Over > 0:
		text += fmt.Sprintf("; whatever was written after %s is lost, up to %s of writes", from.Until.UTC().Format(time.DateTime+" MST"),
			from.OverAtMost())
	case !from.Sure && from.Kind != fleet.SourceBackup:
		text += "; voters that are gone may have acknowledged writes that nobody else had, in their last moments"
	}
	if from.Unasked {
		text += "; the first store could not be asked, and may have NEWER backups and changes"
	}
	return text
}
