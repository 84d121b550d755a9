package fleet

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClientsAreValidated(t *testing.T) {
	for _, good := range []ClientsSpec{
		{}, {Record: "orders.example.com"}, {Record: "a.b", TTL: Duration(time.Second)}, {Record: "orders-1.etcd.example.com", TTL: Duration(24 * time.Hour)},
	} {
		require.Empty(t, good.Validate("clients"), "%+v", good)
	}
	for _, bad := range []ClientsSpec{
		{Record: "orders"}, {Record: "Orders.example.com"}, {Record: "orders.example.com."}, {Record: "-a.example.com"}, {Record: "../orders.example.com"},
		{Record: strings.Repeat("a.", 125) + "com"}, {TTL: Duration(time.Minute)}, {Record: "a.b", TTL: Duration(1500 * time.Millisecond)},
		{Record: "a.b", TTL: Duration(25 * time.Hour)}, {Record: "a.b", TTL: -Duration(time.Second)},
	} {
		require.NotEmpty(t, bad.Validate("clients"), "%+v", bad)
	}
}

// A standby's zones are none of the voters', or both would be lost at once.
func TestStandbyIsApart(t *testing.T) {
	s := orders()
	require.Equal(t, s.Zones, s.LearnerZones())
	s.Standby.Zones = []string{"c"}
	require.Empty(t, s.Validate())
	require.Equal(t, []string{"c"}, s.LearnerZones())
	s.Standby.Zones = []string{"c", "a", "c"}
	problems := s.Validate()
	require.Len(t, problems, 2)
	require.Equal(t, "standby.zones[2]", problems[0].Path)
	require.Equal(t, "standby.zones[1]", problems[1].Path)

	// Who changes only where learners go, scales; who moves to another region takes them along.
	after := orders()
	after.Standby.Zones, after.Learners = []string{"c"}, 1
	changes, _ := Changes(orders(), after)
	require.Equal(t, []OperationKind{ScaleCluster}, kinds(changes))
	after = orders()
	after.Region, after.Zones, after.Standby.Zones = "local-2", []string{"x"}, []string{"y"}
	changes, _ = Changes(orders(), after)
	require.Equal(t, []OperationKind{MigrateByLearner}, kinds(changes))
}
