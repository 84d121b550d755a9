package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// pair is a vault with two stores, faults in front of each, and what was told of the second.
type pair struct {
	backup.Vault
	first, second *objectstoretest.Faulty
	fell          []string
}

// pairs gives one whose stores are directories, and one whose stores are S3.
func pairs(t *testing.T) map[string]*pair {
	t.Helper()
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "first")
	server.Bucket(t, "second")
	all := map[string]*pair{}
	for what, locations := range map[string][2]string{
		"directories": {t.TempDir(), t.TempDir()}, "S3": {server.Location("first"), server.Location("second/far")},
	} {
		store, err := objectstore.Open(t.Context(), locations[0], objectstore.Options{})
		require.NoError(t, err)
		second, err := objectstore.Open(t.Context(), locations[1], objectstore.Options{Environment: "SECOND_"})
		require.NoError(t, err)
		p := &pair{second: &objectstoretest.Faulty{Store: second}}
		p.Vault, p.first = vaultOn(t, store)
		p.Second = p.second
		p.FellBack = func(what string, why error) { p.fell = append(p.fell, what+": "+why.Error()) }
		all[what] = p
	}
	return all
}

func (p *pair) save(t *testing.T, id string) backup.Manifest {
	t.Helper()
	m, err := p.Save(t.Context(), about(id), bytes.NewReader(makeSnapshot(t).bytes), t.TempDir(), nil)
	require.NoError(t, err)
	return m
}

func (p *pair) copier() *backup.Copier {
	return &backup.Copier{Vault: p.Vault, Cluster: "orders", UID: "u1"}
}

// A first store that did not answer once is asked again, however often it is listed meanwhile.
func TestFirstStoreIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, _ := vault(t)
		v.Second, v.Absence = v.Store, new(objectstore.Absence)
		why := fleet.Errorf(fleet.Unavailable, "store", "no answer")
		v.Absence.Note(why)
		for range 10 {
			_, away, err := v.ListBoth(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.Equal(t, why, away.Store)
			time.Sleep(time.Second)
		}
		time.Sleep(6 * time.Second)
		_, away, err := v.ListBoth(t.Context(), "orders", "u1")
		require.NoError(t, err)
		require.NoError(t, away.Store)
	})
}

// digests are those of all that a store has.
func digests(t *testing.T, s objectstore.Store) (all []backup.Object) {
	t.Helper()
	for _, key := range keys(t, s) {
		digest, err := backup.Vault{Store: s}.Digest(t.Context(), key)
		require.NoError(t, err)
		all = append(all, digest)
	}
	return all
}

// What is copied is the same, byte for byte, and once.
func TestCopy(t *testing.T) {
	for what, p := range pairs(t) {
		t.Run(what, func(t *testing.T) {
			c := p.copier()
			n, newest, err := c.Snapshots(t.Context(), nil)
			require.NoError(t, err)
			require.Zero(t, n)
			require.True(t, newest.IsZero())
			a := p.save(t, "a")
			b := p.save(t, "b")
			n, newest, err = c.Snapshots(t.Context(), nil)
			require.NoError(t, err)
			require.Equal(t, 2, n)
			require.True(t, newest.Equal(b.Taken))
			require.Equal(t, digests(t, p.first), digests(t, p.second))
			for _, c := range []*backup.Copier{c, p.copier()} {
				n, _, err = c.Snapshots(t.Context(), func(doing string, _ int64) { t.Errorf("%s what is there", doing) })
				require.NoError(t, err)
				require.Zero(t, n)
			}
			entries, err := p.List(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.Equal(t, []backup.Entry{{ID: "a", Manifest: a, InStore: true, InSecond: true}, {ID: "b", Manifest: b, InStore: true, InSecond: true}}, entries)
			require.Empty(t, p.fell)
		})
	}
}

// What became of a rehearsal follows, is kept when the first store has lost the backup, and a
// newer one takes its place.
func TestBadgesAreCopied(t *testing.T) {
	for on, p := range pairs(t) {
		t.Run(on, func(t *testing.T) {
			m := p.save(t, "a")
			c := p.copier()
			for i, c := range []*backup.Copier{c, c, p.copier()} {
				want := backup.Rehearsal{Backup: "a", When: time.Date(2026, 3, 14, 2, 15, i, 0, time.UTC), OK: i != 1, Took: time.Second}
				require.NoError(t, p.Record(t.Context(), m, want))
				_, _, err := c.Snapshots(t.Context(), nil)
				require.NoError(t, err)
				require.Equal(t, digests(t, p.first), digests(t, p.second))
				p.first.Set(objectstoretest.Faults{Key: "rehearsal", Flip: 100})
				entries, err := p.List(t.Context(), "orders", "u1")
				require.NoError(t, err)
				require.Equal(t, &want, entries[0].Rehearsal)
				_, _, err = p.copier().Snapshots(t.Context(), nil)
				require.NoError(t, err, "a badge that cannot be read is none")
				p.first.Set(objectstoretest.Faults{})
				require.Equal(t, digests(t, p.first), digests(t, p.second))
			}
			require.NoError(t, p.Delete(t.Context(), "orders", "u1", "a"))
			entries, err := p.List(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.True(t, entries[0].Rehearsal.OK)
		})
	}
}

// A copy that broke is none, and the next attempt makes it whole, whatever is left of it.
func TestCopyBreaks(t *testing.T) {
	away := fleet.Errorf(fleet.Unavailable, "object store", "no answer")
	for what, faults := range map[string][2]objectstoretest.Faults{
		"second away":              {{}, {Refuse: away}},
		"second refuses data":      {{}, {Key: ".age", Refuse: away}},
		"second refuses manifests": {{}, {Key: "manifest", Refuse: away}},
		"second is full":           {{}, {Key: ".age", Full: 1000}},
		"second alters data":       {{}, {Key: ".age", Flip: 700}},
		"second loses the end":     {{}, {Key: ".age", Cut: 700}},
		"first alters data":        {{Key: ".age", Flip: 700}, {}},
		"first cuts data":          {{Key: ".age", Cut: 700}, {}},
		"first alters a manifest":  {{Key: "manifest", Flip: 300}, {}},
		"first away":               {{Refuse: away}, {}},
	} {
		t.Run(what, func(t *testing.T) {
			for on, p := range pairs(t) {
				p.save(t, "a")
				p.first.Set(faults[0])
				p.second.Set(faults[1])
				c := p.copier()
				_, _, err := c.Snapshots(t.Context(), nil)
				require.Error(t, err, on)
				p.first.Set(objectstoretest.Faults{})
				p.second.Set(objectstoretest.Faults{})
				alone := backup.Vault{Store: p.second, Key: p.Key}
				entries, err := alone.List(t.Context(), "orders", "u1")
				require.NoError(t, err)
				require.Empty(t, entries, "%s: half a copy counts", on)
				n, _, err := c.Snapshots(t.Context(), nil)
				require.NoError(t, err, on)
				require.Equal(t, 1, n, on)
				require.Equal(t, digests(t, p.first), digests(t, p.second), on)
			}
		})
	}
	t.Run("what was left is another's", func(t *testing.T) {
		for on, p := range pairs(t) {
			m := p.save(t, "a")
			r, err := p.first.Get(t.Context(), m.Objects[0].Key)
			require.NoError(t, err)
			altered, err := io.ReadAll(r)
			require.NoError(t, errors.Join(err, r.Close()))
			altered[len(altered)/2] ^= 1
			require.NoError(t, p.second.Put(t.Context(), m.Objects[0].Key, bytes.NewReader(altered), int64(len(altered))))
			require.NoError(t, p.second.Put(t.Context(), "backups/orders/u1/snapshots/a/manifest.json", strings.NewReader("{}"), 2))
			_, _, err = p.copier().Snapshots(t.Context(), nil)
			require.NoError(t, err, on)
			require.Equal(t, digests(t, p.first), digests(t, p.second), on)
		}
	})
}

// What the first store does not have any more, has altered anywhere or does not give comes
// from the second, and that is told. What neither has is an error.
func TestSecondStore(t *testing.T) {
	want := makeSnapshot(t).bytes
	for on, p := range pairs(t) {
		t.Run(on, func(t *testing.T) {
			m := p.save(t, "a")
			_, _, err := p.copier().Snapshots(t.Context(), nil)
			require.NoError(t, err)
			size := int64(m.StoredSize())
			away := fleet.Errorf(fleet.Unavailable, "object store", "no answer")
			broken := map[string]objectstoretest.Faults{
				"away": {Refuse: away}, "data refused": {Key: ".age", Refuse: away}, "manifest refused": {Key: "manifest", Refuse: away},
				"denied": {Refuse: fleet.Errorf(fleet.Denied, "object store", "not allowed")}, "manifest altered": {Key: "manifest", Flip: 200},
				"header altered": {Key: ".age", Flip: 30}, "middle altered": {Key: ".age", Flip: size / 2}, "end altered": {Key: ".age", Flip: size},
				"cut": {Key: ".age", Cut: size / 3},
			}
			for what, faults := range broken {
				p.fell = nil
				p.first.Set(faults)
				found, err := p.Find(t.Context(), "orders", "u1", "a")
				require.NoError(t, err, what)
				require.Equal(t, m, found, what)
				data, err := fetch(t, p.Vault, found)
				require.NoError(t, err, what)
				require.True(t, bytes.Equal(want, data), what)
				_, err = p.Lend(t.Context(), m, p.Key.Recipient())
				require.NoError(t, err, what)
				require.NotEmpty(t, p.fell, what)
				entries, err := p.List(t.Context(), "orders", "u1")
				require.NoError(t, err, what)
				require.Len(t, entries, 1, what)
				require.NoError(t, entries[0].Err, what)
			}
			p.first.Set(broken["middle altered"])
			p.second.Set(objectstoretest.Faults{Key: ".age", Flip: 9})
			_, err = fetch(t, p.Vault, m)
			require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
			require.ErrorContains(t, err, "neither of the two stores")
			p.second.Set(objectstoretest.Faults{Refuse: away})
			_, err = fetch(t, p.Vault, m)
			require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "the second may come back: %v", err)
			p.second.Set(objectstoretest.Faults{})
			p.first.Set(objectstoretest.Faults{})

			require.NoError(t, p.Delete(t.Context(), "orders", "u1", "a"))
			require.Empty(t, keys(t, p.first))
			p.fell = nil
			entries, err := p.List(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.Equal(t, []backup.Entry{{ID: "a", Manifest: m, InSecond: true}}, entries)
			data, err := fetch(t, p.Vault, m)
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, data))
			require.NotEmpty(t, p.fell)
			uids, err := p.UIDs(t.Context(), "orders")
			require.NoError(t, err)
			require.Equal(t, []string{"u1"}, uids)
			_, err = p.Manifest(t.Context(), "orders", "u1", "a")
			require.Equal(t, fleet.NotFound, fleet.KindOf(err), "what is written is asked of the first alone: %v", err)
		})
	}
}

// The second store keeps what the rules keep, and the newest whatever became of the first.
func TestExpireSecond(t *testing.T) {
	for on, p := range pairs(t) {
		t.Run(on, func(t *testing.T) {
			for _, id := range []string{"a", "b", "c", "d"} {
				p.save(t, id)
			}
			c := p.copier()
			_, _, err := c.Snapshots(t.Context(), nil)
			require.NoError(t, err)
			require.NoError(t, p.second.Put(t.Context(), "backups/orders/u1/snapshots/e/left.db.zst.age", strings.NewReader("x"), 1))
			policy := fleet.BackupPolicy{Keep: fleet.Keep{Last: 2}}
			expire := func(backups, left int) {
				t.Helper()
				n, _, swept, err := c.Expire(t.Context(), policy, 0)
				require.NoError(t, err)
				require.Equal(t, [2]int{backups, left}, [2]int{n, swept})
			}
			expire(0, 1) // what the first has is not judged here
			require.NoError(t, p.Delete(t.Context(), "orders", "u1", "a"))
			require.NoError(t, p.Delete(t.Context(), "orders", "u1", "c")) // by no rule
			expire(1, 0)
			for _, id := range []string{"b", "d"} {
				require.NoError(t, p.Delete(t.Context(), "orders", "u1", id))
			}
			expire(1, 0)
			expire(0, 0)
			entries, err := p.List(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.Len(t, entries, 2)
			require.Equal(t, []string{"c", "d"}, []string{entries[0].ID, entries[1].ID})
			p.first.Set(objectstoretest.Faults{Refuse: fleet.Errorf(fleet.Unavailable, "object store", "no answer")})
			_, _, _, err = c.Expire(t.Context(), fleet.BackupPolicy{Keep: fleet.Keep{Last: 1}}, 0)
			require.Error(t, err, "who cannot see what the first has removes nothing")
		})
	}
}

// What is copied passes through in pieces, also where it was broken off before.
func TestCopyIsBounded(t *testing.T) {
	p := pairs(t)["S3"]
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // so that what is counted is in use
	const size = 200 << 20
	key := "backups/orders/u1/snapshots/a/large.db.zst.age"
	require.NoError(t, p.first.Put(t.Context(), key, &endless{left: size, random: rand.NewChaCha8([32]byte{})}, -1))
	m := p.save(t, "a") // its manifest is made to name the large one
	digest, err := p.Digest(t.Context(), key)
	require.NoError(t, err)
	m.Objects[0] = digest
	ctx, cancel := context.WithCancel(t.Context())
	before, most := heap(), uint64(0)
	watch := func(doing string, n int64) {
		most = max(most, heap())
		if doing == "copying" && n > size/2 && ctx.Err() == nil {
			cancel()
		}
	}
	err = p.CopyObjects(ctx, m, watch)
	require.Error(t, err)
	require.True(t, errors.Is(err, context.Canceled) || fleet.Is(err, fleet.Unavailable), "%v", err)
	require.Empty(t, keys(t, p.second), "half an object")
	began := time.Now()
	require.NoError(t, p.CopyObjects(t.Context(), m, watch))
	used := fleet.Bytes(max(0, int64(most)-int64(before)))
	t.Logf("%s of %s, copied and read back in %s", used.Human(), fleet.Bytes(size).Human(), time.Since(began).Round(time.Millisecond))
	require.Less(t, used, fleet.Bytes(backup.MaxMemory))
}
