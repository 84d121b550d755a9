package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDepot installs one release on two hosts that share a depot: it is unpacked
// once, and a damaged one is unpacked anew.
func TestDepot(t *testing.T) {
	depot := t.TempDir()
	data := pack(t, officialLayout())
	request := InstallRequest{Version: "3.7.3", URL: saved(t, data), SHA256: hashOf(data)}
	install := func() string {
		n := testNode(t)
		n.Depot = depot
		result, err := n.Install(t.Context(), request)
		require.NoError(t, err)
		require.True(t, result.Installed)
		return n.program(request.Version, "etcd")
	}
	first, second := install(), install()
	require.True(t, sameFile(t, first, second), "two hosts should share one file")

	kept := filepath.Join(depot, request.SHA256, "etcd")
	require.NoError(t, os.WriteFile(kept, []byte("damaged"), 0o755))
	third := install()
	require.False(t, sameFile(t, first, third), "a damaged release should be unpacked anew")
	m, err := readManifest(filepath.Join(depot, request.SHA256))
	require.NoError(t, err)
	require.NoError(t, whole(filepath.Dir(third), m))
}

func sameFile(t *testing.T, a, b string) bool {
	t.Helper()
	x, err := os.Stat(a)
	require.NoError(t, err)
	y, err := os.Stat(b)
	require.NoError(t, err)
	return os.SameFile(x, y)
}
