package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// What is wrong with backups is shown wherever a person looks, with what to do.
func TestBackupFindingsAreShown(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	cluster := fleet.Summary{
		Name: "orders", UID: "u1", Phase: fleet.PhaseRunning, Created: now.Add(-1000 * time.Hour),
		Backup: &fleet.BackupPolicy{Every: fleet.Duration(6 * time.Hour), Rehearse: fleet.Duration(24 * time.Hour)},
	}
	found := workflows.BackupsReply{
		Backups: []fleet.Backup{
			{ID: "b1", Cluster: "orders", UID: "u0", Taken: now.Add(-time.Hour)},
			{ID: "b2", Cluster: "orders", UID: "u1", Taken: now.Add(-11 * time.Hour)},
			{Cluster: "billing", UID: "u2"},
		},
		Rehearsed: map[string]fleet.Rehearsal{"u1": {When: now.Add(-time.Hour), Why: "its hash at revision 12 is another one"}},
	}
	stopped := cluster
	stopped.Name, stopped.UID, stopped.Phase = "billing", "u2", fleet.PhaseStopped
	findings := findingsOf(found, []fleet.Summary{cluster, stopped}, now)
	require.Len(t, findings, 2, "a cluster that is stopped is not backed up")
	text := findingsText(plain, findings)
	require.Contains(t, text, "orders: the newest backup that counts is 11h0m0s old, and one is to be taken every 6h")
	require.Contains(t, text, "flotilla backup orders takes one now")
	require.Contains(t, text, "orders: the last rehearsal failed 1h0m0s ago: its hash at revision 12 is another one")

	clock := terminal.Clock{Now: now}
	require.NotContains(t, backupsText(plain, found.Backups, false, clock), "STORES", "there is one store")
	found.Backups[0].Where, found.Backups[1].Where = fleet.InBoth, fleet.InSecond
	table := backupsText(plain, found.Backups, false, clock)
	require.Contains(t, table, "STORES")
	require.Contains(t, table, "both")
	require.Contains(t, table, "second only")
	require.NotContains(t, table, "u1")
	require.Contains(t, backupsText(plain, found.Backups, true, clock), "u1", "the name may have been used before")
	found.Away = map[string]fleet.StoresAway{"u1": {Second: "object store s3://far/: no answer"}}
	away := findingsOf(found, []fleet.Summary{cluster}, now)
	require.Contains(t, findingsText(plain, away), "the second store cannot be asked: object store s3://far/: no answer")
	require.Empty(t, backupsTexts(plain, nil, clock))
	texts := backupsTexts(plain, &backupsGlance{Newest: now.Add(-11 * time.Hour), Findings: findings[:1]}, clock)
	require.Len(t, texts, 3)
	require.Contains(t, texts[0], "the newest taken")
	require.Equal(t, findings[0].Text, texts[1])
	require.Contains(t, texts[2], findings[0].Remedy)
	require.Contains(t, backupsTexts(plain, &backupsGlance{Error: "no worker serves local test"}, clock)[0], "no worker serves local test")
}

// One that nothing leads to is refused before anything is begun, as a restore of it is.
func TestBackupOfAPointInTime(t *testing.T) {
	f := running()
	require.Equal(t, exitDone, do(t, f, false, "", "backup", "orders", "--revision", "120").code)
	require.Len(t, f.changed, 1)
	require.Equal(t, &fleet.PointInTime{Revision: 120}, f.changed[0].request.Options.At)

	f = running()
	got := do(t, f, false, "", "backup", "orders", "--revision", "151")
	require.Equal(t, exitFailed, got.code, got.err)
	require.Contains(t, got.err, "revision 151 of orders: no backup and the changes recorded behind it lead there: ")
	require.Empty(t, f.changed)
}

// Backups are shown of a cluster whose spec asks for none, and those that run or ran among its
// operations.
func TestDescribeShowsBackups(t *testing.T) {
	f := running()
	f.beside = []starter.OperationEntry{{Cluster: "orders", OperationRecord: workflows.OperationRecord{
		ID: "b4c0", Kind: fleet.BackupCluster, State: fleet.OperationRunning, Started: begun0, By: "ada",
	}}}
	got := do(t, f, false, "", "describe", "orders")
	require.Equal(t, exitDone, got.code, got.err)
	require.Regexp(t, `backups +2, the newest taken`, got.out)
	require.Regexp(t, `b4c0 +BackupCluster +orders +running .* ada`, got.out)
	require.Contains(t, do(t, f, false, "", "describe", "orders", "-o", "json").out, `"beside"`)
}
