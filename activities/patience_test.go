package activities

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
