package keyspace_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"google.golang.org/protobuf/proto"

	"github.com/flotilla-etcd/flotilla/etcdadmin/keyspace"
)

// etcd is a store that etcd's own code runs.
type etcd struct {
	t    require.TestingT
	path string
	be   backend.Backend
	kv   mvcc.WatchableKV
}

func open(t require.TestingT, path string) *etcd {
	config := backend.DefaultBackendConfig(zap.NewNop())
	config.Path, config.UnsafeNoFsync = path, true
	be := backend.New(config)
	return &etcd{t, path, be, mvcc.New(zap.NewNop(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})}
}

func (e *etcd) close() {
	e.kv.Commit()
	e.kv.Close()
	require.NoError(e.t, e.be.Close())
}

// facts is what etcd itself says.
func (e *etcd) facts() keyspace.Facts {
	hash, revision, err := e.kv.HashStorage().HashByRev(0)
	require.NoError(e.t, err)
	tx := e.kv.Read(mvcc.ConcurrentReadTxMode, traceutil.TODO())
	defer tx.End()
	all, err := tx.Range(context.Background(), []byte{0}, []byte{}, mvcc.RangeOptions{CountOnly: true})
	require.NoError(e.t, err)
	return keyspace.Facts{Revision: revision, Compacted: max(0, hash.CompactRevision), Keys: all.Count, Hash: hash.Hash}
}

// read scans a file, in pieces of so many bytes.
func read(t require.TestingT, path string, piece, slots int) (keyspace.Facts, error) {
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	return scan(context.Background(), t, file, piece, slots)
}

func scan(ctx context.Context, t require.TestingT, file []byte, piece, slots int) (keyspace.Facts, error) {
	s, err := keyspace.NewScannerWithin(os.TempDir(), slots)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	for piece := range slices.Chunk(slices.Concat(file, make([]byte, sha256.Size)), piece) { // as a member sends it
		_, err := s.Write(piece)
		require.NoError(t, err)
	}
	return s.Facts(ctx)
}

func mustRead(t require.TestingT, path string, piece, slots int) keyspace.Facts {
	f, err := read(t, path, piece, slots)
	require.NoError(t, err)
	return f
}

// Whatever was written, deleted and compacted, also where a compaction was broken off or the
// revision was moved on: what is read is what etcd says, with a table that holds all keys, and with
// one that does not.
func TestReadAsEtcd(t *testing.T) {
	dir := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		e := open(t, filepath.Join(dir, fmt.Sprint(round)))
		end := rapid.IntRange(0, 5).Draw(t, "end")
		if end == 0 { // where no key exists, etcd's own hash changes when the compaction comes to its end
			e.kv.Put([]byte("exists"), nil, 0)
		}
		key := rapid.Map(rapid.IntRange(0, rapid.SampledFrom([]int{3, 40}).Draw(t, "keys")), func(n int) []byte { return fmt.Appendf(nil, "k%02d", n) })
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				e.kv.DeleteRange(key.Draw(t, "from"), key.Draw(t, "to"))
			case 1, 2, 3:
				e.kv.DeleteRange(key.Draw(t, "deleted"), nil)
			case 4: // several in one revision
				txn := e.kv.Write(traceutil.TODO())
				for _, k := range rapid.SliceOfNDistinct(key, 1, 4, func(k []byte) string { return string(k) }).Draw(t, "together") {
					if rapid.Bool().Draw(t, "delete") {
						txn.DeleteRange(k, nil)
					} else {
						txn.Put(k, []byte("together"), 0)
					}
				}
				txn.End()
			case 5:
				if rapid.IntRange(0, 2).Draw(t, "seldom") == 0 {
					done, err := e.kv.Compact(traceutil.TODO(), rapid.Int64Range(1, e.kv.Rev()).Draw(t, "compact"))
					if err == nil {
						<-done
					}
				}
			default:
				e.kv.Put(key.Draw(t, "put"), fmt.Appendf(nil, "value %d", e.kv.Rev()), lease.LeaseID(rapid.IntRange(0, 2).Draw(t, "lease")))
			}
		}
		switch end {
		case 0: // a compaction that was asked for, and of which nothing was done when the member died
			scheduled := rapid.Int64Range(1, e.kv.Rev()).Draw(t, "scheduled")
			mvcc.SetScheduledCompact(e.be.BatchTx(), scheduled)
		case 1: // what etcdutl does to move the revision on
			last := e.kv.Rev() + 1000
			tx := e.be.BatchTx()
			tx.LockOutsideApply()
			tx.UnsafePut(schema.Key, mvcc.RevToBytes(mvcc.Revision{Main: last}, mvcc.NewRevBytes()), []byte{})
			mvcc.UnsafeSetScheduledCompact(tx, last)
			tx.Unlock()
		}
		e.close()

		// Before etcd opens it, which ends the compaction.
		piece := rapid.SampledFrom([]int{1, 100, 4 << 10, 32<<10 + 1, 1 << 20}).Draw(t, "piece")
		got := mustRead(t, e.path, piece, 1<<10)
		require.Equal(t, got, mustRead(t, e.path, piece, 4), "in parts")
		e = open(t, e.path)
		require.Equal(t, e.facts(), got)
		e.close()
		require.Equal(t, got, mustRead(t, e.path, piece, 1<<10), "and after it")
	})
}

// What etcd could not have written is told of, and never counted.
func TestReadRefuses(t *testing.T) {
	stored := func(main int64) []byte { return mvcc.RevToBytes(mvcc.Revision{Main: main}, mvcc.NewRevBytes()) }
	kv, err := proto.Marshal(&mvccpb.KeyValue{Key: []byte("k"), Value: []byte("v"), CreateRevision: 2, ModRevision: 2, Version: 1})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		meta, key bool
		put       map[string][]byte
		compacted []byte
		says      string
	}{
		"nothing":                {says: "no key space"},
		"no meta":                {key: true, says: "no key space"},
		"no revision":            {meta: true, key: true, put: map[string][]byte{"x": kv}, says: "no revision"},
		"a negative one":         {meta: true, key: true, put: map[string][]byte{string(stored(-5)): kv}, says: "no revision"},
		"one twice":              {meta: true, key: true, put: map[string][]byte{string(stored(2)): kv, string(stored(2)) + "t": kv}, says: "follows on"},
		"no value of etcd's":     {meta: true, key: true, put: map[string][]byte{string(stored(2)): kv[:len(kv)-1]}, says: "revision 2"},
		"a key of another kind":  {meta: true, key: true, put: map[string][]byte{string(stored(2)): {1 << 3, 1}}, says: "revision 2"},
		"a compaction at no one": {meta: true, key: true, compacted: []byte("x"), says: "no revision"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "db")
			db, err := bolt.Open(path, 0o600, nil)
			require.NoError(t, err)
			require.NoError(t, db.Update(func(tx *bolt.Tx) error {
				if c.meta {
					meta, err := tx.CreateBucket([]byte("meta"))
					require.NoError(t, err)
					if c.compacted != nil {
						require.NoError(t, meta.Put([]byte("finishedCompactRev"), c.compacted))
					}
				}
				if c.key {
					keys, err := tx.CreateBucket([]byte("key"))
					require.NoError(t, err)
					for k, v := range c.put {
						require.NoError(t, keys.Put([]byte(k), v))
					}
				}
				return nil
			}))
			require.NoError(t, db.Close())
			_, err = read(t, path, 4<<10, 1<<10)
			require.ErrorContains(t, err, c.says)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := scan(ctx, t, churned(t, 10), 4<<10, 1<<10)
		require.ErrorIs(t, err, context.Canceled)
	})
	t.Run("no scratch", func(t *testing.T) {
		_, err := keyspace.NewScanner(filepath.Join(t.TempDir(), "none"))
		require.ErrorIs(t, err, fs.ErrNotExist)
	})
	t.Run("no scratch any more", func(t *testing.T) {
		file := churned(t, 60)
		s, err := keyspace.NewScanner(t.TempDir())
		require.NoError(t, err)
		require.NoError(t, s.LoseScratch())
		_, err = s.Write(file)
		if err == nil { // it was noted in memory
			_, err = s.Facts(t.Context())
		}
		var disk *fs.PathError
		require.ErrorAs(t, err, &disk)
	})
}

// churned is a store whose pages, of values of all sizes, were written, freed and used again.
func churned(t *testing.T, keys int) []byte {
	e := open(t, filepath.Join(t.TempDir(), "db"))
	draw := rand.New(rand.NewPCG(1, uint64(keys)))
	value := make([]byte, 40<<10)
	for n := range 4 * keys {
		e.kv.Put(fmt.Appendf(nil, "key %05d", draw.IntN(keys)), value[:draw.IntN(1+draw.IntN(len(value)))], 0)
		if n%keys == keys-1 {
			done, err := e.kv.Compact(traceutil.TODO(), e.kv.Rev()-int64(keys)/2)
			require.NoError(t, err)
			<-done
			e.kv.Commit()
		}
	}
	facts := e.facts()
	e.close()
	file, err := os.ReadFile(e.path)
	require.NoError(t, err)
	got, err := scan(t.Context(), t, file, 32<<10, 1<<10)
	require.NoError(t, err)
	require.Equal(t, facts, got)
	return file
}

// Many pages, in use and free, in branches, and each over several; whatever a member sends at once.
func TestReadManyPages(t *testing.T) {
	file := churned(t, 1500)
	want, err := scan(t.Context(), t, file, 1<<20, 1<<10)
	require.NoError(t, err)
	for _, piece := range []int{511, 4 << 10, 5000, 64 << 10, len(file) + sha256.Size} {
		got, err := scan(t.Context(), t, file, piece, 1<<10)
		require.NoError(t, err)
		require.Equal(t, want, got, "%d at once", piece)
	}
}

// A file that is cut off, or has another page in the place of one, or noise in it, is refused, or has
// another hash, or else holds just what it held: that was free. Nothing panics or goes on for ever.
func TestReadDamaged(t *testing.T) {
	const page = 4 << 10
	file := churned(t, 60)
	want, err := scan(t.Context(), t, file, 32<<10, 1<<10)
	require.NoError(t, err)
	refused := 0
	check := func(t *rapid.T, damaged []byte) {
		got, err := scan(context.Background(), t, damaged, 32<<10, 1<<10)
		switch {
		case err != nil:
			refused++
		case got.Hash == want.Hash:
			require.Equal(t, want, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		damaged, pages := slices.Clone(file), len(file)/page
		at := page * rapid.IntRange(2, pages-1).Draw(t, "page")
		switch rapid.IntRange(0, 3).Draw(t, "damage") {
		case 0:
			check(t, damaged[:rapid.IntRange(0, len(file)-1).Draw(t, "length")])
		case 1: // all of another page, under its own number
			from := page * rapid.IntRange(2, pages-1).Draw(t, "other")
			copy(damaged[at+8:at+page], file[from+8:])
			check(t, damaged)
		case 2: // its header or its first elements
			damaged[at+rapid.IntRange(0, 100).Draw(t, "byte")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
			check(t, damaged)
		case 3: // what its elements lead to
			for i := range damaged[at+8 : at+100] {
				damaged[at+8+i] = 0xff
			}
			check(t, damaged)
		}
	})
	require.NotZero(t, refused)
}
