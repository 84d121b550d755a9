package workflows_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// published has the operation's cluster have a record, and refuses to change it while
// refuse says so.
func (l *loop) published(refuse func() bool) {
	l.op.Spec.Clients.Record = "orders.example.com"
	l.env.RegisterActivityWithOptions(func(_ context.Context, r fleet.PublishRequest) (fleet.StepReply, error) {
		members := []string{}
		for _, e := range r.Endpoints {
			members = append(members, e.Member)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if refuse != nil && refuse() {
			return fleet.StepReply{}, temporal.NewNonRetryableApplicationError("the zone is locked", string(fleet.Denied), nil)
		}
		l.happened = append(l.happened, fmt.Sprintf("published %v", members))
		return fleet.StepReply{}, nil
	}, activity.RegisterOptions{Name: fleet.ActivityPublishEndpoints})
}

// serving is a look at a cluster of which these members serve.
func serving(d fleet.Decision, members ...string) fleet.Look {
	l := sees(3, d)
	l.Observation.Quorum = len(members) > 0
	for _, m := range members {
		l.Endpoints = append(l.Endpoints, fleet.Endpoint{Member: m, Address: "10.0.0.1", ClientPort: 2379})
	}
	return l
}

var (
	stop    = act(fleet.Step{Kind: fleet.StopMember, Member: "orders-1"})
	gone    = act(fleet.Step{Kind: fleet.RemoveMember, Member: "orders-1"})
	allDone = fleet.Decision{Verdict: fleet.VerdictDone, Reason: "done"}
	steps   = map[fleet.StepKind]step{fleet.StopMember: succeeds, fleet.RemoveMember: succeeds}
)

// A record says the members that stay before one goes, once for each change, and what it
// says at the end.
func TestRecordIsPublishedBeforeAMemberGoes(t *testing.T) {
	l := newLoop(t, steps, serving(stop, "orders-2"), serving(gone, "orders-2"), serving(allDone, "orders-2", "orders-4"))
	l.published(nil)
	_, err := l.run(fleet.ScaleCluster)
	require.NoError(t, err)
	require.Equal(t, []string{
		"cluster/orders endpoints op: [orders-2]", "published [orders-2]", "StopMember orders-1", "RemoveMember orders-1",
		"published [orders-2 orders-4]", "cluster/orders endpoints op: [orders-2 orders-4]",
	}, l.happened)
}

// What people plan ends before it takes a member away; what repairs goes on, says why, and
// tries again.
func TestRecordThatCannotBeChanged(t *testing.T) {
	looks := []fleet.Look{serving(stop, "orders-2"), serving(gone, "orders-2"), serving(allDone, "orders-2")}
	l := newLoop(t, steps, looks...)
	l.published(func() bool { return true })
	result, err := l.run(fleet.ScaleCluster)
	require.ErrorContains(t, err, "the zone is locked")
	require.Empty(t, result.Progress.Steps)

	tries := 0
	l = newLoop(t, steps, looks...)
	l.published(func() bool { tries++; return tries == 1 })
	result, err = l.run(fleet.FailoverMember)
	require.NoError(t, err)
	require.Contains(t, result.Progress.LastError, "the zone is locked")
	require.Equal(t, []string{
		"cluster/orders endpoints op: [orders-2]", "StopMember orders-1", "published [orders-2]", "RemoveMember orders-1",
	}, l.happened)
}

// Where nothing serves, a record stays as it is; it goes with the cluster, at the end.
func TestRecordOfAClusterThatDoesNotServe(t *testing.T) {
	l := newLoop(t, steps, serving(stop), serving(allDone, "orders-1"))
	l.published(nil)
	_, err := l.run(fleet.CreateCluster)
	require.NoError(t, err)
	require.Equal(t, []string{"StopMember orders-1", "published [orders-1]"}, l.happened)

	l = newLoop(t, steps, serving(stop, "orders-1"), serving(allDone))
	l.published(nil)
	_, err = l.run(fleet.DecommissionCluster)
	require.NoError(t, err)
	require.Equal(t, []string{"StopMember orders-1", "published []"}, l.happened)
}
