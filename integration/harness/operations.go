package harness

import (
	"github.com/stretchr/testify/require"

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
