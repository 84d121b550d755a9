package judge

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verdict is what a history shows. It prints as text for a person.
type Verdict struct {
	Seed uint64
	// Violations of what etcd promises, each in a sentence; of each rule the first
	// few. Broken counts all.
	Violations []string
	Broken     int
	// Undecided is what could not be found out in time.
	Undecided []string
	// Excused is what is wrong and known to be, for a reason that the run was told of
	// (see Run.Paused).
	Excused []string
	// Checked counts what was looked at, by kind.
	Checked map[string]int
	// Stalls is over the whole run.
	Stalls Stalls
	// Notes are what else happened.
	Notes []string
}

// OK says that everything was decided and nothing is wrong.
func (v Verdict) OK() bool { return v.Broken == 0 && len(v.Undecided) == 0 }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (v Verdict) String() string {
	var b strings.Builder
	what := "no violation"
	if v.Broken > 0 {
		what = fmt.Sprintf("%d VIOLATIONS", v.Broken)
	} else if len(v.Undecided) > 0 {
		what = "UNDECIDED"
	}
	fmt.Fprintf(&b, "judge, seed %d: %s\n", v.Seed, what)
	for _, text := range slices.Concat(v.Violations, v.Undecided) {
		fmt.Fprintf(&b, "  ! %s\n", text)
	}
	var checked []string
	for _, name := range slices.Sorted(maps.Keys(v.Checked)) {
		checked = append(checked, fmt.Sprintf("%s %d", name, v.Checked[name]))
	}
	for i, text := range v.Excused {
		if i == toldPerRule {
			fmt.Fprintf(&b, "  ~ and %d more like these\n", len(v.Excused)-i)
			break
		}
		fmt.Fprintf(&b, "  ~ %s\n", text)
	}
	fmt.Fprintf(&b, "  checked: %s\n", strings.Join(checked, ", "))
	for _, note := range v.Notes {
		fmt.Fprintf(&b, "  at %s\n", note)
	}
	b.WriteString(v.Stalls.String())
	return b.String()
}

func (s Stalls) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "  within %s: longest gap between acknowledged writes %s for client %d at %+.2fs, %s over all; each writes every %s; longest wait of a watch %s\n",
		short(s.To.Sub(s.From)), short(s.Worst.Length), s.Worst.Client, s.Worst.From.Sub(s.From).Seconds(), short(s.Overall.Length), short(s.Pace), short(s.WatchDelay))
	for _, c := range s.Clients {
		fmt.Fprintf(&b, "  client %-7d gap %8s   writes %s   reads %s\n", c.Client, short(c.Gap.Length), c.Writes, c.Reads)
	}
	failed := map[string]int{}
	for _, k := range s.Kinds {
		fmt.Fprintf(&b, "  %-14s %s\n", k.Kind, k.Latency)
		for text, n := range k.Errors {
			failed[fmt.Sprintf("%s: %s", k.Kind, text)] += n
		}
	}
	for _, text := range slices.Sorted(maps.Keys(failed)) {
		fmt.Fprintf(&b, "  error %d × %s\n", failed[text], text)
	}
	return b.String()
}

func (l Latency) String() string {
	return fmt.Sprintf("%6d ok %3d failed p50 %7s p99 %7s max %7s", l.Count, l.Failed(), short(l.P50), short(l.P99), short(l.Max))
}

// short rounds to three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
