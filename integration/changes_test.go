package integration

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// TestChanges has what a client writes recorded behind a backup, kills the worker that
// records with -9 while the client goes on, and has a backup made of the last write.
func TestChanges(t *testing.T) {
	e := harness.Start(t)
	worker := e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3")
	spec.Backup = fleet.BackupPolicy{Every: fleet.Duration(time.Hour), Changes: fleet.Duration(time.Second)}
	spec.Policy.KeepAside = fleet.Duration(time.Second)
	e.Create(spec.WithDefaults())
	r, err := e.Begin(spec.Name, fleet.BackupCluster, nil)
	require.NoError(t, err)
	taken, err := r.Await()
	require.NoError(t, err)
	uid := described(t, e, spec.Name).Summary.UID
	vault, err := e.Vault(t.Context())
	require.NoError(t, err)
	w := startWriter(t, e, spec.Name)
	// The schedule begins it at the next full minute.
	recorded := func(what string, revision int64) (reach backup.Reach) {
		t.Helper()
		harness.Eventually(t, what, func(ctx context.Context) error {
			entries, err := vault.List(ctx, spec.Name, uid)
			if err != nil {
				return err
			}
			segments, err := vault.Segments(ctx, spec.Name, uid)
			if err != nil {
				return err
			}
			if reach = backup.ReachOf(entries[0].Manifest, segments); reach.Revision < revision {
				return fmt.Errorf("changes lead from revision %d to %d of %d", entries[0].Manifest.Revision, reach.Revision, revision)
			}
			return nil
		})
		return reach
	}
	before := recorded("changes are recorded", taken.Backup.Revision+1)
	worker.Kill()
	e.StartWorker("flotilla-worker")
	recorded("another worker goes on", before.Revision+500)
	moment := time.Now().UTC().Truncate(time.Second)
	all, err := w.access.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithCountOnly())
	require.NoError(t, err)
	atMost := all.Header.Revision
	w.stop(t)
	all, err = w.access.Get(t.Context(), "", clientv3.WithPrefix())
	require.NoError(t, err)
	end := all.Header.Revision
	recorded("the last write is recorded", end)

	// The backup of that moment is made without the member.
	asked := func(revision int64) (workflows.OperationResult, error) {
		at := fleet.Options{At: &fleet.PointInTime{Revision: revision}}
		r, err := e.BeginChange(spec.Name, harness.Change{Kind: fleet.BackupCluster, Options: at})
		require.NoError(t, err)
		return r.Await()
	}
	result, err := asked(end)
	require.NoError(t, err)
	made := *result.Backup
	require.Equal(t, taken.Backup.ID, made.Base)
	require.Equal(t, end, made.Revision)
	require.Equal(t, len(all.Kvs), made.Keys)
	m, err := vault.Manifest(t.Context(), spec.Name, uid, made.ID)
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "snapshot.db")
	require.NoError(t, vault.Fetch(t.Context(), m, file, nil))
	values, err := harness.ReadSnapshot(t.Context(), file, dir)
	require.NoError(t, err)
	require.Len(t, values, len(all.Kvs))
	for _, kv := range all.Kvs {
		require.Equal(t, string(kv.Value), values[string(kv.Key)], "key %s", kv.Key)
	}
	_, err = asked(end + 1)
	require.ErrorContains(t, err, "no backup and the changes behind it lead there")

	// One command makes such a backup and puts keys of it back.
	then := before.Revision + 100
	was, err := w.access.Get(t.Context(), "small-1", clientv3.WithPrefix(), clientv3.WithRev(then))
	require.NoError(t, err)
	answer := e.CLI("restore", spec.Name, "--revision", fmt.Sprint(then), "--prefix", "small-1", "--exact", "--yes", "--accept-loss")
	require.Zero(t, answer.Code, answer.Err)
	is, err := w.access.Get(t.Context(), "small-1", clientv3.WithPrefix())
	require.NoError(t, err)
	require.Len(t, is.Kvs, len(was.Kvs))
	for i, kv := range was.Kvs {
		require.Equal(t, string(kv.Key)+"="+string(kv.Value), string(is.Kvs[i].Key)+"="+string(is.Kvs[i].Value))
	}
	answer = e.CLI("restore", spec.Name, "--revision", "1000000000000", "--in-place", "--yes", "--accept-loss")
	require.Equal(t, 1, answer.Code, answer.Out)
	require.Contains(t, answer.Err, "no backup and the changes recorded behind it lead there")

	// A new cluster begins with what was there at a time, and this one with a revision.
	answer = e.CLI("restore", spec.Name, "--time", moment.Format(time.RFC3339), "--to", "copy", "--yes")
	require.Zero(t, answer.Code, answer.Err)
	entries, err := vault.List(t.Context(), spec.Name, uid)
	require.NoError(t, err)
	i := slices.IndexFunc(entries, func(b backup.Entry) bool { return b.Manifest.Taken.Equal(moment) })
	require.GreaterOrEqual(t, i, 0, "%+v", entries)
	point := entries[i].Manifest
	require.Equal(t, taken.Backup.ID, point.Base)
	require.GreaterOrEqual(t, point.Revision, before.Revision)
	require.LessOrEqual(t, point.Revision, atMost)
	require.Equal(t, contentsAt(t, w.access, point.Revision), contentsOf(t, e, "copy"))

	expected := contentsAt(t, w.access, end-100)
	answer = e.CLI("restore", spec.Name, "--revision", fmt.Sprint(end-100), "--in-place", "--yes", "--accept-loss")
	require.Zero(t, answer.Code, answer.Err)
	require.Equal(t, expected, contentsOf(t, e, spec.Name))
	harness.Eventually(t, "what was there before is discarded by policy.keepAside", func(ctx context.Context) error {
		view, err := e.Client.Describe(ctx, spec.Name)
		if err == nil && (view.Operations[0].By != "policy.keepAside" || view.Operations[0].State != fleet.OperationDone || !view.AsideUntil.IsZero()) {
			err = fmt.Errorf("the last operation is %+v", view.Operations[0])
		}
		return err
	})
	aside, err := filepath.Glob(filepath.Join(e.Dir, "local/hosts/*/fs/disks/*/*/before-restore-*"))
	require.NoError(t, err)
	require.Empty(t, aside)
}
