package plan_test

import (
	"fmt"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// entity is what a cluster's own workflow keeps between operations, and what it makes
// of a request: workflows/choices.go, settle.go and checks.go, as far as the planner
// is told of it.
type entity struct {
	uid        string
	spec       fleet.Spec
	phase      fleet.Phase
	unfinished *fleet.Operation
	next       int // the number of the first member that never existed
	ops        int
}

func newEntity(spec fleet.Spec) *entity {
	return &entity{uid: "uid-of-orders", spec: spec, phase: fleet.PhaseIncomplete, next: 1}
}

// operation gives the operation that a request asks for: a new one, or one that goes
// on with what stopped half way.
func (e *entity) operation(kind fleet.OperationKind, target fleet.Spec, options fleet.Options) fleet.Operation {
	e.ops++
	id := fmt.Sprintf("op-%d", e.ops)
	op := fleet.Operation{
		ID: id, Kind: kind, Cluster: e.spec.Name, UID: e.uid, Spec: target.Clone(), Options: options,
		Generation: id, Since: e.next, NextMember: e.next,
	}
	if kind != fleet.CreateCluster {
		before := e.spec.Clone()
		op.Before = &before
	}
	if u := e.unfinished; u != nil && u.Kind == kind && (kind == fleet.CreateCluster || kind == fleet.DecommissionCluster ||
		u.Options.Equal(options) && u.Spec.Equal(target)) {
		op.Generation, op.Since, op.Purchases = u.Generation, u.Since, slices.Clone(u.Purchases)
	}
	return op
}

// resume gives the operation that goes on with what stopped half way.
func (e *entity) resume() fleet.Operation {
	u := e.unfinished
	return e.operation(u.Kind, u.Spec, u.Options)
}

// input is what an operation's workflow begins with.
func input(op fleet.Operation) plan.Input {
	return plan.Input{
		Operation: op, Policy: fleet.Policy{}.WithDefaults(),
		Memory: fleet.Memory{Purchases: slices.Clone(op.Purchases), Highest: max(0, op.NextMember-1)},
	}
}

// met notes the members that an observation shows, as the workflow does.
func met(in *plan.Input, obs fleet.Observation) {
	note := func(member string) { in.Highest = max(in.Highest, fleet.MemberNumber(in.Operation.Cluster, member)) }
	for _, h := range obs.Hosts {
		note(h.Member())
	}
	for _, d := range obs.Disks {
		note(d.Member())
	}
	for _, m := range obs.Members {
		note(m.Name)
	}
}

// settle notes how an operation ended. One that was terminated says nothing of what it
// did.
func (e *entity) settle(in plan.Input, done, touched, silent bool) {
	op := in.Operation
	switch {
	case silent:
		e.next += 100
	case op.Kind == fleet.CreateCluster:
		e.next = max(e.next, in.Highest+1, op.Spec.Voters+op.Spec.Learners+1)
	default:
		e.next = max(e.next, in.Highest+1)
	}
	switch {
	case done:
		e.spec, e.unfinished = op.Spec.Clone(), nil
	case e.unfinished == nil || e.unfinished.Generation == op.Generation || touched || silent:
		unfinished := op
		if !silent {
			unfinished.Purchases = slices.Clone(in.Purchases)
		}
		e.unfinished = &unfinished
	}
	e.phase = phaseAfter(op.Kind, e.phase, done, touched || silent)
}

func phaseAfter(kind fleet.OperationKind, before fleet.Phase, done, touched bool) fleet.Phase {
	after := map[fleet.OperationKind][2]fleet.Phase{ // done, half done
		fleet.CreateCluster:       {fleet.PhaseRunning, fleet.PhaseIncomplete},
		fleet.StopCluster:         {fleet.PhaseStopped, fleet.PhaseStopping},
		fleet.StartCluster:        {fleet.PhaseRunning, fleet.PhaseStarting},
		fleet.DecommissionCluster: {fleet.PhaseGone, fleet.PhaseDecommissioning},
	}
	phases, changes := after[kind]
	if (kind == fleet.RecoverQuorum || kind == fleet.RestoreCluster) && done {
		return fleet.PhaseRunning
	}
	switch {
	case !changes || !done && !touched:
		return before
	case done:
		return phases[0]
	}
	return phases[1]
}

// may says whether an operation is let in at all.
func (e *entity) may(kind fleet.OperationKind) bool {
	switch kind {
	case fleet.CreateCluster:
		return e.phase == fleet.PhaseIncomplete
	case fleet.DecommissionCluster:
		return true
	case fleet.StopCluster:
		return e.phase == fleet.PhaseRunning || e.phase == fleet.PhaseStopping || e.phase == fleet.PhaseStarting
	case fleet.RecoverQuorum:
		return e.phase == fleet.PhaseRunning || e.phase == fleet.PhaseStarting
	case fleet.StartCluster:
		return e.phase == fleet.PhaseStopped || e.phase == fleet.PhaseStopping || e.phase == fleet.PhaseStarting
	}
	return e.phase == fleet.PhaseRunning
}

// changes says whether a spec is right, and asks for nothing but what an operation
// changes.
func (e *entity) changes(kind fleet.OperationKind, target fleet.Spec) bool {
	needed, problems := fleet.Changes(e.spec, target)
	for _, change := range needed {
		if change.Kind != kind {
			return false
		}
	}
	return len(problems) == 0 && len(target.Validate()) == 0
}
