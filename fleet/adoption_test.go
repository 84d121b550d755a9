package fleet_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const adopted = `name: legacy
provider: local
region: local-1
zones: [a]
voters: 3
etcd: { version: 3.6.16 }
machine: { type: small, disk: { size: 20GiB, category: ssd } }
members:
  - { name: db-a, host: h-1, disk: d-1, endpoint: { address: 127.0.0.1 }, dataDir: /var/lib/etcd, unit: etcd.service }
  - { name: db-b, host: h-2, disk: d-2, endpoint: { address: 127.0.0.2, clientPort: 12379, peerPort: 12380 }, dataDir: /data }
  - name: db-c
    host: h-3
    disk: d-3
    endpoint: { address: 127.0.0.3 }
    dataDir: /var/lib/etcd
`

func TestParseAdoption(t *testing.T) {
	spec, members, err := fleet.ParseAdoption([]byte(adopted), "legacy.yaml")
	require.NoError(t, err)
	require.Equal(t, "legacy", spec.Name)
	require.Equal(t, fleet.DefaultQuota, spec.Etcd.Quota, "defaults are filled in")
	require.Len(t, members, 3)
	require.Equal(t, fleet.AdoptedMember{
		Name: "db-a", HostID: "h-1", DiskID: "d-1", DataDir: "/var/lib/etcd", Unit: "etcd.service",
		Endpoint: fleet.Endpoint{Member: "db-a", Address: "127.0.0.1", ClientPort: 2379, PeerPort: 2380},
	}, members[0])
	require.Equal(t, fleet.Endpoint{Member: "db-b", Address: "127.0.0.2", ClientPort: 12379, PeerPort: 12380}, members[1].Endpoint)
}

func TestParseAdoptionTellsAllThatIsWrong(t *testing.T) {
	_, _, err := fleet.ParseAdoption([]byte(`name: legacy
provider: local
region: local-1
zones: [a]
voters: 4
etcd: { version: 3.6.16 }
machine: { type: small, disk: { size: 20GiB, category: ssd } }
members:
  - { name: db-a, host: h-1, disk: d-1, endpoint: { address: 127.0.0.1, clientPort: 70000 }, dataDir: etcd }
  - { name: db-a, host: h-1, zone: b }
`), "legacy.yaml")
	var problems fleet.Problems
	require.True(t, errors.As(err, &problems), "%v", err)
	lines := map[string]int{}
	for _, p := range problems {
		lines[p.Path] = p.Line
	}
	require.Equal(t, map[string]int{
		"voters": 5, "members": 8, "members[0].endpoint.clientPort": 9, "members[0].dataDir": 9, "members[1].zone": 10, "members[1].name": 10,
		"members[1].host": 10, "members[1].disk": 10, "members[1].endpoint.address": 10, "members[1].dataDir": 10,
	}, lines)
	for _, text := range []string{"", "a: [", "- a", "name: legacy"} {
		_, _, err := fleet.ParseAdoption([]byte(text), "legacy.yaml")
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%q: %v", text, err)
	}
}
