package aliyun_test

import (
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/endpoints"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/dnssim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

const domain, clientName = "example.com", "orders.etcd.example.com"

func records(t *testing.T, change ...func(*aliyun.RecordsConfig)) (endpoints.Publisher, *dnssim.Zone, *cloudsim.World) {
	t.Helper()
	cfg := ecssim.Region(region)
	w := simtest.Bodiless(t, cfg)
	zone := dnssim.New(w, "", domain)
	s := httptest.NewServer(zone.Alidns())
	t.Cleanup(s.Close)
	c := aliyun.RecordsConfig{Domain: domain, Endpoint: s.URL}
	for id, secret := range cfg.Keys {
		c.Credentials = credentials.NewStaticAKCredentialsProvider(id, secret)
	}
	for _, f := range change {
		f(&c)
	}
	r, err := aliyun.OpenRecords(c)
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

// A name says who serves, never nobody while it changes, and goes.
func TestRecords(t *testing.T) {
	r, zone, w := records(t)
	require.NoError(t, r.Publish(t.Context(), clientRecord(1, 2, 3)))
	require.Equal(t, []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}, zone.Lookup(clientName, "A"))
	require.NoError(t, r.Publish(t.Context(), clientRecord(4)))
	require.Equal(t, []string{"10.0.0.4"}, zone.Lookup(clientName, "A"))
	require.Equal(t, 1, zone.Lowest(clientName), "it always said somebody")
	calls := w.Count("")
	require.NoError(t, r.Publish(t.Context(), clientRecord(4)), "again")
	require.Equal(t, calls+2, w.Count(""), "which asks, and changes nothing")
	longer := clientRecord(4)
	longer.TTL *= 2
	require.NoError(t, r.Publish(t.Context(), longer))
	require.Equal(t, 1, w.Count("UpdateDomainRecord"))

	other := clientRecord(9)
	other.Cluster = "users"
	require.Equal(t, fleet.Conflict, fleet.KindOf(r.Publish(t.Context(), other)))
	zone.Put(dnssim.Entry{Name: "www.example.com", Type: "A", Value: "10.0.0.80", TTL: 600})
	theirs := clientRecord()
	theirs.Name = "www.example.com"
	require.Equal(t, fleet.Conflict, fleet.KindOf(r.Publish(t.Context(), theirs)), "nor removed")

	require.NoError(t, r.Publish(t.Context(), clientRecord()))
	require.NoError(t, r.Publish(t.Context(), clientRecord()), "removing it again")
	require.Empty(t, zone.Lookup(clientName, "A"))
	require.Empty(t, zone.Lookup("_flotilla."+clientName, "TXT"))
}

// The answer of each call is lost in turn: asked again, the name says what it should.
func TestRecordsWithLostAnswers(t *testing.T) {
	for _, action := range []string{"AddDomainRecord", "UpdateDomainRecord", "DeleteDomainRecord", "DescribeSubDomainRecords"} {
		r, zone, w := records(t)
		require.NoError(t, r.Publish(t.Context(), clientRecord(1, 2)))
		w.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer, Target: cloudsim.Target{Action: action}, Times: 1})
		next := clientRecord(2, 3)
		next.TTL *= 2
		err := r.Publish(t.Context(), next)
		if err != nil { // the SDK asks none of them again
			require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%s: %v", action, err)
			require.NoError(t, r.Publish(t.Context(), next), action)
		}
		require.Equal(t, 1, w.Struck(cloudsim.LoseAnswer), action)
		require.Equal(t, []string{"10.0.0.2", "10.0.0.3"}, zone.Lookup(clientName, "A"), action)
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	r, zone, w := records(t)
	zone.MinTTL = 600
	err := r.Publish(t.Context(), clientRecord(1))
	require.Equal(t, fleet.Denied, fleet.KindOf(err))
	require.ErrorContains(t, err, "clients.ttl")
	w.Inject(cloudsim.Fault{Kind: cloudsim.Deny})
	require.Equal(t, fleet.Denied, fleet.KindOf(r.Publish(t.Context(), clientRecord(1))))
	outside := clientRecord(1)
	outside.Name = "orders.example.org"
	require.Equal(t, fleet.Invalid, fleet.KindOf(r.Publish(t.Context(), outside)))
	forged, _, _ := records(t, func(c *aliyun.RecordsConfig) {
		c.Credentials = credentials.NewStaticAKCredentialsProvider("LTAIEXAMPLE", "of somebody else")
	})
	require.Equal(t, fleet.Denied, fleet.KindOf(forged.Publish(t.Context(), clientRecord(1))))
	_, err = aliyun.OpenRecords(aliyun.RecordsConfig{Domain: domain, Endpoint: "http://dns.example.com"})
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "not in the clear")
}

// The docs give the rights of all calls that are made, and no others.
func TestRightsOfRecords(t *testing.T) {
	r, _, w := records(t)
	require.NoError(t, r.Publish(t.Context(), clientRecord(1, 2)))
	longer := clientRecord(1, 2)
	longer.TTL *= 2
	require.NoError(t, r.Publish(t.Context(), longer))
	require.NoError(t, r.Publish(t.Context(), clientRecord()))
	simtest.RightsAreCalls(t, "../../docs/operations.md", "alidns", w)
}
