package cloud_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

func TestFirewall(t *testing.T) {
	subnets := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24"), netip.MustParsePrefix("10.0.1.0/24")}
	in := netip.MustParsePrefix
	all := []cloud.Rule{{From: 0, To: 65535, Addresses: in("0.0.0.0/0")}}
	const ok, missing, unknown = fleet.CheckOK, fleet.CheckMissing, fleet.CheckUnknown
	for name, c := range map[string]struct {
		f    cloud.Firewall
		want [3]fleet.CheckState // of peers, clients and the store
	}{
		"nothing in, all out": {cloud.Firewall{Out: all}, [3]fleet.CheckState{missing, missing, ok}},
		"from itself":         {cloud.Firewall{In: []cloud.Rule{{From: 2379, To: 2380, Group: "sg"}}, Out: all}, [3]fleet.CheckState{ok, ok, ok}},
		"from another group":  {cloud.Firewall{In: []cloud.Rule{{From: 2379, To: 2380, Group: "other"}}, Out: all}, [3]fleet.CheckState{missing, ok, ok}},
		"peers only":          {cloud.Firewall{In: []cloud.Rule{{From: 2380, To: 2380, Addresses: in("10.0.0.0/8")}}, Out: all}, [3]fleet.CheckState{ok, missing, ok}},
		"one subnet of two":   {cloud.Firewall{In: []cloud.Rule{{From: 2380, To: 2380, Addresses: in("10.0.0.0/24")}}, Out: all}, [3]fleet.CheckState{missing, missing, ok}},
		"a part of a subnet":  {cloud.Firewall{In: []cloud.Rule{{From: 2380, To: 2380, Addresses: in("10.0.0.0/25")}, {From: 2380, To: 2380, Addresses: in("10.0.1.0/24")}}, Out: all}, [3]fleet.CheckState{unknown, missing, ok}},
		"a list":              {cloud.Firewall{In: []cloud.Rule{{From: 1, To: 9999, Other: "pl-1"}}, Out: all}, [3]fleet.CheckState{unknown, ok, ok}},
		"nothing out":         {cloud.Firewall{In: all}, [3]fleet.CheckState{missing, ok, missing}},
		"a list out":          {cloud.Firewall{In: all, Out: []cloud.Rule{{From: 443, To: 443, Other: "pl-1"}, {From: 2380, To: 2380, Group: "sg"}}}, [3]fleet.CheckState{ok, ok, unknown}},
		"inner":               {cloud.Firewall{Inner: true, DefaultOut: true}, [3]fleet.CheckState{ok, missing, ok}},
		"denied before":       {cloud.Firewall{In: append([]cloud.Rule{{From: 2380, To: 2380, Addresses: in("10.0.0.0/8"), Deny: true, Priority: -1}}, all...), DefaultOut: true}, [3]fleet.CheckState{missing, ok, ok}},
		"denied after":        {cloud.Firewall{In: append([]cloud.Rule{{From: 2380, To: 2380, Addresses: in("10.0.0.0/8"), Deny: true, Priority: 1}}, all...), DefaultOut: true}, [3]fleet.CheckState{ok, ok, ok}},
		"denied among equals": {cloud.Firewall{In: append(all, cloud.Rule{From: 2380, To: 2380, Addresses: in("10.0.0.0/8"), Deny: true}), DefaultOut: true}, [3]fleet.CheckState{missing, ok, ok}},
		"denied out":          {cloud.Firewall{In: all, Out: []cloud.Rule{{From: 443, To: 443, Addresses: in("0.0.0.0/0"), Deny: true}}, DefaultOut: true}, [3]fleet.CheckState{ok, ok, missing}},
		"a part denied out":   {cloud.Firewall{In: all, Out: []cloud.Rule{{From: 443, To: 443, Addresses: in("1.0.0.0/8"), Deny: true}}, DefaultOut: true}, [3]fleet.CheckState{ok, ok, unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			c.f.Groups, c.f.Subnets = []string{"sg"}, subnets
			var e cloud.Examination
			c.f.Examine(&e, 2379, 2380)
			require.Len(t, e.Checks, 3)
			for i, check := range e.Checks {
				require.Equal(t, c.want[i], check.State, "%+v", check)
				require.Equal(t, check.State == missing, check.Remedy != "", "%+v", check)
			}
		})
	}
}

func TestRoom(t *testing.T) {
	var e cloud.Examination
	e.Room("vCPUs", "vCPUs", 32, 24, 8)
	e.Room("vCPUs", "vCPUs", 32, 25, 8)
	require.Equal(t, fleet.CheckOK, e.Checks[0].State)
	require.Equal(t, fleet.CheckMissing, e.Checks[1].State)
	require.Contains(t, e.Checks[1].Found, "32 vCPUs, of which 25 are used")
}
