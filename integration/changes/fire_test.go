package changes

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// arsonist breaks things at random while operations run: workers die and are replaced,
// members die, freeze, run slowly and come back, and the cloud throttles, fails and is slow. No
// more than one member is away by its doing, and what it broke it mends within seconds.
type arsonist struct {
	e       *harness.Env
	cluster string
	dice    *rand.Rand
	court   *court
	done    map[string]int // how often it did what
	failed  error
}

// burn breaks one thing after another until ctx ends.
func (a *arsonist) burn(ctx context.Context) {
	for ctx.Err() == nil {
		pause := time.Duration(1000+a.dice.IntN(3000)) * time.Millisecond
		fires := []struct {
			what string
			set  func(context.Context) error
		}{
			{"worker killed", a.killWorker},
			{"member killed", a.killMember},
			{"member frozen", a.freezeMember},
			{"member slow", a.slowMember},
			{"cloud throttles", func(ctx context.Context) error { return a.e.Provider.SetThrottle(ctx, 3) }},
			{"cloud fails calls", func(ctx context.Context) error { return a.e.Provider.SetErrorRate(ctx, 0.2) }},
			{"cloud is slow", func(ctx context.Context) error { return a.e.Provider.SetLatency(ctx, 100*time.Millisecond) }},
		}
		fire := fires[a.dice.IntN(len(fires))]
		if err := fire.set(ctx); err != nil && ctx.Err() == nil {
			a.failed = fmt.Errorf("%s: %w", fire.what, err)
			return
		}
		a.done[fire.what]++
		wait(ctx, pause)
		a.calm()
		wait(ctx, pause)
	}
	a.calm()
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
	_ = a.e.Provider.SetThrottle(ctx, 0)
	_ = a.e.Provider.SetErrorRate(ctx, 0)
	_ = a.e.Provider.SetLatency(ctx, 0)
}

func (a *arsonist) killWorker(context.Context) error {
	workers := a.e.Workers()
	if len(workers) > 0 {
		workers[a.dice.IntN(len(workers))].Kill()
	}
	a.e.StartWorker("flotilla-worker")
	return nil
}

// member gives the process of a member, or 0 when none runs now.
func (a *arsonist) member(ctx context.Context) int {
	hosts, err := a.e.HostsOf(ctx, a.cluster)
	if err != nil {
		return 0 // the cloud is on fire
	}
	var ids []string
	for _, h := range hosts {
		ids = append(ids, h.ID)
	}
	processes := a.e.HostProcesses(ids...)
	processes = slices.DeleteFunc(processes, func(p harness.HostProcess) bool { return p.Member() == "" })
	if len(processes) == 0 {
		return 0
	}
	return processes[a.dice.IntN(len(processes))].PID
}

func (a *arsonist) killMember(ctx context.Context) error {
	if pid := a.member(ctx); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}

func (a *arsonist) freezeMember(ctx context.Context) error {
	pid := a.member(ctx)
	if pid == 0 {
		return nil
	}
	resumed := a.court.run.Paused() // etcd itself ends leases early after its leader was frozen
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	wait(ctx, time.Duration(500+a.dice.IntN(2500))*time.Millisecond)
	_ = syscall.Kill(pid, syscall.SIGCONT)
	resumed()
	return nil
}

// slowMember lets a member's process run a quarter of the time, as on a host that is
// starved, for some seconds.
func (a *arsonist) slowMember(ctx context.Context) error {
	const stopped, runs = 60 * time.Millisecond, 20 * time.Millisecond
	pid := a.member(ctx)
	if pid == 0 {
		return nil
	}
	resumed := a.court.run.Paused()
	defer resumed()
	for until := time.Now().Add(time.Duration(1000+a.dice.IntN(4000)) * time.Millisecond); time.Now().Before(until) && ctx.Err() == nil; {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
		wait(ctx, stopped)
		_ = syscall.Kill(pid, syscall.SIGCONT)
		wait(ctx, runs)
	}
	return nil
}

// under does something while an arsonist is at work.
func (a *arsonist) under(t *testing.T, do func() error) error {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.burn(ctx)
	}()
	err := do()
	stop()
	<-ended
	require.NoError(t, a.failed, "breaking things")
	return err
}

// TestChangesUnderFire takes a cluster with 200 MB of data through operations while
// workers are killed, members are killed, frozen and slowed, and the cloud throttles and fails
// calls; the judge holds what clients saw against what etcd promises. An operation that
// ends because of the fire is resumed, as a person would. Without FLOTILLA_WHOLE it is
// a part of the journey.
func TestChangesUnderFire(t *testing.T) {
	abreast(t)
	s := harness.Seed(t)
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	e.StartWorker("flotilla-worker")
	c := newCourt(t, e, small("orders", 3, older), s)
	a := &arsonist{e: e, cluster: c.cluster, dice: harness.Random(s), court: c, done: map[string]int{}}
	legs := slices.DeleteFunc(journey(c.cluster), func(l leg) bool {
		return l.Kind == fleet.StopCluster || l.Kind == fleet.StartCluster || l.Kind == fleet.FailoverMember || l.Kind == fleet.ChangeLeader ||
			strings.HasPrefix(l.name, "scale")
	})
	legs = append(legs, leg{name: "scale out", Change: harness.Change{Kind: fleet.ScaleCluster, To: func(s *fleet.Spec) { s.Voters = 5 }}},
		leg{name: "scale in", Change: harness.Change{Kind: fleet.ScaleCluster, To: func(s *fleet.Spec) { s.Voters = 3 }}})
	if !harness.Whole() {
		legs = some(legs, 3, harness.Random(s))
	}
	for _, l := range legs {
		c.hears(l.name+" under fire", func() error { return a.under(t, func() error { return c.insist(l) }) })
		require.NoError(t, e.Stands(t.Context(), c.cluster), "%s after %s under fire", c.cluster, l.name)
	}
	t.Logf("what was done to them: %v", a.done)
	e.Decommission(c.cluster, fleet.Options{})
	e.ExpectNothingLeft()
}

// insist does a leg and resumes it as often as the fire ends it.
func (c *court) insist(l leg) error {
	const most = 8
	r, err := c.e.BeginChange(c.cluster, l.Change)
	for tries := 1; err == nil; tries++ {
		_, failed := r.Await()
		if failed == nil {
			return nil
		}
		c.t.Logf("%s ended under fire (try %d): %v", l.name, tries, failed)
		if tries == most {
			return failed
		}
		if _, err = c.e.Settled(c.cluster); err == nil {
			r, err = c.e.Resume(c.cluster)
		}
	}
	return err
}
