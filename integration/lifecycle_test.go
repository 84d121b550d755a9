package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/starter"
)

// TestLifecycle creates clusters of every size on every minor, writes and reads
// through mutual TLS at every member, and takes them down again.
func TestLifecycle(t *testing.T) {
	for _, version := range []string{"3.5.35", "3.6.16", "3.7.3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			e := harness.Start(t)
			e.StartWorker("flotilla-worker")
			for _, voters := range []int{1, 3, 5} {
				spec := harness.Spec(fmt.Sprintf("orders%d", voters), voters, version)
				result := e.Create(spec)
				require.Equal(t, voters, result.Summary.Healthy, "members of %s that answer", spec.Name)
				revision, err := e.Serves(t.Context(), spec.Name, plan.MemberNames(spec)...)
				require.NoError(t, err, "using %s", spec.Name)

				result = e.Decommission(spec.Name, fleet.Options{})
				snapshot := result.FinalSnapshot
				require.NotNil(t, snapshot, "final snapshot of %s", spec.Name)
				require.GreaterOrEqual(t, snapshot.Revision, revision, "the final snapshot of %s should hold the last write", spec.Name)
				require.False(t, snapshot.Verified.IsZero() || snapshot.Closed.IsZero(), "the final snapshot of %s should be verified and closed", spec.Name)
				require.Empty(t, result.Lost)
			}
			e.ExpectNothingLeft()
		})
	}
}

// TestLearner creates a cluster with a learner: it joins once the voters serve.
func TestLearner(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3")
	spec.Learners = 1
	e.Create(spec)
	a, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer a.Close()
	list, err := a.MemberList(t.Context())
	require.NoError(t, err)
	learners := []string{}
	for _, m := range list.Members {
		if m.IsLearner {
			learners = append(learners, m.Name)
		}
	}
	require.Equal(t, []string{"orders-2"}, learners, "learners that etcd lists")
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}

// TestNameIsUsedAgain protects a cluster, takes it down without a snapshot after
// all, and creates another of its name: nothing of the first one is in it.
func TestNameIsUsedAgain(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	ctx := t.Context()
	spec := harness.Spec("orders", 1, "3.7.3")
	spec.DeletionProtection = true
	first := e.Create(spec)
	_, err := e.Serves(ctx, spec.Name, "orders-1")
	require.NoError(t, err)

	_, err = e.Client.Submit(ctx, spec.Name, fleet.DecommissionCluster, starter.Request{})
	require.Equal(t, fleet.Blocked, fleet.KindOf(err), "decommissioning a protected cluster: %v", err)
	require.NoError(t, e.Client.Protect(ctx, spec.Name, false))
	result := e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	require.Nil(t, result.FinalSnapshot)
	require.Contains(t, result.Lost, "all data", "what a waived snapshot loses should be said")

	spec.DeletionProtection = false
	second := e.Create(spec)
	require.NotEqual(t, first.Summary.UID, second.Summary.UID, "a name that is used again is another cluster")
	a, err := e.Connect(ctx, spec.Name)
	require.NoError(t, err)
	defer a.Close()
	got, err := a.Get(ctx, "from-the-test")
	require.NoError(t, err)
	require.Empty(t, got.Kvs, "the second cluster should not have the data of the first")

	_, err = e.Client.Create(ctx, harness.Spec("orders", 3, "3.7.3"), starter.Request{})
	require.Equal(t, fleet.Conflict, fleet.KindOf(err), "creating a cluster of a taken name: %v", err)
	require.True(t, strings.Contains(err.Error(), "exists already"), "%v", err)
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}
