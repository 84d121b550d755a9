package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// fake is a control plane that notes what is asked of it.
type fake struct {
	plane // what is not defined here is not asked for, or the test panics
	views map[string]workflows.ClusterView
	lists starter.List
	reply workflows.PlanReply
	blind error                       // why nothing can be planned
	away  map[string]fleet.StoresAway // why a store could not be asked for backups
	// progress is what watching shows, one after the other, before it ends with result
	// and err. While an operation waits at the end of it, only ctx ends the watching.
	progress []fleet.Progress
	result   workflows.OperationResult
	err      error
	dropped  bool
	// recipient is whom to seal to.
	recipient string

	checks []fleet.Check
	strays starter.Strays
	// beside are operations that ran beside the cluster's own.
	beside []starter.OperationEntry
	// copies are those of disks, and noCopies why there are none to be seen.
	copies   workflows.InventoryReply
	noCopies error

	planned  []fleet.Operation
	compared []fleet.Operation
	keys     fleet.KeyComparison
	begins   []*fleet.Restore
	swept    []starter.Stray
	created  []fleet.Spec
	changed  []change
	adopted  []change
	resumed  []string
	amended  []fleet.Spec
	marked   []string
	watched  []string
	describe func(n int) // called with how often it was called
	asked    int
}

type change struct {
	kind    fleet.OperationKind
	spec    *fleet.Spec
	request starter.Request
}

func (f *fake) Describe(_ context.Context, cluster string) (workflows.ClusterView, error) {
	if f.asked++; f.describe != nil {
		f.describe(f.asked)
	}
	view, ok := f.views[cluster]
	if !ok {
		return view, &fleet.Error{Kind: fleet.NotFound, Message: cluster + " does not exist"}
	}
	return view, nil
}

func (f *fake) Clusters(context.Context, starter.Filter) (starter.List, error) { return f.lists, nil }

func (f *fake) Beside(context.Context, string, int) ([]starter.OperationEntry, error) {
	return f.beside, nil
}

func (f *fake) FindOperation(_ context.Context, name string) (starter.Ref, error) {
	ref, ok := starter.Running(f.views[name])
	if !ok {
		return ref, &fleet.Error{Kind: fleet.NotFound, Message: name}
	}
	return ref, nil
}

func (f *fake) Backups(context.Context, workflows.BackupsRequest) (workflows.BackupsReply, error) {
	return workflows.BackupsReply{Backups: []fleet.Backup{
		{ID: "b1", Cluster: "orders", UID: "u1", Taken: begun0, Etcd: "3.7.3", Revision: 100, Reach: &fleet.Reach{Revision: 150}}, {ID: "b2", Cluster: "orders", UID: "u1", Taken: begun0, Etcd: "3.7.3"},
		{ID: "b3", Cluster: "orders", UID: "u1", Damaged: "it is cut short"},
	}, Away: f.away}, nil
}

func (f *fake) Endpoints(_ context.Context, cluster string) ([]fleet.Endpoint, error) {
	return f.views[cluster].Endpoints, nil
}

func (f *fake) Plan(_ context.Context, operation fleet.Operation) (workflows.PlanReply, error) {
	f.planned = append(f.planned, operation)
	return f.reply, f.blind
}

func (f *fake) CompareKeys(_ context.Context, operation fleet.Operation, _ func(string)) (fleet.KeyComparison, error) {
	f.compared = append(f.compared, operation)
	return f.keys, nil
}

func (f *fake) Create(_ context.Context, spec fleet.Spec, request starter.Request) (workflows.SubmitReply, error) {
	f.created, f.begins = append(f.created, spec), append(f.begins, request.Options.Restore)
	return workflows.SubmitReply{Operation: "c0de", Kind: fleet.CreateCluster, WorkflowID: "w/c0de"}, nil
}

func (f *fake) Examine(context.Context, string, string) ([]fleet.Check, error) { return f.checks, nil }

func (f *fake) DiskSnapshots(context.Context, workflows.ClusterView) (workflows.InventoryReply, error) {
	return f.copies, f.noCopies
}

func (f *fake) Strays(context.Context, string, string, time.Duration) (starter.Strays, error) {
	return f.strays, nil
}

func (f *fake) RemoveStrays(_ context.Context, _, _ string, strays []starter.Stray) (workflows.RemoveReply, error) {
	f.swept = append(f.swept, strays...)
	var reply workflows.RemoveReply
	for _, s := range strays {
		reply.Removed = append(reply.Removed, s.ID)
	}
	return reply, nil
}

func (f *fake) Recipient(context.Context, string, string) (string, error) { return f.recipient, nil }

func (f *fake) Adopt(_ context.Context, spec fleet.Spec, request starter.Request) (workflows.SubmitReply, error) {
	f.adopted = append(f.adopted, change{fleet.AdoptCluster, &spec, request})
	return workflows.SubmitReply{Operation: "ad09", Kind: fleet.AdoptCluster, WorkflowID: "w/ad09"}, nil
}

func (f *fake) Change(_ context.Context, _ string, kind fleet.OperationKind, spec *fleet.Spec, request starter.Request) (workflows.SubmitReply, error) {
	f.changed = append(f.changed, change{kind, spec, request})
	reply := workflows.SubmitReply{Operation: "7f3a", Kind: kind, WorkflowID: "w/7f3a"}
	for i, next := range request.Then {
		reply.Then = append(reply.Then, workflows.OperationRef{Operation: fmt.Sprintf("then-%d", i+1), Kind: next.Kind})
	}
	return reply, nil
}

func (f *fake) Resume(_ context.Context, cluster, _ string) (workflows.SubmitReply, error) {
	f.resumed = append(f.resumed, cluster)
	return workflows.SubmitReply{Operation: "7f3b", Kind: f.views[cluster].Unfinished.Kind, WorkflowID: "w/7f3b"}, nil
}

func (f *fake) Amend(_ context.Context, _ string, spec fleet.Spec) error {
	f.amended = append(f.amended, spec)
	return nil
}

func (f *fake) Progress(_ context.Context, ref starter.Ref) (fleet.Progress, error) {
	if len(f.progress) == 0 {
		return fleet.Progress{Operation: ref.ID, Kind: ref.Kind, Cluster: ref.Cluster, State: fleet.OperationRunning}, nil
	}
	return f.progress[len(f.progress)-1], nil
}

func (f *fake) Watch(ctx context.Context, ref starter.Ref, show func(fleet.Progress)) (workflows.OperationResult, error) {
	f.watched = append(f.watched, ref.ID)
	for _, p := range f.progress {
		show(p)
		if ctx.Err() != nil {
			return workflows.OperationResult{}, context.Cause(ctx)
		}
	}
	return f.result, f.err
}

func (f *fake) AwaitBegun(context.Context, starter.Ref) (bool, error) { return !f.dropped, nil }

func (f *fake) Approve(_ context.Context, ref starter.Ref, why string) error {
	return f.mark("approve", ref, why)
}

func (f *fake) Reject(_ context.Context, ref starter.Ref, why string) error {
	return f.mark("reject", ref, why)
}

func (f *fake) Pause(_ context.Context, ref starter.Ref, why string) error {
	return f.mark("pause", ref, why)
}

func (f *fake) ResumePaused(_ context.Context, ref starter.Ref, why string) error {
	return f.mark("resume", ref, why)
}

func (f *fake) mark(what string, ref starter.Ref, why string) error {
	f.marked = append(f.marked, what+" "+ref.ID+": "+why)
	return f.err
}

func (f *fake) WorkflowURL(string) string { return "" }
func (f *fake) Close()                    {}

// said is how a command ended, and what it said.
type said struct {
	code     int
	out, err string
}

// do runs the CLI against a control plane. person says that somebody is there to
// answer, with what is in stdin.
func do(t *testing.T, client plane, person bool, stdin string, args ...string) said {
	t.Helper()
	var out, err bytes.Buffer
	a := &app{
		in: strings.NewReader(stdin), out: terminal.Plain(&out), err: terminal.Plain(&err), person: person,
		connect: func(context.Context, starter.Options) (plane, error) {
			if client == nil {
				return nil, errors.New("the control plane was asked")
			}
			return client, nil
		},
		now: func() time.Time { return clock.Now },
	}
	code := a.run(t.Context(), args)
	require.NotContains(t, err.String(), "made a mistake of its own", "%v", args)
	return said{code, out.String(), err.String()}
}

// running gives a control plane with a cluster named orders that runs as ordersSpec says.
func running() *fake {
	view := workflows.ClusterView{Summary: orders, Spec: ordersSpec.Clone(), NextMember: 4}
	for _, name := range []string{"orders-1", "orders-2", "orders-3"} {
		view.Endpoints = append(view.Endpoints, fleet.Endpoint{Member: name, Address: "127.0.0." + name[7:], ClientPort: 2379, PeerPort: 2380})
	}
	return &fake{
		views: map[string]workflows.ClusterView{"orders": view},
		lists: starter.List{Clusters: []fleet.Summary{orders}},
		reply: workflows.PlanReply{Exists: true, Waves: [][]fleet.Step{{step(fleet.AwaitSettled, "")}}, Members: []string{"orders-1", "orders-2", "orders-3"}},
		keys:  fleet.KeyComparison{Revision: 900, Create: 3, Change: 2, Same: 5, Stay: 1},
		result: workflows.OperationResult{Summary: orders, Endpoints: view.Endpoints,
			Progress: fleet.Progress{Operation: "7f3a", Started: begun0, Ended: begun0.Add(time.Minute)}},
	}
}

// busy gives one whose cluster has an operation that stands as the progress says.
func busy(p fleet.Progress) *fake {
	f := running()
	p.Operation, p.Cluster, p.State = "7f3a", "orders", fleet.OperationRunning
	if p.Kind == "" {
		p.Kind = fleet.MigrateByLearner
	}
	view := f.views["orders"]
	view.Summary.Operation = "7f3a"
	view.Operations = []workflows.OperationRecord{{ID: "7f3a", Kind: p.Kind, WorkflowID: "w/7f3a", State: fleet.OperationRunning, Started: begun0}}
	f.views["orders"], f.progress = view, []fleet.Progress{p}
	return f
}
