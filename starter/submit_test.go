package starter

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func TestAPlanFollowsFromWhatIsUnfinished(t *testing.T) {
	spec := fleet.Spec{Name: "orders", Machine: fleet.MachineSpec{Type: "small"}}.WithDefaults()
	target := spec.Clone()
	target.Machine.Type = "medium"
	view := workflows.ClusterView{
		Summary: fleet.Summary{Name: "orders", UID: "01a2"}, Spec: spec, NextMember: 5,
		Unfinished: &fleet.Operation{ID: "old", Kind: fleet.UpscaleCluster, Spec: target, Generation: "first", Since: 4,
			Purchases: []fleet.Step{{Kind: fleet.LaunchHost, Member: "orders-4"}}},
	}
	view.Spec.Labels = map[string]string{"team": "shop"} // amended meanwhile
	again := target.Clone()
	again.Labels = view.Spec.Labels

	got := inherit(fleet.Operation{Kind: fleet.UpscaleCluster, Cluster: "orders", Spec: again}, view)
	assert.Equal(t, "01a2", got.UID)
	assert.Equal(t, &view.Spec, got.Before)
	assert.Equal(t, "first", got.Generation)
	assert.Equal(t, 4, got.Since)
	assert.Equal(t, 5, got.NextMember)
	assert.Equal(t, view.Unfinished.Purchases, got.Purchases)

	for name, other := range map[string]fleet.Operation{
		"another kind":    {Kind: fleet.MigrateByLearner, Spec: again},
		"another target":  {Kind: fleet.UpscaleCluster, Spec: spec},
		"another request": {Kind: fleet.UpscaleCluster, Spec: again, Options: fleet.Options{AllowDowntime: true}},
	} {
		got := inherit(other, view)
		assert.Equal(t, 5, got.Since, name)
		assert.Equal(t, forecast, got.Generation, name, "members that were never restarted have none")
		assert.Empty(t, got.Purchases, name)
	}
	assert.Equal(t, view.Spec, inherit(fleet.Operation{Kind: fleet.StopCluster}, view).Spec, "without a spec it is the cluster's")

	view.Unfinished.Kind = fleet.DecommissionCluster
	waived := fleet.Operation{Kind: fleet.DecommissionCluster, Options: fleet.Options{SkipFinalSnapshot: true}}
	assert.NotNil(t, Continues(waived, view), "what is left of a decommission is the same, whatever it was told")
	view.Unfinished = nil
	assert.Nil(t, Continues(waived, view))
}

func TestWhatRunsOnACluster(t *testing.T) {
	view := workflows.ClusterView{
		Summary:    fleet.Summary{Name: "orders"},
		Operations: []workflows.OperationRecord{{ID: "b", Kind: fleet.StopCluster, WorkflowID: "w", State: fleet.OperationRunning}, {ID: "a", State: fleet.OperationDone}},
		Queue:      []workflows.QueuedOperation{{OperationRef: workflows.OperationRef{Operation: "c"}}},
	}
	ref, ok := Running(view)
	assert.True(t, ok)
	assert.Equal(t, Ref{Cluster: "orders", ID: "b", Kind: fleet.StopCluster, WorkflowID: "w"}, ref)
	for id, want := range map[string]bool{"a": true, "b": true, "c": true, "d": false} {
		assert.Equal(t, want, awaited(view, id), id)
	}
	view.Operations[0].State = fleet.OperationFailed
	_, ok = Running(view)
	assert.False(t, ok)
}

func TestAFailureTellsWhatItLeft(t *testing.T) {
	left := workflows.OperationResult{Left: []string{"orders-4 is a learner"}}
	for _, err := range []error{
		temporal.NewNonRetryableApplicationError("sold out", string(fleet.OutOfCapacity), nil, left),
		temporal.NewCanceledError(left),
	} {
		var got workflows.OperationResult
		details(err, &got)
		assert.Equal(t, left, got, "%v", err)
	}
	var none workflows.OperationResult
	details(temporal.NewCanceledError(), &none)
	assert.Empty(t, none)
}
