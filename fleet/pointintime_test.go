package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPointInTime(t *testing.T) {
	noon := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	require.NoError(t, PointInTime{Revision: 7}.Check())
	require.NoError(t, PointInTime{Time: noon}.Check())
	for _, wrong := range []PointInTime{{}, {Revision: 7, Time: noon}, {Revision: -1}} {
		require.Equal(t, Invalid, KindOf(wrong.Check()), "%+v", wrong)
	}
	require.Equal(t, "revision 7", PointInTime{Revision: 7}.String())
	require.Equal(t, "2026-03-14T12:00:00Z", PointInTime{Time: noon}.String())
	require.False(t, Options{At: &PointInTime{Revision: 7}}.Equal(Options{}))
	require.False(t, Options{At: &PointInTime{Revision: 7}}.Equal(Options{At: &PointInTime{Revision: 8}}))
	require.True(t, Options{At: &PointInTime{Time: noon}}.Equal(Options{At: &PointInTime{Time: noon.Local()}}))
}
