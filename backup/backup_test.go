package backup_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/pki"
)

type snapshot struct {
	bytes []byte
	facts etcdadmin.SnapshotFacts
}

// made is a snapshot that tests share: a store that etcd's own code wrote.
var made snapshot

// makeSnapshot writes a store with live, deleted, overwritten and leased keys, and a
// compaction, by etcd's own code, and streams it as a member does.
func makeSnapshot(t *testing.T) snapshot {
	t.Helper()
	if made.bytes != nil {
		return made
	}
	be := backend.NewDefaultBackend(zap.NewNop(), filepath.Join(t.TempDir(), "db"))
	store := mvcc.NewStore(zap.NewNop(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})
	for i := range 120 {
		store.Put(fmt.Appendf(nil, "k/%03d", i%100), fmt.Appendf(nil, "value %d %s", i, rand.Text()), lease.LeaseID(7*(i%2)))
	}
	store.DeleteRange([]byte("k/00"), []byte("k/01"))
	done, err := store.Compact(traceutil.TODO(), 50)
	require.NoError(t, err)
	<-done
	hash, revision, err := mvcc.NewHashStorage(zap.NewNop(), store).HashByRev(0)
	require.NoError(t, err)
	store.Commit()
	var db bytes.Buffer
	copied := be.Snapshot()
	_, err = copied.WriteTo(&db)
	require.NoError(t, err)
	require.NoError(t, copied.Close())
	require.NoError(t, store.Close())
	require.NoError(t, be.Close())
	made = snapshot{bytes: summed(db.Bytes()), facts: etcdadmin.SnapshotFacts{Revision: revision, Compacted: 50, Keys: 90, Hash: hash.Hash}}
	return made
}

// vault is one over a store with faults in front, in a directory.
func vault(t *testing.T) (backup.Vault, *objectstoretest.Faulty) {
	t.Helper()
	store, err := objectstore.Open(t.Context(), t.TempDir(), objectstore.Options{})
	require.NoError(t, err)
	return vaultOn(t, store)
}

func vaultOn(t *testing.T, store objectstore.Store) (backup.Vault, *objectstoretest.Faulty) {
	t.Helper()
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	faulty := &objectstoretest.Faulty{Store: store}
	return backup.Vault{Store: faulty, Key: key}, faulty
}

func about(id string) backup.Manifest {
	return backup.Manifest{Cluster: "orders", UID: "u1", ID: id, History: "1f", Taken: time.Now().UTC(), Member: "orders-1", Etcd: "3.7.3", AskedBy: "a test"}
}

func keys(t *testing.T, s objectstore.Store) (all []string) {
	t.Helper()
	objects, err := s.List(t.Context(), "")
	require.NoError(t, err)
	for _, o := range objects {
		all = append(all, o.Key)
	}
	return all
}

func fetch(t *testing.T, v backup.Vault, m backup.Manifest) ([]byte, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "snapshot.db")
	err := v.Fetch(t.Context(), m, file, nil)
	if err != nil {
		left, lookErr := os.ReadDir(dir)
		require.NoError(t, lookErr)
		require.Empty(t, left, "something was left of a backup that could not be read")
		return nil, err
	}
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return data, nil
}

func TestSave(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "backups")
	snapshot := makeSnapshot(t)
	for what, location := range map[string]string{"directory": t.TempDir(), "S3": server.Location("backups")} {
		t.Run(what, func(t *testing.T) {
			store, err := objectstore.Open(t.Context(), location, objectstore.Options{})
			require.NoError(t, err)
			v, _ := vaultOn(t, store)
			scratch := t.TempDir()
			m, err := v.Save(t.Context(), about("a"), bytes.NewReader(snapshot.bytes), scratch, nil)
			require.NoError(t, err)
			left, err := os.ReadDir(scratch)
			require.NoError(t, err)
			require.Empty(t, left)
			require.Equal(t, snapshot.facts, etcdadmin.SnapshotFacts{Revision: m.Revision, Compacted: m.Compacted, Keys: m.Keys, Hash: m.Hash})
			require.Equal(t, len(snapshot.bytes)-32, int(m.Size))
			require.Less(t, m.StoredSize(), m.Size)

			entries, err := v.List(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.Equal(t, []backup.Entry{{ID: "a", Manifest: m, InStore: true}}, entries)
			data, err := fetch(t, v, m)
			require.NoError(t, err)
			require.True(t, bytes.Equal(snapshot.bytes, data), "what was restored is not what was stored")
			for _, key := range keys(t, store) {
				r, err := store.Get(t.Context(), key)
				require.NoError(t, err)
				stored, err := io.ReadAll(r)
				require.NoError(t, err)
				require.NoError(t, r.Close())
				require.NotContains(t, string(stored), "value 119", "%s is not sealed", key)
			}

			again, err := v.Save(t.Context(), about("a"), strings.NewReader("not read"), scratch, nil)
			require.NoError(t, err)
			require.Equal(t, m, again, "the same ID is the same backup")

			require.NoError(t, v.Record(t.Context(), m, backup.Rehearsal{When: time.Now().UTC(), OK: true, Took: time.Second}))
			entries, err = v.List(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.True(t, entries[0].Rehearsal.OK)
			uids, err := v.UIDs(t.Context(), "orders")
			require.NoError(t, err)
			require.Equal(t, []string{"u1"}, uids)

			require.NoError(t, v.Delete(t.Context(), "orders", "u1", "a"))
			require.Empty(t, keys(t, store))
		})
	}
}

// Several attempts at once, as when a worker was taken for dead: one backup, whole.
func TestSaveTwiceAtOnce(t *testing.T) {
	snapshot := makeSnapshot(t)
	v, _ := vault(t)
	var both sync.WaitGroup
	got, errs := make([]backup.Manifest, 4), make([]error, 4)
	for i := range got {
		both.Go(func() {
			got[i], errs[i] = v.Save(t.Context(), about("a"), bytes.NewReader(snapshot.bytes), t.TempDir(), nil)
		})
	}
	both.Wait()
	for i := range got {
		require.NoError(t, errs[i])
		require.Equal(t, got[0], got[i])
	}
	require.Len(t, keys(t, v.Store), 2, "a manifest and what it names")
	_, err := fetch(t, v, got[0])
	require.NoError(t, err)
}

// Backups of former versions are one frame of zstd, whose window was 1 MiB, or frames of
// 128 KiB.
func TestFormerBackups(t *testing.T) {
	snapshot := makeSnapshot(t)
	for name, compress := range map[string]func(into io.Writer) error{
		"one frame": func(into io.Writer) error {
			z, err := zstd.NewWriter(into, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
			require.NoError(t, err)
			_, err = z.Write(snapshot.bytes)
			return errors.Join(err, z.Close())
		},
		"large frames": func(into io.Writer) error {
			const frame = 128 << 10
			z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(frame), zstd.WithEncoderCRC(false))
			require.NoError(t, err)
			for part := range slices.Chunk(snapshot.bytes, frame) {
				if _, err := into.Write(z.EncodeAll(part, nil)); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := vault(t)
			m, err := v.Save(t.Context(), about("a"), bytes.NewReader(snapshot.bytes), t.TempDir(), nil)
			require.NoError(t, err)
			var former bytes.Buffer
			age, err := v.Key.Seal(&former)
			require.NoError(t, err)
			require.NoError(t, compress(age))
			require.NoError(t, age.Close())
			sum := sha256.Sum256(former.Bytes())
			m.Objects[0].Size, m.Objects[0].SHA256 = fleet.Bytes(former.Len()), hex.EncodeToString(sum[:])
			require.NoError(t, v.Store.Put(t.Context(), m.Objects[0].Key, &former, -1))
			data, err := fetch(t, v, m)
			require.NoError(t, err)
			require.True(t, bytes.Equal(snapshot.bytes, data))
		})
	}
}

// What goes wrong while it is stored leaves no backup, and nothing else.
func TestSaveBreaks(t *testing.T) {
	snapshot := makeSnapshot(t)
	good := snapshot.bytes
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 1
	hollow := bytes.Clone(good[:len(good)-sha256.Size])
	clear(hollow[2*os.Getpagesize():]) // where its trees are
	refused := fleet.Errorf(fleet.Unavailable, "object store", "no answer")
	for _, c := range []struct {
		name   string
		stream io.Reader
		faults objectstoretest.Faults
		kind   fleet.Kind
	}{
		{"stream altered", bytes.NewReader(flipped), objectstoretest.Faults{}, fleet.Unavailable},
		{"stream cut", bytes.NewReader(good[:len(good)-4096]), objectstoretest.Faults{}, fleet.Unavailable},
		{"stream empty", strings.NewReader(""), objectstoretest.Faults{}, fleet.Unavailable},
		{"stream broken", io.MultiReader(bytes.NewReader(good[:5000]), broken{}), objectstoretest.Faults{}, fleet.Unavailable},
		{"store full", bytes.NewReader(good), objectstoretest.Faults{Full: 2000}, fleet.Denied},
		{"store refuses data", bytes.NewReader(good), objectstoretest.Faults{Key: ".age", Refuse: refused}, fleet.Unavailable},
		{"store refuses the manifest", bytes.NewReader(good), objectstoretest.Faults{Key: "manifest", Refuse: fleet.Errorf(fleet.Denied, "object store", "no")}, fleet.Denied},
		{"store alters data", bytes.NewReader(good), objectstoretest.Faults{Key: ".age", Flip: 3000}, fleet.Lost},
		{"store cuts data", bytes.NewReader(good), objectstoretest.Faults{Key: ".age", Cut: 3000}, fleet.Lost},
		{"a database without its trees", bytes.NewReader(summed(hollow)), objectstoretest.Faults{}, fleet.Invalid},
		{"not a database", bytes.NewReader(summed(bytes.Repeat([]byte("x"), 8192))), objectstoretest.Faults{}, fleet.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, faulty := vault(t)
			faulty.Set(c.faults)
			_, err := v.Save(t.Context(), about("a"), c.stream, t.TempDir(), nil)
			require.Equal(t, c.kind, fleet.KindOf(err), "%v", err)
			faulty.Set(objectstoretest.Faults{})
			entries, err := v.List(t.Context(), "orders", "u1")
			require.NoError(t, err)
			require.Empty(t, entries)
			_, err = v.Sweep(t.Context(), "orders", "u1", 0)
			require.NoError(t, err)
			require.Empty(t, keys(t, v.Store))
			_, err = v.Save(t.Context(), about("a"), bytes.NewReader(good), t.TempDir(), nil)
			require.NoError(t, err, "the next attempt")
		})
	}
	t.Run("answer lost", func(t *testing.T) {
		v, faulty := vault(t)
		faulty.Set(objectstoretest.Faults{Key: "manifest", AnswerLost: true})
		m, err := v.Save(t.Context(), about("a"), bytes.NewReader(good), t.TempDir(), nil)
		require.NoError(t, err, "it was written, whatever was answered")
		_, err = fetch(t, v, m)
		require.NoError(t, err)
	})
	t.Run("stopped on a slow store", func(t *testing.T) {
		v, faulty := vault(t)
		ctx, cancel := context.WithCancel(t.Context())
		faulty.Set(objectstoretest.Faults{Pace: func(ctx context.Context) { cancel(); <-ctx.Done() }})
		_, err := v.Save(ctx, about("a"), bytes.NewReader(good), t.TempDir(), nil)
		require.Error(t, err)
		require.Empty(t, keys(t, v.Store))
	})
}

// What an attempt leaves that is killed while it stores a large object is in no list; it is
// swept all the same, once it can be nobody's any more.
func TestSweepAborts(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "swept")
	store, err := objectstore.Open(t.Context(), server.Location("swept"), objectstore.Options{})
	require.NoError(t, err)
	v, _ := vaultOn(t, store)
	v.Store = store // what is in front of it by default cannot do it
	m, err := v.Save(t.Context(), about("a"), bytes.NewReader(makeSnapshot(t).bytes), t.TempDir(), nil)
	require.NoError(t, err)
	left := []string{"backups/orders/u1/snapshots/b/data.age", "backups/orders/u1/changes/1f/c/data.age"}
	for _, key := range left {
		server.LeaveUpload(t, "swept", key)
	}
	sweep := func(age time.Duration) (all []string) {
		for _, f := range []func(context.Context, string, string, time.Duration) ([]string, error){v.Sweep, v.SweepSegments} {
			swept, err := f(t.Context(), "orders", "u1", age)
			require.NoError(t, err)
			all = append(all, swept...)
		}
		return all
	}
	require.Empty(t, sweep(time.Hour))
	require.Equal(t, left, sweep(0))
	require.Empty(t, server.Uploads(t, "swept"))
	_, err = fetch(t, v, m)
	require.NoError(t, err)
}

// A bit anywhere, an end anywhere, an object that is gone or another's: never a backup.
func TestDamage(t *testing.T) {
	snapshot := makeSnapshot(t)
	v, faulty := vault(t)
	m, err := v.Save(t.Context(), about("a"), bytes.NewReader(snapshot.bytes), t.TempDir(), nil)
	require.NoError(t, err)
	other, err := v.Save(t.Context(), about("b"), bytes.NewReader(snapshot.bytes), t.TempDir(), nil)
	require.NoError(t, err)
	size := int64(m.StoredSize())
	refuses := func(f objectstoretest.Faults) {
		t.Helper()
		faulty.Set(f)
		_, err := fetch(t, v, m)
		require.Equal(t, fleet.Lost, fleet.KindOf(err), "%+v: %v", f, err)
		require.ErrorContains(t, err, "backup a of orders")
		require.Equal(t, fleet.Lost, fleet.KindOf(v.ReadBack(t.Context(), m, nil)), "%+v", f)
	}
	step := max(1, size/150)
	for at := int64(1); at <= size; at += step {
		refuses(objectstoretest.Faults{Key: ".age", Flip: at})
	}
	refuses(objectstoretest.Faults{Key: ".age", Flip: size})
	for at := int64(1); at < size; at += max(1, size/40) {
		refuses(objectstoretest.Faults{Key: ".age", Cut: at})
	}
	refuses(objectstoretest.Faults{Key: ".age", Cut: size - 1})

	// The manifest: every byte of it.
	manifest := filepath.FromSlash("backups/orders/u1/snapshots/a/manifest.json")
	faulty.Set(objectstoretest.Faults{})
	info, err := v.Store.Stat(t.Context(), manifest)
	require.NoError(t, err)
	for at := int64(1); at <= int64(info.Size); at++ {
		faulty.Set(objectstoretest.Faults{Key: manifest, Flip: at})
		_, err := v.Manifest(t.Context(), "orders", "u1", "a")
		require.Equal(t, fleet.Lost, fleet.KindOf(err), "byte %d of the manifest: %v", at, err)
		faulty.Set(objectstoretest.Faults{Key: manifest, Cut: at})
		if at < int64(info.Size) {
			_, err = v.Manifest(t.Context(), "orders", "u1", "a")
			require.Equal(t, fleet.Lost, fleet.KindOf(err), "%d bytes of the manifest: %v", at, err)
		}
	}
	faulty.Set(objectstoretest.Faults{})

	copyObject := func(from, to string) {
		t.Helper()
		r, err := v.Store.Get(t.Context(), from)
		require.NoError(t, err)
		defer r.Close()
		require.NoError(t, v.Store.Put(t.Context(), to, r, -1))
	}
	why := func(id string) string {
		t.Helper()
		entries, err := v.List(t.Context(), "orders", "u1")
		require.NoError(t, err)
		for _, e := range entries {
			if e.ID == id && e.Err != nil {
				return e.Err.Error()
			}
		}
		return ""
	}
	require.Empty(t, why("a"))
	copyObject(other.Objects[0].Key, m.Objects[0].Key)
	refuses(objectstoretest.Faults{})
	copyObject("backups/orders/u1/snapshots/b/manifest.json", manifest)
	require.Contains(t, why("a"), "was put here")
	require.NoError(t, v.Store.Delete(t.Context(), other.Objects[0].Key))
	require.Contains(t, why("b"), "is missing")
	_, err = fetch(t, v, other)
	require.Equal(t, fleet.Lost, fleet.KindOf(err))
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	copyObject(m.Objects[0].Key, other.Objects[0].Key)
	_, err = fetch(t, backup.Vault{Store: v.Store, Key: key}, other)
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "another fleet's key")
}

type broken struct{}

func (broken) Read([]byte) (int, error) {
	return 0, fleet.Errorf(fleet.Unavailable, "member orders-1", "the connection broke")
}
