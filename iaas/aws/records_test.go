package aws_test

import (
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/endpoints"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/dnssim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

const zoneID, clientName = "Z0123456789ABCDEFGHIJ", "orders.etcd.example.com"

func records(t *testing.T, change ...func(*aws.RecordsConfig)) (endpoints.Publisher, *dnssim.Zone, *cloudsim.World) {
	t.Helper()
	cfg := ec2sim.Region(region)
	w := simtest.Bodiless(t, cfg.Config)
	zone := dnssim.New(w, zoneID, "etcd.example.com")
	s := httptest.NewServer(zone.Route53())
	t.Cleanup(s.Close)
	c := aws.RecordsConfig{Zone: zoneID, Endpoint: s.URL, Poll: time.Millisecond}
	for id, secret := range cfg.Keys {
		c.Credentials = staticCredentials(id, secret)
	}
	for _, f := range change {
		f(&c)
	}
	r, err := aws.OpenRecords(t.Context(), c)
	require.NoError(t, err)
	return r, zone, w
}

func clientRecord(members ...int) fleet.Record {
	var all []fleet.Endpoint
	for _, n := range members {
		all = append(all, fleet.Endpoint{Member: fmt.Sprintf("orders-%d", n), Address: fmt.Sprintf("10.0.0.%d", n), ClientPort: 2379})
	}
	return fleet.Spec{Name: "orders", Clients: fleet.ClientsSpec{Record: clientName}}.Record(all)
}

// A name says who serves, is switched in one step that is waited for, and goes.
func TestRecords(t *testing.T) {
	r, zone, w := records(t)
	require.NoError(t, r.Publish(t.Context(), clientRecord(1, 2, 3)))
	require.Equal(t, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, zone.Lookup(clientName, "A"))
	require.NoError(t, r.Publish(t.Context(), clientRecord(4)))
	require.Equal(t, []string{"10.0.0.4"}, zone.Lookup(clientName, "A"))
	require.NoError(t, r.Publish(t.Context(), clientRecord(4)), "again")
	require.True(t, zone.InSync(), "every change was waited for")
	require.Equal(t, 1, zone.Lowest(clientName), "it always said somebody")
	require.Equal(t, 3, w.Count("ChangeResourceRecordSets"))

	// What another cluster has is neither taken nor removed.
	other := clientRecord(9)
	other.Cluster = "users"
	require.Equal(t, fleet.Conflict, fleet.KindOf(r.Publish(t.Context(), other)))
	other.Endpoints = nil
	require.Equal(t, fleet.Conflict, fleet.KindOf(r.Publish(t.Context(), other)))
	zone.Put(dnssim.Entry{Name: "www.etcd.example.com", Type: "A", Value: "10.0.0.80", TTL: 60})
	theirs := clientRecord(9)
	theirs.Name = "www.etcd.example.com"
	require.Equal(t, fleet.Conflict, fleet.KindOf(r.Publish(t.Context(), theirs)))
	require.Equal(t, []string{"10.0.0.80"}, zone.Lookup("www.etcd.example.com", "A"))

	require.NoError(t, r.Publish(t.Context(), clientRecord()))
	require.NoError(t, r.Publish(t.Context(), clientRecord()), "removing it again")
	require.Empty(t, zone.Lookup(clientName, "A"))
	require.Empty(t, zone.Lookup("_flotilla."+clientName, "TXT"))
}

// An answer that is lost, or a call too many, is tried again; what cannot be is said.
func TestRecordsInBadWeather(t *testing.T) {
	r, zone, w := records(t)
	for _, action := range []string{"ChangeResourceRecordSets", "ListResourceRecordSets", "GetChange"} {
		w.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer, Target: cloudsim.Target{Action: action}, Times: 1})
		w.Inject(cloudsim.Fault{Kind: cloudsim.Throttle, Target: cloudsim.Target{Action: action}, Times: 1})
	}
	require.NoError(t, r.Publish(t.Context(), clientRecord(1, 2)))
	require.Equal(t, []string{"10.0.0.1", "10.0.0.2"}, zone.Lookup(clientName, "A"))
	require.NoError(t, w.HealAll())

	heal := w.Inject(cloudsim.Fault{Kind: cloudsim.Deny})
	require.Equal(t, fleet.Denied, fleet.KindOf(r.Publish(t.Context(), clientRecord(3))))
	heal()
	outside := clientRecord(3)
	outside.Name = "orders.example.org"
	require.Equal(t, fleet.Invalid, fleet.KindOf(r.Publish(t.Context(), outside)))
	v6 := clientRecord(3)
	v6.Endpoints[0].Address = "fd00::1"
	require.Equal(t, fleet.Invalid, fleet.KindOf(r.Publish(t.Context(), v6)))
	require.Equal(t, []string{"10.0.0.1", "10.0.0.2"}, zone.Lookup(clientName, "A"))

	forged, _, _ := records(t, func(c *aws.RecordsConfig) { c.Credentials = staticCredentials("AKIDEXAMPLE", "of somebody else") })
	require.Equal(t, fleet.Denied, fleet.KindOf(forged.Publish(t.Context(), clientRecord(3))))
	elsewhere, _, _ := records(t, func(c *aws.RecordsConfig) { c.Zone = "ZOTHER" })
	require.Equal(t, fleet.Invalid, fleet.KindOf(elsewhere.Publish(t.Context(), clientRecord(3))))
	_, err := aws.OpenRecords(t.Context(), aws.RecordsConfig{Zone: "example.com"})
	require.Equal(t, fleet.Invalid, fleet.KindOf(err))
}

// The docs give the rights of all calls that are made, and no others.
func TestRightsOfRecords(t *testing.T) {
	r, _, w := records(t)
	require.NoError(t, r.Publish(t.Context(), clientRecord(1, 2)))
	require.NoError(t, r.Publish(t.Context(), clientRecord()))
	simtest.RightsAreCalls(t, "../../docs/operations.md", "route53", w)
}
