package changes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

func failover(members ...string) harness.Change {
	return harness.Change{Kind: fleet.FailoverMember, Options: fleet.Options{Members: members}}
}

// refused expects that an operation is refused for safety, with these words, and that
// it changed nothing.
func refused(t *testing.T, e *harness.Env, cluster string, change harness.Change, words string) {
	t.Helper()
	r, err := e.BeginChange(cluster, change)
	require.NoError(t, err)
	result, err := r.Await()
	var said *temporal.ApplicationError
	require.ErrorAs(t, err, &said)
	require.Equal(t, string(fleet.Blocked), said.Type(), "%v", err)
	require.Contains(t, said.Message(), words)
	if said.HasDetails() {
		require.NoError(t, said.Details(&result))
	}
	require.Empty(t, result.Progress.Steps, "what is refused does nothing")
}

// TestOnlyTheDeadAreFailedOver asks to fail over members that are not dead, or not
// known to be: one that answers, one that hangs, and one whose host's agent is silent.
func TestOnlyTheDeadAreFailedOver(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 3, newer)
	e.Create(spec)
	refused(t, e, spec.Name, failover("orders-1"), "is alive")

	h, err := follower(t.Context(), e, spec.Name)
	require.NoError(t, err)
	pid, err := e.AwaitMember(spec.Name, h.Member())
	require.NoError(t, err)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	refused(t, e, spec.Name, failover(h.Member()), "is not known to be dead")
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	require.NoError(t, e.Stands(t.Context(), spec.Name))

	require.NoError(t, e.Provider.SilenceHost(t.Context(), h.ID))
	refused(t, e, spec.Name, failover(h.Member()), "is alive")
	require.NoError(t, e.Provider.ClearFaults(t.Context()))
	require.NoError(t, e.Stands(t.Context(), spec.Name))

	r, err := e.BeginChange(spec.Name, failover())
	require.NoError(t, err)
	result, err := r.Await()
	require.NoError(t, err, "nobody is dead, so there is nothing to do")
	require.Empty(t, result.Progress.Steps)
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}

// membersOf gives the members that etcd lists and their IDs.
func membersOf(ctx context.Context, e *harness.Env, cluster string) (map[string]uint64, error) {
	a, err := e.Connect(ctx, cluster)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	list, err := a.MemberList(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]uint64{}
	for _, m := range list.Members {
		all[m.Name] = m.ID
	}
	return all, nil
}

// TestHostDies has a host die. With its disk whole, its member comes back as itself,
// on its own data; with the disk lost too, another member takes its place.
func TestHostDies(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 3, newer)
	e.Create(spec)
	was, err := membersOf(t.Context(), e, spec.Name)
	require.NoError(t, err)

	h, err := follower(t.Context(), e, spec.Name)
	require.NoError(t, err)
	require.NoError(t, e.Provider.FailHost(t.Context(), h.ID))
	steps := changed(t, e, spec.Name, failover(h.Member()))
	require.Contains(t, steps, "AttachDisk "+h.Member(), "its disk moves to a new host: %v", steps)
	require.NotContains(t, steps, "RemoveMember "+h.Member())
	now, err := membersOf(t.Context(), e, spec.Name)
	require.NoError(t, err)
	require.Equal(t, was, now, "the member comes back as itself")

	h, err = follower(t.Context(), e, spec.Name)
	require.NoError(t, err)
	disks, err := e.Provider.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name, fleet.TagMember: h.Member()})
	require.NoError(t, err)
	require.Len(t, disks, 1)
	require.NoError(t, e.Provider.FailHost(t.Context(), h.ID))
	require.NoError(t, e.Provider.FailDisk(t.Context(), disks[0].ID))
	steps = changed(t, e, spec.Name, failover())
	remove, add := slices.Index(steps, "RemoveMember "+h.Member()), slices.Index(steps, "AddLearner orders-4")
	require.True(t, 0 <= remove && remove < add, "one of three dead: removed first, then another added: %v", steps)
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}

// TestZoneDies has a zone die with two of five members in it: both move to the zones
// that are left.
func TestZoneDies(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 5, newer)
	e.Create(spec)
	require.NoError(t, e.Provider.FailZone(t.Context(), "a"))
	r, err := e.BeginChange(spec.Name, failover())
	require.NoError(t, err)
	_, err = r.Await()
	require.NoError(t, err)
	hosts, err := e.HostsOf(t.Context(), spec.Name)
	require.NoError(t, err)
	zones := map[string]int{}
	for _, h := range hosts {
		zones[h.Zone]++
	}
	require.True(t, zones["a"] == 0 && zones["b"]+zones["c"] == 5 && min(zones["b"], zones["c"]) == 2,
		"expected five members in the zones that are left; they are in %v", zones)
	require.NoError(t, e.Provider.ClearFaults(t.Context()))
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	e.Decommission(spec.Name, fleet.Options{})
	e.ExpectNothingLeft()
}

// TestQuorumIsGone stops most members of a cluster, which are started again, and then
// loses them, after which nothing about it may be changed.
func TestQuorumIsGone(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := small("orders", 3, newer)
	e.Create(spec)
	hosts, err := e.HostsOf(t.Context(), spec.Name)
	require.NoError(t, err)
	for _, h := range hosts[:2] {
		require.NoError(t, e.StopMember(t.Context(), h))
	}
	changed(t, e, spec.Name, failover())
	for _, h := range hosts[:2] {
		disks, err := e.Provider.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: spec.Name, fleet.TagMember: h.Member()})
		require.NoError(t, err)
		require.Len(t, disks, 1)
		require.NoError(t, e.Provider.FailHost(t.Context(), h.ID))
		require.NoError(t, e.Provider.FailDisk(t.Context(), disks[0].ID))
	}
	refused(t, e, spec.Name, failover(), "no quorum of orders answers")
	refused(t, e, spec.Name, harness.Change{Kind: fleet.ScaleCluster, To: func(s *fleet.Spec) { s.Voters = 5 }}, "no quorum of orders answers")
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	e.ExpectNothingLeft()
}

// changed does an operation, expects the cluster to stand as asked for, and gives its steps.
func changed(t *testing.T, e *harness.Env, cluster string, change harness.Change) (steps []string) {
	t.Helper()
	r, err := e.BeginChange(cluster, change)
	require.NoError(t, err)
	result, err := r.Await()
	require.NoError(t, err, "%s of %s", change.Kind, cluster)
	for _, p := range result.Progress.Steps {
		steps = append(steps, strings.TrimSpace(fmt.Sprint(p.Step)))
	}
	require.NoError(t, e.Stands(t.Context(), cluster), "%s after %s", cluster, change.Kind)
	return steps
}
