package changes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// sampledRescues is one death in each of a few clusters, in a few of the operations: each of
// them works on three members. In a recovery, of which call in a look is which depends on who
// answers first: fewer are passed again.
var (
	sampledRescues = crashes{scouts: 1, dying: 4, deaths: 4, reached: 0.7}
	allRescues     = crashes{scouts: 2, dying: 10, reached: 0.7}
)

// rescues are runs of the whole test, each in an environment of its own.
var rescues = []struct {
	name string
	run  func(t *testing.T, c *crowd, dice *rand.Rand)
}{
	{"backup", func(_ *testing.T, c *crowd, dice *rand.Rand) { c.rescued("back up", "verify", "put keys back")(dice) }},
	{"restore", func(_ *testing.T, c *crowd, dice *rand.Rand) { c.rescued("restore", "discard what it kept")(dice) }},
	{"recover", func(_ *testing.T, c *crowd, dice *rand.Rand) { c.rescued("recover", "discard what that kept")(dice) }},
	{"copy", copies},
	{"rehearse", rehearsals},
}

// TestWorkerDiesInRescues is TestWorkerDiesInChanges for what brings clusters back, and what
// that needs: backups, restores in place, to new clusters, and of some keys, rehearsals, a
// recovery without a quorum, and the discard of what was kept. Data is compared key by key.
// With FLOTILLA_WHOLE, objects are in a bucket, else in a directory.
func TestWorkerDiesInRescues(t *testing.T) {
	dice := harness.Random(harness.Seed(t))
	if !harness.Whole() {
		abreast(t)
		legs := some(newLedger().legs(), 3, dice, "back up", "recover")
		newCrowd(t, sampledRescues.scouts+sampledRescues.dying).travel(sampledRescues, slices.Concat([]leg{three}, legs), legs, dice)
		return
	}
	server := objectstoretest.Start(t)
	server.Setenv(t) // so that none of these can run beside others
	for _, r := range rescues {
		seed := dice.Uint64()
		t.Run(r.name, func(t *testing.T) {
			server.Bucket(t, r.name)
			c := newCrowd(t, allRescues.scouts+allRescues.dying, harness.WithObjectStore(server.Location(r.name+"/fleet")))
			r.run(t, c, harness.Random(seed))
			store, err := c.e.Store(t.Context())
			require.NoError(t, err)
			secrets, err := store.List(t.Context(), "clusters/")
			require.NoError(t, err)
			require.Empty(t, secrets, "secrets of clusters that are gone")
		})
	}
}

// three creates a cluster of three.
var three = leg{
	name: "create", Change: harness.Change{Kind: fleet.CreateCluster},
	begin: func(e *harness.Env, cluster string) (*harness.Running, error) {
		spec := small(cluster, 3, newer)
		return e.Begin(cluster, fleet.CreateCluster, &spec)
	},
}

// legs are what is done to running clusters, in an order in which each has something to do.
func (l *ledger) legs() []leg {
	asks := func(kind fleet.OperationKind, options func(e *harness.Env, cluster string) (fleet.Options, error)) func(*harness.Env, string) (*harness.Running, error) {
		return func(e *harness.Env, cluster string) (*harness.Running, error) {
			change := harness.Change{Kind: kind}
			if options != nil {
				var err error
				if change.Options, err = options(e, cluster); err != nil {
					return nil, err
				}
			}
			return e.BeginChange(cluster, change)
		}
	}
	of := func(kind fleet.OperationKind) harness.Change { return harness.Change{Kind: kind} }
	nothing := func(context.Context, *harness.Access) error { return nil }
	discarded := func(ctx context.Context, e *harness.Env, cluster string) error {
		if err := keeps(ctx, e, cluster, 0); err != nil {
			return err
		}
		return l.recovered(ctx, e, cluster)
	}
	return []leg{
		{
			name: "back up", Change: of(fleet.BackupCluster), begin: asks(fleet.BackupCluster, nil),
			before: l.writes(stock, l.backed), after: l.backedUp,
		},
		{
			name: "verify", Change: of(workflows.VerifyBackupType),
			begin: func(e *harness.Env, cluster string) (*harness.Running, error) {
				view, err := e.Client.Describe(context.Background(), cluster)
				if err != nil {
					return nil, err
				}
				r, _, err := e.BeginVerification(cluster, view.Summary.UID)
				return r, err
			},
		},
		{
			name: "put keys back", Change: of(fleet.RestorePrefixes), begin: asks(fleet.RestorePrefixes, fromBackup(shop)),
			before: l.writes(spoil), after: l.putBack,
		},
		{
			name: "restore", Change: of(fleet.RestoreCluster), begin: asks(fleet.RestoreCluster, fromBackup()),
			before: l.writes(spoil), after: func(ctx context.Context, e *harness.Env, cluster string) error {
				if err := keeps(ctx, e, cluster, 3); err != nil {
					return err
				}
				return l.restored(ctx, e, cluster, cluster)
			},
		},
		{
			name: "discard what it kept", Change: of(fleet.DiscardSetAside), begin: asks(fleet.DiscardSetAside, nil),
			before: l.writes(nothing), after: discarded,
		},
		{
			name: "recover", Change: of(fleet.RecoverQuorum), begin: asks(fleet.RecoverQuorum, withoutTheLost),
			bears: []fleet.StepKind{fleet.StopHost, fleet.SnapshotDisk},
			before: func(ctx context.Context, e *harness.Env, cluster string) error {
				if err := l.writes(spoil)(ctx, e, cluster); err != nil {
					return err
				}
				return l.loseQuorum(ctx, e, cluster)
			},
			after: func(ctx context.Context, e *harness.Env, cluster string) error {
				if err := l.fenced(ctx, e, cluster); err != nil {
					return err
				}
				if err := l.keepsMore(ctx, e, cluster); err != nil {
					return err
				}
				view, err := e.Settled(cluster)
				if err == nil && !strings.Contains(view.Operations[0].Lost, "no revision is known that is lost") {
					err = fmt.Errorf("expected a record that nothing is lost; it says %q", view.Operations[0].Lost)
				}
				if err != nil {
					return err
				}
				return l.recovered(ctx, e, cluster)
			},
		},
		{
			name: "discard what that kept", Change: of(fleet.DiscardSetAside), begin: asks(fleet.DiscardSetAside, nil),
			before: l.writes(nothing), after: discarded,
		},
	}
}

// fromBackup chooses the only backup of a cluster, or the keys of it below some prefixes.
func fromBackup(prefixes ...string) func(*harness.Env, string) (fleet.Options, error) {
	return func(e *harness.Env, cluster string) (fleet.Options, error) {
		found, err := e.Backups(cluster)
		if err != nil || len(found) != 1 {
			return fleet.Options{}, fmt.Errorf("expected one backup; there are %v: %w", found, err)
		}
		restore := fleet.RestoreOf(found[0])
		restore.Prefixes, restore.Exact = prefixes, len(prefixes) > 0
		return fleet.Options{Restore: restore, AcceptLoss: true}, nil
	}
}

// withoutTheLost has a recovery go on without what loseQuorum took.
func withoutTheLost(_ *harness.Env, cluster string) (fleet.Options, error) {
	return fleet.Options{Without: []string{fleet.MemberName(cluster, 2), fleet.MemberName(cluster, 3)}, AcceptLoss: true}, nil
}

// rescued gives a run of these legs, after what leads to them.
func (c *crowd) rescued(names ...string) func(*rand.Rand) {
	legs := newLedger().legs()
	deadly := only(legs, names...)
	leading := only(legs, append(names, needs[names[0]])...)
	return func(dice *rand.Rand) { c.travel(allRescues, slices.Concat([]leg{three}, leading), deadly, dice) }
}

// source makes another cluster, of one, with a backup.
func (c *crowd) source(l *ledger) (workflows.ClusterView, fleet.Backup) {
	one := c.among([]string{"source"})
	worker := c.e.StartWorker("flotilla-worker")
	defer worker.Terminate()
	spec := small("source", 1, newer)
	one.pass(leg{name: "create", begin: func(e *harness.Env, cluster string) (*harness.Running, error) {
		return e.Begin(cluster, fleet.CreateCluster, &spec)
	}})
	one.pass(only(l.legs(), "back up")[0])
	found, err := c.e.Backups("source")
	require.NoError(c.t, err)
	require.Len(c.t, found, 1)
	view, err := c.e.Client.Describe(c.t.Context(), "source")
	require.NoError(c.t, err)
	return view, found[0]
}

// copies has clusters begin with the backup of another one.
func copies(t *testing.T, c *crowd, dice *rand.Rand) {
	l := newLedger()
	source, backup := c.source(l)
	from := source.Summary.Name
	begun := leg{
		name: "restore to a new cluster", Change: harness.Change{Kind: fleet.CreateCluster},
		begin: func(e *harness.Env, cluster string) (*harness.Running, error) {
			return e.BeginFrom(small(cluster, 3, newer), backup)
		},
		after: func(ctx context.Context, e *harness.Env, cluster string) error {
			if err := keeps(ctx, e, cluster, 0); err != nil {
				return err
			}
			return l.restored(ctx, e, cluster, from)
		},
	}
	c.through(allRescues, []leg{begun}, []leg{begun}, dice)
	c.e.Decommission(from, fleet.Options{SkipFinalSnapshot: true})
	c.decommission(3)
}

// rehearsals has the backup of a cluster rehearsed by each of a crowd.
func rehearsals(t *testing.T, c *crowd, dice *rand.Rand) {
	source, _ := c.source(newLedger())
	var mu sync.Mutex
	rehearsed, ids := map[string]*fleet.Backup{}, map[string]string{}
	crowd := c.among(nil)
	for _, id := range c.clusters {
		scratch := fleet.RehearseRequest{ID: id}.Scratch(fleet.Backup{}).Cluster
		crowd.clusters, ids[scratch] = append(crowd.clusters, scratch), id
	}
	rehearse := leg{
		name: "rehearse", gone: true, // and of all kinds that its children have
		begin: func(e *harness.Env, cluster string) (*harness.Running, error) {
			r, b, err := e.BeginRehearsal(fleet.RehearseRequest{ID: ids[cluster], Spec: source.Spec, UID: source.Summary.UID})
			mu.Lock()
			defer mu.Unlock()
			rehearsed[cluster] = b
			return r, err
		},
		after: func(ctx context.Context, e *harness.Env, cluster string) error {
			if r := rehearsed[cluster].Rehearsal; r == nil || !r.OK {
				return fmt.Errorf("expected that it is recorded as good; it is %+v", r)
			}
			for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.DecommissionCluster} {
				result, err := e.Result(ctx, cluster, kind, ids[cluster])
				if err != nil || result.Progress.LastError != "" {
					return fmt.Errorf("expected no error in the record of its %s; there is %q: %w", kind, result.Progress.LastError, err)
				}
			}
			return e.Nothing(ctx, cluster, fleet.MemberName(cluster, 1))
		},
	}
	crowd.through(allRescues, []leg{rehearse}, []leg{rehearse}, dice)
	found, err := c.e.Backups(source.Summary.Name)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.True(t, found[0].Rehearsal != nil && found[0].Rehearsal.OK, "the badge beside the backup: %+v", found[0].Rehearsal)
	c.e.Decommission(source.Summary.Name, fleet.Options{SkipFinalSnapshot: true})
	c.e.ExpectNothingLeft()
}
