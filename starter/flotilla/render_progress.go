package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// shortID gives an operation's ID as a person says it; its beginning is enough for
// every command that takes one.
func shortID(id string) string {
	if len(id) > 12 {
		return id[:8]
	}
	return id
}

// kindProgress is all steps of one kind together: "LaunchHost 3/3 1.1s".
type kindProgress struct {
	kind     fleet.StepKind
	subjects map[string]fleet.StepProgress // the latest of each member
	planned  int
	started  time.Time
	ended    time.Time
}

// kinds puts the steps together by kind, in the order of their first appearance,
// and after them the kinds that are only planned.
func kinds(p fleet.Progress, planned [][]fleet.Step) []*kindProgress {
	var list []*kindProgress
	find := func(kind fleet.StepKind) *kindProgress {
		for _, k := range list {
			if k.kind == kind {
				return k
			}
		}
		k := &kindProgress{kind: kind, subjects: map[string]fleet.StepProgress{}}
		list = append(list, k)
		return k
	}
	for _, step := range p.Steps {
		k := find(step.Step.Kind)
		k.subjects[k.key(step)] = step
		if k.started.IsZero() || step.Started.Before(k.started) {
			k.started = step.Started
		}
		if step.Ended.After(k.ended) {
			k.ended = step.Ended
		}
	}
	for _, wave := range planned {
		for _, step := range wave {
			find(step.Kind).planned++
		}
	}
	return list
}

// key tells steps apart that are not the same one again: those of several members, and
// those of the whole cluster that a later wave has again after they succeeded.
func (k *kindProgress) key(step fleet.StepProgress) string {
	if step.Step.Member != "" {
		return step.Step.Member
	}
	for key, before := range k.subjects {
		if before.Step.Member == "" && before.State != fleet.StepDone {
			return key
		}
	}
	return fmt.Sprintf("wave %06d", step.Wave)
}

func (k *kindProgress) count(state fleet.StepState) int {
	n := 0
	for _, s := range k.subjects {
		if s.State == state {
			n++
		}
	}
	return n
}

func (k *kindProgress) all() int { return max(len(k.subjects), k.planned) }

// shown is the step that a person should look at: one in trouble, else the one that
// runs longest.
func (k *kindProgress) shown() *fleet.StepProgress {
	var best *fleet.StepProgress
	for _, name := range slices.Sorted(mapKeys(k.subjects)) {
		s := k.subjects[name]
		if s.State == fleet.StepDone {
			continue
		}
		if best == nil || s.Error != "" && best.Error == "" ||
			(s.Error != "") == (best.Error != "") && s.Started.Before(best.Started) {
			best = &s
		}
	}
	return best
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !yield(key) {
				return
			}
		}
	}
}

const barWidth = 16

// progressText draws an operation: a header with a bar, and a line for each kind of
// step.
func progressText(o terminal.Output, p fleet.Progress, planned [][]fleet.Step, now time.Time) string {
	list := kinds(p, planned)
	var b strings.Builder
	b.WriteString(headerText(o, p))
	b.WriteByte('\n')
	width := 0
	for _, k := range list {
		width = max(width, len(k.kind))
	}
	for _, k := range list {
		b.WriteString(kindText(o, p, k, width, now))
	}
	if p.Waiting != nil && p.State == fleet.OperationRunning {
		b.WriteString(o.Paint(terminal.Yellow, "  ‖ "+waitingText(p, now)) + "\n")
		b.WriteString("      " + whatToDo(p) + "\n")
	}
	return b.String()
}

func headerText(o terminal.Output, p fleet.Progress) string {
	all := p.Wave + p.WavesAhead
	done, of, bar := 0, 0, terminal.Green
	for _, s := range p.Steps {
		if s.Wave == p.Wave {
			of++
			if s.State == fleet.StepDone {
				done++
			}
		}
	}
	scaled, whole := (max(p.Wave, 1)-1)*100, max(all, 1)*100
	if of > 0 {
		scaled += 100 * done / of
	}
	state := p.Doing
	if p.Waiting != nil {
		state = o.Paint(terminal.Yellow, waitWords[p.Waiting.For])
	}
	switch p.State {
	case fleet.OperationDone:
		scaled, state = whole, o.Paint(terminal.Green, "done")
	case fleet.OperationFailed:
		bar, state = terminal.Red, o.Paint(terminal.Red, "failed")
	case fleet.OperationCancelled:
		bar, state = terminal.Yellow, o.Paint(terminal.Yellow, "cancelled")
	}
	return fmt.Sprintf("%s  %s %s  %s  %d/%d  %s", o.Paint(terminal.Bold, p.Cluster), p.Kind, shortID(p.Operation),
		o.Paint(bar, terminal.Bar(scaled, whole, barWidth)), p.Wave, all, state)
}

func kindText(o terminal.Output, p fleet.Progress, k *kindProgress, width int, now time.Time) string {
	name := terminal.Pad(string(k.kind), width)
	done, all := k.count(fleet.StepDone), k.all()
	counts := terminal.Pad(fmt.Sprintf("%d/%d", done, all), 4)
	over := p.State != fleet.OperationRunning
	switch {
	case len(k.subjects) == 0:
		return o.Paint(terminal.Dim, "  · "+string(k.kind)) + "\n"
	case k.count(fleet.StepFailed) > 0 || over && done < len(k.subjects):
		text := fmt.Sprintf("  %s %s  %s  %s\n", o.Paint(terminal.Red, "✗"), name, counts, aboutStep(k.shown()))
		return text + errorText(o, k.shown())
	case done == len(k.subjects) && (done == all || over || k.count(fleet.StepRunning) == 0):
		mark := o.Paint(terminal.Green, "✓")
		if done < all && !over {
			mark = o.Paint(terminal.Blue, "●")
		}
		return fmt.Sprintf("  %s %s  %s  %s\n", mark, name, counts, terminal.Elapsed(k.ended.Sub(k.started)))
	}
	shown := k.shown()
	text := fmt.Sprintf("  %s %s  %s  %s\n", o.Paint(terminal.Blue, "●"), name, counts,
		join(aboutStep(shown), terminal.Elapsed(now.Sub(shown.Started))))
	return text + errorText(o, shown)
}

// aboutStep gives "orders-3: waiting for its first raft leader".
func aboutStep(s *fleet.StepProgress) string {
	if s == nil {
		return ""
	}
	note := s.Note
	if s.Percent != nil {
		note = join(note, fmt.Sprintf("%d %%", *s.Percent))
	}
	if s.Step.Member == "" {
		return note
	}
	if note == "" {
		return s.Step.Member
	}
	return s.Step.Member + ": " + strings.TrimPrefix(note, s.Step.Member+": ")
}

func join(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
	return strings.Join(parts, ", ")
}

// errorText shows how the last attempt failed, under the step.
func errorText(o terminal.Output, s *fleet.StepProgress) string {
	if s == nil || s.Error == "" {
		return ""
	}
	text := s.Error
	if s.Attempt > 1 && s.State == fleet.StepRunning {
		text = fmt.Sprintf("attempt %d, after: %s", s.Attempt, s.Error)
	}
	return o.Paint(terminal.Yellow, "      "+text) + "\n"
}
