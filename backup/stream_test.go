package backup_test

import (
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin/keyspace"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
)

// summed puts the sum behind a database, as a member does.
func summed(db []byte) []byte {
	sum := sha256.Sum256(db)
	return append(db, sum[:]...)
}

// endless is a stream of so many bytes, with the sum behind. Every other MiB is random: it
// cannot be compressed, and is seen to be so at once.
type endless struct {
	left   int64
	random *rand.ChaCha8
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.left))
	if e.left>>20&1 == 0 {
		_, _ = e.random.Read(p[:n])
	} else {
		clear(p[:n])
	}
	e.left -= int64(n)
	return n, nil
}

// What a backup passes through memory does not grow with it. No database comes of this
// stream, which shows only once all of it was stored: until then it is as any other.
func TestMemoryIsBounded(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "bounded")
	store, err := objectstore.Open(t.Context(), server.Location("bounded"), objectstore.Options{})
	require.NoError(t, err)
	v, _ := vaultOn(t, store)
	for _, size := range []int64{64 << 20, 320 << 20} {
		sent := int64(0)
		used := mostUsed(func() {
			_, err = v.Save(t.Context(), about("a"), &endless{left: size, random: rand.NewChaCha8([32]byte{})}, t.TempDir(),
				func(_ string, n int64) { sent = n })
		})
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
		require.ErrorContains(t, err, "checksum")
		require.Equal(t, size, sent)
		t.Logf("%s of %s", used.Human(), fleet.Bytes(size).Human())
		require.Less(t, used, fleet.Bytes(backup.MaxMemory), "of %s", fleet.Bytes(size).Human())
	}
}

// Nor does what looking into it takes: neither with values, of which etcd has up to
// 10,000 in memory when it opens a store, nor with keys, all of which are in its index.
func TestLookIsBounded(t *testing.T) {
	for what, c := range map[string]struct{ keys, value int }{
		"large values": {12_000, 8 << 10}, // 10,000 of them are 78 MiB
		"many keys":    {manyKeys, 1},
	} {
		t.Run(what, func(t *testing.T) {
			file, hash := largeSnapshot(t, c.keys, c.value)
			v, _ := vault(t)
			f, err := os.Open(file)
			require.NoError(t, err)
			defer f.Close()
			var m backup.Manifest
			used := mostUsed(func() { m, err = v.Save(t.Context(), about("a"), f, t.TempDir(), nil) })
			require.NoError(t, err)
			require.Equal(t, c.keys, m.Keys)
			require.Equal(t, hash, m.Hash)
			t.Logf("%s of %s", used.Human(), m.Size.Human())
			require.Less(t, used, fleet.Bytes(backup.MaxMemory+keyspace.MaxMemory))
		})
	}
}

// mostUsed is by how much what is in use grew at most.
func mostUsed(do func()) fleet.Bytes {
	defer debug.SetGCPercent(debug.SetGCPercent(10)) // so that what is counted is in use
	runtime.GC()
	before := heap()
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		most := uint64(0)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				peak <- most
				return
			case <-tick.C:
				most = max(most, heap())
			}
		}
	}()
	do()
	close(stop)
	return fleet.Bytes(max(0, int64(<-peak)-int64(before)))
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
