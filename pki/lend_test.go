package pki

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A host opens what it was lent the key of, and nothing else.
func TestLend(t *testing.T) {
	dir := t.TempDir()
	host, err := LoadHostKey(filepath.Join(dir, "host.key"))
	require.NoError(t, err)
	again, err := LoadHostKey(filepath.Join(dir, "host.key"))
	require.NoError(t, err)
	require.Equal(t, host.Recipient(), again.Recipient())

	k := fleetKey(t)
	one, other := seal(t, k, "this one"), seal(t, k, "another one")
	lent, err := k.Lend(bytes.NewReader(one), host.Recipient())
	require.NoError(t, err)
	key, err := again.Borrow(lent)
	require.NoError(t, err)
	opened, err := key.Open(bytes.NewReader(one))
	require.NoError(t, err)
	text, err := io.ReadAll(opened)
	require.NoError(t, err)
	require.Equal(t, "this one", string(text))
	_, err = key.Open(bytes.NewReader(other))
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)

	stranger, err := LoadHostKey(filepath.Join(dir, "stranger.key"))
	require.NoError(t, err)
	_, err = stranger.Borrow(lent)
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	_, err = fleetKey(t).Lend(bytes.NewReader(one), host.Recipient())
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	_, err = k.Lend(bytes.NewReader(one), "age1nobody")
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%v", err)
	_, err = k.Lend(bytes.NewReader(one[:40]), host.Recipient())
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	lent[len(lent)-1] ^= 1
	_, err = host.Borrow(lent)
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)
	_, err = again.Borrow(seal(t, again.key, "short"))
	require.Equal(t, fleet.Lost, fleet.KindOf(err), "%v", err)

	for _, v := range []any{key, &key, host, *host, []any{key, host}} {
		require.NotContains(t, fmt.Sprintf("%v %+v", v, v), "AGE-SECRET")
	}
}

// A key that a host was killed while writing is replaced.
func TestHostKeyIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.key")
	require.NoError(t, os.WriteFile(path, []byte("# public"), 0o600))
	key, err := LoadHostKey(path)
	require.NoError(t, err)
	again, err := LoadHostKey(path)
	require.NoError(t, err)
	require.Equal(t, key.Recipient(), again.Recipient())
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = LoadHostKey(path)
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
}
