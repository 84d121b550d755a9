package datadir

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A start reads the file that the raft snapshot's entry is in, and all that follow.
func TestUnread(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "member/wal")
	require.NoError(t, os.MkdirAll(log, 0o700))
	names := []string{"0000000000000000-0000000000000000.wal", "0000000000000001-0000000000000011.wal", "0000000000000002-0000000000000020.wal", "1.tmp"}
	for _, name := range append(names, "0000000000000000-0000000000000000.wal.broken") {
		require.NoError(t, os.WriteFile(filepath.Join(log, name), nil, 0o600))
	}
	for index, unread := range map[uint64]int{0: 0, 0x10: 0, 0x11: 1, 0x1f: 1, 0x20: 2, 0x1000: 2} {
		got, err := Unread(dir, &fleet.DataReport{RaftSnapshot: fleet.LogPosition{Index: index}})
		require.NoError(t, err)
		require.ElementsMatch(t, append([]string{"1.tmp"}, names[:unread]...), got, "a raft snapshot at entry %#x", index)
	}
	_, err := Unread(t.TempDir(), &fleet.DataReport{})
	require.Error(t, err)
}
