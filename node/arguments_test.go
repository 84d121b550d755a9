package node

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestArguments(t *testing.T) {
	n := &Node{Root: "/"}
	m := member{Owner: Owner{Cluster: "orders", UID: "u1", Member: "orders-1"}, DiskID: "disk-1"}
	settings := fleet.Spec{}.WithDefaults().Etcd.EtcdSettings
	for name, change := range map[string]func(*StartRequest){
		"3.5.35":         func(*StartRequest) {},
		"3.6.16":         func(r *StartRequest) { r.Existing = true },
		"3.6.16-adopted": func(r *StartRequest) { r.PeerCN = "" },
		"3.7.3": func(r *StartRequest) {
			r.Address, r.Initial[0].URL = "127.0.0.1", "https://127.0.0.1:2380"
			r.Settings.AutoCompaction = fleet.AutoCompaction{Mode: "revision", Revisions: 1000}
		},
		"3.7.3-ipv6": func(r *StartRequest) {
			r.Address, r.Initial[0].URL = "fd00::1", "https://[fd00::1]:2380"
			r.Settings.AutoCompaction = fleet.AutoCompaction{Mode: "periodic", Retention: fleet.Duration(90 * time.Minute)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			version, _, _ := strings.Cut(name, "-")
			req := StartRequest{
				Member: "orders-1", Version: version, Address: "10.0.0.1", ClientPort: 2379, PeerPort: 2380,
				Token: "u1", PeerCN: "flotilla-peer.orders.u1", Settings: settings,
				Initial: []Peer{{"orders-1", "https://10.0.0.1:2380"}, {"orders-2", "https://10.0.0.2:2380"}},
			}
			change(&req)
			require.NoError(t, checkStart(req))
			args, err := n.arguments(m, req)
			require.NoError(t, err)
			got := strings.Join(args, "\n") + "\n"
			golden := filepath.Join("testdata/arguments", name+".txt")
			if *update {
				require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got, "run go test ./node -update and look at the difference")
		})
	}
}

func TestArgumentsRefuse(t *testing.T) {
	for version, want := range map[string]string{
		"3.4.23": "does not know the flags of etcd 3.4",
		"4.0.0":  "does not know the flags of etcd 4.0",
		"latest": "not a version",
	} {
		_, err := dialectOf(version)
		require.Equal(t, fleet.Invalid, fleet.KindOf(err))
		require.ErrorContains(t, err, want)
	}
	_, err := dialects["3.5"].settings(fleet.EtcdSettings{MaxLearners: 2})
	require.Equal(t, fleet.Invalid, fleet.KindOf(err))
	_, err = dialects["3.7"].settings(fleet.EtcdSettings{AutoCompaction: fleet.AutoCompaction{Mode: "daily"}})
	require.Equal(t, fleet.Invalid, fleet.KindOf(err))
}
