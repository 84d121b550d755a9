package changes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestSevenVotersAndTwoLearners scales a cluster from one voter to seven and back to five,
// and to two learners, while clients use it. All nine are restarted meanwhile, learners first and the
// leader last; who leaves is who the rule says, and who stays is as it was. Nine members
// and their clients take two cores some minutes: it needs FLOTILLA_WHOLE.
func TestSevenVotersAndTwoLearners(t *testing.T) {
	if !harness.Whole() {
		t.Skip("it runs with FLOTILLA_WHOLE")
	}
	abreast(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	c := newCourt(t, e, "orders", 1<<20)
	spec := small(c.cluster, 1, newer)
	spec.Etcd.MaxLearners = 3
	c.opens(spec)
	does := func(name string, change harness.Change) (steps []string) {
		c.hears(name, func() error {
			steps = changed(t, e, c.cluster, change)
			return nil
		})
		return steps
	}
	scale := func(voters, learners int) []string {
		return does(fmt.Sprintf("scale to %d voters and %d learners", voters, learners),
			harness.Change{Kind: fleet.ScaleCluster, To: func(s *fleet.Spec) { s.Voters, s.Learners = voters, learners }})
	}
	scale(3, 0)
	scale(5, 0)
	scale(7, 2)

	voters, learners := c.membership()
	leader, err := e.Leader(t.Context(), c.cluster)
	require.NoError(t, err)
	steps := does("roll of nine", harness.Change{Kind: fleet.RollCluster, To: func(s *fleet.Spec) { s.Etcd.MaxTxnOps = 256 }})
	restarted := of(steps, "RestartMember")
	require.ElementsMatch(t, slices.Concat(voters, learners), restarted, "each once")
	require.ElementsMatch(t, learners, restarted[:2], "learners first: %v", restarted)
	require.Equal(t, leader, restarted[8], "the leader last: %v", restarted)
	require.Less(t, at(steps, "MoveLeader"), at(steps, "RestartMember "+leader), "moved away before: %v", steps)

	was, err := membersOf(t.Context(), e, c.cluster)
	require.NoError(t, err)
	leader, err = e.Leader(t.Context(), c.cluster)
	require.NoError(t, err)
	gone := c.expendable(voters, leader, 2)
	steps = scale(5, 2)
	require.Equal(t, gone, of(steps, "RemoveMember"), "from the crowded zone first, never the leader (%s)", leader)
	require.NotContains(t, steps, "MoveLeader "+leader, "it has no reason to move")
	for _, name := range gone {
		delete(was, name)
	}
	now, err := membersOf(t.Context(), e, c.cluster)
	require.NoError(t, err)
	require.Equal(t, was, now, "who stays is as it was")
	left, same := c.membership()
	require.Equal(t, learners, same)
	require.ElementsMatch(t, slices.DeleteFunc(voters, func(name string) bool { return slices.Contains(gone, name) }), left)
	e.Decommission(c.cluster, fleet.Options{})
	e.ExpectNothingLeft()
}

// membership gives the names of the voters and learners that etcd lists, in order.
func (c *court) membership() (voters, learners []string) {
	a, err := c.e.Connect(c.t.Context(), c.cluster)
	require.NoError(c.t, err)
	defer a.Close()
	harness.Eventually(c.t, "members are listed", func(ctx context.Context) error {
		list, err := a.MemberList(ctx)
		if err != nil {
			return err
		}
		voters, learners = nil, nil
		for _, m := range list.Members {
			if m.IsLearner {
				learners = append(learners, m.Name)
			} else {
				voters = append(voters, m.Name)
			}
		}
		return nil
	})
	slices.Sort(voters)
	slices.Sort(learners)
	return voters, learners
}

// expendable gives who leaves, one after another, where all are healthy: not the leader, from the
// zone with most voters, the newest of it.
func (c *court) expendable(voters []string, leader string, n int) (gone []string) {
	hosts, err := c.e.HostsOf(c.t.Context(), c.cluster)
	require.NoError(c.t, err)
	zones := map[string]string{}
	for _, h := range hosts {
		if slices.Contains(voters, h.Member()) {
			zones[h.Member()] = h.Zone
		}
	}
	for range n {
		crowd := map[string]int{}
		for _, zone := range zones {
			crowd[zone]++
		}
		next := ""
		for _, name := range slices.Sorted(maps.Keys(zones)) { // of those of one zone, the newest comes last
			if name != leader && (next == "" || crowd[zones[name]] > crowd[zones[next]] ||
				crowd[zones[name]] == crowd[zones[next]] && fleet.MemberNumber(c.cluster, name) > fleet.MemberNumber(c.cluster, next)) {
				next = name
			}
		}
		gone = append(gone, next)
		delete(zones, next)
	}
	return gone
}

// of gives the members that a kind of step was taken for, in order.
func of(steps []string, kind string) (members []string) {
	for _, step := range steps {
		if name, ok := strings.CutPrefix(step, kind+" "); ok {
			members = append(members, name)
		}
	}
	return members
}

// at gives where the first step is that begins so.
func at(steps []string, prefix string) int {
	return slices.IndexFunc(steps, func(step string) bool { return strings.HasPrefix(step, prefix) })
}
