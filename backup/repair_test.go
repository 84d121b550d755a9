package backup_test

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// spoil alters an object of a store for good.
func spoil(t *testing.T, s objectstore.Store, key, how string) {
	t.Helper()
	if how == "missing" {
		require.NoError(t, s.Delete(t.Context(), key))
		return
	}
	r, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	switch how {
	case "one bit":
		data[len(data)*2/3] ^= 1
	case "cut":
		data = data[:len(data)/2]
	}
	require.NoError(t, s.Put(t.Context(), key, bytes.NewReader(data), int64(len(data))))
}

// tags are the ETags of what a store has, but for the record of repairs.
func tags(t *testing.T, s objectstore.Store) map[string]string {
	t.Helper()
	objects, err := s.List(t.Context(), "")
	require.NoError(t, err)
	all := map[string]string{}
	for _, o := range objects {
		if filepath.Base(o.Key) != "repairs.json" {
			all[o.Key] = o.ETag + o.Modified.String()
		}
	}
	return all
}

// Whatever is altered, cut or missing in one of two stores is replaced by what the other has,
// and nothing else is written. That is recorded.
func TestRepair(t *testing.T) {
	for on, p := range pairs(t) {
		t.Run(on, func(t *testing.T) {
			m := p.save(t, "a")
			_, _, err := p.copier().Snapshots(t.Context(), nil)
			require.NoError(t, err)
			whole := digests(t, p.first)
			manifest := "backups/orders/u1/snapshots/a/manifest.json"
			done, err := p.Repair(t.Context(), "orders", "u1", "a", "ada", nil)
			require.NoError(t, err)
			require.Empty(t, done)
			require.Equal(t, whole, digests(t, p.first))

			times := 0
			for which, sides := range map[string][2]*objectstoretest.Faulty{"first": {p.first, p.second}, "second": {p.second, p.first}} {
				bad, good := sides[0], sides[1]
				for _, key := range []string{m.Objects[0].Key, manifest} {
					for _, how := range []string{"one bit", "cut", "missing"} {
						what := how + " of " + filepath.Base(key) + " in the " + which
						before := tags(t, bad)
						spoil(t, bad, key, how)
						untouched := tags(t, good)
						done, err := p.Repair(t.Context(), "orders", "u1", "a", "ada", nil)
						require.NoError(t, err, what)
						require.Len(t, done, 1, what)
						require.Equal(t, []any{bad.String(), []string{key}, "ada"}, []any{done[0].Store, done[0].Objects, done[0].By}, what)
						require.NotEmpty(t, done[0].Why)
						times++
						require.Equal(t, untouched, tags(t, good), what)
						after := tags(t, bad)
						delete(before, key)
						delete(after, key)
						require.Equal(t, before, after, "%s: what was right is as it was", what)
						alone := backup.Vault{Store: bad, Key: p.Key}
						require.NoError(t, alone.ReadBack(t.Context(), m, nil), what)
						entries, err := p.List(t.Context(), "orders", "u1")
						require.NoError(t, err, what)
						require.True(t, entries[0].InStore && entries[0].InSecond && entries[0].Err == nil, what)
						require.Len(t, entries[0].Repairs, min(times, 16), what)
						last := entries[0].Repairs[len(entries[0].Repairs)-1]
						require.Equal(t, done[0].Objects, last.Objects, what)
						require.Equal(t, digests(t, p.first), digests(t, p.second), what)
					}
				}
			}

			// The manifest in one, the data in the other.
			spoil(t, p.first, manifest, "missing")
			spoil(t, p.second, m.Objects[0].Key, "one bit")
			done, err = p.Repair(t.Context(), "orders", "u1", "a", "ada", nil)
			require.NoError(t, err)
			require.Len(t, done, 2)
			require.Equal(t, digests(t, p.first), digests(t, p.second))
			// All of it, in one.
			require.NoError(t, p.Delete(t.Context(), "orders", "u1", "a"))
			_, err = p.Repair(t.Context(), "orders", "u1", "a", "ada", nil)
			require.NoError(t, err)
			require.Equal(t, digests(t, p.first), digests(t, p.second))
			_, err = p.Repair(t.Context(), "orders", "u1", "b", "ada", nil)
			require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
		})
	}
}

// What cannot be repaired stays as it is: nothing is replaced by what is not right itself.
func TestNoRepair(t *testing.T) {
	for on, p := range pairs(t) {
		t.Run(on, func(t *testing.T) {
			m := p.save(t, "a")
			_, _, err := p.copier().Snapshots(t.Context(), nil)
			require.NoError(t, err)
			key, manifest := m.Objects[0].Key, "backups/orders/u1/snapshots/a/manifest.json"
			refused := func(kind fleet.Kind, what string) {
				t.Helper()
				first, second := tags(t, p.first.Store), tags(t, p.second.Store)
				done, err := p.Repair(t.Context(), "orders", "u1", "a", "ada", nil)
				require.Equal(t, kind, fleet.KindOf(err), "%s: %v", what, err)
				require.Empty(t, done, what)
				require.Equal(t, first, tags(t, p.first.Store), what)
				require.Equal(t, second, tags(t, p.second.Store), what)
			}
			away := objectstoretest.Faults{Refuse: fleet.Errorf(fleet.Unavailable, "object store", "no answer")}
			spoil(t, p.first, key, "one bit")
			p.second.Set(away)
			refused(fleet.Unavailable, "the other is away")
			p.second.Set(objectstoretest.Faults{Key: ".age", Refuse: away.Refuse})
			refused(fleet.Unavailable, "the other's data cannot be read")
			p.second.Set(objectstoretest.Faults{Key: ".age", Cut: 700})
			refused(fleet.Lost, "both are damaged")
			p.second.Set(objectstoretest.Faults{})
			p.first.Set(objectstoretest.Faults{Key: manifest, Flip: 100})
			p.second.Set(objectstoretest.Faults{Key: manifest, Flip: 120})
			refused(fleet.Lost, "no manifest is right")
			p.first.Set(objectstoretest.Faults{})
			p.second.Set(objectstoretest.Faults{})

			other := backup.Vault{Store: p.second.Store, Key: p.Key}
			require.NoError(t, other.Delete(t.Context(), "orders", "u1", "a"))
			_, err = other.Save(t.Context(), about("a"), bytes.NewReader(makeSnapshot(t).bytes), t.TempDir(), nil)
			require.NoError(t, err)
			refused(fleet.Conflict, "both manifests are right, and of different backups")
		})
	}
}

// What is locked is not replaced before its time where the bucket has no versions, and beside
// what was there where it has. What was replaced is locked again.
func TestRepairOfLocked(t *testing.T) {
	for what, start := range map[string]func(testing.TB) *objectstoretest.Server{"versions": objectstoretest.StartVersioned, "no versions": objectstoretest.Start} {
		t.Run(what, func(t *testing.T) {
			server, v := backup.LockedPair(t, start)
			is := about("a")
			is.Lock = &objectstore.Lock{Mode: objectstore.Governance, Until: time.Now().Add(8 * time.Second).UTC().Truncate(time.Second)}
			m, err := v.Save(t.Context(), is, bytes.NewReader(makeSnapshot(t).bytes), t.TempDir(), nil)
			require.NoError(t, err)
			_, _, err = (&backup.Copier{Vault: v, Cluster: "orders", UID: "u1"}).Snapshots(t.Context(), nil)
			require.NoError(t, err)

			// The disk under the bucket loses a bit.
			backup.AlterBit(t, server, "locked", m.Objects[0].Key)
			require.Equal(t, fleet.Lost, fleet.KindOf(v.ReadBack(t.Context(), m, nil)))

			_, err = v.Repair(t.Context(), "orders", "u1", "a", "ada", nil)
			if what == "versions" {
				require.NoError(t, err)
				versions := server.Versions(t, "locked", m.Objects[0].Key)
				require.Len(t, versions, 2)
				for _, version := range versions {
					require.Error(t, server.DeleteVersion(t, "locked", m.Objects[0].Key, version), "each is locked")
				}
			} else {
				require.Equal(t, fleet.Blocked, fleet.KindOf(err), "%v", err)
				require.ErrorContains(t, err, "cannot be repaired in")
				require.Eventually(t, func() bool {
					_, err = v.Repair(t.Context(), "orders", "u1", "a", "ada", nil)
					return err == nil
				}, time.Minute, time.Second, "after its time")
			}
			require.NoError(t, v.ReadBack(t.Context(), m, nil))
		})
	}
}
