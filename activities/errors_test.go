package activities

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestDecide(t *testing.T) {
	for kind, want := range map[fleet.Kind]struct{ final, benign bool }{
		fleet.Invalid:       {final: true},
		fleet.Denied:        {final: true},
		fleet.Blocked:       {final: true},
		fleet.Lost:          {final: true},
		fleet.OutOfCapacity: {final: true, benign: true},
		fleet.NotFound:      {benign: true},
		fleet.Conflict:      {benign: true},
		fleet.Throttled:     {benign: true},
		fleet.Unavailable:   {benign: true},
	} {
		t.Run(string(kind), func(t *testing.T) {
			cause := fleet.Errorf(kind, "host orders-1", "no").WithRemedy("ask again").WithRetryAfter(7 * time.Second)
			var got *temporal.ApplicationError
			require.ErrorAs(t, decide(fmt.Errorf("launching: %w", cause)), &got)
			require.Equal(t, string(kind), got.Type())
			require.Equal(t, "launching: host orders-1: no; ask again", got.Message())
			require.Equal(t, want.final, got.NonRetryable())
			require.Equal(t, want.benign, got.Category() == temporal.ApplicationErrorCategoryBenign)
			require.Equal(t, 7*time.Second, got.NextRetryDelay(), "what the cloud asked for")
		})
	}
}

func TestDecideWhatIsNoErrorOfOurs(t *testing.T) {
	require.NoError(t, decide(nil))
	cancelled := fmt.Errorf("waiting: %w", context.Canceled)
	require.Equal(t, cancelled, decide(cancelled), "a cancelled step says so as it is")
	for _, err := range []error{errors.New("hm"), context.DeadlineExceeded} {
		var got *temporal.ApplicationError
		require.ErrorAs(t, decide(err), &got)
		require.Equal(t, string(fleet.Unavailable), got.Type())
		require.False(t, got.NonRetryable())
	}
}

// kindAndFinality says how an activity's error is taken: "lost, final".
func kindAndFinality(t *testing.T, err error) string {
	t.Helper()
	var got *temporal.ApplicationError
	require.ErrorAs(t, err, &got)
	if got.NonRetryable() {
		return got.Type() + ", final"
	}
	return got.Type() + ", tried again"
}
