package workflows

import (
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// maxThen bounds what one request may queue; fleet.Changes needs four at most.
const maxThen = 10

// changes says whether an operation makes a running cluster what another spec asks for.
func changes(kind fleet.OperationKind) bool {
	switch kind {
	case fleet.UpscaleCluster, fleet.ScaleCluster, fleet.MigrateByLearner, fleet.UpgradeCluster, fleet.RollCluster:
		return true
	}
	return false
}

// validate refuses a request before it costs any history.
func (c *cluster) validate(_ workflow.Context, r SubmitRequest) error {
	if r.RequestID == "" {
		return refuse(fleet.Errorf(fleet.Invalid, "request", "requestId is missing: it makes the same request twice one operation"))
	}
	if _, again := c.seen(r.RequestID); again {
		return nil
	}
	if _, joins := c.joins(r); joins {
		return nil
	}
	for _, check := range []func(SubmitRequest) error{c.checkFree, c.checkKind, c.checkPhase, c.checkOptions, c.checkSpec, c.checkThen} {
		if err := check(r); err != nil {
			return refuse(err)
		}
	}
	return nil
}

// checkFree: one operation at a time.
func (c *cluster) checkFree(SubmitRequest) error {
	switch {
	case c.running != nil && c.running.cancelled:
		return fleet.Errorf(fleet.Conflict, c.Name, "%s %s is being cancelled", c.running.Kind, c.running.ID).
			WithRemedy("ask again when it has ended; watch it with flotilla watch %s", c.Name)
	case c.running != nil:
		return fleet.Errorf(fleet.Conflict, c.Name, "%s %s is running", c.running.Kind, c.running.ID).
			WithRemedy("watch it with flotilla watch %s, or end it with flotilla cancel %s", c.Name, c.Name)
	case len(c.Queue) > 0:
		return fleet.Errorf(fleet.Conflict, c.Name, "%s %s is about to begin", c.Queue[0].Kind, c.Queue[0].Operation).
			WithRemedy("watch it with flotilla watch %s, or end it with flotilla cancel %s", c.Name, c.Name)
	case c.Summary.Phase == fleet.PhaseGone: // this workflow ends in a moment, and the next one is another cluster
		return fleet.Errorf(fleet.Conflict, c.Name, "has just gone").WithRemedy("ask again")
	}
	return nil
}

// checkKind: there is such an operation, and something that it can be done to.
func (c *cluster) checkKind(r SubmitRequest) error {
	switch {
	case r.Resume:
		return c.checkResume(r)
	case !slices.Contains(fleet.OperationKinds, r.Kind):
		return fleet.Errorf(fleet.Invalid, "request", "there is no operation %q", r.Kind)
	case r.Kind.Beside():
		return fleet.Errorf(fleet.Invalid, "request", "%s is a workflow of its own and is not asked of the cluster's", r.Kind).
			WithRemedy("flotilla backup %s starts it", c.Name)
	case c.Spec == nil && r.Kind != fleet.CreateCluster && r.Kind != fleet.AdoptCluster:
		return fleet.Errorf(fleet.NotFound, c.Name, "does not exist")
	}
	return nil
}

// checkResume: there is something to go on with, and it stays as it was asked for.
func (c *cluster) checkResume(r SubmitRequest) error {
	u := c.unfinished()
	switch {
	case c.Spec == nil:
		return fleet.Errorf(fleet.NotFound, c.Name, "does not exist")
	case u == nil:
		return fleet.Errorf(fleet.Conflict, c.Name, "has no operation to go on with: all that were begun are done")
	case r.Spec != nil || len(r.Then) > 0 || !r.Options.Equal(fleet.Options{}) || r.Kind != "" && r.Kind != u.Kind:
		return fleet.Errorf(fleet.Invalid, "request", "%s %s goes on as it was asked for: leave kind, spec, options and then out", u.Kind, u.ID)
	}
	return nil
}

// checkPhase: the cluster is where the operation can begin.
func (c *cluster) checkPhase(r SubmitRequest) error {
	kind := r.Kind
	if r.Resume {
		kind = c.unfinished().Kind
	}
	phase := c.Summary.Phase
	needs := []fleet.Phase{fleet.PhaseRunning}
	switch kind {
	case fleet.CreateCluster, fleet.AdoptCluster:
		return c.checkNew(kind)
	case fleet.DecommissionCluster:
		return nil
	case fleet.StopCluster:
		needs = []fleet.Phase{fleet.PhaseRunning, fleet.PhaseStopping, fleet.PhaseStarting}
	case fleet.RecoverQuorum, fleet.RestoreCluster:
		needs = []fleet.Phase{fleet.PhaseRunning, fleet.PhaseStarting}
	case fleet.StartCluster:
		needs = []fleet.Phase{fleet.PhaseStopped, fleet.PhaseStopping, fleet.PhaseStarting}
	}
	if slices.Contains(needs, phase) {
		return nil
	}
	refused := fleet.Errorf(fleet.Conflict, c.Name, "is %s, and %s needs it to be %s", phase, kind, needs[0])
	switch phase {
	case fleet.PhaseRunning: // nothing is to be done
		return refused
	case fleet.PhaseStopped:
		return refused.WithRemedy("start it first: flotilla start %s", c.Name)
	}
	return refused.WithRemedy("go on with what stopped half way: flotilla resume %s", c.Name)
}

// checkNew: the name is free, or what it stands for is half made in just that way.
func (c *cluster) checkNew(kind fleet.OperationKind) error {
	u := c.unfinished()
	switch {
	case c.Spec == nil:
		return nil
	case c.Summary.Phase != fleet.PhaseIncomplete:
		return fleet.Errorf(fleet.Conflict, c.Name, "exists already (it is %s)", c.Summary.Phase).
			WithRemedy("choose another name, or see flotilla describe %s", c.Name)
	case u != nil && u.Kind != kind && (u.Kind == fleet.CreateCluster || u.Kind == fleet.AdoptCluster):
		return fleet.Errorf(fleet.Conflict, c.Name, "is half made by %s %s", u.Kind, u.ID).
			WithRemedy("go on with flotilla resume %s", c.Name)
	}
	return nil
}

// checkSpec: the spec is right, and asks for what the operation is there for.
func (c *cluster) checkSpec(r SubmitRequest) error {
	switch {
	case r.Resume:
		if c.unfinished().Kind == fleet.DecommissionCluster {
			return c.checkProtection()
		}
		return nil
	case r.Kind == fleet.CreateCluster || r.Kind == fleet.AdoptCluster:
		return c.checkWhole(r)
	case changes(r.Kind):
		return c.checkTarget(r)
	case r.Spec != nil && r.Kind == fleet.DecommissionCluster:
		return fleet.Errorf(fleet.Invalid, "request", "a decommission takes no spec")
	case r.Spec != nil:
		return fleet.Errorf(fleet.Invalid, "request", "%s takes no spec", r.Kind)
	case r.Kind == fleet.DecommissionCluster:
		return c.checkProtection()
	}
	return nil
}

func (c *cluster) checkProtection() error {
	if !c.Spec.DeletionProtection {
		return nil
	}
	return fleet.Errorf(fleet.Blocked, c.Name, "is protected from deletion").
		WithRemedy("turn that off first: flotilla protect %s --off", c.Name)
}

// checkWhole checks the spec of a cluster that is not there yet.
func (c *cluster) checkWhole(r SubmitRequest) error {
	switch {
	case r.Spec == nil:
		return fleet.Errorf(fleet.Invalid, "request", "spec is missing")
	case r.Spec.Name != c.Name:
		return fleet.Errorf(fleet.Invalid, "request", "name: the spec is of %q, the request of %q", r.Spec.Name, c.Name)
	}
	if err := r.Spec.WithDefaults().Validate().Err("spec of " + c.Name); err != nil {
		return err
	}
	if c.Spec != nil && !c.wants(*r.Spec) {
		return fleet.Errorf(fleet.Conflict, c.Name, "is half created with another spec").
			WithRemedy("go on with flotilla resume %s, or undo it with flotilla decommission %s", c.Name, c.Name)
	}
	return nil
}

// checkTarget checks the spec of a cluster that is to change.
func (c *cluster) checkTarget(r SubmitRequest) error {
	if r.Spec == nil && r.Kind != fleet.MigrateByLearner && r.Kind != fleet.RollCluster {
		return fleet.Errorf(fleet.Invalid, "request", "spec is missing: %s needs to know what the cluster is to be", r.Kind)
	}
	target := c.target(r)
	if r.Options.Certificates != "" && !target.Equal(*c.Spec) {
		return fleet.Errorf(fleet.Invalid, "request", "options.certificates: certificates and settings are changed one after the other")
	}
	if moved := len(r.Options.Members) > 0 && r.Kind == fleet.MigrateByLearner; moved && (target.Machine != c.Spec.Machine || target.Etcd != c.Spec.Etcd) {
		return fleet.Errorf(fleet.Invalid, "request", "options.members: machine and quota are of all members, so they change with none or all of them moved")
	}
	if len(r.Options.Members) > 0 && target.Place() != c.Spec.Place() {
		return fleet.Errorf(fleet.Invalid, "request", "options.members: a cluster moves to another region with all of its members")
	}
	return checkChange(*c.Spec, r.Kind, target)
}

// checkThen checks the operations that are to follow, each against the one before it.
func (c *cluster) checkThen(r SubmitRequest) error {
	switch {
	case len(r.Then) == 0:
		return nil
	case !changes(r.Kind):
		return fleet.Errorf(fleet.Invalid, "request", "then: nothing can follow %s", r.Kind)
	case len(r.Then) > maxThen:
		return fleet.Errorf(fleet.Invalid, "request", "then: %d operations are more than %d", len(r.Then), maxThen)
	}
	before := c.target(r)
	for i, change := range r.Then {
		if !changes(change.Kind) {
			return fleet.Errorf(fleet.Invalid, "request", "then[%d]: %q cannot follow another operation", i, change.Kind)
		}
		after := change.Spec.WithDefaults()
		if err := checkChange(before, change.Kind, after); err != nil {
			return err
		}
		before = after
	}
	return nil
}

// checkChange: from one spec to the other differs only what the operation changes.
// One that changes nothing is done at once, or is wanted for its own sake. A migration
// makes all members anew, so it may change what they run on as well.
func checkChange(before fleet.Spec, kind fleet.OperationKind, after fleet.Spec) error {
	if err := after.Validate().Err("spec of " + before.Name); err != nil {
		return err
	}
	needed, problems := fleet.Changes(before, after)
	if err := problems.Err("spec of " + before.Name); err != nil {
		return err
	}
	var others []string
	for _, change := range needed {
		anew := kind == fleet.MigrateByLearner && change.Kind == fleet.UpscaleCluster
		if change.Kind != kind && !anew {
			others = append(others, string(change.Kind))
		}
	}
	switch {
	case len(others) > 0:
		return fleet.Errorf(fleet.Conflict, before.Name, "the spec asks for more than %s: it needs %s too", kind, strings.Join(others, ", ")).
			WithRemedy("somebody else may have changed the cluster meanwhile; read its spec again")
	case !after.Amended(before).Equal(after):
		return fleet.Errorf(fleet.Conflict, before.Name, "the spec has other labels, policy, protection or way to change machines than the cluster").
			WithRemedy("change those first, without an operation; or read the spec again, if somebody else did meanwhile")
	}
	return nil
}
