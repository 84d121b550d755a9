package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// source is a running cluster whose changes are recorded.
type source struct {
	cluster *etcdtest.Cluster
	etcd    *clientv3.Client
	admin   *etcdadmin.Client
	history string
	vault   backup.Vault
	faulty  *objectstoretest.Faulty
	random  *rand.Rand
	leases  []clientv3.LeaseID
}

func startSource(t *testing.T, version string, flags ...string) *source {
	t.Helper()
	cluster := etcdtest.Start(t, version, 1, flags...)
	admin, err := etcdadmin.Connect(etcdadmin.Config{Endpoints: cluster.Endpoints(), TLS: cluster.TLS})
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &source{cluster: cluster, etcd: cluster.Client(t), admin: admin, random: rand.New(rand.NewPCG(seed, 0))}
	s.vault, s.faulty = vault(t)
	answer, err := s.etcd.Get(t.Context(), "x")
	require.NoError(t, err)
	s.history = strconv.FormatUint(answer.Header.ClusterId, 16)
	return s
}

// key is one of few, so that they are overwritten and deleted often.
func (s *source) key() string { return fmt.Sprintf("k/%02d", s.random.IntN(60)) }

// write changes something, in one of the ways in which clients do.
func (s *source) write(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	text := strings.Repeat("v", s.random.IntN(300))
	var err error
	switch kind := s.random.IntN(12); kind {
	case 0:
		var granted *clientv3.LeaseGrantResponse
		granted, err = s.etcd.Grant(ctx, 1000+s.random.Int64N(9000))
		require.NoError(t, err)
		s.leases = append(s.leases, granted.ID)
		_, err = s.etcd.Put(ctx, s.key(), text, clientv3.WithLease(granted.ID))
	case 1, 2:
		if len(s.leases) > 0 {
			_, err = s.etcd.Put(ctx, s.key(), text, clientv3.WithLease(s.leases[s.random.IntN(len(s.leases))]))
		}
	case 3: // deletes the keys of a lease, at one revision
		if i := len(s.leases); i > 6 {
			_, err = s.etcd.Revoke(ctx, s.leases[0])
			s.leases = s.leases[1:]
		}
	case 4:
		_, err = s.etcd.Delete(ctx, "k/"+strconv.Itoa(s.random.IntN(6)), clientv3.WithPrefix())
	case 5:
		_, err = s.etcd.Delete(ctx, s.key())
	case 6: // as many as a transaction may have
		var ops []clientv3.Op
		for i := range 128 {
			ops = append(ops, clientv3.OpPut(fmt.Sprintf("wide/%03d", i), text))
		}
		_, err = s.etcd.Txn(ctx).Then(ops...).Commit()
	case 7: // more than that at one revision
		_, err = s.etcd.Delete(ctx, "wide/", clientv3.WithPrefix())
	case 8: // one key, put and deleted at one revision
		key := s.key()
		_, err = s.etcd.Txn(ctx).Then(clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(key, text), clientv3.OpPut(key+"/b", text)}, nil),
			clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpDelete(key)}, nil)).Commit()
	case 9: // changes nothing, and uses no revision
		_, err = s.etcd.Txn(ctx).If(clientv3.Compare(clientv3.Version("none"), ">", 0)).Then(clientv3.OpPut("none", "x")).Commit()
	default:
		_, err = s.etcd.Put(ctx, s.key(), text)
	}
	require.NoError(t, err)
}

func (s *source) writeMany(t *testing.T, n int) {
	t.Helper()
	for range n {
		s.write(t)
	}
}

func (s *source) revision(t *testing.T) int64 {
	t.Helper()
	answer, err := s.etcd.Get(t.Context(), "x")
	require.NoError(t, err)
	return answer.Header.Revision
}

// save takes a backup.
func (s *source) save(t *testing.T, id string) backup.Manifest {
	t.Helper()
	about := about(id)
	about.History, about.Taken = s.history, time.Now().UTC()
	stream, err := s.admin.Snapshot(t.Context(), s.cluster.Members[0].Name)
	require.NoError(t, err)
	defer stream.Close()
	m, err := s.vault.Save(t.Context(), about, stream, t.TempDir(), nil)
	require.NoError(t, err)
	return m
}

func (s *source) list(t *testing.T) ([]backup.Entry, []backup.SegmentEntry) {
	t.Helper()
	entries, err := s.vault.List(t.Context(), "orders", "u1")
	require.NoError(t, err)
	segments, err := s.vault.Segments(t.Context(), "orders", "u1")
	require.NoError(t, err)
	return entries, segments
}

// recorder is a recording that runs.
type recorder struct {
	cancel context.CancelFunc
	stored atomic.Int64
	ended  chan error
}

// record begins to record from a revision on.
func (s *source) record(t *testing.T, from int64, bytes fleet.Bytes) *recorder {
	t.Helper()
	r := &recorder{ended: make(chan error, 1)}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		r.ended <- s.vault.Follow(ctx, s.admin, backup.Recording{
			Cluster: "orders", UID: "u1", History: s.history, From: from, Every: 200 * time.Millisecond, Bytes: bytes, Quiet: time.Second,
		}, func(p backup.Progress) { r.stored.Store(p.Stored) })
	}()
	t.Cleanup(r.cancel)
	return r
}

// await waits until all up to a revision is stored.
func (r *recorder) await(t *testing.T, revision int64) {
	t.Helper()
	require.Eventually(t, func() bool { return r.stored.Load() >= revision }, time.Minute, 10*time.Millisecond, "revision %d was not stored", revision)
}

// stop has it end as a worker does that is asked to.
func (r *recorder) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	require.NoError(t, <-r.ended)
}

// kept is what is compared of a store, key by key.
type kept struct {
	keys   []*mvccpb.KeyValue
	leases map[int64]int64
}

// open reads a snapshot as a member that starts from it does.
func open(t *testing.T, file string) (all kept) {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	db := filepath.Join(t.TempDir(), "db")
	require.NoError(t, os.WriteFile(db, data[:len(data)-32], 0o600))
	be := backend.NewDefaultBackend(zap.NewNop(), db)
	defer be.Close()
	lessor := lease.NewLessor(zap.NewNop(), be, nil, lease.LessorConfig{})
	defer lessor.Stop()
	store := mvcc.NewStore(zap.NewNop(), be, lessor, mvcc.StoreConfig{})
	defer store.Close()
	tx := store.Read(mvcc.ConcurrentReadTxMode, traceutil.TODO())
	defer tx.End()
	found, err := tx.Range(t.Context(), []byte{0}, []byte{}, mvcc.RangeOptions{})
	require.NoError(t, err)
	all = kept{keys: found.KVs, leases: map[int64]int64{}}
	for _, kv := range found.KVs {
		if kv.Lease != 0 {
			require.NotNil(t, lessor.Lookup(lease.LeaseID(kv.Lease)), "key %s has a lease that there is not", kv.Key)
			all.leases[kv.Lease] = lessor.Lookup(lease.LeaseID(kv.Lease)).TTL()
		}
	}
	return all
}

// same compares what was replayed with what the cluster has at a revision.
func (s *source) same(t *testing.T, file string, done backup.Replayed, revision int64) {
	t.Helper()
	require.Equal(t, revision, done.Revision)
	hash, err := s.etcd.HashKV(t.Context(), s.cluster.Members[0].ClientURL, revision)
	require.NoError(t, err)
	require.Equal(t, hash.Hash, done.Hash, "the hash at revision %d", revision)
	want, err := s.etcd.Get(t.Context(), "\x00", clientv3.WithFromKey(), clientv3.WithRev(revision))
	require.NoError(t, err)
	got := open(t, file)
	require.Len(t, got.keys, len(want.Kvs))
	for i, kv := range want.Kvs {
		g := got.keys[i]
		require.Equal(t, []any{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease},
			[]any{string(g.Key), string(g.Value), g.CreateRevision, g.ModRevision, g.Version, g.Lease}, "revision %d", revision)
		if kv.Lease == 0 {
			continue
		}
		ttl, err := s.etcd.TimeToLive(t.Context(), clientv3.LeaseID(kv.Lease))
		require.NoError(t, err)
		if ttl.GrantedTTL > 0 { // it was not revoked since
			require.Equal(t, ttl.GrantedTTL, got.leases[kv.Lease], "lease %x", kv.Lease)
		}
	}
}

// Any revision since a backup can be had again: all keys as they were, and the hash.
func TestPointInTime(t *testing.T) {
	t.Parallel()
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := startSource(t, version)
			s.writeMany(t, 60)
			_, err := s.etcd.Compact(t.Context(), s.revision(t)-20)
			require.NoError(t, err)
			m := s.save(t, "a")
			// Two record at once, as when one was taken for dead; one ends half way and
			// another begins behind what is stored.
			first, second := s.record(t, m.Revision+1, 4<<10), s.record(t, m.Revision+1, 7<<10)
			s.writeMany(t, 60)
			half := s.revision(t)
			second.await(t, half)
			first.stop(t)
			times := map[int64]time.Time{}
			for range 3 {
				s.writeMany(t, 20)
				second.await(t, s.revision(t))
				times[s.revision(t)] = time.Now()
			}
			entries, segments := s.list(t)
			from, based := backup.Begin(entries, segments, s.history, s.revision(t))
			require.True(t, based)
			second.stop(t)
			third := s.record(t, from, 4<<10)
			s.writeMany(t, 20)
			end := s.revision(t)
			third.await(t, end)
			third.stop(t)

			entries, segments = s.list(t)
			reach := backup.ReachOf(m, segments)
			require.Equal(t, end, reach.Revision)
			require.Empty(t, backup.Gaps(entries, segments))
			require.Greater(t, len(segments), 6)
			targets := map[int64]bool{m.Revision: true, end: true}
			many := 2
			if version == etcdtest.V37 {
				many = 10
			}
			for len(targets) < many {
				targets[m.Revision+s.random.Int64N(end-m.Revision+1)] = true
			}
			for revision := range targets {
				file := filepath.Join(t.TempDir(), "snapshot.db")
				target := backup.Target{Revision: revision}
				base, reach, err := backup.Base("orders", entries, segments, target)
				require.NoError(t, err)
				done, err := s.vault.Replay(t.Context(), base, reach, target, file, nil)
				require.NoError(t, err)
				s.same(t, file, done, revision)
				if revision == end { // etcd restores it as any other
					facts, err := etcdadmin.VerifySnapshot(t.Context(), file, t.TempDir())
					require.NoError(t, err)
					require.Equal(t, done.SnapshotFacts, facts)
				}
			}
			for revision, at := range times {
				file := filepath.Join(t.TempDir(), "snapshot.db")
				done, err := s.vault.Replay(t.Context(), m, reach, backup.Target{Time: at}, file, nil)
				require.NoError(t, err)
				s.same(t, file, done, revision)
			}
			for name, t1 := range map[string]backup.Target{
				"revision": {Revision: end + 1}, "time": {Time: time.Now().Add(time.Hour)}, "before": {Revision: m.Revision - 1},
			} {
				_, _, err = backup.Base("orders", entries, segments, t1)
				require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%s: %v", name, err)
				dir := t.TempDir()
				_, err = s.vault.Replay(t.Context(), m, reach, t1, filepath.Join(dir, "snapshot.db"), nil)
				require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%s: %v", name, err)
				left, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Empty(t, left)
			}
		})
	}
}

// Damaged changes are never replayed: what comes of it is an error and no file, or, where
// another segment holds the same, what it would have been without the damage.
func TestDamagedChanges(t *testing.T) {
	t.Parallel()
	s := startSource(t, etcdtest.V37)
	s.writeMany(t, 20)
	m := s.save(t, "a")
	one := s.record(t, m.Revision+1, 1<<20)
	for range 3 { // some segments
		s.writeMany(t, 10)
		one.await(t, s.revision(t))
	}
	one.stop(t)
	end := s.revision(t)
	_, segments := s.list(t)
	var filled []int // others say only that nothing was written for a while
	for i, entry := range segments {
		if !entry.Segment.Empty() {
			filled = append(filled, i)
		}
	}
	require.GreaterOrEqual(t, len(filled), 3)
	at, victim, other := filled[1], segments[filled[1]].Segment, segments[filled[2]].Segment
	data, err := s.vault.Store.Stat(t.Context(), victim.Objects[0].Key)
	require.NoError(t, err)
	manifest := strings.Replace(victim.Objects[0].Key, "data.changes.zst.age", "manifest.json", 1)
	text, err := s.vault.Store.Stat(t.Context(), manifest)
	require.NoError(t, err)

	replay := func(segments []backup.SegmentEntry) (done backup.Replayed, err error) {
		t.Helper()
		dir := t.TempDir()
		done, err = s.vault.Replay(t.Context(), m, backup.ReachOf(m, segments), backup.Target{Revision: end}, filepath.Join(dir, "snapshot.db"), nil)
		left, lookErr := os.ReadDir(dir)
		require.NoError(t, lookErr)
		if err != nil {
			require.Empty(t, left)
		}
		return done, err
	}
	whole, err := replay(segments)
	require.NoError(t, err)

	var places []objectstoretest.Faults
	for at := int64(1); at <= int64(data.Size); at += max(1, int64(data.Size)/16) {
		places = append(places, objectstoretest.Faults{Key: victim.Objects[0].Key, Flip: at})
	}
	for at := int64(1); at < int64(data.Size); at += max(1, int64(data.Size)/8) {
		places = append(places, objectstoretest.Faults{Key: victim.Objects[0].Key, Cut: at})
	}
	for _, f := range places {
		s.faulty.Set(f)
		_, err := replay(segments)
		require.Equal(t, fleet.Lost, fleet.KindOf(err), "%+v: %v", f, err)
		require.ErrorContains(t, err, victim.ID)
	}
	for place := int64(1); place <= int64(text.Size); place += 29 {
		for _, f := range []objectstoretest.Faults{{Key: manifest, Flip: place}, {Key: manifest, Cut: place}} {
			s.faulty.Set(f)
			_, damaged := s.list(t)
			require.Equal(t, fleet.Lost, fleet.KindOf(damaged[at].Err), "%+v", f)
			require.Equal(t, victim.First-1, backup.ReachOf(m, damaged).Revision)
		}
	}
	s.faulty.Set(objectstoretest.Faults{})

	// Another one that is put there, and one that is gone.
	move := func(from, to string) {
		t.Helper()
		r, err := s.vault.Store.Get(t.Context(), from)
		require.NoError(t, err)
		all, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.NoError(t, s.vault.Store.Put(t.Context(), to, bytes.NewReader(all), int64(len(all))))
	}
	aside := "aside"
	move(victim.Objects[0].Key, aside)
	move(other.Objects[0].Key, victim.Objects[0].Key)
	_, err = replay(segments)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	require.NoError(t, s.vault.Store.Delete(t.Context(), victim.Objects[0].Key))
	_, err = replay(segments)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	entries, damaged := s.list(t)
	require.ErrorContains(t, damaged[at].Err, "is missing")
	gaps := backup.Gaps(entries, damaged)
	require.Len(t, gaps, 1)
	require.Equal(t, []any{victim.First, victim.Last, false}, []any{gaps[0].First, gaps[0].Last, gaps[0].Healed})

	// A second record of the same revisions takes its place, and is compared with it.
	two := s.record(t, victim.First, 1<<20)
	two.await(t, end)
	two.stop(t)
	entries, segments = s.list(t)
	require.Empty(t, backup.Gaps(entries, segments))
	done, err := replay(segments)
	require.NoError(t, err)
	require.Equal(t, []any{whole.Revision, whole.Keys, whole.Hash}, []any{done.Revision, done.Keys, done.Hash})
	move(aside, victim.Objects[0].Key)
	_, segments = s.list(t)
	s.faulty.Set(objectstoretest.Faults{Key: victim.Objects[0].Key, Flip: 300})
	done, err = replay(segments)
	require.NoError(t, err, "another segment holds the same")
	require.Equal(t, []any{whole.Revision, whole.Keys, whole.Hash}, []any{done.Revision, done.Keys, done.Hash})
}

// A compaction that outruns the recorder is a gap, is said, and heals by a new backup.
func TestCompactionOutrunsChanges(t *testing.T) {
	t.Parallel()
	s := startSource(t, etcdtest.V37)
	s.writeMany(t, 20)
	m := s.save(t, "a")
	r := s.record(t, m.Revision+1, 1<<20)
	s.writeMany(t, 20)
	r.await(t, s.revision(t))
	r.stop(t)
	stored := s.revision(t)
	s.writeMany(t, 30)
	_, err := s.etcd.Compact(t.Context(), s.revision(t)-3)
	require.NoError(t, err)
	compacted := s.revision(t) - 3

	entries, segments := s.list(t)
	from, based := backup.Begin(entries, segments, s.history, s.revision(t))
	require.True(t, based)
	require.Equal(t, stored+1, from)
	r = s.record(t, from, 1<<20)
	err = <-r.ended
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	var gone *etcdadmin.CompactedError
	require.ErrorAs(t, err, &gone)
	require.Equal(t, compacted, gone.Compacted)

	r = s.record(t, gone.Compacted+1, 1<<20)
	s.writeMany(t, 5)
	r.await(t, s.revision(t))
	entries, segments = s.list(t)
	gaps := backup.Gaps(entries, segments)
	require.Len(t, gaps, 1)
	require.Equal(t, []any{stored + 1, compacted, false}, []any{gaps[0].First, gaps[0].Last, gaps[0].Healed})
	_, based = backup.Begin(entries, segments, s.history, s.revision(t))
	require.False(t, based, "a backup is wanted")
	require.Equal(t, stored, backup.ReachOf(m, segments).Revision)

	healing := s.save(t, "b")
	s.writeMany(t, 10)
	end := s.revision(t)
	r.await(t, end)
	r.stop(t)
	entries, segments = s.list(t)
	gaps = backup.Gaps(entries, segments)
	require.Len(t, gaps, 1)
	require.True(t, gaps[0].Healed)
	_, based = backup.Begin(entries, segments, s.history, end)
	require.True(t, based)
	for _, target := range []int64{stored, healing.Revision, end} {
		file := filepath.Join(t.TempDir(), "snapshot.db")
		base, reach, err := backup.Base("orders", entries, segments, backup.Target{Revision: target})
		require.NoError(t, err)
		done, err := s.vault.Replay(t.Context(), base, reach, backup.Target{Revision: target}, file, nil)
		require.NoError(t, err)
		require.Equal(t, target, done.Revision)
		if target >= compacted {
			s.same(t, file, done, target)
		}
	}
	_, _, err = backup.Base("orders", entries, segments, backup.Target{Revision: stored + 1})
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)

	// Once the first backup is not kept, nothing needs the changes before the gap.
	later := time.Now().Add(time.Minute)
	for _, e := range backup.Unneeded(entries, segments, 0, later) { // nothing leads to what is between the gap and the backup behind it
		require.Greater(t, e.Segment.First, compacted)
		require.LessOrEqual(t, e.Segment.Last, healing.Revision)
	}
	require.NoError(t, s.vault.Delete(t.Context(), "orders", "u1", "a"))
	entries, segments = s.list(t)
	for _, e := range backup.Unneeded(entries, segments, 0, later) {
		require.NoError(t, s.vault.DeleteSegment(t.Context(), "orders", "u1", e.History, e.ID))
	}
	entries, segments = s.list(t)
	require.LessOrEqual(t, segments[0].Segment.First, healing.Revision+1)
	require.Greater(t, segments[0].Segment.Last, healing.Revision)
	require.Empty(t, backup.Gaps(entries, segments))
	require.Equal(t, end, backup.ReachOf(healing, segments).Revision)
	removed, err := s.vault.SweepSegments(t.Context(), "orders", "u1", 0)
	require.NoError(t, err)
	require.Empty(t, removed)
}

// What a recorder takes of a worker, which has thousands of them.
func TestRecordersAreCheap(t *testing.T) {
	s := startSource(t, etcdtest.V37)
	const many = 40
	count := func() (goroutines int, used uint64) {
		runtime.GC()
		return runtime.NumGoroutine(), heap()
	}
	goroutines, used := count()
	var recorders []*recorder
	for range many {
		admin, err := etcdadmin.Connect(etcdadmin.Config{Endpoints: s.cluster.Endpoints(), TLS: s.cluster.TLS})
		require.NoError(t, err)
		defer admin.Close()
		of := *s
		of.admin = admin
		recorders = append(recorders, of.record(t, s.revision(t)+1, 4<<20))
	}
	s.writeMany(t, 20)
	for _, r := range recorders {
		r.await(t, s.revision(t))
	}
	g, u := count()
	each, bytes := (g-goroutines)/many, fleet.Bytes(max(0, int64(u)-int64(used))/many)
	t.Logf("%d goroutines and %s for each of %d", each, bytes.Human(), many)
	require.Less(t, each, 40)
	require.Less(t, bytes, fleet.Bytes(1<<20))
	for _, r := range recorders {
		r.stop(t)
	}
}
