package devenv

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestRecordIsFoundFromBelow(t *testing.T) {
	clone := t.TempDir()
	data := filepath.Join(clone, DirName)
	below := filepath.Join(clone, "docs", "examples")
	require.NoError(t, os.MkdirAll(below, 0o700))
	require.NoError(t, os.Mkdir(data, 0o700))

	_, found := Find(below)
	assert.False(t, found, "without a record")

	record := Record{DataDir: data, Address: "127.0.0.1:7233", Namespace: "default", Started: time.Now().UTC(),
		Processes: map[string]Process{"worker": {PID: 7}}}
	require.NoError(t, record.Write())
	_, found = Find(below)
	assert.False(t, found, "one that is not ready is not meant")

	record.Ready = true
	require.NoError(t, record.Write())
	got, found := Find(below)
	require.True(t, found)
	assert.Equal(t, record, got)

	info, err := os.Stat(Path(data))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	entries, err := os.ReadDir(data)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing but the record is left behind")
}

func TestReadTellsMissingFromDamaged(t *testing.T) {
	dir := t.TempDir()
	_, err := Read(dir)
	assert.Equal(t, fleet.NotFound, fleet.KindOf(err))
	assert.ErrorContains(t, err, "flotilla dev")
	require.NoError(t, os.WriteFile(Path(dir), []byte("{"), 0o600))
	_, err = Read(dir)
	assert.Equal(t, fleet.Lost, fleet.KindOf(err))
}
