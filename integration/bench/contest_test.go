package bench

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// The clients: few and steady, because what is looked for is what they wait, not what
// the cluster can bear.
const (
	clients   = 2
	perClient = 20 // writes and as many reads a second, each
	// lead is how long clients use a cluster before anything is done to it, of which
	// the first and the last part do not count: they connect, and it may have begun.
	lead, leadIn, leadOut = 4 * time.Second, time.Second, 200 * time.Millisecond
	// tail is how long they are watched after it is done.
	tail = 2 * time.Second
)

// side is a cluster, as its users have it.
type side interface {
	dial(ctx context.Context) (*clientv3.Client, error)
	endpoints(ctx context.Context) ([]string, error)
}

// felt is what clients noticed of something that was done once or several times.
type felt struct {
	took series
	// gap is the longest time between two acknowledged writes of one client, and
	// election the same of the time after a death in which nobody does anything yet.
	gap, election time.Duration
	writes        series // how long each acknowledged write took
	failed        int
	errors        map[string]int
}

// add adds what a record shows between two moments.
func (f *felt) add(h *judge.History, from, to time.Time) {
	stalls := h.Stalls(from, to)
	f.gap = max(f.gap, stalls.Worst.Length)
	for _, k := range stalls.Kinds {
		f.failed += k.Failed()
		for text, n := range k.Errors {
			if f.errors == nil {
				f.errors = map[string]int{}
			}
			f.errors[fmt.Sprintf("%s: %s", k.Kind, text)] += n
		}
	}
	for _, call := range h.Calls {
		began := h.Began.Add(call.Start)
		switch call.Kind {
		case judge.Put, judge.Delete, judge.Swap, judge.Pair:
			if call.Outcome == judge.OK && !began.Before(from) && began.Before(to) {
				f.writes = append(f.writes, call.End-call.Start)
			}
		}
	}
}

// p99 is what one write in a hundred took longer than.
func (f felt) p99() time.Duration {
	if len(f.writes) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(f.writes))
	return sorted[max(0, int(math.Ceil(0.99*float64(len(sorted))))-1)]
}

func (f felt) String() string {
	text := short(f.took.median())
	if len(f.writes) > 0 {
		text += fmt.Sprintf(", gap %s, p99 %s, %d failed", short(f.gap), short(f.p99()), f.failed)
	}
	for _, e := range slices.Sorted(maps.Keys(f.errors)) {
		text += fmt.Sprintf("; %d × %s", f.errors[e], e)
	}
	return text
}

// contest is two clusters with the same data, and what was seen of them.
type contest struct {
	s       *stand
	managed *managed
	script  *script
	whole   int // MB
	fillers []judge.Filler

	rows []row
	// idle is what clients noticed while nothing was done, right before each operation.
	idle idle
	left bool // the last one was left out
}

type idle struct{ flotilla, script felt }

// row is one operation by both sides.
type row struct {
	*change
	megabytes        int
	flotilla, script felt
	spent            string // where Flotilla's time went, the last time
}

func (s *stand) newContest(megabytes int) *contest {
	c := &contest{s: s, whole: megabytes, managed: &managed{s: s, cluster: "bench"}}
	spec := harness.Spec(c.managed.cluster, 3, older)
	s.e.Create(spec)
	c.script = s.newScript(3, older, spec.Machine.Type)
	s.b.Cleanup(c.script.end)
	s.sameFlags(c.managed.cluster, c.script.machine)
	c.fill(megabytes / 3)
	return c
}

// fill brings both clusters to so much data.
func (c *contest) fill(megabytes int) {
	t := c.s.b
	f := judge.Filler{Prefix: fmt.Sprintf("filler%d/", len(c.fillers)), Bytes: int64(megabytes) << 20}
	for _, before := range c.fillers {
		f.Bytes -= before.Bytes
	}
	f.ValueBytes, f.Parallel = min(mostValue, max(1, f.Bytes/raftSnapshots)), 32
	for _, x := range []side{c.managed, c.script} {
		began := time.Now()
		client, err := x.dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, judge.Fill(t.Context(), client, f))
		require.NoError(t, client.Close())
		progress("filled to %d MB in %s", megabytes, short(time.Since(began)))
	}
	c.fillers = append(c.fillers, f)
}

// do does an operation by both sides, each while nothing happens to the other.
func (c *contest) do(ch *change, flotillaFirst bool) {
	r := row{change: ch, megabytes: c.whole / 3}
	if !ch.follows {
		c.left = !ch.whole && time.Since(c.s.began) > lastChange
	}
	switch {
	case c.left:
		progress("%s: left out, this machine is too busy", ch.name)
		c.rows = append(c.rows, r)
		return
	case ch.whole:
		r.megabytes = c.whole
		c.fill(c.whole)
	}
	byFlotilla := func() {
		do := ch.flotilla(c.managed)
		c.feel(ch, c.managed, &r.flotilla, &c.idle.flotilla, do)
		r.spent = c.managed.spent()
		progress("%s, by Flotilla: %s\n    %s", ch.name, r.flotilla, r.spent)
		if !ch.stops {
			require.NoError(c.s.b, c.s.e.Stands(c.s.b.Context(), c.managed.cluster), "after: %s", ch.name)
		}
	}
	byScript := func() {
		c.feel(ch, c.script, &r.script, &c.idle.script, func() { ch.script(c.script) })
		progress("%s, by the script: %s", ch.name, r.script)
	}
	for range ch.rounds {
		if flotillaFirst {
			byFlotilla()
			byScript()
		} else {
			byScript()
			byFlotilla()
		}
	}
	if !ch.stops {
		c.s.sameFlags(c.managed.cluster, c.script.machine)
	}
	c.rows = append(c.rows, r)
}

// feel has clients use a cluster while something is done to it, and fails if they saw
// anything that etcd promises not to happen.
func (c *contest) feel(ch *change, x side, during, before *felt, do func()) {
	t := c.s.b
	if ch.silent {
		began := time.Now()
		do()
		during.took = append(during.took, time.Since(began))
		return
	}
	run, err := judge.Start(t.Context(), judge.Config{
		Dial: x.dial, Endpoints: x.endpoints, Clients: clients, Rate: perClient, ReadRate: perClient,
		Filler: &c.fillers[0], CatchUp: harness.Patience / 2,
	})
	require.NoError(t, err)
	began := time.Now()
	time.Sleep(lead)
	from := time.Now()
	do()
	to := time.Now()
	time.Sleep(tail)
	end := time.Now()
	require.NoError(t, run.Stop(), "the clients during: %s", ch.name)
	history := run.History()
	verdict := judge.Check(history)
	require.Zero(t, verdict.Broken, "what clients saw during: %s\n%s", ch.name, verdict)

	before.add(history, began.Add(leadIn), from.Add(-leadOut))
	before.took = append(before.took, lead-leadIn-leadOut)
	during.add(history, from, end)
	during.took = append(during.took, to.Sub(from))
	if ch.kills {
		during.election = max(during.election, history.Stalls(from, from.Add(deadAfter/2)).Worst.Length)
	}
}

// total is how long nothing was done in all.
func (f felt) total() (all time.Duration) {
	for _, took := range f.took {
		all += took
	}
	return all
}

// told joins what clients were told, for the lines below the table.
func (f felt) told() string {
	var all []string
	for _, text := range slices.Sorted(maps.Keys(f.errors)) {
		all = append(all, fmt.Sprintf("%d × %s", f.errors[text], text))
	}
	return strings.Join(all, "; ")
}
