package node

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/node/datadir"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// BenchmarkRestore makes a data directory of a backup, as a restore does on a host, and of the
// snapshot itself, as etcdutl does, in turns. The snapshot is FLOTILLA_BENCH_SNAPSHOT, as etcdctl
// saves one. On a machine that does other things too, only the seconds of CPU say something, and
// the least of several times says most.
func BenchmarkRestore(b *testing.B) {
	file := os.Getenv("FLOTILLA_BENCH_SNAPSHOT")
	if file == "" {
		b.Skip("FLOTILLA_BENCH_SNAPSHOT is not set")
	}
	store, err := objectstore.Open(b.Context(), b.TempDir(), objectstore.Options{})
	require.NoError(b, err)
	key, err := pki.GenerateFleetKey()
	require.NoError(b, err)
	f, err := os.Open(file)
	require.NoError(b, err)
	defer f.Close()
	about := backup.Manifest{Cluster: clusterName, UID: clusterUID, ID: "b1", History: "1", Taken: time.Now(), Member: "m1", Etcd: "3.7.3"}
	m, err := backup.Vault{Store: store, Key: key}.Save(b.Context(), about, f, b.TempDir(), nil)
	require.NoError(b, err)
	is := sealed.Snapshot{Name: m.String(), Size: m.Size, SHA256: m.SHA256, Objects: m.Objects}
	get := func(ctx context.Context, o sealed.Object) (io.ReadCloser, error) { return store.Get(ctx, o.Key) }
	c := datadir.NewCluster{Member: "m1", URL: "https://127.0.0.1:2380", Initial: "m1=https://127.0.0.1:2380", Token: "t", Bump: bump}
	least := map[string]time.Duration{}
	took := func(what string, do func()) {
		before := cpuOf(b)
		do()
		if used := cpuOf(b) - before; least[what] == 0 || used < least[what] {
			least[what] = used
		}
	}
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "data")
		var was datadir.State
		took("fetch", func() {
			r, err := sealed.Open(b.Context(), is, get, key, nil)
			require.NoError(b, err)
			defer r.Close()
			require.NoError(b, os.MkdirAll(filepath.Dir(datadir.StorePath(dir)), 0o700))
			require.NoError(b, writeStore(datadir.StorePath(dir), r, int64(m.Size)))
		})
		took("make", func() { was, err = datadir.Restore(dir, c) })
		require.NoError(b, err)
		took("read-back", func() { _, was, err = datadir.ExamineFrom(b.Context(), dir, was) })
		require.NoError(b, err)
		require.Equal(b, m.Hash, was.Hash)
		took("sync", func() { require.NoError(b, syncTree(dir)) })
		require.NoError(b, os.RemoveAll(dir))
		took("etcdutl", func() {
			require.NoError(b, snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
				SnapshotPath: file, OutputDataDir: dir, Name: c.Member, PeerURLs: []string{c.URL}, InitialCluster: c.Initial, InitialClusterToken: c.Token,
				RevisionBump: uint64(c.Bump), MarkCompacted: true,
			}))
		})
		require.NoError(b, os.RemoveAll(dir))
	}
	b.SetBytes(int64(m.Size))
	for what, used := range least {
		b.ReportMetric(used.Seconds()/(float64(m.Size)/1e9), what+"-cpu-s/GB")
	}
}

// cpuOf is what this process used of processors so far, the kernel's work for it included.
func cpuOf(b *testing.B) time.Duration {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
