package fleet

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func orders() Spec {
	return Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b"}, Etcd: EtcdSpec{Version: "3.6.16"},
		Machine: MachineSpec{Type: "small", Disk: DiskSpec{Size: 20 * GiB, Category: "ssd"}},
	}.WithDefaults()
}

func kinds(changes []Change) (all []OperationKind) {
	for _, c := range changes {
		all = append(all, c.Kind)
	}
	return all
}

func TestChangesComeInTheirOrder(t *testing.T) {
	before, after := orders(), orders()
	after.Etcd.Version, after.Etcd.HeartbeatInterval, after.Etcd.Quota = "3.7.3", 2*DefaultHeartbeat, 4*GiB
	after.Machine.Type, after.Machine.Disk.Size = "large", 40*GiB
	after.Zones, after.Voters, after.Labels = []string{"a", "c"}, 5, map[string]string{"team": "shop"}
	changes, problems := Changes(before, after)
	require.Empty(t, problems)
	require.Equal(t, []OperationKind{RollCluster, UpgradeCluster, UpscaleCluster, MigrateByLearner, ScaleCluster}, kinds(changes))
	require.True(t, changes[len(changes)-1].Spec.Equal(after), "the last one leads to what was asked for")
	for _, c := range changes {
		require.Equal(t, after.Labels, c.Spec.Labels, "labels need no operation of their own")
		require.Empty(t, c.Spec.Validate(), "after %s", c.Kind)
	}
	require.Equal(t, 2*GiB, changes[0].Spec.Etcd.Quota, "the quota follows the disk")

	changes, problems = Changes(after, after)
	require.Empty(t, problems)
	require.Empty(t, changes)
	relabelled := after.Clone()
	relabelled.Labels, relabelled.DeletionProtection, relabelled.Policy.Approval = nil, true, ApprovalAlways
	changes, _ = Changes(after, relabelled)
	require.Empty(t, changes, "what needs no operation leads to none")
	require.True(t, after.Amended(relabelled).Equal(relabelled))
}

func TestMoreLearnersNeedALargerLimitFirst(t *testing.T) {
	before, after := orders(), orders()
	after.Learners, after.Etcd.MaxLearners = 2, 3
	changes, _ := Changes(before, after)
	require.Equal(t, []OperationKind{RollCluster, ScaleCluster}, kinds(changes))
	require.Equal(t, 0, changes[0].Spec.Learners)
}

func TestWhatNoOperationChangesIsAProblem(t *testing.T) {
	before, after := orders(), orders()
	after.Name = "bills"
	_, problems := Changes(before, after)
	require.Len(t, problems, 1)
}

// Members are made anew in another region, so machines change as they move.
func TestAnotherRegionTakesOneMigration(t *testing.T) {
	before, after := orders(), orders()
	after.Provider, after.Region, after.Zones = "aws", "eu-central-1", []string{"eu-central-1a"}
	after.Machine.Type, after.Machine.Disk.Category, after.Etcd.Version = "m7g.large", "gp3", "3.7.3"
	changes, problems := Changes(before, after)
	require.Empty(t, problems)
	require.Equal(t, []OperationKind{UpgradeCluster, MigrateByLearner}, kinds(changes))
	require.Equal(t, "local", changes[0].Spec.Provider)
	require.Equal(t, "small", changes[0].Spec.Machine.Type)
	require.True(t, changes[1].Spec.Equal(after))
}

func TestQualifiedNames(t *testing.T) {
	place := Place{Provider: "aws", Region: "eu-central-1"}
	back, id, is := SplitPlace(place.Qualify("i-0f2a"))
	require.True(t, is)
	require.Equal(t, place, back)
	require.Equal(t, "i-0f2a", id)
	require.Equal(t, "i-0f2a", Unqualified("i-0f2a"))
	require.Empty(t, place.Qualify(""), "no host is no host anywhere")
}

func TestQuotaFollowsTheDisk(t *testing.T) {
	s := orders()
	require.Equal(t, 4*GiB, s.QuotaFor(40*GiB))
	require.Equal(t, GiB, s.QuotaFor(10*GiB))
	require.Equal(t, SuggestedQuota, s.QuotaFor(200*GiB), "no more than etcd suggests")
	s.Etcd.Quota = 10 * GiB
	require.Equal(t, 10*GiB, s.QuotaFor(200*GiB), "unless it is more already")
}

func TestMemberNumbers(t *testing.T) {
	for name, number := range map[string]int{
		"orders-3": 3, "orders-12": 12, "orders-": 0, "orders-03": 0, "orders-x": 0, "orders-+1": 0, "bills-1": 0, "orders": 0,
	} {
		require.Equal(t, number, MemberNumber("orders", name), name)
	}
	require.Equal(t, "orders-7", MemberName("orders", 7))
}

func TestMemoryKeepsWhatNoLookCanTell(t *testing.T) {
	var m Memory
	buy := Step{Kind: LaunchHost, Member: "orders-4", Token: "t1"}
	m.Begin("orders", buy)
	m.Begin("orders", buy)
	m.Begin("orders", Step{Kind: LaunchHost, Member: "orders-1", HostID: "h-1", Token: "t0"}) // buys nothing
	require.Equal(t, []Step{buy}, m.Purchases)
	require.Equal(t, 4, m.Highest)
	m.Fail(buy, OutOfCapacity, "sold out")
	require.Empty(t, m.Purchases, "what was not sold is not bought")
	require.Len(t, m.Failures, 1)
	m.Begin("orders", buy)
	seen := Observation{Evidence: []Evidence{{Member: "orders-1"}, {Member: "orders-4", Looks: 3}}}
	for range 2 {
		m.Done(Step{Kind: ReleaseHost, Member: "orders-4"}, seen)
		require.Empty(t, m.Purchases)
		require.Equal(t, seen.Evidence[1:], m.Dead)
	}
	m.Done(Step{Kind: ReleaseHost, Member: "orders-4"}, Observation{})
	require.Empty(t, m.Dead, "what was known of the host before is not of this one")
}
