package backup_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// below gives keys and values below a prefix, at a revision or now.
func (s *source) below(t *testing.T, prefix string, revision int64) map[string]string {
	t.Helper()
	all, err := s.etcd.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithRev(revision))
	require.NoError(t, err)
	found := map[string]string{}
	for _, kv := range all.Kvs {
		found[string(kv.Key)] = fmt.Sprintf("%s leased %t", kv.Value, kv.Lease != 0)
	}
	return found
}

func (s *source) keys(t *testing.T, m backup.Manifest, exact bool, prefixes ...string) *backup.Keys {
	t.Helper()
	keys, err := s.vault.OpenKeys(t.Context(), m, prefixes, exact, t.TempDir(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, keys.Close()) })
	return keys
}

// meddling is a cluster whose clients write just before some transaction of ours, and whose
// answers get lost.
type meddling struct {
	*etcdadmin.Client
	calls     int
	before    map[int]func()
	loses     map[int]bool
	endsAfter int
	end       context.CancelFunc
}

func (m *meddling) ChangeKeys(ctx context.Context, changes []etcdadmin.KeyChange) ([]*mvccpb.KeyValue, bool, error) {
	m.calls++
	if f := m.before[m.calls]; f != nil {
		f()
	}
	now, done, err := m.Client.ChangeKeys(ctx, changes)
	if m.loses[m.calls] {
		return nil, false, fleet.Errorf(fleet.Unavailable, "etcd", "the answer got lost")
	}
	if m.calls == m.endsAfter {
		m.end()
	}
	return now, done, err
}

// TestPutBack puts keys of a backup back into the cluster that they are of, in each minor:
// what is below the prefixes is then what it was, key by key, and what is beside them is
// what it is now. It is ended half way, answers get lost, and clients write meanwhile.
func TestPutBack(t *testing.T) {
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := startSource(t, version)
			ctx := t.Context()
			put := func(key, value string, options ...clientv3.OpOption) {
				t.Helper()
				_, err := s.etcd.Put(ctx, key, value, options...)
				require.NoError(t, err)
			}
			lease, err := s.etcd.Grant(ctx, 5000)
			require.NoError(t, err)
			for i := range 700 {
				put(fmt.Sprintf("a/%04d", i), strings.Repeat(fmt.Sprint(i), 1+i%50))
			}
			put("a/leased", "held", clientv3.WithLease(lease.ID))
			put("a/empty", "")
			put("a/large", strings.Repeat("x", 1<<20))
			put("b/1", "one")
			put("c/1", "one")
			m := s.save(t, "20260314t021500z-p1")
			then := s.revision(t)

			_, err = s.etcd.Revoke(ctx, lease.ID)
			require.NoError(t, err)
			_, err = s.etcd.Delete(ctx, "a/01", clientv3.WithPrefix()) // a hundred of them
			require.NoError(t, err)
			for i := 300; i < 500; i++ {
				put(fmt.Sprintf("a/%04d", i), "spoiled")
			}
			put("a/empty", "not empty")
			put("a/large", "small")
			put("a/new/1", "new")
			put("a/new/2", "new")
			put("b/1", "two")
			put("b/2", "new")
			put("c/1", "two")
			_, err = s.etcd.Delete(ctx, "c/none")
			require.NoError(t, err)

			keys := s.keys(t, m, false, "a/", "b/", "a/0")
			c, err := keys.Compare(ctx, s.admin, func(int64) {})
			require.NoError(t, err)
			require.Equal(t, []int{100 + 1, 200 + 2 + 1, 0, 3}, []int{c.Create, c.Change, c.Delete, c.Stay}, "%s", c)
			require.Equal(t, 704-c.Create-c.Change, c.Same)
			require.Equal(t, 1, c.Leased)

			// It ends after some transactions; a client writes before others, once to a key that
			// is about to be put back, and once to one that is to be left in any case.
			running, end := context.WithCancel(ctx)
			defer end()
			cluster := &meddling{Client: s.admin, endsAfter: 3, end: end, loses: map[int]bool{2: true}, before: map[int]func(){
				1: func() { put("a/0100", "a client's"); put("c/2", "a client's") },
			}}
			var last fleet.KeyProgress
			done, err := keys.PutBack(running, cluster, c.Revision, fleet.KeyProgress{}, func(p fleet.KeyProgress) { last = p })
			require.Error(t, err, "it was ended")
			require.False(t, done.Whole)
			require.Equal(t, last, done)
			require.NotEmpty(t, done.Through)
			put("a/0101", "a client's, later") // it was put back already
			put("a/0499", "a client's")        // it was not yet
			_, err = s.etcd.Delete(ctx, "a/0102")
			require.NoError(t, err)
			done, err = keys.PutBack(ctx, &meddling{Client: s.admin}, c.Revision, done, func(fleet.KeyProgress) {})
			require.NoError(t, err)
			require.True(t, done.Whole)
			require.Equal(t, 2, done.Left, "%s", done)
			require.Equal(t, c.Todo()-2, done.Put)
			want := s.below(t, "a/", then)
			want["a/0100"], want["a/0101"], want["a/0499"] = "a client's leased false", "a client's, later leased false", "a client's leased false"
			want["a/new/1"], want["a/new/2"] = "new leased false", "new leased false"
			delete(want, "a/0102")
			require.Equal(t, want, s.below(t, "a/", 0))
			require.Equal(t, map[string]string{"b/1": "one leased false", "b/2": "new leased false"}, s.below(t, "b/", 0))
			require.Equal(t, map[string]string{"c/1": "two leased false", "c/2": "a client's leased false"}, s.below(t, "c/", 0), "what is beside it is as it was")
			told, err := s.etcd.TimeToLive(ctx, lease.ID, clientv3.WithAttachedKeys())
			require.NoError(t, err)
			require.EqualValues(t, 5000, told.GrantedTTL, "the lease was granted again")
			require.Len(t, told.Keys, 1)

			// Exactly: what the backup does not have goes, and what was left before comes back.
			exact := s.keys(t, m, true, "a/")
			c, err = exact.Compare(ctx, s.admin, func(int64) {})
			require.NoError(t, err)
			require.Equal(t, []int{1, 3, 2, 0}, []int{c.Create, c.Change, c.Delete, c.Stay}, "%s", c)
			put("a/newer", "a client's")
			done, err = exact.PutBack(ctx, s.admin, c.Revision, fleet.KeyProgress{}, func(fleet.KeyProgress) {})
			require.NoError(t, err)
			require.Equal(t, []int{4, 2, 1}, []int{done.Put, done.Deleted, done.Left}, "%s", done)
			want = s.below(t, "a/", then)
			want["a/newer"] = "a client's leased false"
			require.Equal(t, want, s.below(t, "a/", 0))
			c, err = exact.Compare(ctx, s.admin, func(int64) {})
			require.NoError(t, err)
			require.Equal(t, 1, c.Todo(), "%s", c)
		})
	}
}

// Transactions are as small as the cluster wants them, and a key that it does not take is said.
func TestPutBackHeedsTheClustersLimits(t *testing.T) {
	t.Parallel()
	s := startSource(t, etcdtest.V37)
	for i := range 60 {
		_, err := s.etcd.Put(t.Context(), fmt.Sprintf("k/%03d", i), strings.Repeat("v", 1000))
		require.NoError(t, err)
	}
	_, err := s.etcd.Put(t.Context(), "k/large", strings.Repeat("v", 100_000))
	require.NoError(t, err)
	m := s.save(t, "20260314t021500z-p2")
	small := startSource(t, etcdtest.V37, "--max-txn-ops=7", "--max-request-bytes=20000")
	keys := s.keys(t, m, false, "k/")
	c, err := keys.Compare(t.Context(), small.admin, func(int64) {})
	require.NoError(t, err)
	require.Equal(t, 61, c.Create)
	done, err := keys.PutBack(t.Context(), small.admin, c.Revision, fleet.KeyProgress{}, func(fleet.KeyProgress) {})
	require.ErrorContains(t, err, "k/large")
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)
	require.Equal(t, 60, done.Put)
	require.Len(t, small.below(t, "k/", 0), 60)
}

// A backup that is damaged is found out before there is anything to put back.
func TestDamagedKeysAreNotOpened(t *testing.T) {
	t.Parallel()
	s := startSource(t, etcdtest.V37)
	for i := range 50 {
		_, err := s.etcd.Put(t.Context(), fmt.Sprintf("k/%03d", i), "v")
		require.NoError(t, err)
	}
	m := s.save(t, "20260314t021500z-p3")
	s.faulty.Set(objectstoretest.Faults{Key: m.Objects[0].Key, Flip: int64(m.Objects[0].Size) - 20})
	_, err := s.vault.OpenKeys(t.Context(), m, []string{"k/"}, false, t.TempDir(), nil)
	require.True(t, fleet.Is(err, fleet.Lost), "%v", err)
}

// Clients are served while keys are put back: it rests between its transactions.
func TestPutBackLeavesRoomForClients(t *testing.T) {
	t.Parallel()
	s := startSource(t, etcdtest.V37)
	for i := range 3000 {
		_, err := s.etcd.Put(t.Context(), fmt.Sprintf("k/%05d", i), strings.Repeat("v", 500))
		require.NoError(t, err)
	}
	m := s.save(t, "20260314t021500z-p4")
	_, err := s.etcd.Delete(t.Context(), "k/", clientv3.WithPrefix())
	require.NoError(t, err)
	keys := s.keys(t, m, false, "k/")
	c, err := keys.Compare(t.Context(), s.admin, func(int64) {})
	require.NoError(t, err)
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		_, err := keys.PutBack(t.Context(), s.admin, c.Revision, fleet.KeyProgress{}, func(fleet.KeyProgress) {})
		ended <- err
	}()
	var took []time.Duration
	for {
		asked := time.Now()
		_, err := s.etcd.Put(t.Context(), "other", "x")
		require.NoError(t, err)
		took = append(took, time.Since(asked))
		select {
		case err := <-ended:
			require.NoError(t, err)
			slices.Sort(took)
			t.Logf("3000 keys in %s; beside it %d writes, half of them within %s, 99 of 100 within %s", time.Since(began), len(took), took[len(took)/2], took[len(took)*99/100])
			require.Greater(t, len(took), 30, "a client writes between its transactions")
			return
		default:
		}
	}
}
