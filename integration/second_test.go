package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// withSecondStore has workers put backups into one object store and copy them into another.
func withSecondStore(t *testing.T) (e *harness.Env, first, second *objectstoretest.Server) {
	t.Helper()
	first, second = objectstoretest.Start(t), objectstoretest.Start(t)
	first.Setenv(t)
	first.Bucket(t, "flotilla")
	second.Bucket(t, "far")
	t.Setenv("SECOND_AWS_ACCESS_KEY_ID", second.AccessKey)
	t.Setenv("SECOND_AWS_SECRET_ACCESS_KEY", second.SecretKey)
	e = harness.Start(t, harness.WithObjectStore(first.Location("flotilla/fleet")))
	e.Flags = []string{"--second-store", second.Location("far/fleet"), "--copy-every", "1s"}
	return e, first, second
}

// TestSecondStore backs a cluster up while the second store is away, and kills the worker
// with -9 while it copies once the store is back: afterwards the second store has the same,
// byte for byte, and the changes since. Then the first store has one bit altered, and loses
// everything: what is restored comes from the second, key by key, with the cluster's authority.
// At last its region is gone, and workers have the second store alone.
func TestSecondStore(t *testing.T) {
	e, first, second := withSecondStore(t)
	second.Stop()
	worker := e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3").WithDefaults()
	spec.Backup = fleet.BackupPolicy{Every: fleet.Duration(24 * time.Hour), Changes: fleet.Duration(time.Second)}
	e.Create(spec)
	w := startWriter(t, e, spec.Name)
	w.fill(t, 100<<20)
	w.stop(t)
	written := putSome(t, e, spec.Name)

	// The second store is away: that is told, and nothing waits for it.
	answer := e.CLI("backup", spec.Name)
	require.Zero(t, answer.Code, answer.Err)
	answer = e.CLI("backups", spec.Name)
	require.Contains(t, answer.Out, "the second store cannot be asked")
	uid := described(t, e, spec.Name).Summary.UID
	vault, err := e.Vault(t.Context())
	require.NoError(t, err)
	entries, err := vault.List(t.Context(), spec.Name, uid)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	m := entries[0].Manifest

	// It comes back, and the worker dies while it copies.
	second.Restart(t)
	harness.Eventually(t, "the worker copies", func(context.Context) error {
		if len(second.Uploads(t, "far")) == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	worker.Kill()
	far, err := objectstore.Open(t.Context(), second.Location("far/fleet"), objectstore.Options{Environment: "SECOND_"})
	require.NoError(t, err)
	copied := backup.Vault{Store: far, Key: vault.Key}
	entries, err = copied.List(t.Context(), spec.Name, uid)
	require.NoError(t, err)
	require.Empty(t, entries, "a copy whose worker was killed counts")
	e.StartWorker("flotilla-worker")
	harness.Eventually(t, "the backup is copied", func(ctx context.Context) error {
		there, err := copied.Manifest(ctx, spec.Name, uid, m.ID)
		if err == nil {
			require.Equal(t, m, there)
			err = copied.ReadBack(ctx, m, nil)
		}
		return err
	})
	answer = e.CLI("backups", spec.Name)
	require.Contains(t, answer.Out, "both")
	require.NotContains(t, answer.Out, "second store")
	answer = e.CLI("verify", spec.Name, m.ID)
	require.Zero(t, answer.Code, answer.Err)

	// Changes follow as well.
	last := putLater(t, e, spec.Name)
	harness.Eventually(t, "the last write is in the second store", func(ctx context.Context) error {
		segments, err := copied.Segments(ctx, spec.Name, uid)
		if reach := backup.ReachOf(m, segments); err == nil && reach.Revision < last {
			err = fmt.Errorf("it leads to revision %d of %d", reach.Revision, last)
		}
		return err
	})

	changesAreMended(t, e, vault, m)

	// One bit of the first store is altered.
	object := m.Objects[0].Key
	alterBit(t, vault.Store, object)
	answer = e.CLI("verify", spec.Name, m.ID)
	require.Equal(t, 1, answer.Code)
	require.Contains(t, answer.Err, "the first store")
	answer = e.CLI("restore", spec.Name, "--to", "one-bit", "--backup", m.ID, "--yes")
	require.Zero(t, answer.Code, answer.Err)
	require.Contains(t, answer.Out+answer.Err, "read from the SECOND store")
	same(t, written, contentsOf(t, e, "one-bit"))
	answer = e.CLI("verify", spec.Name, m.ID, "--repair")
	require.Zero(t, answer.Code, answer.Err)
	require.Contains(t, answer.Out, "1 object of "+m.ID+" in "+vault.Store.String()+" from the other store")
	require.NoError(t, vault.ReadBack(t.Context(), m, nil))
	answer = e.CLI("backups", spec.Name)
	require.Contains(t, answer.Out, "repaired")
	final := e.Decommission("one-bit", fleet.Options{}).FinalSnapshot
	require.NotNil(t, final)
	manifest := strings.TrimSuffix(final.Key, ".db.age") + ".json"
	harness.Eventually(t, "the final snapshot is copied", func(ctx context.Context) error {
		_, err := far.Stat(ctx, manifest)
		return err
	})
	authority := "clusters/" + spec.Name + "/" + uid + "/authority.age"
	sealed := textOf(t, vault.Store, authority)
	require.Equal(t, sealed, textOf(t, far, authority))

	// The first store has lost everything.
	objects, err := vault.Store.List(t.Context(), "")
	require.NoError(t, err)
	for _, o := range objects {
		require.NoError(t, vault.Store.Delete(t.Context(), o.Key))
	}
	answer = e.CLI("backups", spec.Name)
	require.Contains(t, answer.Out, "second only")
	require.Contains(t, answer.Out, "the first has lost it")
	answer = e.CLI("restore", spec.Name, "--in-place", "--yes", "--accept-loss", "--backup", m.ID)
	require.Zero(t, answer.Code, answer.Err)
	same(t, written, contentsOf(t, e, spec.Name))
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	harness.Eventually(t, "the authority is put back into the first store", func(ctx context.Context) error {
		_, err := vault.Store.Stat(ctx, authority)
		return err
	})
	require.Equal(t, sealed, textOf(t, vault.Store, authority))

	// A point in time is made of what the second store has.
	answer = e.CLI("restore", spec.Name, "--revision", fmt.Sprint(last), "--to", "then", "--yes")
	require.Zero(t, answer.Code, answer.Err)
	require.Contains(t, contentsOf(t, e, "then"), "late")

	// The first store's region is gone. Workers begin elsewhere, with the second store.
	for _, w := range e.Workers() {
		w.Kill()
	}
	first.Stop()
	second.Setenv(t)
	e.KeepObjectsIn(second.Location("far/fleet"))
	e.Flags = nil
	e.StartWorker("flotilla-worker")
	answer = e.CLI("restore", spec.Name, "--in-place", "--yes", "--accept-loss", "--backup", m.ID)
	require.Zero(t, answer.Code, answer.Err)
	same(t, written, contentsOf(t, e, spec.Name))
	answer = e.CLI("restore", spec.Name, "--to", "elsewhere", "--backup", m.ID, "--yes")
	require.Zero(t, answer.Code, answer.Err)
	same(t, written, contentsOf(t, e, "elsewhere"))
	decommissioned, err := e.Restored(t.Context(), final.Key)
	require.NoError(t, err)
	require.Len(t, decommissioned, len(written))
	for key, value := range decommissioned {
		require.True(t, strings.HasPrefix(written[key], value+" v"), "key %s", key)
	}
}

// alterBit alters one bit of an object.
func alterBit(t *testing.T, s objectstore.Store, key string) {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	data[len(data)*2/3] ^= 1
	require.NoError(t, s.Put(t.Context(), key, bytes.NewReader(data), int64(len(data))))
}

// changesAreMended alters a bit of the changes behind a backup in the first store, and expects
// that they are named and replaced.
func changesAreMended(t *testing.T, e *harness.Env, vault backup.Vault, m backup.Manifest) {
	t.Helper()
	segments, err := vault.Segments(t.Context(), m.Cluster, m.UID)
	require.NoError(t, err)
	i := slices.IndexFunc(segments, func(s backup.SegmentEntry) bool { return !s.Segment.Empty() })
	require.GreaterOrEqual(t, i, 0)
	is := segments[i].Segment
	alterBit(t, vault.Store, is.Objects[0].Key)
	answer := e.CLI("verify", m.Cluster, m.ID)
	require.Equal(t, 1, answer.Code, "%s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Out, m.ID+" is whole")
	require.Contains(t, answer.Out, "DAMAGED in the first store: revision")
	require.Contains(t, answer.Out, fmt.Sprint(is.First))
	require.NotContains(t, answer.Out, "CANNOT BE RESTORED")
	answer = e.CLI("verify", m.Cluster, m.ID, "--repair")
	require.Zero(t, answer.Code, "%s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Out, "1 object of "+m.ID+" in "+vault.Store.String()+" from the other store")
	require.Contains(t, answer.Out, "repaired in the first store: revision")
	answer = e.CLI("verify", m.Cluster, m.ID, "-o", "json")
	require.Zero(t, answer.Code, "%s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Out, `"segments"`)
}

// textOf reads a small object.
func textOf(t *testing.T, s objectstore.Store, key string) string {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	text, err := io.ReadAll(r)
	require.NoError(t, errors.Join(err, r.Close()))
	return string(text)
}

// same compares contents, of which there may be too many to be shown.
func same(t *testing.T, want, got map[string]string) {
	t.Helper()
	require.Len(t, got, len(want))
	for key, value := range want {
		require.True(t, got[key] == value, "key %s", key)
	}
}
