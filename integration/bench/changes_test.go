package bench

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

const (
	older = "3.6.16"
	// defaultMB is how much data a member has that is replaced; the operations before
	// that have a third of it, so that all of it ends in time.
	defaultMB = 600
	// mostValue is the size of the values, unless there is so little data that etcd
	// would not have written a raft snapshot by itself, which an upgrade to 3.7 needs.
	mostValue, raftSnapshots = 16 << 10, 12_000
	// lastChange is when no operation is begun any more that may be left out.
	lastChange = 25 * time.Minute
)

// change is one operation on a running cluster, by both sides.
type change struct {
	name   string
	rounds int
	// flotilla and script do it, and script's is timed as a whole; what flotilla
	// returns is timed.
	flotilla func(*managed) func()
	script   func(*script)
	// kills says that it begins with the death of the leader; silent that the cluster
	// does not serve meanwhile, so that there are no clients; stops that it does not
	// serve afterwards either.
	kills, silent, stops bool
	// whole says that it is done with all of the data, and is never left out; follows
	// that it is left out if, and only if, the one before it is.
	whole, follows bool
}

// changes are in the order in which they are done: first the upgrade, before members
// come that have written no raft snapshot yet.
var changes = []change{
	{
		name: "upgrade " + older + " to " + version, rounds: 1,
		flotilla: asks(fleet.UpgradeCluster, func(s *fleet.Spec) { s.Etcd.Version = version }),
		script:   func(x *script) { x.version = version; x.roll() },
	},
	{
		name: "move leader", rounds: 3,
		flotilla: func(m *managed) func() {
			follower := m.follower()
			return func() {
				m.change(harness.Change{Kind: fleet.ChangeLeader, Options: fleet.Options{Members: []string{follower}}})
			}
		},
		script: func(x *script) { x.moveLeader(x.leader()) },
	},
	{
		name: "rolling restart", rounds: 1,
		flotilla: asks(fleet.RollCluster, nil),
		script:   (*script).roll,
	},
	{
		name: "resize in place", rounds: 1,
		flotilla: asks(fleet.UpscaleCluster, func(s *fleet.Spec) { s.Machine.Type, s.Machine.Change = "medium", fleet.ResizeMachine }),
		script:   func(x *script) { x.machine = "medium"; x.roll() },
	},
	{
		name: "scale out, 3 to 5", rounds: 1,
		flotilla: asks(fleet.ScaleCluster, func(s *fleet.Spec) { s.Voters = 5 }),
		script:   func(x *script) { x.scale(5) },
	},
	{
		name: "scale in, 5 to 3", rounds: 1, follows: true,
		flotilla: asks(fleet.ScaleCluster, func(s *fleet.Spec) { s.Voters = 3 }),
		script:   func(x *script) { x.scale(3) },
	},
	{
		name: "migrate one member", rounds: 1,
		flotilla: func(m *managed) func() {
			follower := m.follower()
			return func() {
				m.change(harness.Change{Kind: fleet.MigrateByLearner, Options: fleet.Options{Members: []string{follower}}})
			}
		},
		script: func(x *script) { x.replace(x.leaderLast()[:1]) },
	},
	{
		name: "fail over, leader killed", rounds: 2, kills: true,
		flotilla: func(m *managed) func() {
			host := m.leaderHost()
			return func() {
				require.NoError(m.s.b, m.s.e.Provider.FailHost(m.s.b.Context(), host))
				m.change(harness.Change{Kind: fleet.FailoverMember})
			}
		},
		script: func(x *script) {
			leader := x.leader()
			x.stop(leader, syscall.SIGKILL)
			x.failover(leader)
		},
	},
	{
		name: "stop, with a verified snapshot", rounds: 1, silent: true, stops: true,
		flotilla: asks(fleet.StopCluster, nil),
		script:   (*script).down,
	},
	{
		name: "start", rounds: 1, silent: true, follows: true,
		flotilla: asks(fleet.StartCluster, nil),
		script:   (*script).up,
	},
	{
		name: upscaling, rounds: 1, whole: true,
		flotilla: asks(fleet.UpscaleCluster, func(s *fleet.Spec) { s.Machine.Type, s.Machine.Change = "large", fleet.ReplaceMachine }),
		script:   func(x *script) { x.machine = "large"; x.replace(x.leaderLast()) },
	},
}

const upscaling = "upscale by replacement"

// asks gives the way in which Flotilla is asked for an operation.
func asks(kind fleet.OperationKind, to func(*fleet.Spec)) func(*managed) func() {
	return func(m *managed) func() {
		return func() { m.change(harness.Change{Kind: kind, To: to}) }
	}
}

// managed is a cluster of Flotilla's.
type managed struct {
	s       *stand
	cluster string
	last    string // the workflow of the operation that ended last
}

// change asks for an operation and waits until it has ended well.
func (m *managed) change(c harness.Change) {
	began := time.Now()
	running, err := m.s.e.BeginChange(m.cluster, c)
	require.NoError(m.s.b, err, "asking for %s", c.Kind)
	for {
		_, err = running.Await()
		if running.Ended() || time.Since(began) > endure {
			break
		}
	}
	require.NoError(m.s.b, err, "%s", c.Kind)
	m.last = running.Ref.WorkflowID
}

// spent says in a line where the time of the last operation went: looks, waves by
// what they do, and what is left for Temporal.
func (m *managed) spent() string {
	h := m.s.history(m.last)
	times, count := map[string]time.Duration{}, map[string]int{}
	busy := time.Duration(0)
	for _, span := range h.spans {
		name := "look"
		if _, kinds, wave := strings.Cut(span.name, ": "); wave {
			name = kinds
		}
		took := span.ended.Sub(span.began)
		times[name] += took
		busy += took
		count[name]++
	}
	names := slices.SortedFunc(maps.Keys(times), func(a, b string) int { return cmp.Or(cmp.Compare(times[b], times[a]), cmp.Compare(a, b)) })
	parts := make([]string, 0, len(names)+1)
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%d × %s %s", count[name], name, short(times[name])))
	}
	return strings.Join(append(parts, "between them "+short(h.ended.Sub(h.began)-busy)), ", ")
}

func (m *managed) dial(ctx context.Context) (*clientv3.Client, error) {
	access, err := m.s.e.Connect(ctx, m.cluster)
	if err != nil {
		return nil, err
	}
	return access.Client, nil
}

func (m *managed) endpoints(ctx context.Context) ([]string, error) {
	list, err := m.s.e.Client.Endpoints(ctx, m.cluster)
	if err != nil {
		return nil, err
	}
	urls := make([]string, len(list))
	for i, e := range list {
		urls[i] = e.ClientURL()
	}
	return urls, nil
}

// hosts gives the hosts of the leader and of the others.
func (m *managed) hosts() (leader fleet.Host, others []fleet.Host) {
	name, err := m.s.e.Leader(m.s.b.Context(), m.cluster)
	require.NoError(m.s.b, err)
	hosts, err := m.s.e.HostsOf(m.s.b.Context(), m.cluster)
	require.NoError(m.s.b, err)
	i := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.Member() == name })
	require.GreaterOrEqual(m.s.b, i, 0, "the leader has no host")
	leader = hosts[i]
	return leader, slices.Delete(hosts, i, i+1)
}

func (m *managed) follower() string {
	_, others := m.hosts()
	return others[0].Member()
}

func (m *managed) leaderHost() string {
	leader, _ := m.hosts()
	return leader.ID
}

// benchMB is how much data is asked for, in MB.
func benchMB(b *testing.B) int {
	text := os.Getenv("FLOTILLA_BENCH_MB")
	if text == "" {
		return defaultMB
	}
	megabytes, err := strconv.Atoi(text)
	require.NoError(b, err, "FLOTILLA_BENCH_MB")
	return megabytes
}

// BenchmarkChanges changes two running clusters, one by Flotilla and one by a careful
// plain script, by the same operations in turns, and says what their clients noticed.
func BenchmarkChanges(b *testing.B) {
	megabytes := benchMB(b)
	s := newStand(b)
	out := newReport()
	out.machine()
	c := s.newContest(megabytes)
	only := os.Getenv("FLOTILLA_BENCH_ONLY") // a part of the name of those to be done; all by default
	for i := range changes {
		if strings.Contains(changes[i].name, only) {
			c.do(&changes[i], i%2 == 0)
		}
	}
	c.report(out)
	out.print(b, time.Since(s.began))
}
