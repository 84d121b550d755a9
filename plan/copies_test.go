package plan

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Disks are copied before the first step that changes what is on them, once, and not where
// nobody wants that or the cloud does not do it: whatever follows is as without.
func TestDisksAreCopiedFirst(t *testing.T) {
	tags := func(member string) map[string]string {
		return map[string]string{fleet.TagCluster: "orders", fleet.TagMember: member, fleet.TagUID: "u1"}
	}
	disk := func(id, member string, state fleet.DiskState) fleet.Disk {
		return fleet.Disk{ID: id, State: state, Size: 20 * fleet.GiB, Tags: tags(member)}
	}
	foreign := disk("d-9", "orders-1", fleet.DiskAvailable)
	foreign.Tags[fleet.TagUID] = "u0"
	host := func(id, member string, says *fleet.HostReport) fleet.ObservedHost {
		return fleet.ObservedHost{Host: fleet.Host{ID: id, State: fleet.HostRunning, Tags: tags(member)}, Report: says}
	}
	answers := func(id, member string) fleet.ObservedHost {
		return host(id, member, &fleet.HostReport{Members: []fleet.MemberReport{{Name: member}}})
	}
	in := Input{
		Operation: fleet.Operation{ID: "op-2", Generation: "op-1", Cluster: "orders", UID: "u1", Kind: fleet.RecoverQuorum, Since: 5},
		Observation: fleet.Observation{Hosts: []fleet.ObservedHost{
			answers("h-1", "orders-1"), answers("h-2", "orders-2"), answers("h-3", "orders-3"), answers("h-4", "orders-4"), answers("h-5", "orders-5"),
			host("h-0", "orders-0", nil), // its zone is down, say
		}, Disks: []fleet.Disk{
			disk("d-0", "orders-0", fleet.DiskInUse),
			disk("d-1", "orders-1", fleet.DiskInUse), disk("d-2", "orders-2", fleet.DiskAvailable), disk("d-3", "orders-3", fleet.DiskUnknown),
			disk("d-4", "orders-4", fleet.DiskDeleting), disk("d-5", "orders-5", fleet.DiskInUse), foreign,
		}},
	}
	next := func(in Input) []fleet.Step {
		return copied(in, func(in Input) fleet.Decision {
			require.Empty(t, in.Failures, "what follows does not end for them")
			return act(fleet.Step{Kind: fleet.RecoverMember, Member: "orders-1"})
		}).Wave
	}
	first := next(in)
	require.Equal(t, "SnapshotDisk orders-1, orders-2", Words(first))
	require.Equal(t, [2]string{"d-1", "op-1/orders-1/SnapshotDisk"}, [2]string{first[0].DiskID, first[0].Token}, "whoever resumes takes no other")

	stops := copied(in, func(Input) fleet.Decision { return act(fleet.Step{Kind: fleet.StopMember, Member: "orders-1"}) })
	require.Equal(t, "StopMember orders-1", Words(stops.Wave))

	one := in
	one.Observation.DiskSnapshots = []fleet.DiskSnapshot{{ID: "s-1", State: fleet.DiskSnapshotPending, Tags: tags("orders-1")}}
	one.Observation.DiskSnapshots[0].Tags[fleet.TagToken] = first[0].Token
	require.Equal(t, "SnapshotDisk orders-2", Words(next(one)))
	one.Failures = []fleet.Failure{{Step: first[1], Kind: fleet.Denied}}
	require.Equal(t, "RecoverMember orders-1", Words(next(one)))

	never := in
	never.Policy.DiskSnapshots = fleet.SnapshotNever
	require.Equal(t, "RecoverMember orders-1", Words(next(never)))
}
