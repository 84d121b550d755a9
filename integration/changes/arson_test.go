package changes

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// arsonist breaks things at random while operations run: workers die and are replaced,
// members die, freeze, run slowly and come back, and the cloud throttles, fails and is slow.
// One thing is broken at a time, and mended within seconds.
//
// A member that it takes away comes beside whichever one an operation has stopped just then:
// three voters may be without a quorum for a moment, and a single one is. That is an outage,
// in which nothing may be lost. What a test itself has broken for good (spare) it does not
// add to.
type arsonist struct {
	e       *harness.Env
	dice    *rand.Rand
	court   *court
	grounds []*ground
	// spare leaves members alone.
	spare bool
	// hosts gives the hosts whose members may be broken: the cluster's, unless a test says.
	hosts func(context.Context) []string
	done  map[string]int // how often it did what
	total map[string]int // the same, over all that was done under it
}

// ground is a region: its cloud and the workers in it.
type ground struct {
	provider *local.Provider
	hire     func() *harness.Process
	workers  []*harness.Process
}

// newArsonist starts two workers in an environment's own region, and one in each other
// region. From then on operations that end before they are done are resumed.
func newArsonist(c *court, others ...harness.Elsewhere) *arsonist {
	const tries = 8
	c.tries = tries
	e := c.e
	hire := func() *harness.Process { return e.StartWorker("flotilla-worker") }
	a := &arsonist{e: e, court: c, dice: harness.Random(c.seed), total: map[string]int{}}
	a.grounds = append(a.grounds, &ground{provider: e.Provider, hire: hire, workers: []*harness.Process{hire(), hire()}})
	for _, other := range others {
		hire := func() *harness.Process { return e.StartWorkerOf(other) }
		a.grounds = append(a.grounds, &ground{provider: other.Provider, hire: hire, workers: []*harness.Process{hire()}})
	}
	a.hosts = a.ofTheCluster
	return a
}

// fire is a way to break something. It says whether there was something to break.
type fire struct {
	what   string
	member bool // it is a member that suffers
	set    func(context.Context) (bool, error)
}

func (a *arsonist) fires() []fire {
	cloud := func(set func(context.Context, *local.Provider) error) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			return true, set(ctx, a.grounds[a.dice.IntN(len(a.grounds))].provider)
		}
	}
	all := []fire{
		{"worker killed", false, a.killWorker},
		{"member killed", true, a.killMember},
		{"member frozen", true, a.freezeMember},
		{"member slow", true, a.slowMember},
		{"cloud throttles", false, cloud(func(ctx context.Context, p *local.Provider) error { return p.SetThrottle(ctx, 3) })},
		{"cloud fails calls", false, cloud(func(ctx context.Context, p *local.Provider) error { return p.SetErrorRate(ctx, 0.2) })},
		{"cloud is slow", false, cloud(func(ctx context.Context, p *local.Provider) error {
			return p.SetLatency(ctx, 100*time.Millisecond)
		})},
	}
	return slices.DeleteFunc(all, func(f fire) bool { return f.member && a.spare })
}

// burn breaks one thing after another until ctx ends.
func (a *arsonist) burn(ctx context.Context) error {
	defer a.calm()
	for ctx.Err() == nil {
		pause := time.Duration(1000+a.dice.IntN(3000)) * time.Millisecond
		fires := a.fires()
		fire := fires[a.dice.IntN(len(fires))]
		broke, err := fire.set(ctx)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", fire.what, err)
		}
		if broke {
			a.done[fire.what]++
			a.total[fire.what]++
		}
		wait(ctx, pause)
		a.calm()
		wait(ctx, pause)
	}
	return nil
}

// wait lets time pass: the moments of faults are random, and no fact is waited for.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (a *arsonist) calm() {
	ctx := context.Background()
	for _, g := range a.grounds {
		_ = g.provider.SetThrottle(ctx, 0)
		_ = g.provider.SetErrorRate(ctx, 0)
		_ = g.provider.SetLatency(ctx, 0)
	}
}

// killWorker ends a worker of some region, and has another take its place.
func (a *arsonist) killWorker(context.Context) (bool, error) {
	g := a.grounds[a.dice.IntN(len(a.grounds))]
	i := a.dice.IntN(len(g.workers))
	g.workers[i].Kill()
	g.workers[i] = g.hire()
	return true, nil
}

func (a *arsonist) ofTheCluster(ctx context.Context) (ids []string) {
	for _, g := range a.grounds {
		hosts, _ := g.provider.ListHosts(ctx, iaas.Tags{fleet.TagCluster: a.court.cluster})
		for _, h := range hosts {
			ids = append(ids, h.ID)
		}
	}
	return ids
}

// member gives the process of a member, and false when none runs now.
func (a *arsonist) member(ctx context.Context) (harness.HostProcess, bool) {
	processes := a.e.HostProcesses(a.hosts(ctx)...)
	processes = slices.DeleteFunc(processes, func(p harness.HostProcess) bool { return p.Member() == "" })
	if len(processes) == 0 {
		return harness.HostProcess{}, false
	}
	return processes[a.dice.IntN(len(processes))], true
}

// killMember ends a member's process as a crash does; its host starts it again. One that
// something else started would stay dead, and lives.
func (a *arsonist) killMember(ctx context.Context) (bool, error) {
	p, ok := a.member(ctx)
	if !ok || strings.Contains(p.Args[0], harness.Theirs) {
		return false, nil
	}
	a.court.t.Logf("%s %s is killed", time.Now().Format(clock), p.Member())
	_ = syscall.Kill(p.PID, syscall.SIGKILL)
	return true, nil
}

const clock = "15:04:05.000"

func (a *arsonist) freezeMember(ctx context.Context) (bool, error) {
	p, ok := a.member(ctx)
	if !ok {
		return false, nil
	}
	resumed := a.court.run.Paused() // etcd itself ends leases early after its leader was frozen
	defer resumed()
	span := time.Duration(500+a.dice.IntN(2500)) * time.Millisecond
	a.court.t.Logf("%s %s is frozen for %s", time.Now().Format(clock), p.Member(), span)
	_ = syscall.Kill(p.PID, syscall.SIGSTOP)
	wait(ctx, span)
	_ = syscall.Kill(p.PID, syscall.SIGCONT)
	return true, nil
}

// slowMember lets a member's process run a quarter of the time, as on a host that is
// starved, for some seconds.
func (a *arsonist) slowMember(ctx context.Context) (bool, error) {
	const stopped, runs = 60 * time.Millisecond, 20 * time.Millisecond
	p, ok := a.member(ctx)
	if !ok {
		return false, nil
	}
	resumed := a.court.run.Paused()
	defer resumed()
	span := time.Duration(1000+a.dice.IntN(4000)) * time.Millisecond
	a.court.t.Logf("%s %s is slow for %s", time.Now().Format(clock), p.Member(), span)
	for until := time.Now().Add(span); time.Now().Before(until) && ctx.Err() == nil; {
		_ = syscall.Kill(p.PID, syscall.SIGSTOP)
		wait(ctx, stopped)
		_ = syscall.Kill(p.PID, syscall.SIGCONT)
		wait(ctx, runs)
	}
	return true, nil
}

// mayBurn starts workers, and gives how something is done while a court hears it: under fire
// in a run that tries everything, and in peace otherwise.
func mayBurn(c *court, but func(*arsonist), others ...harness.Elsewhere) func(do func() error) error {
	if !harness.Whole() {
		c.e.StartWorker("flotilla-worker")
		for _, other := range others {
			c.e.StartWorkerOf(other)
		}
		return func(do func() error) error { return do() }
	}
	a := newArsonist(c, others...)
	if but != nil {
		but(a)
	}
	return func(do func() error) error { return a.under(c.t, do) }
}

// under does something while the arsonist is at work.
func (a *arsonist) under(t *testing.T, do func() error) error {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	a.done = map[string]int{}
	go func() { ended <- a.burn(ctx) }()
	err := do()
	stop()
	require.NoError(t, <-ended, "breaking things")
	t.Logf("what was done meanwhile: %s", tally(a.done))
	return err
}

// tally says how often each thing was done.
func tally(done map[string]int) string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(done)) {
		all = append(all, fmt.Sprintf("%s %d", what, done[what]))
	}
	return strings.Join(all, ", ")
}

// insist does a change and resumes it as often as the fire ends it, as a person would.
func (c *court) insist(name string, change harness.Change) error {
	r, err := c.e.BeginChange(c.cluster, change)
	if err != nil {
		return err
	}
	return c.persist(name, r)
}

// persist awaits an operation and resumes it as often as the fire ends it; in peace, never.
func (c *court) persist(name string, r *harness.Running) error {
	most := max(1, c.tries)
	var err error
	for tries := 1; err == nil; tries++ {
		_, failed := r.Await()
		if failed == nil {
			return nil
		}
		c.t.Logf("%s ended (try %d): %v", name, tries, failed)
		if tries == most {
			return failed
		}
		if _, err = c.e.Settled(c.cluster); err == nil {
			r, err = c.e.Resume(c.cluster)
		}
	}
	return err
}
