package changes

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// sampledAdoptions is a sample of the boundaries of an adoption. Three members are what it
// is about: they are taken over one after another, and restarted once more.
var sampledAdoptions = crashes{scouts: 1, dying: 4, deaths: 8, reached: 0.8}

// TestWorkerDiesInAdoption is TestWorkerDiesInChanges for what makes no cluster and changes
// none, but takes over one that something else created. Afterwards it is the same cluster
// with the same members and data, and one of them is migrated as any other.
func TestWorkerDiesInAdoption(t *testing.T) {
	abreast(t)
	dice, how := harness.Random(harness.Seed(t)), sampledAdoptions
	if harness.Whole() {
		how = allCrashes
	}
	c := newCrowd(t, how.scouts+how.dying)
	f := foreign(c)
	adoption := leg{name: "adopt", Change: harness.Change{Kind: fleet.AdoptCluster}, begin: f.adopt, after: f.adopted}
	migration := leg{name: "migrate an adopted member", begin: f.migrate, after: f.migrated}
	c.travel(how, []leg{adoption, migration}, []leg{adoption}, dice)
}

// foreigners are the clusters of a crowd that something else created.
type foreigners struct {
	of map[string]*harness.Foreign
	// were says who they and their members were.
	were   map[string]identified
	filler judge.Filler
}

// theirs are the names of the members of each.
var theirs = []string{"etcd-a", "etcd-b", "etcd-c"}

// foreign has something else create the clusters of a crowd, with some data in them.
func foreign(c *crowd) foreigners {
	f := foreigners{of: map[string]*harness.Foreign{}, were: map[string]identified{}, filler: judge.Filler{Bytes: 1 << 20}}
	var mu sync.Mutex
	c.each("expected that something else can create it", func(_ int, cluster string) error {
		spec := small(cluster, len(theirs), older)
		// The look after a step finds it over: whether it has to be waited for would depend on
		// how fast that look is, and on whether a worker died before it.
		spec.Policy.Soak = fleet.Duration(time.Millisecond)
		created, err := c.e.LaunchForeign(spec, theirs...)
		if err != nil {
			return err
		}
		old, err := created.Dial(c.t.Context())
		if err != nil {
			return err
		}
		defer old.Close()
		if err := judge.Fill(c.t.Context(), old, f.filler); err != nil {
			return err
		}
		who, err := identify(c.t.Context(), old)
		mu.Lock()
		defer mu.Unlock()
		f.of[cluster], f.were[cluster] = created, who
		return err
	})
	return f
}

func (f foreigners) adopt(e *harness.Env, cluster string) (*harness.Running, error) {
	return e.BeginAdoption(f.of[cluster], fleet.Options{})
}

func (f foreigners) migrate(e *harness.Env, cluster string) (*harness.Running, error) {
	return e.BeginChange(cluster, harness.Change{Kind: fleet.MigrateByLearner, Options: fleet.Options{Members: theirs[1:2]}})
}

// adopted expects the cluster that it was, run by us on its hosts: each member shows the
// certificate that we gave it, of the authority that it had, and lets in no peer but ours.
func (f foreigners) adopted(ctx context.Context, e *harness.Env, cluster string) error {
	if err := f.remains(ctx, cluster, theirs...); err != nil {
		return err
	}
	for _, m := range f.of[cluster].Members {
		shown, err := f.of[cluster].Shown(ctx, m)
		if err != nil {
			return fmt.Errorf("an old program connects to %s: %w", m.Name, err)
		}
		if shown.Subject.CommonName != m.Name {
			return fmt.Errorf("expected that %s shows a certificate that we gave it; it shows that of %s", m.Name, shown.Subject)
		}
	}
	for _, p := range e.HostProcesses(f.of[cluster].Hosts()...) {
		ours := func(arg string) bool { return strings.HasPrefix(arg, "--peer-cert-allowed-cn=") }
		if p.Member() != "" && !slices.ContainsFunc(p.Args, ours) {
			return fmt.Errorf("expected that %s lets in no peer but ours; it runs with %s", p.Member(), strings.Join(p.Args, " "))
		}
	}
	return nil
}

// migrated expects the same cluster without the member that was migrated.
func (f foreigners) migrated(ctx context.Context, _ *harness.Env, cluster string) error {
	return f.remains(ctx, cluster, theirs[0], theirs[2])
}

// remains expects that a program with a certificate from before finds the cluster that it
// knew, with these members of it, and reads all that it wrote then.
func (f foreigners) remains(ctx context.Context, cluster string, members ...string) error {
	ctx, cancel := context.WithTimeout(ctx, harness.Patience)
	defer cancel()
	old, err := f.of[cluster].Dial(ctx)
	if err != nil {
		return err
	}
	defer old.Close()
	now, err := identify(ctx, old)
	if err != nil {
		return fmt.Errorf("an old program asks for the members: %w", err)
	}
	were := f.were[cluster]
	want, have := maps.Clone(were.Members), maps.Clone(now.Members)
	maps.DeleteFunc(want, func(name string, _ uint64) bool { return !slices.Contains(members, name) })
	maps.DeleteFunc(have, func(name string, _ uint64) bool { return !slices.Contains(theirs, name) })
	if now.Cluster != were.Cluster || !maps.Equal(have, want) {
		return fmt.Errorf("expected %v of what was %v; it is %v", members, were, now)
	}
	if err := f.filler.Verify(ctx, old); err != nil {
		return fmt.Errorf("an old program reads what it wrote: %w", err)
	}
	return nil
}
