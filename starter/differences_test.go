package starter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestDifferencesAreInTheOrderOfTheDocument(t *testing.T) {
	before := fleet.Spec{
		Name: "orders", Zones: []string{"a", "b"}, Labels: map[string]string{"team": "shop", "old": "yes"},
		Etcd: fleet.EtcdSpec{Version: "3.6.16"}, Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Size: 20 * fleet.GiB}},
	}.WithDefaults()
	assert.Empty(t, Differences(before, before.Clone()))

	after := before.Clone()
	after.Zones = []string{"a", "b", "c"}
	after.Voters, after.Learners = 5, 2
	after.Etcd.Version, after.Etcd.HeartbeatInterval = "3.7.3", fleet.Duration(200*time.Millisecond)
	after.Machine.Disk.Size = 40 * fleet.GiB
	after.Policy.Windows = []string{"daily 01:00-05:00"}
	after.DeletionProtection = true
	after.Labels = map[string]string{"team": "pay", "new": "1"}
	assert.Equal(t, []Difference{
		{"zones", "a, b", "a, b, c"},
		{"voters", "3", "5"},
		{"learners", "0", "2"},
		{"etcd.version", "3.6.16", "3.7.3"},
		{"etcd.heartbeatInterval", "100ms", "200ms"},
		{"machine.disk.size", "20GiB", "40GiB"},
		{"policy.windows", "", "daily 01:00-05:00"},
		{"deletionProtection", "false", "true"},
		{"labels.new", "", "1"},
		{"labels.old", "yes", ""},
		{"labels.team", "shop", "pay"},
	}, Differences(before, after))
}
