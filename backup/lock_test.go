package backup_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/pki"
)

// A backup that is to be locked is, its manifest too, in both stores; where that cannot be,
// it is no backup. A second attempt locks what a first one that died did not.
func TestLockedBackup(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.LockableBucket(t, "first")
	server.LockableBucket(t, "second")
	server.Bucket(t, "open")
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	on := func(bucket string) objectstore.Store {
		s, err := objectstore.Open(t.Context(), server.Location(bucket), objectstore.Options{})
		require.NoError(t, err)
		return s
	}
	v := backup.Vault{Store: on("first"), Second: on("second"), Key: key}
	is := about("a")
	is.Lock = &objectstore.Lock{Mode: objectstore.Governance, Until: time.Now().Add(time.Minute).UTC().Truncate(time.Second)}
	save := func(v backup.Vault, is backup.Manifest) (backup.Manifest, error) {
		return v.Save(t.Context(), is, bytes.NewReader(makeSnapshot(t).bytes), t.TempDir(), nil)
	}
	m, err := save(v, is)
	require.NoError(t, err)
	require.Equal(t, is.Lock, m.Lock)
	require.True(t, m.LockedAt(time.Now()))
	locked := func(s objectstore.Store, want bool) {
		t.Helper()
		for _, key := range keys(t, s) {
			require.Equal(t, want, fleet.Is(s.Delete(t.Context(), key), fleet.Blocked), "%s in %s", key, s)
		}
	}
	locked(v.Store, true)
	require.Equal(t, fleet.Blocked, fleet.KindOf(v.Delete(t.Context(), "orders", "u1", "a")))
	c := &backup.Copier{Vault: v, Cluster: "orders", UID: "u1"}
	_, _, err = c.Snapshots(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, digests(t, v.Store), digests(t, v.Second))
	locked(v.Second, true)

	other := backup.Vault{Store: on("open"), Key: key}
	_, err = save(other, is)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	require.Empty(t, keys(t, other.Store))
	c.Vault = backup.Vault{Store: v.Store, Second: other.Store, Key: key}
	_, _, err = (&backup.Copier{Vault: c.Vault, Cluster: "orders", UID: "u1"}).Snapshots(t.Context(), nil)
	require.NoError(t, err, "a copy need not be locked")

	// Expired and locked: it stays, and nothing fails.
	is.ID = "b"
	is.Taken = is.Taken.Add(time.Second)
	_, err = save(v, is)
	require.NoError(t, err)
	n, _, _, err := c.Expire(t.Context(), fleet.BackupPolicy{Keep: fleet.Keep{Last: 1}}, 0)
	require.NoError(t, err)
	require.Zero(t, n)
	swept, err := v.Sweep(t.Context(), "orders", "u1", 0)
	require.NoError(t, err)
	require.Empty(t, swept)
}
