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
	week := fleet.Duration(7 * 24 * time.Hour)
	for _, c := range []struct {
		rule          objectstore.LockRule
		policy        fleet.BackupPolicy
		long          time.Duration
		changes, made time.Duration
	}{
		{objectstore.LockRule{}, scheduled, 0, 0, 0},
		{objectstore.LockRule{Mode: objectstore.Governance}, scheduled, 24 * time.Hour, 24 * time.Hour, 24 * time.Hour},
		{objectstore.LockRule{Mode: objectstore.Governance}, fleet.BackupPolicy{Every: scheduled.Every}, 0, 0, 24 * time.Hour},
		{objectstore.LockRule{Mode: objectstore.Governance}, fleet.BackupPolicy{Keep: scheduled.Keep}, 0, 0, 24 * time.Hour},
		{objectstore.LockRule{Mode: objectstore.Governance}, fleet.BackupPolicy{Every: week, Keep: fleet.Keep{Last: 4}}, 28 * 24 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour},
		{objectstore.LockRule{Mode: objectstore.Governance}, fleet.BackupPolicy{Every: week, Keep: fleet.Keep{Last: 4}, KeepChanges: 2 * week}, 28 * 24 * time.Hour, 14 * 24 * time.Hour, 24 * time.Hour},
		{objectstore.LockRule{Mode: objectstore.Compliance, For: time.Hour}, fleet.BackupPolicy{}, time.Hour, time.Hour, time.Hour},
		{objectstore.LockRule{Mode: objectstore.Compliance, For: 720 * time.Hour}, scheduled, 720 * time.Hour, 7 * 24 * time.Hour, 24 * time.Hour},
	} {
		r := Region{Lock: c.rule}
		for _, is := range []struct {
			rule objectstore.LockRule
			long time.Duration
		}{{r.backupLock(c.policy), c.long}, {r.changesLock(c.policy), c.changes}, {r.madeLock(), c.made}} {
			if is.long == 0 {
				require.Nil(t, is.rule.From(taken))
				continue
			}
			require.Equal(t, &objectstore.Lock{Mode: c.rule.Mode, Until: taken.Truncate(time.Second).Add(is.long)}, is.rule.From(taken))
		}
	}
}
