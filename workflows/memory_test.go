package workflows_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func offering(l fleet.Look, members ...string) fleet.Look {
	for _, m := range members {
		l.Endpoints = append(l.Endpoints, fleet.Endpoint{Member: m})
	}
	return l
}

// Clients are told before a member is taken away, and again when it is back.
func TestEndpointsAreToldBeforeTheWave(t *testing.T) {
	settle := act(fleet.Step{Kind: fleet.AwaitSettled})
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds, fleet.AwaitSettled: succeeds},
		offering(sees(3, act(restart)), "orders-1", "orders-3"),
		offering(sees(3, settle), "orders-1", "orders-3"),
		offering(sees(3, finished), "orders-1", "orders-2", "orders-3"))
	result, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	require.Equal(t, []string{
		"cluster/orders endpoints op: [orders-1 orders-3]", "RestartMember orders-2", "AwaitSettled",
		"cluster/orders endpoints op: [orders-1 orders-2 orders-3]",
	}, l.happened)
	require.Len(t, result.Endpoints, 3)
}

func TestEndpointsAfterAFailure(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: fails(fleet.Lost)},
		offering(sees(3, act(restart)), "orders-1", "orders-3"),
		offering(sees(3, fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Lost, Reason: "gone"}), "orders-1"))
	_, err := l.run(fleet.RollCluster)
	require.Error(t, err)
	require.Equal(t, "cluster/orders endpoints op: [orders-1]", l.happened[len(l.happened)-1])
}

func TestWhoTellsNoEndpoints(t *testing.T) {
	for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.DecommissionCluster} {
		l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds},
			offering(sees(3, act(restart)), "orders-1"), offering(sees(3, finished), "orders-1", "orders-2"))
		_, err := l.run(kind)
		require.NoError(t, err)
		require.Equal(t, []string{"RestartMember orders-2"}, l.happened)
	}
}

// An operation outlives even the loss of its cluster's workflow.
func TestNobodyToTell(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds},
		offering(sees(3, act(restart)), "orders-1"), sees(3, finished))
	l.deaf = errors.New("no such workflow")
	_, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	require.Contains(t, l.happened, "RestartMember orders-2")
}

func TestPolicyGoesWithTheSteps(t *testing.T) {
	policy := fleet.Policy{Soak: 7, ReadyWithin: 8}
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, under(policy, restarts(sees(3, finished))...)...)
	_, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	require.Equal(t, policy, l.asked[0].Policy)
}

// What was bought is remembered from before the wave on, whatever becomes of it.
func TestPurchasesAreRemembered(t *testing.T) {
	buy := func(member, token string) fleet.Step {
		return fleet.Step{Kind: fleet.LaunchHost, Member: member, Token: token}
	}
	earlier := buy("orders-4", "t0")
	release := fleet.Step{Kind: fleet.ReleaseHost, Member: "orders-4", HostID: "h-4"}
	l := newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: succeeds, fleet.ReleaseHost: succeeds},
		sees(3, act(buy("orders-7", "t1"))), sees(3, act(release)),
		sees(3, fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Lost, Reason: "gone"}))
	l.op.Purchases, l.op.NextMember = []fleet.Step{earlier}, 7
	result, err := l.run(fleet.MigrateByLearner)
	require.Error(t, err)
	require.Equal(t, []fleet.Step{earlier}, l.looks[0].Purchases)
	require.Equal(t, 6, l.looks[0].Highest, "what earlier operations bought has its number")
	require.Equal(t, []fleet.Step{earlier, buy("orders-7", "t1")}, l.looks[1].Purchases)
	require.Equal(t, 7, l.looks[1].Highest)
	require.Equal(t, []fleet.Step{buy("orders-7", "t1")}, result.Purchases, "what was released is not to be resumed with")
	require.Equal(t, 7, result.HighestMember)
}

func TestWhatWasNotSold(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.LaunchHost: fails(fleet.OutOfCapacity)},
		sees(3, act(launch("orders-4"))), sees(3, fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.OutOfCapacity, Reason: "sold out"}))
	result, err := l.run(fleet.ScaleCluster)
	require.Error(t, err)
	require.Empty(t, result.Purchases)
	require.Equal(t, 4, result.HighestMember, "its name is not used again all the same")
	require.Len(t, l.looks[1].Failures, 1)
}

// A name that a look or a step showed is taken.
func TestHighestMember(t *testing.T) {
	named := func(member string) fleet.ObservedHost {
		return fleet.ObservedHost{Host: fleet.Host{Tags: map[string]string{fleet.TagMember: member}}}
	}
	for name, look := range map[string]func(*fleet.Observation){
		"host": func(o *fleet.Observation) { o.Hosts = append(o.Hosts, named("orders-12")) },
		"disk": func(o *fleet.Observation) {
			o.Disks = append(o.Disks, fleet.Disk{Tags: map[string]string{fleet.TagMember: "orders-12"}})
		},
		"member": func(o *fleet.Observation) { o.Members = append(o.Members, fleet.ObservedMember{Name: "orders-12"}) },
	} {
		t.Run(name, func(t *testing.T) {
			seen := sees(3, act(fleet.Step{Kind: fleet.RestartMember, Member: "orders-9"}))
			look(&seen.Observation)
			l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, seen, sees(3, finished))
			result, err := l.run(fleet.RollCluster)
			require.NoError(t, err)
			require.Equal(t, 12, result.HighestMember)
		})
	}
}

func TestWhatIsLeftHalfDone(t *testing.T) {
	blocked := sees(4, fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Lost, Reason: "gone"})
	blocked.Left = []string{"orders-4 is a learner and was not promoted"}
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: fails(fleet.Lost)}, restarts(blocked)...)
	result, err := l.run(fleet.UpscaleCluster)
	require.Error(t, err)
	require.Equal(t, blocked.Left, result.Left)

	blind := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: fails(fleet.Lost)}, restarts(fleet.Look{})...)
	result, err = blind.run(fleet.UpscaleCluster)
	require.Error(t, err)
	require.Equal(t, []string{"what it left could not be looked at"}, result.Left)

	well := sees(3, finished)
	well.Left = []string{"what a look says of a cluster that is as it should be"}
	result, err = newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, restarts(well)...).run(fleet.UpscaleCluster)
	require.NoError(t, err)
	require.Empty(t, result.Left)
}
