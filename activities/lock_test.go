package activities

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// For how long a backup is locked: as the worker says, or as long as the spec surely keeps it.
func TestHowLongBackupsAreLocked(t *testing.T) {
	taken := time.Date(2026, 3, 14, 2, 15, 0, 700, time.UTC)
	scheduled := fleet.BackupPolicy{Every: fleet.Duration(6 * time.Hour), Keep: fleet.Keep{Last: 4, Monthly: 6}}
	for _, c := range []struct {
		rule   objectstore.LockRule
		policy fleet.BackupPolicy
		long   time.Duration
	}{
		{objectstore.LockRule{}, scheduled, 0},
		{objectstore.LockRule{Mode: objectstore.Governance}, scheduled, 24 * time.Hour},
		{objectstore.LockRule{Mode: objectstore.Governance}, fleet.BackupPolicy{Every: scheduled.Every}, 0},
		{objectstore.LockRule{Mode: objectstore.Governance}, fleet.BackupPolicy{Keep: scheduled.Keep}, 0},
		{objectstore.LockRule{Mode: objectstore.Compliance, For: time.Hour}, fleet.BackupPolicy{}, time.Hour},
		{objectstore.LockRule{Mode: objectstore.Compliance, For: 720 * time.Hour}, scheduled, 720 * time.Hour},
	} {
		lock := Region{Lock: c.rule}.lockOf(c.policy, taken)
		if c.long == 0 {
			require.Nil(t, lock)
			continue
		}
		require.Equal(t, &objectstore.Lock{Mode: c.rule.Mode, Until: taken.Truncate(time.Second).Add(c.long)}, lock)
	}
}
