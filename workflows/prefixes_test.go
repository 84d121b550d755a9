package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Keys are compared before anybody is asked, and put back once a person approved of what
// that loses. A pause stops that between two transactions, and it is gone on with from there.
func TestKeysAreApprovedOfAndPaused(t *testing.T) {
	compare, putBack := act(fleet.Step{Kind: fleet.CompareKeys}), act(fleet.Step{Kind: fleet.RestoreKeys})
	loses := sees(3, putBack)
	loses.Loss = []string{"2 keys lose what they have"}
	keys := fleet.KeyRestore{Compared: fleet.KeyComparison{Revision: 900, Change: 2}}
	var l *loop
	calls := 0
	l = newLoop(t, map[fleet.StepKind]step{
		fleet.CompareKeys: func(context.Context, fleet.StepRequest) (fleet.StepReply, error) {
			return fleet.StepReply{Keys: &keys}, nil
		},
		fleet.RestoreKeys: func(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
			calls++
			state := *r.Keys
			if calls == 1 { // it is stopped; what it says then, the test environment drops
				return fleet.StepReply{}, ctx.Err()
			}
			if calls == 2 { // a worker that ends says how far it is
				state.Done = fleet.KeyProgress{Through: []byte("/a/7"), Put: 1}
				return fleet.StepReply{Keys: &state}, nil
			}
			state.Done.Put, state.Done.Whole = state.Done.Put+1, true
			return fleet.StepReply{Keys: &state}, nil
		},
	}, under(always, sees(3, compare), loses, loses, loses, loses, sees(3, putBack), sees(3, finished))...)
	paused := &answer{}
	l.during(fleet.RestoreKeys, func() { paused.await(l.env, workflows.UpdatePause, ada) })
	approved := l.at(time.Hour, workflows.UpdateApprove, bob)
	asked := l.stoodAt(time.Minute)
	resumed := l.at(3*time.Hour, workflows.UpdateResume, ada)
	result, err := l.run(fleet.RestorePrefixes)
	require.NoError(t, err)
	approved.granted(t)
	paused.granted(t)
	resumed.granted(t)
	require.Equal(t, "needs approval: 2 keys lose what they have", asked.Waiting.Why)
	require.Equal(t, 1, asked.Wave, "they were compared before")
	require.Equal(t, []string{"1/CompareKeys/", "2/RestoreKeys/", "3/RestoreKeys/", "4/RestoreKeys/"}, l.steps)
	require.Equal(t, keys, *l.asked[1].Keys)
	require.Equal(t, keys, *l.asked[2].Keys)
	require.Equal(t, "/a/7", string(l.asked[3].Keys.Done.Through), "it goes on from where it was stopped")
	require.Equal(t, 2, result.Keys.Done.Put)
	require.True(t, result.Keys.Done.Whole)
	require.Len(t, result.Progress.Marks, 3, "one approval is enough")
}
