package activities

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// moody is a cloud that gives these errors, one at each call, and then what is asked.
type moody struct {
	iaas.Provider
	errs  []error
	calls int
}

func (m *moody) Zones(context.Context) ([]string, error) {
	m.calls++
	if m.calls <= len(m.errs) {
		return nil, m.errs[m.calls-1]
	}
	return []string{"a"}, nil
}

func TestPatience(t *testing.T) {
	down := fleet.Errorf(fleet.Unavailable, "cloud", "no answer")
	busy := fleet.Errorf(fleet.Throttled, "cloud", "asked too often").WithRetryAfter(time.Millisecond)
	hour := busy.WithRetryAfter(time.Hour)
	for name, c := range map[string]struct {
		errs  []error
		calls int
		kind  fleet.Kind
	}{
		"answered":                     {nil, 1, ""},
		"throttled again and again":    {[]error{busy, busy, busy, busy, busy}, 6, ""},
		"throttled for too long":       {[]error{hour}, 1, fleet.Throttled},
		"unavailable for a moment":     {[]error{down, busy, down, down}, 5, ""},
		"unavailable for good":         {[]error{down, down, down, down, down, down}, 4, fleet.Unavailable},
		"what another try cannot mend": {[]error{fleet.Errorf(fleet.Denied, "cloud", "no")}, 1, fleet.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cloud := &moody{errs: c.errs}
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			ask := func(ctx context.Context) error {
				_, err := patient{cloud}.Zones(ctx)
				require.Equal(t, c.kind, fleet.KindOf(err), "%v", err)
				return nil
			}
			env.RegisterActivity(ask)
			_, err := env.ExecuteActivity(ask)
			require.NoError(t, err)
			require.Equal(t, c.calls, cloud.calls)
		})
	}
}

// A call that takes its time is ended in time, and no heart stops for it.
func TestSlowCallsBeatAndEnd(t *testing.T) {
	seen, err := as(t, func(ctx context.Context) error {
		_, err := within(ctx, 2500*time.Millisecond, "waiting for the cloud to answer", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		return nil
	})
	require.NoError(t, err)
	require.Contains(t, seen.notes(), "waiting for the cloud to answer")
}

// What an attempt packed, the next one finds, whatever beat last.
func TestLuggage(t *testing.T) {
	var suite testsuite.WorkflowTestSuite
	carried := func(left *fleet.StepBeat, then int) (found int, beats []fleet.StepBeat) {
		env := suite.NewTestActivityEnvironment()
		if left != nil {
			env.SetHeartbeatDetails(*left)
		}
		env.SetOnActivityHeartbeatListener(func(_ *activity.Info, details converter.EncodedValues) {
			var b fleet.StepBeat
			if details.Get(&b) == nil {
				beats = append(beats, b)
			}
		})
		work := func(ctx context.Context) error {
			ctx, left, pack := carrying[int](ctx)
			found = left
			if then > 0 {
				pack(then)
			}
			beat(ctx, -1, "waiting for something else")
			return nil
		}
		env.RegisterActivity(work)
		_, err := env.ExecuteActivity(work)
		require.NoError(t, err)
		return found, beats
	}
	found, beats := carried(nil, 41)
	require.Zero(t, found)
	require.Len(t, beats, 1)
	found, beats = carried(&beats[0], 0)
	require.Equal(t, 41, found)
	found, _ = carried(&beats[0], 0)
	require.Equal(t, 41, found, "an attempt that did nothing leaves what it found")
	found, _ = carried(&fleet.StepBeat{Note: "of an older worker"}, 0)
	require.Zero(t, found)
}
