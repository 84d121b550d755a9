package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Create creates a cluster and waits for it.
func (e *Env) Create(spec fleet.Spec) workflows.OperationResult {
	e.t.Helper()
	reply, err := e.Client.Create(e.t.Context(), spec, starter.Request{})
	require.NoError(e.t, err, "asking for %s", spec.Name)
	return e.Await(starter.RefOf(spec.Name, reply))
}

// Decommission takes a cluster down and waits for it.
func (e *Env) Decommission(cluster string, options fleet.Options) workflows.OperationResult {
	e.t.Helper()
	reply, err := e.Client.Submit(e.t.Context(), cluster, fleet.DecommissionCluster, starter.Request{Options: options})
	require.NoError(e.t, err, "asking to decommission %s", cluster)
	return e.Await(starter.RefOf(cluster, reply))
}

// Await waits until an operation is done.
func (e *Env) Await(ref starter.Ref) workflows.OperationResult {
	e.t.Helper()
	result, err := e.Client.Watch(e.t.Context(), ref, func(fleet.Progress) {})
	if err != nil {
		for _, w := range e.workers {
			e.t.Logf("worker %d wrote:\n%s", w.PID(), w.Log())
		}
	}
	require.NoError(e.t, err, "%s", ref)
	return result
}

// Running is an operation in hand. Its waiting asks no worker anything, so that
// many at once cost nothing.
type Running struct {
	Ref    starter.Ref
	e      *Env
	ended  chan struct{}
	result workflows.OperationResult
	into   any // what its workflow gives: &result, but for a rehearsal
	err    error
}

// Begin asks for an operation on a cluster; only CreateCluster takes a spec. It
// goes on after the test has lost interest; a control plane that is not there is
// waited for.
func (e *Env) Begin(cluster string, kind fleet.OperationKind, spec *fleet.Spec) (*Running, error) {
	return e.begin(cluster, func(ctx context.Context, request starter.Request) (workflows.SubmitReply, error) {
		if spec != nil {
			return e.Client.Create(ctx, *spec, request)
		}
		return e.Client.Submit(ctx, cluster, kind, request)
	})
}

func (e *Env) begin(cluster string, ask func(context.Context, starter.Request) (workflows.SubmitReply, error)) (*Running, error) {
	ctx, cancel := context.WithTimeout(e.t.Context(), Patience)
	defer cancel()
	request := starter.Request{ID: starter.NewRequestID()}
	for {
		reply, err := ask(ctx, request)
		switch {
		case err == nil:
			return e.running(starter.RefOf(cluster, reply), nil), nil
		case ctx.Err() != nil || !fleet.Is(err, fleet.Unavailable):
			return nil, err
		}
	}
}

// running waits for what a workflow gives; into is nil for that of an operation.
func (e *Env) running(ref starter.Ref, into any) *Running {
	r := &Running{Ref: ref, e: e, ended: make(chan struct{}), into: into}
	if into == nil {
		r.into = &r.result
	}
	go r.wait()
	return r
}

func (r *Running) wait() {
	defer close(r.ended)
	ctx := r.e.t.Context()
	for {
		r.err = r.e.waiter.GetWorkflow(ctx, r.Ref.WorkflowID, "").Get(ctx, r.into)
		var execution *temporal.WorkflowExecutionError
		if r.err == nil || errors.As(r.err, &execution) || ctx.Err() != nil {
			return
		}
		select { // the service is not there
		case <-ctx.Done():
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Ended says whether it has ended, well or not.
func (r *Running) Ended() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// Await waits for its end and gives its result, or the error that ended it.
func (r *Running) Await() (workflows.OperationResult, error) {
	select {
	case <-r.ended:
		r.awaitRecord()
		return r.result, r.err
	case <-time.After(Patience):
		return workflows.OperationResult{}, fmt.Errorf("it has not ended after %s: %s", Patience, r.stands())
	}
}

// awaitRecord waits until the cluster knows that it has ended, a moment later: then the
// next operation may be asked for. An entity that is held up changes no result.
func (r *Running) awaitRecord() {
	ctx, cancel := context.WithTimeout(r.e.t.Context(), settling)
	defer cancel()
	for {
		view, err := r.e.Client.Describe(ctx, r.Ref.Cluster)
		if ctx.Err() != nil || err == nil && view.Summary.Operation != r.Ref.ID || fleet.Is(err, fleet.NotFound) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stands says how it stands, for who waits in vain.
func (r *Running) stands() string {
	ctx, cancel := context.WithTimeout(r.e.t.Context(), 10*time.Second)
	defer cancel()
	progress, err := r.e.Client.Progress(ctx, r.Ref)
	words := progress.Doing
	for _, step := range progress.Steps {
		if step.State != fleet.StepDone {
			words += fmt.Sprintf("; %s, attempt %d, %s %s", step.Step, step.Attempt, step.Note, step.Error)
		}
	}
	if err != nil {
		words += "; " + err.Error()
	}
	return words
}

// silent keeps the lost connections of crash tests out of their output.
type silent struct{}

func (silent) Debug(string, ...any) {}
func (silent) Info(string, ...any)  {}
func (silent) Warn(string, ...any)  {}
func (silent) Error(string, ...any) {}
