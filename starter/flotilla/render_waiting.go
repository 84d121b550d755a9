package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// windowTime is how times are given that a person may put into a calendar.
const windowTime = "Mon 2006-01-02 15:04 UTC"

// waitWords say what an operation waits for.
var waitWords = map[fleet.WaitKind]string{
	fleet.WaitApproval: "waits for approval",
	fleet.WaitWindow:   "waits for a maintenance window",
	fleet.WaitPaused:   "paused",
	fleet.WaitPerson:   "waits for a person",
}

// waitingText says what an operation waits for, for how long it did, and until when.
func waitingText(p fleet.Progress, now time.Time) string {
	w := p.Waiting
	text, why := w.Why, ""
	if text == "" || w.For == fleet.WaitPerson { // then why is what failed
		text, why = cmp.Or(waitWords[w.For], "waits for "+string(w.For)), w.Why
	}
	if !w.Since.IsZero() && w.For != fleet.WaitWindow {
		text += ", for " + terminal.Age(now.Sub(w.Since)) + " now"
	}
	if !w.Until.IsZero() {
		what := "until"
		if w.For == fleet.WaitWindow {
			what = "which opens"
		}
		text += fmt.Sprintf(", %s %s (in %s)", what, w.Until.UTC().Format(windowTime), terminal.Age(max(0, w.Until.Sub(now))))
	}
	if why != "" {
		text += ": " + why
	}
	return text
}

// whatToDo says how a person has it go on.
func whatToDo(p fleet.Progress) string {
	switch p.Waiting.For {
	case fleet.WaitApproval:
		return fmt.Sprintf("flotilla approve %s, or flotilla reject %s --why …", p.Cluster, p.Cluster)
	case fleet.WaitWindow:
		return fmt.Sprintf("it goes on by itself then; flotilla cancel %s ends it, and --any-time asks for it outside of a window", p.Cluster)
	case fleet.WaitPaused:
		return fmt.Sprintf("flotilla resume %s, or flotilla cancel %s", p.Cluster, p.Cluster)
	case fleet.WaitPerson:
		return fmt.Sprintf("mend it and flotilla resume %s, or end it with flotilla cancel %s", p.Cluster, p.Cluster)
	}
	return "flotilla describe " + p.Cluster
}

// approvalText is all that somebody who has to approve an operation wants to know. The
// plan is left out where just that was shown.
func approvalText(o terminal.Output, p fleet.Progress, spec fleet.Spec, shown [][]fleet.Step, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s %s %s\n", o.Paint(terminal.Bold, p.Cluster), p.Kind, shortID(p.Operation),
		o.Paint(terminal.Yellow, waitingText(p, now)))
	if !samePlan(shown, p.Waiting.Plan) {
		b.WriteString(wavesText(o, fleet.Operation{Kind: p.Kind, Cluster: p.Cluster, Spec: spec}, p.Waiting.Plan))
	}
	fmt.Fprintf(&b, "  approve  flotilla approve %s --operation %s\n", p.Cluster, p.Operation)
	fmt.Fprintf(&b, "  reject   flotilla reject %s --operation %s --why …\n", p.Cluster, p.Operation)
	b.WriteString("  who      anybody who may use this control plane; who it was stands in the record\n")
	fmt.Fprintf(&b, "  then     flotilla watch %s\n", p.Cluster)
	return b.String()
}

// samePlan says that two plans do the same to the same members.
func samePlan(a, b [][]fleet.Step) bool {
	return slices.EqualFunc(a, b, func(x, y []fleet.Step) bool {
		return slices.EqualFunc(x, y, func(s, t fleet.Step) bool { return s.String() == t.String() })
	})
}

// marksText lists what people did to an operation.
func marksText(marks []fleet.Mark, clock terminal.Clock) []string {
	lines := make([]string, len(marks))
	for i, m := range marks {
		by := m.By
		if by == "" {
			by = "somebody"
		}
		lines[i] = string(m.Kind) + " by " + by
		if at := clock.Ago(m.At); at != "" {
			lines[i] += ", " + at
		}
		if m.Why != "" {
			lines[i] += ": " + m.Why
		}
	}
	return lines
}
