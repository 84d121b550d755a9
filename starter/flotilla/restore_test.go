package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestPlanOfPrefixesCountsKeys(t *testing.T) {
	f := running()
	f.reply.Waves = [][]fleet.Step{{step(fleet.CompareKeys, "")}, {step(fleet.RestoreKeys, "")}}
	got := do(t, f, false, "", "restore", "orders", "--prefix", "/a/", "--dry-run")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "To put keys of orders back from a backup")
	require.Contains(t, got.out, "3 keys are created, 2 keys are put back to what they were, 0 keys are deleted; 1 that the backup does not have stay; 5 are as in the backup")
	require.Contains(t, got.out, "it waits for approval: keys lose what they have now")
	require.Empty(t, f.changed)

	f = running()
	f.keys = fleet.KeyComparison{Same: 5}
	got = do(t, f, false, "", "restore", "orders", "--prefix", "/a/", "--dry-run")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "the keys of orders are as in the backup: there is nothing to do")

	f = running()
	require.Equal(t, exitDone, do(t, f, false, "", "restore", "orders", "--prefix", "/a/", "--yes").code)
	require.Empty(t, f.compared, "the operation compares for itself")
}

// A restore to a point in time is a backup of it, and the restore of that one.
func TestRestoreToAPointInTime(t *testing.T) {
	f := running()
	got := do(t, f, false, "", "restore", "orders", "--revision", "120", "--in-place", "--dry-run")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "First a backup of orders as it was at revision 120 is made, of b1 and the changes behind it.")
	require.Empty(t, f.changed)

	f = running()
	f.result.Backup = &fleet.Backup{ID: "b9", Cluster: "orders", UID: "u1", Etcd: "3.7.3", Base: "b1", Revision: 120}
	got = do(t, f, false, "", "restore", "orders", "--revision", "120", "--prefix", "/a/", "--yes", "--request-id", "r1")
	require.Equal(t, exitDone, got.code, got.err)
	require.Len(t, f.changed, 2)
	require.Equal(t, fleet.BackupCluster, f.changed[0].kind)
	require.Equal(t, "r1/backup", f.changed[0].request.ID)
	require.Equal(t, &fleet.PointInTime{Revision: 120}, f.changed[0].request.Options.At)
	require.Equal(t, fleet.RestorePrefixes, f.changed[1].kind)
	require.Equal(t, "b9", f.changed[1].request.Options.Restore.ID)
	require.Equal(t, []string{"/a/"}, f.changed[1].request.Options.Restore.Prefixes)
	require.Nil(t, f.changed[1].request.Options.At)

	f = running()
	got = do(t, f, false, "", "restore", "orders", "--revision", "151", "--in-place", "--yes")
	require.Equal(t, exitFailed, got.code, got.err)
	require.Contains(t, got.err, "revision 151 of orders: no backup and the changes recorded behind it lead there: ")
	require.Contains(t, got.err, "b1 leads from revision 100")
	require.Empty(t, f.changed)
}

// A cluster begins with the backup of one that nobody knows any more.
func TestCreateFromBackup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`{name: new, provider: local, region: local-1, zones: [a], voters: 1, etcd: {version: 3.7.3},
machine: {type: small, disk: {size: 20GiB, category: ssd}}}`), 0o600))
	for from, id := range map[string]string{"old": "b2", "old/b1": "b1"} {
		f := running()
		got := do(t, f, false, "", "create", "-f", file, "--from-backup", from)
		require.Equal(t, exitDone, got.code, got.err)
		require.Len(t, f.begins, 1)
		require.Equal(t, id, f.begins[0].ID)
		require.Equal(t, id, f.planned[0].Options.Restore.ID, "its plan says so")
	}
	got := do(t, running(), false, "", "create", "-f", file, "--from-backup", "old/b3")
	require.Contains(t, got.err, "it is cut short")
	require.Equal(t, exitInput, do(t, running(), false, "", "create", "-f", file, "--uid", "u1").code)
}

// While the first store cannot be asked, the newest backup that is known is not taken for the
// newest that there is, and nothing is begun that needs that store.
func TestRestoreWhileTheFirstStoreIsAway(t *testing.T) {
	for _, c := range []struct {
		said string
		args []string
	}{
		{"may have NEWER ones than b2", []string{"restore", "orders", "--in-place"}},
		{"may have NEWER ones than b2", []string{"restore", "orders", "--prefix", "/a/"}},
		{"a new cluster needs the first store", []string{"restore", "orders", "--backup", "b2", "--to", "copy"}},
		{"may have what leads there", []string{"restore", "orders", "--revision", "151", "--in-place"}},
	} {
		f := running()
		f.away = map[string]fleet.StoresAway{"u1": {First: "no answer"}}
		got := do(t, f, false, "", append(c.args, "--yes")...)
		require.NotEqual(t, exitDone, got.code, c.args)
		require.Contains(t, got.err, c.said)
		require.Empty(t, f.changed)
	}
	f := running()
	f.away = map[string]fleet.StoresAway{"u1": {First: "no answer"}}
	require.Equal(t, exitDone, do(t, f, false, "", "restore", "orders", "--in-place", "--backup", "b2", "--yes").code)
	require.Len(t, f.changed, 1)
}
