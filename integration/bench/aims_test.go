package bench

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// The aims of changing running clusters.
const (
	mostGap   = 200 * time.Millisecond
	mostRatio = 1.5
)

// report writes the table of both sides, and whether the aims were met.
func (c *contest) report(out *report) {
	out.section("Changing a running cluster, beside a careful plain script",
		fmt.Sprintf("3 members of etcd %s, then %s; %d clients, each %d writes and %d reads a second; soak %s on both sides",
			older, version, clients, perClient, perClient, soak))
	out.row("", "Flotilla", "gap", "p99", "failed", "script", "gap", "p99", "failed", "ratio")
	for _, r := range c.rows {
		if r.leftOut() {
			out.row(r.label(), "left out")
			continue
		}
		out.row(r.label(), append(append(r.flotilla.cells(), r.script.cells()...), fmt.Sprintf("%.2f", r.ratio()))...)
	}
	out.row("nothing, before each of them", append(append(c.idle.flotilla.idleCells(), c.idle.script.idleCells()...), "")...)
	out.note("gap: the longest between two acknowledged writes of one client, which writes every %s.\n"+
		"  p99: of acknowledged writes. failed: calls that returned an error, after clientv3's own retries.\n"+
		"  Several times over: the median of the durations, the longest gap, all calls.", time.Second/perClient)
	for _, r := range c.rows {
		for _, x := range []struct {
			by string
			felt
		}{{"Flotilla", r.flotilla}, {"the script", r.script}} {
			if x.failed > 0 {
				out.note("Failed, %s by %s: %s", r.name, x.by, x.told())
			}
		}
	}
	out.section("Where Flotilla's time goes", "spans from the histories of the operations; of several times the last")
	for _, r := range c.rows {
		if !r.leftOut() {
			fmt.Fprintf(&out.text, "  %s: %s\n", r.name, r.spent)
		}
	}
	c.aims(out)
}

func (r row) leftOut() bool { return len(r.flotilla.took) == 0 }

func (r row) label() string {
	label := fmt.Sprintf("%s, %d MB", r.name, r.megabytes)
	if r.rounds > 1 {
		label += fmt.Sprintf(", %d times", r.rounds)
	}
	return label
}

func (r row) ratio() float64 {
	return float64(r.flotilla.took.median()) / float64(r.script.took.median())
}

func (f felt) cells() []string {
	if len(f.writes) == 0 {
		return []string{short(f.took.median()), "-", "-", "-"}
	}
	return []string{short(f.took.median()), short(f.gap), short(f.p99()), fmt.Sprint(f.failed)}
}

func (f felt) idleCells() []string {
	cells := f.cells()
	cells[0] = short(f.total())
	return cells
}

// aims says which aims were met.
func (c *contest) aims(out *report) {
	var longer, failing []string
	gap, failed := time.Duration(0), 0
	for _, r := range c.rows {
		if r.leftOut() || r.kills || r.silent {
			continue
		}
		gap, failed = max(gap, r.flotilla.gap), failed+r.flotilla.failed
		if r.flotilla.gap > mostGap {
			longer = append(longer, fmt.Sprintf("%s %s (script %s)", r.name, short(r.flotilla.gap), short(r.script.gap)))
		}
		if r.flotilla.failed > 0 {
			failing = append(failing, fmt.Sprintf("%s %d (script %d)", r.name, r.flotilla.failed, r.script.failed))
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	after, _, _ := strings.Cut(string(load), " ")
	out.section("Aims", "load after: "+after)
	verdict := func(met bool, format string, args ...any) {
		word := "met"
		if !met {
			word = "NOT MET"
		}
		out.note("%-8s %s", word, fmt.Sprintf(format, args...))
	}
	verdict(len(longer) == 0, "no planned operation shows a client a gap over %s: the longest is %s%s; with nothing being done it is %s",
		short(mostGap), short(gap), list(longer), short(c.idle.flotilla.gap))
	verdict(len(failing) == 0, "no client call fails in a planned operation: %d did%s", failed, list(failing))
	out.metrics["longest-gap-ms"] = float64(gap.Milliseconds())
	out.metrics["failed-calls"] = float64(failed)
	for _, r := range c.rows {
		switch {
		case r.leftOut():
		case r.kills:
			// Until Flotilla calls the member dead, what clients wait is etcd's doing alone.
			verdict(r.flotilla.gap <= r.flotilla.election, "failover of a killed leader takes clients no longer than etcd's own election: "+
				"they waited %s while etcd elected, and %s in all; of the leader that the script killed, %s",
				short(r.flotilla.election), short(r.flotilla.gap), short(r.script.election))
		case r.name == upscaling:
			verdict(r.ratio() <= mostRatio, "upscale by replacement of %d MB takes no more than %.1f times the script: %.2f times",
				r.megabytes, mostRatio, r.ratio())
			out.metrics["upscale-x-by-hand"] = r.ratio()
		}
	}
}

func list(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}
