package keyspace

import (
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// The sum of two things one behind the other follows from theirs.
func TestCombine(t *testing.T) {
	sums := newCombiner()
	some := rapid.SliceOfN(rapid.Byte(), 0, 3000)
	rapid.Check(t, func(t *rapid.T) {
		a, b := some.Draw(t, "a"), some.Draw(t, "b")
		sum := func(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }
		require.Equal(t, sum(append(a, b...)), sums.add(sum(a), sum(b), uint32(len(b))))
	})
	large := make([]byte, mostRun+1)
	require.Equal(t, crc32.Checksum(append([]byte("key"), large...), castagnoli),
		sums.add(crc32.Checksum([]byte("key"), castagnoli), crc32.Checksum(large, castagnoli), uint32(len(large))))
}
