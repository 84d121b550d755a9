package backup

import (
	"bytes"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
)

// The sum behind a stream is found however the stream is cut into pieces.
func TestSumReader(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for _, size := range []int{1, 31, 32, 33, 63, 64, 65, 1000, 70000} {
		db := make([]byte, size)
		_, _ = random.Read(db)
		sum := sha256.Sum256(db)
		whole := append(bytes.Clone(db), sum[:]...)
		for name, pieces := range map[string]func(io.Reader) io.Reader{
			"at once": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader,
			"halves": iotest.HalfReader, "end with the data": iotest.DataErrReader,
		} {
			s := sealed.NewSumReader(pieces(bytes.NewReader(whole)), nil)
			got, err := io.ReadAll(s)
			require.NoError(t, err, "%d bytes, %s", size, name)
			require.True(t, bytes.Equal(whole, got))
			require.Equal(t, int64(size), s.Size())
			for _, bad := range [][]byte{whole[:len(whole)-1], whole[1:], append(bytes.Clone(whole), 0), {}, sum[:]} {
				_, err := io.ReadAll(sealed.NewSumReader(pieces(bytes.NewReader(bad)), nil))
				require.ErrorIs(t, err, sealed.ErrSum, "%d bytes, %s", size, name)
			}
		}
	}
}

// Every bit of a document counts, also that of a space.
func TestDocumentsAreTamperEvident(t *testing.T) {
	text, err := encode(Manifest{Format: 1, Cluster: "orders", ID: "a<b", Objects: []Object{{Key: "k"}}})
	require.NoError(t, err)
	var m Manifest
	require.NoError(t, decode(text, &m))
	require.Equal(t, "a<b", m.ID)
	for at := range text {
		for bit := range 8 {
			bad := bytes.Clone(text)
			bad[at] ^= 1 << bit
			require.Error(t, decode(bad, new(Manifest)), "bit %d of byte %d: %s", bit, at, bad)
		}
	}
	for end := range text {
		require.Error(t, decode(text[:end], new(Manifest)), "%d bytes", end)
	}
	require.Error(t, decode(append(bytes.Clone(text), text...), new(Manifest)))
}
