package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBackupFindings(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	hour := time.Hour
	policy := BackupPolicy{Every: Duration(6 * hour), Rehearse: Duration(24 * hour), Changes: Duration(time.Minute)}
	good := &Rehearsal{When: ago(20 * hour), OK: true}
	fresh := Backup{ID: "b", Taken: ago(hour), Reach: &Reach{Until: ago(time.Minute)}}
	seen := func(created time.Duration, rehearsed *Rehearsal, backups ...Backup) BackupsSeen {
		return BackupsSeen{Cluster: "orders", Created: ago(created), Backups: backups, Rehearsed: rehearsed}
	}
	for _, c := range []struct {
		what   string
		policy BackupPolicy
		seen   BackupsSeen
		kinds  []BackupFindingKind
	}{
		{"all is well", policy, seen(100*hour, good, fresh), nil},
		{"a new cluster", policy, seen(hour, nil), nil},
		{"no schedule", BackupPolicy{}, seen(1000*hour, nil, Backup{Taken: ago(900 * hour)}), nil},
		{"never one", policy, seen(10*hour, nil), []BackupFindingKind{BackupMissing}},
		{"none counts", policy, seen(10*hour, good, Backup{Taken: ago(hour), Damaged: "it is"}), []BackupFindingKind{BackupMissing}},
		{"none but of a point in time", policy, seen(10*hour, good, Backup{Taken: ago(hour), Base: "a"}), []BackupFindingKind{BackupMissing}},
		{"an old one", policy, seen(100*hour, good, Backup{Taken: ago(10 * hour), Reach: &Reach{Until: ago(time.Minute)}}), []BackupFindingKind{BackupMissing}},
		{"one that others were in front of", policy, seen(100*hour, good, Backup{Taken: ago(8 * hour), Reach: &Reach{Until: ago(time.Minute)}}), nil},
		{"one each minute", BackupPolicy{Every: Duration(time.Minute)}, seen(hour, nil, Backup{Taken: ago(10 * time.Minute)}), nil},
		{"a failed rehearsal", policy, seen(100*hour, &Rehearsal{When: ago(hour), Why: "another hash"}, fresh), []BackupFindingKind{RehearsalFailed}},
		{"a failed one that nobody scheduled", BackupPolicy{}, seen(hour, &Rehearsal{When: ago(hour)}, fresh), []BackupFindingKind{RehearsalFailed}},
		{"an old rehearsal", policy, seen(100*hour, &Rehearsal{When: ago(40 * hour), OK: true}, fresh), []BackupFindingKind{RehearsalMissing}},
		{"never one, in a long time", policy, seen(100*hour, nil, Backup{Taken: ago(90 * hour)}, fresh), []BackupFindingKind{RehearsalMissing}},
		{"never one, but soon", policy, seen(100*hour, nil, fresh), nil},
		{"an old one of what is newest", policy, seen(1000*hour, &Rehearsal{When: ago(100 * hour), OK: true},
			Backup{Taken: ago(hour), Rehearsal: &Rehearsal{}, Reach: fresh.Reach}), nil},
		{"changes that end", policy, seen(100*hour, good, Backup{Taken: ago(5 * hour), Reach: &Reach{Until: ago(3 * hour)}}), []BackupFindingKind{ChangesBehind}},
		{"no changes at all", policy, seen(100*hour, good, Backup{Taken: ago(5 * hour)}), []BackupFindingKind{ChangesBehind}},
		{"nothing written for a while", policy, seen(100*hour, good, Backup{Taken: ago(5 * hour), Reach: &Reach{Until: ago(hour)}}), nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			var kinds []BackupFindingKind
			for _, f := range c.policy.Findings(c.seen, now) {
				kinds = append(kinds, f.Kind)
				require.Equal(t, "orders", f.Cluster)
				require.NotEmpty(t, f.Text)
				require.Contains(t, f.Remedy, "flotilla ")
			}
			require.Equal(t, c.kinds, kinds)
		})
	}
	in := func(where Where, stored time.Duration) BackupsSeen {
		b := fresh
		b.Where, b.Stored = where, ago(stored)
		return seen(100*hour, good, b)
	}
	for _, c := range []struct {
		seen BackupsSeen
		kind BackupFindingKind
	}{
		{in(InBoth, 3*hour), ""}, {in(InFirst, 30*time.Minute), ""}, {in(InFirst, 3*hour), CopyMissing}, {in(InSecond, 3*hour), StoreLost},
		{BackupsSeen{Cluster: "orders", Created: ago(hour), Away: StoresAway{Second: "no answer"}}, StoreAway},
		{BackupsSeen{Cluster: "orders", Created: ago(hour), Away: StoresAway{First: "no answer"}}, StoreAway},
	} {
		found := policy.Findings(c.seen, now)
		if c.kind == "" {
			require.Empty(t, found)
			continue
		}
		require.Len(t, found, 1, "%s", c.kind)
		require.Equal(t, c.kind, found[0].Kind)
		require.Contains(t, found[0].Remedy, "flotilla ")
	}
	gaps := seen(100*hour, good, fresh)
	gaps.Gaps = []Gap{{First: 3, Last: 9, Healed: true}, {First: 20, Last: 30}}
	found := policy.Findings(gaps, now)
	require.Len(t, found, 1)
	require.Equal(t, ChangesGap, found[0].Kind)
	require.Contains(t, found[0].Text, "20 to 30")
}
