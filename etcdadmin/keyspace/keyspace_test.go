package keyspace_test

import (
	"context"
	"fmt"
	"path/filepath"
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

func read(t require.TestingT, path string, slots int) keyspace.Facts {
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true})
	require.NoError(t, err)
	defer db.Close()
	f, err := keyspace.ReadWithin(context.Background(), db, slots)
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
		got := read(t, e.path, 1<<10)
		require.Equal(t, got, read(t, e.path, 4), "in parts")
		e = open(t, e.path)
		require.Equal(t, e.facts(), got)
		e.close()
		require.Equal(t, got, read(t, e.path, 1<<10), "and after it")
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
			db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
			require.NoError(t, err)
			defer db.Close()
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
			_, err = keyspace.Read(t.Context(), db)
			require.ErrorContains(t, err, c.says)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		e := open(t, filepath.Join(t.TempDir(), "db"))
		e.kv.Put([]byte("k"), []byte("v"), 0)
		e.close()
		db, err := bolt.Open(e.path, 0, &bolt.Options{ReadOnly: true})
		require.NoError(t, err)
		defer db.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = keyspace.Read(ctx, db)
		require.ErrorIs(t, err, context.Canceled)
	})
}
