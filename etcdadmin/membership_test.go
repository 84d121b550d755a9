package etcdadmin_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// untilDone calls until it succeeds, as an activity does; every refusal in between
// must be one that may pass.
func untilDone(t *testing.T, what string, do func() error) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		err = do()
		return err == nil || !fleet.Is(err, fleet.Unavailable) && !fleet.Is(err, fleet.Conflict)
	}, 30*time.Second, 50*time.Millisecond, "%s: %v", what, err)
	require.NoError(t, err, what)
}

// untilInSync asks the gate until it opens.
func untilInSync(t *testing.T, client *etcdadmin.Client, id uint64) {
	t.Helper()
	var gate etcdadmin.Gate
	require.Eventually(t, func() bool {
		lag, err := client.Lag(t.Context(), id)
		require.NoError(t, err)
		gate = gate.After(lag)
		return gate.InSync()
	}, 30*time.Second, 50*time.Millisecond, "the member is in sync: %+v", gate)
}

// TestReplaceMember replaces the leader of a cluster by a new member.
func TestReplaceMember(t *testing.T) {
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			cluster := etcdtest.Start(t, version, 3)
			client := connect(t, cluster)
			learner := cluster.AddLearner(t, true)
			o := look(t, client)
			added, old := member(t, o, learner.Name), member(t, o, o.Leader)

			untilInSync(t, client, added.ID)
			err := client.MoveLeader(t.Context(), added.ID)
			require.Equal(t, fleet.Conflict, fleet.KindOf(err), "a learner may not lead: %v", err)
			for range 2 {
				untilDone(t, "promotion", func() error { return client.Promote(t.Context(), added.ID) })
			}
			for range 2 {
				require.NoError(t, client.MoveLeader(t.Context(), added.ID))
				require.Equal(t, learner.Name, look(t, client).Leader)
			}
			for range 2 {
				untilDone(t, "removal", func() error { return client.RemoveMember(t.Context(), old.ID) })
				require.Len(t, look(t, client).Members, 3)
			}
			for what, err := range map[string]error{
				"promotion": client.Promote(t.Context(), old.ID),
				"move":      client.MoveLeader(t.Context(), old.ID),
				"update":    client.UpdateMember(t.Context(), old.ID, "https://127.0.0.1:1"),
			} {
				require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%s of a member that is not there: %v", what, err)
			}
		})
	}
}
