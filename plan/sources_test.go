package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A backup never has what was acknowledged last, for all that anybody can know: the recorder
// and the cluster's workflow have clocks of their own.
func TestWhatABackupLacksIsSaid(t *testing.T) {
	until := time.Date(2026, 3, 14, 3, 12, 4, 800e6, time.UTC)
	for name, c := range map[string]struct {
		asked time.Time
		over  time.Duration
	}{
		"asked for later":        {until.Add(71 * time.Second), 71 * time.Second},
		"asked for at once":      {until.Add(time.Millisecond), time.Second},
		"by a clock that lags":   {until.Add(-2 * time.Second), time.Second},
		"by a version of before": {time.Time{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := roster{in: Input{Operation: fleet.Operation{Cluster: "orders", Asked: c.asked}}}
			s := r.storedSource(fleet.Stored{Backup: fleet.Backup{ID: "b1", Taken: until, Revision: 7}})
			require.Equal(t, fleet.Duration(c.over), s.Over)
			require.Equal(t, c.over > 0, missingWords(s, r.in.Operation) != "")
		})
	}
}
