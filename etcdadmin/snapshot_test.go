package etcdadmin_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
	"github.com/flotilla-etcd/flotilla/fleet"
)

func save(t *testing.T, client *etcdadmin.Client, member string) string {
	t.Helper()
	r, err := client.Snapshot(t.Context(), member)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "snapshot.db")
	f, err := os.Create(path)
	require.NoError(t, err)
	_, err = io.Copy(f, r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, f.Close())
	return path
}

// fillStore leaves live, deleted, overwritten and leased keys, and a compaction.
func fillStore(t *testing.T, client *clientv3.Client) (keys int) {
	t.Helper()
	lease, err := client.Grant(t.Context(), 3600)
	require.NoError(t, err)
	for i := range 200 {
		_, err := client.Put(t.Context(), fmt.Sprintf("k/%03d", i%150), fmt.Sprintf("value %d", i), clientv3.WithLease(lease.ID))
		require.NoError(t, err)
	}
	_, err = client.Delete(t.Context(), "k/00", clientv3.WithPrefix()) // ten of them
	require.NoError(t, err)
	_, err = client.Compact(t.Context(), 100)
	require.NoError(t, err)
	_, err = client.Put(t.Context(), "k/last", "x")
	require.NoError(t, err)
	return 150 - 10 + 1
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	for _, version := range etcdtest.Versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			cluster := etcdtest.Start(t, version, 1)
			client := connect(t, cluster)
			m := cluster.Members[0]

			facts := verify(t, save(t, client, m.Name))
			require.Equal(t, int64(1), facts.Revision, "an empty store")
			require.Zero(t, facts.Keys)

			keys := fillStore(t, cluster.Client(t))
			path := save(t, client, m.Name)
			facts = verify(t, path)
			hash, err := cluster.Client(t).HashKV(t.Context(), m.ClientURL, 0)
			require.NoError(t, err)
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.Equal(t, etcdadmin.SnapshotFacts{
				Revision: hash.Header.Revision, Compacted: 100, Keys: keys, Hash: hash.Hash, Size: fleet.Bytes(info.Size()),
			}, facts, "as the member itself says")

			// A learner, through its own endpoint, with no quorum anywhere.
			learner := cluster.AddLearner(t, true)
			untilLook(t, client, "the learner has all", func(o etcdadmin.Observation) bool {
				l := member(t, o, learner.Name)
				return o.Why == "" && l.Revision == facts.Revision
			})
			m.Kill()
			fromLearner := verify(t, save(t, connect(t, cluster, learner.ClientURL), learner.ClientURL))
			require.Equal(t, facts.Revision, fromLearner.Revision)
			require.Equal(t, facts.Keys, fromLearner.Keys)
			require.Equal(t, facts.Hash, fromLearner.Hash)
		})
	}
}

// A cluster that was restored with its revision moved on has a record more than keys.
func TestSnapshotOfWhatWasRestored(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.V37, 1)
	keys := fillStore(t, cluster.Client(t))
	saved := save(t, connect(t, cluster), cluster.Members[0].Name)
	dir := filepath.Join(t.TempDir(), "data")
	require.NoError(t, snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: saved, OutputDataDir: dir, Name: "m1", PeerURLs: []string{"http://127.0.0.1:1"},
		InitialCluster: "m1=http://127.0.0.1:1", InitialClusterToken: "restored", RevisionBump: 1000, MarkCompacted: true,
	}))
	db, err := os.ReadFile(filepath.Join(dir, "member", "snap", "db"))
	require.NoError(t, err)
	sum := sha256.Sum256(db)
	path := filepath.Join(t.TempDir(), "again.db")
	require.NoError(t, os.WriteFile(path, append(db, sum[:]...), 0o600))
	require.Equal(t, keys, verify(t, path).Keys)
}

func verify(t *testing.T, path string) etcdadmin.SnapshotFacts {
	t.Helper()
	scratch := t.TempDir()
	facts, err := etcdadmin.VerifySnapshot(t.Context(), path, scratch)
	require.NoError(t, err)
	requireEmptyDir(t, scratch)
	return facts
}

func requireEmptyDir(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left, "something was left in the scratch directory")
}

func TestVerifySnapshotRefuses(t *testing.T) {
	cluster := etcdtest.Start(t, etcdtest.V37, 1)
	fillStore(t, cluster.Client(t))
	path := save(t, connect(t, cluster), cluster.Members[0].Name)
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	change := func(at int) []byte {
		bad := append([]byte(nil), good...)
		bad[at] ^= 1
		return bad
	}
	// Damage that was there before the checksum was made: pages of zeros where
	// bbolt's trees are, and no bbolt file at all.
	sum := func(data []byte) []byte { s := sha256.Sum256(data); return append(data, s[:]...) }
	hollow := append([]byte(nil), good[:len(good)-sha256.Size]...)
	clear(hollow[2*os.Getpagesize():])
	for what, data := range map[string][]byte{
		"empty":                nil,
		"one byte":             {1},
		"only a checksum":      good[len(good)-sha256.Size:],
		"a bit in the middle":  change(len(good) / 2),
		"the first bit":        change(0),
		"a bit of the sum":     change(len(good) - 1),
		"cut off":              good[:len(good)/2],
		"cut by one byte":      good[:len(good)-1],
		"cut by a page":        append(append([]byte(nil), good[:len(good)-4096-sha256.Size]...), good[len(good)-sha256.Size:]...),
		"without its checksum": good[:len(good)-sha256.Size],
		"hollow":               sum(hollow),
		"not bbolt":            sum(make([]byte, 64<<10)),
	} {
		t.Run(what, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "bad.db")
			require.NoError(t, os.WriteFile(bad, data, 0o600))
			scratch := t.TempDir()
			_, err := etcdadmin.VerifySnapshot(t.Context(), bad, scratch)
			require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
			require.ErrorContains(t, err, "bad.db")
			require.ErrorContains(t, err, "damaged")
			requireEmptyDir(t, scratch)
		})
	}
	t.Run("no file", func(t *testing.T) {
		_, err := etcdadmin.VerifySnapshot(t.Context(), path+"-none", t.TempDir())
		require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
	})
	t.Run("no scratch", func(t *testing.T) {
		_, err := etcdadmin.VerifySnapshot(t.Context(), path, filepath.Join(t.TempDir(), "none"))
		require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := etcdadmin.VerifySnapshot(ctx, path, t.TempDir())
		require.ErrorIs(t, err, context.Canceled)
	})
}

func TestSnapshotTroubles(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.V36, 1)
	client := connect(t, cluster)
	m := cluster.Members[0]
	_, err := client.Snapshot(t.Context(), "nobody")
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)

	// More than the streams' windows hold, so that it is under way when it breaks.
	value := string(make([]byte, 1<<20))
	for i := range 24 {
		_, err := cluster.Client(t).Put(t.Context(), fmt.Sprint(i), value)
		require.NoError(t, err)
	}
	r, err := client.Snapshot(t.Context(), m.Name)
	require.NoError(t, err)
	_, err = io.ReadFull(r, make([]byte, 1<<20))
	require.NoError(t, err)
	m.Kill()
	_, err = io.Copy(io.Discard, r)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "a stream that broke must not look complete: %v", err)
	require.NoError(t, r.Close())
	_, err = client.Snapshot(t.Context(), m.ClientURL)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
}
