package activities

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestWavesAreCheckedBeforeAnythingIsDone(t *testing.T) {
	p := &Planner{region(t)}
	waves := [][]fleet.Step{
		{{Kind: fleet.LaunchHost, Member: "orders-4", Zone: "x", Type: "huge"}, {Kind: fleet.LaunchHost, Member: "orders-5", Zone: "a", HostID: "there"}},
		{{Kind: fleet.AttachDisk, Member: "orders-4"}},
		{{Kind: fleet.PrepareHost, Member: "orders-4"}, {Kind: fleet.PrepareHost, Member: "orders-1", Version: "3.7.99"}},
		{{Kind: fleet.ResizeHost, Member: "orders-1", Type: "vast"}},
	}
	op := operation()
	op.Kind, op.Spec.Machine.Disk.Category = fleet.MigrateByLearner, "tape"
	obs := fleet.Observation{Hosts: []fleet.ObservedHost{{Report: &fleet.HostReport{Platform: "plan9/mips"}}, {Report: &fleet.HostReport{Platform: "linux/amd64"}}, {}}}
	says := func(op fleet.Operation, waves [][]fleet.Step) (all []string) {
		_, err := as(t, func(ctx context.Context) error {
			problems, err := p.checkWaves(ctx, op, obs, waves)
			for _, problem := range problems {
				all = append(all, problem.String())
			}
			return err
		})
		require.NoError(t, err)
		return all
	}
	require.Equal(t, []string{
		"etcd.version: etcd 3.7.3: the catalogue has no build for plan9/mips; add one to the worker's release catalogue",
		"etcd.version: 3.7.99 is not in the catalogue (3.7.3); add it to the workers' release catalogue",
		`zones: the region has no "x"; its zones are a, b, c`,
		`machine.type: the region has no "huge"; its types are small, medium, large, xlarge`,
		`machine.type: the region has no "vast"; its types are small, medium, large, xlarge`,
		`machine.disk.category: the region has no "tape"; its categories are ssd, hdd`,
	}, says(op, waves))
	op.Spec.Zones = []string{"a", "x"}
	require.Contains(t, says(op, waves)[2], "zones[1]: ")
	op.Kind = fleet.FailoverMember
	require.NotContains(t, says(op, waves), `zones[1]: the region has no "x"; its zones are a, b, c`, "a failover finds the zones that are left")
	require.Empty(t, says(op, nil), "what buys and installs nothing needs nothing")
}

func TestPlanInWords(t *testing.T) {
	op := operation()
	waves := [][]fleet.Step{
		{{Kind: fleet.LaunchHost, Type: "large"}, {Kind: fleet.LaunchHost}, {Kind: fleet.LaunchHost, Type: "large"}, {Kind: fleet.LaunchHost, HostID: "h"}},
		{{Kind: fleet.AttachDisk}, {Kind: fleet.AttachDisk, Size: 40 * fleet.GiB}, {Kind: fleet.AttachDisk, DiskID: "d"}},
		{{Kind: fleet.ResizeHost, Type: "medium"}, {Kind: fleet.GrowDisk, Size: 40 * fleet.GiB}},
		{{Kind: fleet.ReleaseHost, Member: "orders-1", HostID: "h-1"}, {Kind: fleet.DeleteDisk, Member: "orders-1", DiskID: "d-1"}},
	}
	require.Equal(t, []string{
		"2 × large", "1 × small", "1 × 20 GiB ssd", "1 × 40 GiB ssd", "1 × host resized to medium", "1 × disk grown to 40 GiB",
	}, buys(op, waves))
	op.Kind = fleet.MigrateByLearner
	gone := []string{"host orders-1 (h-1)", "disk of orders-1 (d-1)"}
	require.Equal(t, gone, destroys(op, fleet.Observation{Revision: 7}, waves), "others have the data")
	op.Kind = fleet.DecommissionCluster
	require.Equal(t, append(gone, "data up to revision 7"), destroys(op, fleet.Observation{Revision: 7}, waves))
}

func TestPolicyInForce(t *testing.T) {
	r := region(t)
	op := operation()
	policy, err := r.policy(op)
	require.NoError(t, err)
	require.Equal(t, fleet.Policy{}.WithDefaults(), policy, "a fleet need not have one")

	r.Policy = filepath.Join(t.TempDir(), "policy.yaml")
	require.Error(t, r.Check(), "one that is named must be there")
	write := func(text string) { require.NoError(t, os.WriteFile(r.Policy, []byte(text), 0o600)) }
	write("soak: 10s\nreadyWithin: 20s\ndeadAfter: 30s\n")
	require.NoError(t, r.Check())
	op.Spec.Policy.ReadyWithin = fleet.Duration(21 * time.Second)
	op.Options.Policy.DeadAfter = fleet.Duration(31 * time.Second)
	op.Spec.Policy.DeadAfter = fleet.Duration(32 * time.Second)
	policy, err = r.policy(op)
	require.NoError(t, err)
	require.Equal(t, []fleet.Duration{fleet.Duration(10 * time.Second), fleet.Duration(21 * time.Second), fleet.Duration(31 * time.Second)},
		[]fleet.Duration{policy.Soak, policy.ReadyWithin, policy.DeadAfter}, "the fleet's, the spec's, the call's")
	write("soak: 11s\n")
	policy, err = r.policy(op)
	require.NoError(t, err)
	require.Equal(t, fleet.Duration(11*time.Second), policy.Soak, "it is read anew each time")

	write("soak: 11\n")
	_, err = r.policy(op)
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "an edit in progress ends no operation")
	require.Equal(t, fleet.Invalid, fleet.KindOf(r.Check()), "and no worker starts with a wrong one")
}

// Whoever has to approve is shown the plan, once.
func TestFirstLookShowsThePlan(t *testing.T) {
	p := &Planner{region(t)}
	op := operation()
	look := func(first bool) (look fleet.Look) {
		_, err := as(t, func(ctx context.Context) (err error) {
			look, err = p.Look(ctx, fleet.LookRequest{Operation: op, First: first})
			return err
		})
		require.NoError(t, err)
		return look
	}
	require.Empty(t, look(true).Plan, "nobody has to approve")
	op.Options.Policy.Approval = fleet.ApprovalAlways
	seen := look(true)
	require.NotEmpty(t, seen.Plan)
	require.Equal(t, seen.Decision.Wave, seen.Plan[0])
	require.Equal(t, fleet.ApprovalAlways, seen.Policy.Approval)
	require.Empty(t, look(false).Plan)
}
