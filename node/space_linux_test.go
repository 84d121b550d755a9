package node

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestInstallOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	// Incompressible, so that the archive is as large as what is in it.
	filler := make([]byte, 3<<20)
	for i, x := 0, uint32(1); i < len(filler); i++ {
		x = x*1664525 + 1013904223
		filler[i] = byte(x >> 24)
	}
	layout := officialLayout()
	layout[4].body = string(filler)
	data := pack(t, layout)
	for name, size := range map[string]string{
		"no room for the archive":      "size=1m",
		"no room for what it contains": "size=5m",
	} {
		t.Run(name, func(t *testing.T) {
			n := testNode(t)
			require.NoError(t, os.MkdirAll(n.releasesDir(), 0o755))
			if err := unix.Mount("tmpfs", n.releasesDir(), "tmpfs", 0, size); err != nil {
				t.Skipf("a tmpfs cannot be mounted here: %v", err)
			}
			defer func() { require.NoError(t, unix.Unmount(n.releasesDir(), 0)) }()
			_, err := n.Install(t.Context(), InstallRequest{Version: "3.7.3", URL: saved(t, data), SHA256: hashOf(data)})
			require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
			require.Regexp(t, `no space left in .*: .* free, .* MiB needed; make room`, err.Error())
			requireNothingLeft(t, n)
		})
	}
}
