package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSnapshotsSinceAMinor has a clock that went an hour back and one that went an hour on
// between two raft snapshots: what was there before is known by its name.
func TestSnapshotsSinceAMinor(t *testing.T) {
	began := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	before := "0000000000000002-00000000000001f5.snap 0000000000000002-00000000000003ea.snap"
	r := run{MinorSince: began, Before: &before}
	for _, written := range []time.Time{began.Add(-time.Hour), began.Add(time.Hour)} {
		require.False(t, r.since(raftSnapshot{name: "0000000000000002-00000000000003ea.snap", index: 0x3ea, written: written}))
		require.True(t, r.since(raftSnapshot{name: "0000000000000003-00000000000005df.snap", index: 0x5df, written: written}))
	}
	none := ""
	r.Before = &none
	require.True(t, r.since(raftSnapshot{name: "0000000000000002-00000000000001f5.snap"}), "there were none before")

	// What was written down without them goes by the clock of the one host that dated both.
	r.Before = nil
	require.False(t, r.since(raftSnapshot{name: "a", written: began.Add(-time.Second)}))
	require.True(t, r.since(raftSnapshot{name: "a", written: began.Add(time.Second)}))
	require.False(t, (&run{}).since(raftSnapshot{name: "a", written: began}), "nothing is known")
}
