// Package bench measures Flotilla as a whole, beside what a plain script does:
// real Temporal, real workers, real etcd, one table at the end. `make bench` runs
// it; what the figures mean is in docs/benchmarks.md.
package bench

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// What is measured. All of it ends within four minutes on two cores that have
// nothing else to do; on a busy machine, what would begin too late is left out.
const (
	version    = "3.7.3"
	rounds     = 5
	fewest     = 3 // rounds, however slow
	roundsEnd  = 90 * time.Second
	lastFleets = 150 * time.Second
)

func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		os.Exit(m.Run()) // nothing here is a test: nothing is built for `make test`
	}
	harness.Main(m)
}

// BenchmarkFlotilla is one benchmark and not several, because all of it shares
// one warm control plane, as in real life.
func BenchmarkFlotilla(b *testing.B) {
	s := newStand(b)
	s.warm()
	out := newReport()
	out.machine()

	s.firstWrite(out)
	s.cost(out)
	s.atOnce(out, 20, 1)
	s.atOnce(out, 5, 3)

	out.print(b, time.Since(s.began))
}

// firstWrite compares: a cluster of three by Flotilla, and by hand, in turns.
func (s *stand) firstWrite(out *report) {
	var hand, flotilla series
	parts := &breakdown{}
	for i := range rounds {
		if i >= fewest && time.Since(s.began) > roundsEnd {
			break
		}
		took := s.handmade(i)
		hand = append(hand, took)
		progress("by hand %d/%d: %s", i+1, rounds, short(took))

		name := fmt.Sprintf("first-%d", i)
		run := s.create(name, 3)
		flotilla = append(flotilla, run.total)
		progress("by Flotilla %d/%d: %s", i+1, rounds, short(run.total))
		parts.add(s.partsOf(run))
		if i == 0 {
			s.sameFlags(name, "small")
		}
		s.decommission(name, 3)
	}
	ratio := float64(flotilla.median()) / float64(hand.median())
	out.section("From asking to the first acknowledged write: 3 members, mutual TLS, etcd "+version,
		fmt.Sprintf("%d rounds in turns", len(hand)))
	out.row("", "median", "fastest", "slowest")
	out.row("by hand", hand.columns()...)
	out.row("by Flotilla", flotilla.columns()...)
	out.row("ratio", fmt.Sprintf("%.2f", ratio))
	out.metrics["x-by-hand"] = ratio
	out.metrics["first-write-s"] = flotilla.median().Seconds()

	out.section("Where that time goes", "medians of the same rounds")
	out.row("", "median", "share")
	parts.write(out)
}

// cost counts what one operation costs, while nothing else goes on.
func (s *stand) cost(out *report) {
	const name = "cost"
	time.Sleep(time.Second) // what the last operation left to do is not this one's
	create := s.measure(func() string { return s.create(name, 3).ref.WorkflowID })
	cluster := s.history(clusterWorkflow(name))
	time.Sleep(time.Second)
	decommission := s.measure(func() string { return s.decommission(name, 3).WorkflowID })

	out.section("What an operation costs", "3 members")
	out.row("", "create", "decommission")
	each := func(label string, f func(expense) string) { out.row(label, f(create), f(decommission)) }
	each("takes", func(x expense) string { return short(x.took) })
	each("activities", func(x expense) string { return fmt.Sprint(x.history.activities) })
	each("  of them looks", func(x expense) string { return fmt.Sprint(x.history.looks) })
	each("history events", func(x expense) string { return fmt.Sprint(x.history.events) })
	each("history bytes", func(x expense) string { return fmt.Sprint(x.history.bytes) })
	each("worker, CPU seconds", func(x expense) string { return fmt.Sprintf("%.2f", x.worker) })
	each("Temporal, CPU seconds", func(x expense) string { return fmt.Sprintf("%.2f", x.temporal) })
	each("commands on hosts", func(x expense) string { return fmt.Sprint(len(x.commands)) })
	for _, verb := range verbs(create.commands, decommission.commands) {
		each("  "+verb, func(x expense) string { return x.ofVerb(verb) })
	}
	out.note("The cluster's own workflow, after its creation: %d events, %d bytes.", cluster.events, cluster.bytes)
	out.metrics["create-activities"] = float64(create.history.activities)
	out.metrics["create-history-B"] = float64(create.history.bytes)
	out.metrics["create-worker-cpu-s"] = create.worker
}

// atOnce creates many clusters at the same time, looks at the fleet, and takes
// all of them down at the same time.
func (s *stand) atOnce(out *report, count, voters int) {
	if time.Since(s.began) > lastFleets {
		out.note("%d clusters of %d at once: left out, this machine is too busy.", count, voters)
		return
	}
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("fleet%d-%02d", voters, i)
	}
	worker, temporal := s.cpu()
	created := s.all(names, voters, fleet.CreateCluster)
	progress("%d × %d created: %s", count, voters, short(created.slowest()))
	workerAfter, temporalAfter := s.cpu()
	for _, name := range names {
		s.correct(name, voters)
	}
	var listing, cli, planning series
	if voters == 1 {
		listing, cli, planning = s.shortOperations(count)
	}
	gone := s.all(names, voters, fleet.DecommissionCluster)
	progress("%d × %d decommissioned: %s", count, voters, short(gone.slowest()))
	for _, name := range names {
		s.nothing(name, voters)
	}

	out.section(fmt.Sprintf("%d clusters of %d at once", count, voters),
		"each has exactly its members, serves reads and writes, and was bought once")
	out.row("", "all", "median", "slowest/median")
	for _, x := range []struct {
		label string
		times series
	}{{"created", created}, {"decommissioned", gone}} {
		out.row(x.label, short(x.times.slowest()), short(x.times.median()),
			fmt.Sprintf("%.2f", float64(x.times.slowest())/float64(x.times.median())))
	}
	out.note("Creating them took %.1f CPU seconds of the worker and %.1f of Temporal.", workerAfter-worker, temporalAfter-temporal)
	out.metrics[fmt.Sprintf("create-%dx%d-s", count, voters)] = created.slowest().Seconds()
	if voters == 1 {
		out.section("Short operations", fmt.Sprintf("%d clusters live", count))
		out.row("", "median", "fastest", "slowest")
		out.row("get clusters, in a client", listing.columns()...)
		out.row("get clusters, the program", cli.columns()...)
		out.row("plan, in a client", planning.columns()...)
	}
}
