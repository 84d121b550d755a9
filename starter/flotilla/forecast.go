package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// forecast is what is asked of a cluster, in the operations that it comes to, and what
// the first of them would do.
type forecast struct {
	view workflows.ClusterView
	// source is the document that it comes from; empty for a command line.
	source string
	// fields are the fields of a spec that flags of the command line set, with each flag.
	fields map[string]string
	// amend is the spec with what needs no operation, where that differs.
	amend *fleet.Spec
	// operation is the first one, with Before. Its kind is empty where only the spec is
	// amended.
	operation fleet.Operation
	// changes are all operations, that one first; none for one that changes no spec.
	changes []fleet.Change
	options fleet.Options
	// reply is what it would do.
	reply workflows.PlanReply
	// at is the point in time that a backup is made of first, from the one that options name.
	at *fleet.PointInTime
	// keys is what it would do to which keys, where that was looked at.
	keys *fleet.KeyComparison
}

// ask has the control plane say what would happen.
func (f *forecast) ask(ctx context.Context, client plane) error {
	operation := f.operation
	operation.Before = nil // the client knows it better
	reply, err := client.Plan(ctx, operation)
	reply.Problems = inFlags(reply.Problems, f.fields)
	f.reply = reply
	return err
}

// compareKeys has the control plane say how many keys would be put back.
func (f *forecast) compareKeys(ctx context.Context, client plane, tell func(string)) error {
	operation := f.operation
	operation.Before = nil
	compared, err := client.CompareKeys(ctx, operation, tell)
	if err != nil {
		return err
	}
	if f.keys = &compared; compared.Todo() == 0 {
		f.reply.Waves = nil
	}
	return nil
}

// nothing says that the cluster is as it is asked for, and that its spec and its phase
// say so too.
func (f *forecast) nothing() bool {
	phase := fleet.PhaseRunning
	switch f.operation.Kind {
	case fleet.CreateCluster, fleet.AdoptCluster, fleet.DecommissionCluster:
		return false
	case fleet.StopCluster:
		phase = fleet.PhaseStopped
	}
	same := f.operation.Before != nil && f.operation.Before.Equal(f.operation.Spec)
	clear := len(f.reply.Waves) == 0 && f.reply.Blocked == "" && len(f.reply.Problems) == 0
	left := starter.Continues(f.operation, f.view) // its end has to be recorded
	return f.view.Summary.Phase == phase && same && clear && f.amend == nil && len(f.changes) < 2 && left == nil
}

// differences are those of the first operation, with what is amended before it.
func (f *forecast) differences() []starter.Difference {
	if f.operation.Before == nil {
		return nil
	}
	if f.operation.Kind == "" && f.amend != nil {
		return starter.Differences(*f.operation.Before, *f.amend)
	}
	return starter.Differences(*f.operation.Before, f.operation.Spec)
}

// later are the operations after the first one.
func (f *forecast) later() []fleet.Operation {
	var all []fleet.Operation
	for i := 1; i < len(f.changes); i++ {
		all = append(all, fleet.Operation{
			Kind: f.changes[i].Kind, Cluster: f.operation.Cluster, Before: &f.changes[i-1].Spec, Spec: f.changes[i].Spec,
		})
	}
	return all
}

// waits says what the operation will wait for before it acts, as far as the policy of the
// request and of the spec tells; the fleet's own is known to the workers alone.
func (f *forecast) waits(now time.Time) []string {
	if len(f.reply.Waves) == 0 {
		return nil
	}
	var notes []string
	policy, op := f.options.Policy.Over(f.operation.Spec.Policy), f.operation
	if op.Kind.Beside() { // as the workers see it
		policy.Approval = f.options.Policy.Approval
	}
	if op.Kind == fleet.RestorePrefixes && f.keys != nil && f.keys.Change+f.keys.Delete > 0 && !f.options.AcceptLoss {
		notes = append(notes, "it waits for approval: keys lose what they have now (--accept-loss does not wait)")
	}
	destroys := slices.ContainsFunc(slices.Concat(f.reply.Waves...), fleet.Step.Destroys)
	if policy.Approval == fleet.ApprovalAlways || policy.Approval == fleet.ApprovalDestructive && (destroys || op.Kind == fleet.StopCluster) {
		notes = append(notes, "it waits for approval (policy: "+string(policy.Approval)+")")
	}
	if opens := policy.Opens(now); op.Kind.Planned() && !f.options.AnyTime && opens.After(now) {
		notes = append(notes, "it waits for a maintenance window, which opens "+opens.Format(windowTime)+" (in "+terminal.Age(opens.Sub(now))+
			"); with --any-time it does not")
	}
	return notes
}

// planned is a forecast as it is printed.
type planned struct {
	Cluster     string               `json:"cluster"`
	Kind        fleet.OperationKind  `json:"kind,omitempty"`
	Differences []starter.Difference `json:"differences,omitempty"`
	workflows.PlanReply
	// At is the point in time that a backup is made of first.
	At *fleet.PointInTime `json:"at,omitempty"`
	// Keys is what it would do to which keys.
	Keys *fleet.KeyComparison `json:"keys,omitempty"`
	// Waits say what it will wait for before it acts.
	Waits []string `json:"waits,omitempty"`
	// Then are the operations that follow.
	Then []plannedNext `json:"then,omitempty"`
}

// plannedNext is an operation after the one that is forecast. What it would do
// depends on what that one leaves.
type plannedNext struct {
	Kind        fleet.OperationKind  `json:"kind"`
	Differences []starter.Difference `json:"differences,omitempty"`
}

func (f *forecast) shown(now time.Time) planned {
	p := planned{
		Cluster: f.operation.Cluster, Kind: f.operation.Kind, Differences: f.differences(), PlanReply: f.reply, At: f.at, Keys: f.keys, Waits: f.waits(now),
	}
	for _, next := range f.later() {
		p.Then = append(p.Then, plannedNext{next.Kind, starter.Differences(*next.Before, next.Spec)})
	}
	return p
}

// resource names what a problem is about.
func (f *forecast) resource() string {
	if f.source != "" {
		return f.source
	}
	return "what is asked of " + f.operation.Cluster
}

// showPlan prints a forecast; one that cannot run is an error, in json and yaml
// after the forecast itself.
func (a *app) showPlan(output format, f forecast) error {
	refused := refusal(f.resource(), f.reply)
	if refused != nil && output == asTable {
		return refused
	}
	if err := a.print(output, f.shown(a.now()), func() string { return planText(a.out, f, a.now()) }); err != nil {
		return err
	}
	return refused
}

// makeBackup has the backup of a point in time made that a restore begins with, if it
// begins with one, and has it restored. It is waited for in any case.
func (a *app) makeBackup(ctx context.Context, client plane, f *forecast, w waiting) error {
	if f.at == nil {
		return nil
	}
	of := f.options.Restore
	request := starter.Request{Options: fleet.Options{At: f.at}}
	if w.requestID != "" {
		request.ID = w.requestID + "/backup"
	}
	reply, err := client.Change(ctx, of.Cluster, fleet.BackupCluster, nil, request)
	if err != nil {
		return err
	}
	result, err := a.follow(ctx, client, starter.RefOf(of.Cluster, reply), job{}, w)
	if err != nil {
		return err
	}
	if result.Backup == nil {
		return fmt.Errorf("the backup of %s as it was at %s ended without a word on what it is", of.Cluster, f.at)
	}
	made := fleet.RestoreOf(*result.Backup)
	made.Prefixes, made.Exact = of.Prefixes, of.Exact
	f.options.Restore, f.operation.Options.Restore = made, made
	a.say("made %s", made)
	return nil
}

// carryOut asks for all that a forecast is about and follows it to its end.
func (a *app) carryOut(ctx context.Context, client plane, f forecast, w waiting, output format) error {
	refs, err := place(ctx, client, f, w.requestID)
	if err != nil {
		return err
	}
	if len(refs) == 0 { // only the spec was amended
		return a.print(output, f.shown(a.now()), func() string { return fmt.Sprintf("%s is amended\n", f.operation.Cluster) })
	}
	return a.finish(ctx, client, job{refs: refs, waves: f.reply.Waves, spec: f.operation.Spec}, w, output)
}

// place asks for the operations of a forecast and gives them in their order.
func place(ctx context.Context, client plane, f forecast, requestID string) ([]starter.Ref, error) {
	cluster := f.operation.Cluster
	if f.amend != nil {
		if err := client.Amend(ctx, cluster, *f.amend); err != nil {
			return nil, err
		}
	}
	request := starter.Request{ID: requestID, Options: f.options}
	var reply workflows.SubmitReply
	var err error
	switch f.operation.Kind {
	case "":
		return nil, nil
	case fleet.CreateCluster:
		reply, err = client.Create(ctx, f.operation.Spec, request)
	case fleet.AdoptCluster:
		reply, err = client.Adopt(ctx, f.operation.Spec, request)
	default:
		if len(f.changes) > 1 {
			request.Then = f.changes[1:]
		}
		reply, err = client.Change(ctx, cluster, f.operation.Kind, f.target(), request)
	}
	if err != nil {
		return nil, err
	}
	refs := []starter.Ref{starter.RefOf(cluster, reply)}
	for _, next := range reply.Then {
		refs = append(refs, starter.Ref{Cluster: cluster, ID: next.Operation, Kind: next.Kind, WorkflowID: next.WorkflowID})
	}
	return refs, nil
}

// target is the spec that goes with the request, for the kinds that change one.
func (f *forecast) target() *fleet.Spec {
	switch f.operation.Kind {
	case fleet.UpscaleCluster, fleet.ScaleCluster, fleet.MigrateByLearner, fleet.UpgradeCluster, fleet.RollCluster:
		return &f.operation.Spec
	}
	return nil
}
