package changes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// leg is one operation on a cluster, with what has to be so before it and after it.
type leg struct {
	harness.Change
	name string
	// begin asks for it; nil for a change of a running cluster that is part of the journey.
	begin func(e *harness.Env, cluster string) (*harness.Running, error)
	// before is done to the cluster before the operation is asked for, as a fault would.
	before func(ctx context.Context, e *harness.Env, cluster string) error
	// after says what is wrong with the cluster after it, beside what its spec says.
	after func(ctx context.Context, e *harness.Env, cluster string) error
	// stopped says that the cluster does not serve after it, and gone that there is none.
	stopped, gone bool
	// bears are the steps that may fail, because it goes on without: they have little time.
	bears []fleet.StepKind
}

const (
	older, newer = "3.6.16", "3.7.3"
	// soak is short, for tests; etcd's own window of five seconds stays.
	soak = fleet.Duration(time.Second)
)

// small is a cluster that a journey begins with.
func small(name string, voters int, version string) fleet.Spec {
	spec := harness.Spec(name, voters, version)
	spec.Policy.Soak, spec.Policy.DeadAfter = soak, fleet.Duration(2*time.Second)
	spec.Etcd.SnapshotCount = 500 // for the raft snapshots before 3.7
	return spec
}

// creation is what a journey begins with.
var creation = leg{
	name: "create", Change: harness.Change{Kind: fleet.CreateCluster},
	begin: func(e *harness.Env, cluster string) (*harness.Running, error) {
		spec := small(cluster, 1, older)
		return e.Begin(cluster, fleet.CreateCluster, &spec)
	},
}

// journey takes a cluster of one voter of the older minor through every operation.
func journey(cluster string) []leg {
	to := func(kind fleet.OperationKind, change func(*fleet.Spec)) harness.Change {
		return harness.Change{Kind: kind, To: change}
	}
	with := func(kind fleet.OperationKind, options fleet.Options) harness.Change {
		return harness.Change{Kind: kind, Options: options}
	}
	roll := func(change fleet.CertificateChange) harness.Change {
		return with(fleet.RollCluster, fleet.Options{Certificates: change})
	}
	member := func(number int) string { return fleet.MemberName(cluster, number) }
	return []leg{
		{name: "scale out", Change: to(fleet.ScaleCluster, func(s *fleet.Spec) { s.Voters = 3 })},
		{name: "roll settings", Change: to(fleet.RollCluster, func(s *fleet.Spec) { s.Etcd.MaxTxnOps = 256 })},
		{name: "change leader", Change: with(fleet.ChangeLeader, fleet.Options{Members: []string{member(3)}})},
		{name: "migrate a member", Change: with(fleet.MigrateByLearner, fleet.Options{Members: []string{member(2)}})},
		{name: "upscale in place", Change: to(fleet.UpscaleCluster, func(s *fleet.Spec) {
			s.Machine.Type, s.Machine.Change, s.Machine.Disk.Size = "medium", fleet.ResizeMachine, 30*fleet.GiB
		})},
		{name: "fail over a dead process", before: stopMember, Change: with(fleet.FailoverMember, fleet.Options{})},
		{name: "fail over a dead host", before: failHost, Change: with(fleet.FailoverMember, fleet.Options{})},
		{name: "upgrade", Change: to(fleet.UpgradeCluster, func(s *fleet.Spec) { s.Etcd.Version = newer })},
		{name: "trust a new authority", Change: roll(fleet.TrustNewCA)},
		{name: "use it", Change: roll(fleet.UseNewCA)},
		{name: "renew certificates", Change: roll(fleet.RenewLeaves)},
		{name: "downgrade", Change: to(fleet.UpgradeCluster, func(s *fleet.Spec) { s.Etcd.Version = older })},
		{name: "stop", stopped: true, Change: with(fleet.StopCluster, fleet.Options{})},
		{name: "start", Change: with(fleet.StartCluster, fleet.Options{})},
		{name: "upscale by replacing", Change: to(fleet.UpscaleCluster, func(s *fleet.Spec) {
			s.Machine.Type, s.Machine.Change = "small", fleet.ReplaceMachine
		})},
		{name: "scale in", Change: to(fleet.ScaleCluster, func(s *fleet.Spec) { s.Voters = 1 })},
	}
}

// only gives the legs with these names, in order.
func only(legs []leg, names ...string) []leg {
	return slices.DeleteFunc(slices.Clone(legs), func(l leg) bool { return !slices.Contains(names, l.name) })
}

// leadingTo gives legs with those that they need before them.
func leadingTo(legs []leg) []leg {
	names := []string{"scale out"}
	for _, l := range legs {
		names = append(names, l.name, needs[l.name])
	}
	return only(journey(""), names...)
}

// needs names the leg without which another cannot be, or would change nothing.
var needs = map[string]string{
	"downgrade": "upgrade", "use it": "trust a new authority", "upscale by replacing": "upscale in place",
	"scale in": "scale out", "scale to three": "scale to five", "start": "stop", "stop": "start",
	"verify": "back up", "put keys back": "back up", "restore": "back up", "discard what it kept": "restore", "discard what that kept": "recover",
}

// some picks n legs, among them those named, that stand without the others; they keep
// their order.
func some(legs []leg, n int, dice *rand.Rand, among ...string) []leg {
	n = min(n, len(legs))
	for {
		at := dice.Perm(len(legs))[:n]
		slices.Sort(at)
		has := func(name string) bool {
			return name == "" || slices.ContainsFunc(at, func(i int) bool { return legs[i].name == name })
		}
		if slices.ContainsFunc(at, func(i int) bool { return !has(needs[legs[i].name]) }) ||
			slices.ContainsFunc(among, func(name string) bool { return !has(name) }) {
			continue
		}
		picked := make([]leg, n)
		for k, i := range at {
			picked[k] = legs[i]
		}
		return picked
	}
}

// ask asks for it on a cluster. Some legs of a journey name members, which are the cluster's own.
func (l leg) ask(e *harness.Env, cluster string) (*harness.Running, error) {
	if l.begin != nil {
		return l.begin(e, cluster)
	}
	own := only(journey(cluster), l.name)[0]
	return e.BeginChange(cluster, own.Change)
}

// borne says that nothing failed but what the leg bears.
func (l leg) borne(p fleet.Progress) bool {
	return p.State == fleet.OperationDone && !slices.ContainsFunc(p.Steps, func(s fleet.StepProgress) bool {
		return s.State == fleet.StepFailed && !slices.Contains(l.bears, s.Step.Kind)
	}) && len(l.bears) > 0
}

// follower gives a member's host that does not lead.
func follower(ctx context.Context, e *harness.Env, cluster string) (fleet.Host, error) {
	leader, err := e.Leader(ctx, cluster)
	if err != nil {
		return fleet.Host{}, err
	}
	hosts, err := e.HostsOf(ctx, cluster)
	if err != nil {
		return fleet.Host{}, err
	}
	i := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.Member() != leader })
	if i < 0 {
		return fleet.Host{}, fmt.Errorf("%s has no follower", cluster)
	}
	return hosts[i], nil
}

// stopMember has a follower's process end for good, on a host that lives.
func stopMember(ctx context.Context, e *harness.Env, cluster string) error {
	h, err := follower(ctx, e, cluster)
	if err != nil {
		return err
	}
	return e.StopMember(ctx, h)
}

// failHost has a follower's host die, its disk whole.
func failHost(ctx context.Context, e *harness.Env, cluster string) error {
	h, err := follower(ctx, e, cluster)
	if err != nil {
		return err
	}
	return e.Provider.FailHost(ctx, h.ID)
}
