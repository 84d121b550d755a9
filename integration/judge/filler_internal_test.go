package judge

import (
	"bytes"
	"compress/flate"
	"testing"

	"github.com/stretchr/testify/require"
)

// Values are of the size that was asked for and always the same, and objects are what a
// compressor makes smaller, but not to nothing.
func TestFillerValues(t *testing.T) {
	for _, objects := range []bool{false, true} {
		f := Filler{ValueBytes: 16 << 10, Objects: objects}
		value := f.value(7)
		require.Len(t, value, 16<<10)
		require.Equal(t, value, f.value(7))
		require.NotEqual(t, value, f.value(8))
		var small bytes.Buffer
		w, err := flate.NewWriter(&small, flate.BestSpeed)
		require.NoError(t, err)
		_, err = w.Write(value)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		ratio := float64(len(value)) / float64(small.Len())
		if !objects {
			require.Less(t, ratio, 1.01)
			continue
		}
		require.Greater(t, ratio, 2.0)
		require.Less(t, ratio, 20.0)
	}
}
