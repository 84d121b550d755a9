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
		file = largeSnapshot(b)
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

// largeSnapshot has etcd's own code write a store with values like those of Kubernetes.
func largeSnapshot(b *testing.B) string {
	megabytes, err := strconv.Atoi(cmp.Or(os.Getenv("FLOTILLA_BENCH_MB"), "200"))
	require.NoError(b, err)
	config := backend.DefaultBackendConfig(zap.NewNop())
	config.Path, config.UnsafeNoFsync = filepath.Join(b.TempDir(), "db"), true
	be := backend.New(config)
	store := mvcc.NewStore(zap.NewNop(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})
	draw := rand.New(rand.NewPCG(1, 2))
	for n := range megabytes << 20 / (16 << 10) {
		var value []byte
		for len(value) < 15<<10 {
			value = fmt.Appendf(value, `{"kind":"Pod","metadata":{"name":"web-%08x","namespace":"team-%02x","uid":"%016x%016x"},"spec":{"nodeName":"node-%04x"},"status":{"phase":"Running","podIP":"10.0.%d.%d"}}`,
				draw.Uint32(), draw.IntN(256), draw.Uint64(), draw.Uint64(), draw.IntN(1<<16), draw.IntN(16), draw.IntN(256))
		}
		store.Put(fmt.Appendf(nil, "pods/%08d", n), value, 0)
	}
	store.Commit()
	file, err := os.Create(filepath.Join(b.TempDir(), "snapshot.db"))
	require.NoError(b, err)
	sum, copied := sha256.New(), be.Snapshot()
	size, err := copied.WriteTo(io.MultiWriter(file, sum))
	require.NoError(b, err)
	_, err = file.Write(sum.Sum(nil))
	require.NoError(b, err)
	require.NoError(b, file.Close())
	require.NoError(b, copied.Close())
	require.NoError(b, store.Close())
	require.NoError(b, be.Close())
	b.Logf("a database of %s", fleet.Bytes(size).Human())
	return file.Name()
}
