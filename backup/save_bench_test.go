package backup_test

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// BenchmarkSave saves a snapshot from a file into a directory, without a member that has
// to be read from: what is left is ours. The file is FLOTILLA_BENCH_SNAPSHOT, as etcdctl
// saves one, or a database of FLOTILLA_BENCH_MB megabytes (200) that is made first. On a
// machine that does other things too, only the seconds of CPU say something, and the
// least of several times says most.
func BenchmarkSave(b *testing.B) {
	file := os.Getenv("FLOTILLA_BENCH_SNAPSHOT")
	if file == "" {
		megabytes, err := strconv.Atoi(cmp.Or(os.Getenv("FLOTILLA_BENCH_MB"), "200"))
		require.NoError(b, err)
		file, _ = largeSnapshot(b, megabytes<<20/(16<<10), 15<<10)
	}
	store, err := objectstore.Open(b.Context(), b.TempDir(), objectstore.Options{})
	require.NoError(b, err)
	key, err := pki.GenerateFleetKey()
	require.NoError(b, err)
	v, scratch := backup.Vault{Store: store, Key: key}, b.TempDir()
	least := time.Duration(0)
	var m backup.Manifest
	for round := 0; b.Loop(); round++ {
		f, err := os.Open(file)
		require.NoError(b, err)
		before := cpu(b)
		m, err = v.Save(b.Context(), about(strconv.Itoa(round)), messages{f}, scratch, nil)
		used := cpu(b) - before
		require.NoError(b, err)
		require.NoError(b, f.Close())
		if round == 0 || used < least {
			least = used
		}
	}
	b.SetBytes(int64(m.Size))
	b.ReportMetric(least.Seconds()/(float64(m.Size)/1e9), "least-cpu-s/GB")
	b.ReportMetric(float64(m.Size)/float64(m.StoredSize()), "times-smaller")
}

// messages gives as much at once as a member sends.
type messages struct{ io.Reader }

func (m messages) Read(p []byte) (int, error) { return m.Reader.Read(p[:min(len(p), 32<<10)]) }

// cpu is what this process used of processors so far, the kernel's work for it included.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// largeSnapshot has etcd's own code write a store with so many values like those of
// Kubernetes, each a bit larger than it is to be at least.
func largeSnapshot(t testing.TB, keys, least int) (file string, hash uint32) {
	config := backend.DefaultBackendConfig(zap.NewNop())
	config.Path, config.UnsafeNoFsync = filepath.Join(t.TempDir(), "db"), true
	be := backend.New(config)
	store := mvcc.NewStore(zap.NewNop(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})
	draw := rand.New(rand.NewPCG(1, 2))
	for n := range keys {
		var value []byte
		for len(value) < least {
			value = fmt.Appendf(value, `{"kind":"Pod","metadata":{"name":"web-%08x","namespace":"team-%02x","uid":"%016x%016x"},"spec":{"nodeName":"node-%04x"},"status":{"phase":"Running","podIP":"10.0.%d.%d"}}`,
				draw.Uint32(), draw.IntN(256), draw.Uint64(), draw.Uint64(), draw.IntN(1<<16), draw.IntN(16), draw.IntN(256))
		}
		store.Put(fmt.Appendf(nil, "pods/%08d", n), value, 0)
	}
	of, _, err := store.HashStorage().HashByRev(0)
	require.NoError(t, err)
	store.Commit()
	out, err := os.Create(filepath.Join(t.TempDir(), "snapshot.db"))
	require.NoError(t, err)
	sum, copied := sha256.New(), be.Snapshot()
	size, err := copied.WriteTo(io.MultiWriter(out, sum))
	require.NoError(t, err)
	_, err = out.Write(sum.Sum(nil))
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, copied.Close())
	require.NoError(t, store.Close())
	require.NoError(t, be.Close())
	t.Logf("a database of %s", fleet.Bytes(size).Human())
	return out.Name(), of.Hash
}
