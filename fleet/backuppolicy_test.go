package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever looks, at whatever times, finds each slot once, and clusters are spread.
func TestBackupsAreDueOncePerInterval(t *testing.T) {
	p := BackupPolicy{Every: Duration(6 * time.Hour)}
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	minutes := map[int]int{}
	for i := range 1000 {
		uid := fmt.Sprintf("uid-%d", i)
		var slots []time.Time
		for at := begin; at.Before(begin.Add(24 * time.Hour)); at = at.Add(time.Minute) {
			if slot, due := p.Due(uid, at, at.Add(time.Minute)); due {
				slots = append(slots, slot)
			}
		}
		require.Len(t, slots, 4, "cluster %s", uid)
		for j := 1; j < 4; j++ {
			require.Equal(t, 6*time.Hour, slots[j].Sub(slots[j-1]))
		}
		minutes[int(slots[0].Sub(begin).Minutes())]++
	}
	most := 0
	for _, n := range minutes {
		most = max(most, n)
	}
	require.Less(t, most, 20, "clusters of 1000 that share a minute of 360")
}

// Who did not look for days is told of the newest slot only: the others are past.
func TestMissedBackupsAreDueOnce(t *testing.T) {
	p := BackupPolicy{Every: Duration(time.Hour)}
	now := time.Date(2026, 3, 9, 12, 30, 0, 0, time.UTC)
	slot, due := p.Due("u", now.Add(-72*time.Hour), now)
	require.True(t, due)
	require.Less(t, now.Sub(slot), time.Hour)
	_, due = p.Due("u", slot, now)
	require.False(t, due)
	_, due = BackupPolicy{}.Due("u", time.Time{}, now)
	require.False(t, due)
}

func TestChangesFollowOnBackups(t *testing.T) {
	day := Duration(24 * time.Hour)
	for _, c := range []struct {
		policy BackupPolicy
		wrong  string
	}{
		{BackupPolicy{Every: day, Changes: Duration(time.Minute)}, ""},
		{BackupPolicy{Every: day, Changes: Duration(time.Minute), KeepChanges: 30 * day}, ""},
		{BackupPolicy{Changes: Duration(time.Minute)}, "backup.changes"},
		{BackupPolicy{Every: day, Changes: Duration(time.Millisecond)}, "backup.changes"},
		{BackupPolicy{Every: day, Changes: day}, "backup.changes"},
		{BackupPolicy{Every: day, Changes: Duration(time.Minute), KeepChanges: 400 * day}, "backup.keepChanges"},
	} {
		problems := c.policy.Validate("backup")
		if c.wrong == "" {
			require.Empty(t, problems, "%+v", c.policy)
			continue
		}
		require.Len(t, problems, 1, "%+v", c.policy)
		require.Equal(t, c.wrong, problems[0].Path)
	}
}
