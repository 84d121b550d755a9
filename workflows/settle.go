package workflows

import (
	"errors"
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// skippedMembers is how many member numbers are never given, after an operation that
// did not say which ones it used. None makes as many members.
const skippedMembers = 100

// settle records how the operation ended and what the cluster is now.
func (c *cluster) settle(ctx workflow.Context, op *inHand, before fleet.Phase, result OperationResult, err error) {
	record := &c.Operations[0]
	record.Ended, record.State = workflow.Now(ctx), fleet.OperationDone
	if err != nil {
		failure := asError(err)
		record.State, record.Error, record.ErrorKind = fleet.OperationFailed, failure.Error(), failure.Kind
		detailsOf(err, &result)
		if temporal.IsCanceledError(err) {
			record.State, record.Error, record.ErrorKind = fleet.OperationCancelled, "", ""
		}
	}
	record.Marks, record.Left, record.Lost = result.Progress.Marks, result.Left, result.Lost
	if !result.Summary.At.IsZero() {
		s := result.Summary
		s.Phase, s.Created = c.Summary.Phase, c.Summary.Created
		c.Summary, c.Endpoints = s, result.Endpoints
	}
	if result.FinalSnapshot != nil {
		c.FinalSnapshot = result.FinalSnapshot
	}
	c.Summary.Operation, c.Summary.LastError = "", record.Error
	c.Summary.Phase = phaseAfter(op.Kind, before, record.State, result)
	if op.failed != nil {
		c.Summary.Phase = phaseUnstarted(op.Kind, before, op.failed)
		c.forget(op.ID)
	}
	c.keepNumber(op, result)
	c.keepSpec(op, record, result)
	c.keepAside(op, record, result)
	if record.State != fleet.OperationDone {
		record.Dropped = c.dropQueue()
	}
	c.running = nil
}

// keepNumber sees to it that no member gets the name of one that existed.
func (c *cluster) keepNumber(op *inHand, result OperationResult) {
	next := max(c.nextMember(), result.HighestMember+1)
	switch {
	case op.failed != nil && !isTwin(op.failed): // nothing ran
	case result.silent():
		next += skippedMembers
	case op.Kind == fleet.CreateCluster: // also by a version that did not say which it used
		next = max(next, op.Spec.Voters+op.Spec.Learners+1)
	}
	c.NextMember = next
}

// keepSpec makes the target the cluster's spec once it is what was asked for, and
// else keeps the operation, to go on with it. One that changed nothing is no reason to
// forget another one that did. What was amended meanwhile stays.
func (c *cluster) keepSpec(op *inHand, record *OperationRecord, result OperationResult) {
	switch {
	case record.State == fleet.OperationDone:
		spec := op.Spec.Amended(*c.Spec)
		c.Spec, c.Unfinished, c.Elsewhere = &spec, nil, result.Elsewhere
	case op.failed != nil: // nothing was begun
	case c.Unfinished == nil || c.Unfinished.Generation == op.Generation || result.touched():
		unfinished := op.Operation
		if !result.silent() {
			unfinished.Purchases, unfinished.Keys = result.Purchases, result.Keys
		}
		c.Unfinished = &unfinished
	}
	if record.State != fleet.OperationDone && (op.failed == nil || isTwin(op.failed)) {
		c.Elsewhere = places(c.Spec.Place(), append(append(slices.Clone(c.Elsewhere), op.Elsewhere...), op.Spec.Place())...)
	}
	if c.Summary.Phase == fleet.PhaseGone {
		c.Unfinished = nil
	}
	c.Summary.Voters, c.Summary.Class = c.Spec.Voters, c.Spec.Class
	c.Summary.Provider, c.Summary.Region = c.Spec.Provider, c.Spec.Region
	c.Summary.MaxLag = c.Spec.MaxLag()
	c.noteBackups()
}

// noteBackups puts the spec's backup policy where whoever takes backups finds it.
func (c *cluster) noteBackups() {
	c.Summary.Backup = nil
	c.Summary.Rehearse = nil
	if policy := c.Spec.Backup; policy != (fleet.BackupPolicy{}) {
		c.Summary.Backup = &policy
	}
	if c.Spec.Backup.Rehearse > 0 {
		c.Summary.Rehearse = &fleet.RehearseOn{Zones: c.Spec.Zones, Machine: c.Spec.Machine, Quota: c.Spec.Etcd.Quota}
	}
}

// phaseDuring says what a cluster is while an operation runs.
func phaseDuring(kind fleet.OperationKind, before fleet.Phase) fleet.Phase {
	switch kind {
	case fleet.CreateCluster, fleet.AdoptCluster:
		return fleet.PhaseCreating
	case fleet.StopCluster:
		return fleet.PhaseStopping
	case fleet.StartCluster:
		return fleet.PhaseStarting
	case fleet.DecommissionCluster:
		return fleet.PhaseDecommissioning
	}
	return before
}

// phaseAfter says what a cluster is after an operation.
func phaseAfter(kind fleet.OperationKind, before fleet.Phase, state fleet.OperationState, result OperationResult) fleet.Phase {
	done := state == fleet.OperationDone
	switch kind {
	case fleet.CreateCluster, fleet.AdoptCluster:
		switch {
		case result.Clean:
			return fleet.PhaseGone
		case done:
			return fleet.PhaseRunning
		}
		return fleet.PhaseIncomplete
	case fleet.DecommissionCluster:
		if result.Clean || done {
			return fleet.PhaseGone
		}
	case fleet.StopCluster:
		if done {
			return fleet.PhaseStopped
		}
	case fleet.StartCluster, fleet.RecoverQuorum, fleet.RestoreCluster:
		if done {
			return fleet.PhaseRunning
		}
	}
	if result.touched() {
		return phaseDuring(kind, before)
	}
	return before
}

// phaseUnstarted says what a cluster is when an operation's workflow did not start.
func phaseUnstarted(kind fleet.OperationKind, before fleet.Phase, err error) fleet.Phase {
	switch {
	case isTwin(err) && (kind == fleet.CreateCluster || kind == fleet.AdoptCluster):
		return fleet.PhaseIncomplete // whatever the other one made stays known
	case isTwin(err):
		return phaseDuring(kind, before)
	case before == "":
		return fleet.PhaseGone // nothing was ever made
	}
	return before
}

// isTwin says whether an operation did not start because one of its ID runs.
func isTwin(err error) bool {
	var twin *temporal.ChildWorkflowExecutionAlreadyStartedError
	return errors.As(err, &twin)
}

// touched says whether an operation changed anything that a decommission or a stop
// ends. One that did not say what it did may have done everything.
func (r OperationResult) touched() bool {
	return r.silent() || slices.ContainsFunc(r.Progress.Steps, func(p fleet.StepProgress) bool {
		return p.Step.Kind != fleet.SaveFinalSnapshot && !p.Step.Looks()
	})
}

// silent says that the operation ended without a word on what it did.
func (r OperationResult) silent() bool { return r.Progress.Operation == "" }

// detailsOf reads the result that a failed or cancelled operation carries. One
// without leaves it as it is.
func detailsOf(err error, result *OperationResult) {
	var application *temporal.ApplicationError
	var cancelled *temporal.CanceledError
	switch {
	case errors.As(err, &cancelled) && cancelled.HasDetails():
		_ = cancelled.Details(result)
	case errors.As(err, &application) && application.HasDetails():
		_ = application.Details(result)
	}
}
