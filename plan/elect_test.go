package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// A cluster that may elect a leader again is waited for. Only one that cannot by
// itself is a matter for people, who may then give its data up.
func TestDecommissionWaitsForAnElection(t *testing.T) {
	const running, stopped, silent = fleet.MemberRunning, fleet.MemberStopped, fleet.MemberState("")
	for name, c := range map[string]struct {
		members []fleet.MemberState
		verdict fleet.Verdict
	}{
		"all run":                     {[]fleet.MemberState{running, running, running}, fleet.VerdictWait},
		"one crashes again and again": {[]fleet.MemberState{running, fleet.MemberRestarting, stopped}, fleet.VerdictWait},
		"one does not say":            {[]fleet.MemberState{running, silent, running}, fleet.VerdictWait},
		"two do not say":              {[]fleet.MemberState{running, silent, silent}, fleet.VerdictBlocked},
		"two are stopped":             {[]fleet.MemberState{stopped, running, stopped}, fleet.VerdictBlocked},
	} {
		op := fleet.Operation{ID: "o1", Kind: fleet.DecommissionCluster, Cluster: "orders", UID: "u1",
			Spec: fleet.Spec{Name: "orders", Voters: 3, Zones: []string{"a"}}}
		var obs fleet.Observation
		for i, member := range plan.MemberNames(op.Spec) {
			h := fleet.ObservedHost{Host: fleet.Host{ID: member, State: fleet.HostRunning,
				Tags: map[string]string{fleet.TagMember: member, fleet.TagUID: op.UID}}}
			if state := c.members[i]; state != silent {
				h.Report = &fleet.HostReport{Members: []fleet.MemberReport{{Name: member, State: state}}}
			}
			obs.Hosts = append(obs.Hosts, h)
		}
		d := plan.Next(plan.Input{Operation: op, Observation: obs})
		require.Equal(t, c.verdict, d.Verdict, "%s: %s", name, d.Reason)
	}
}
