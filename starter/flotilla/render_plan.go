package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// planText shows a forecast: what changes in the spec, the waves in order, then what
// is bought and destroyed, what it will wait for, and what follows.
func planText(o terminal.Output, f forecast, now time.Time) string {
	var b strings.Builder
	if f.at != nil {
		fmt.Fprintf(&b, "First a backup of %s as it was at %s is made, of %s and the changes behind it.\n", f.options.Restore.Cluster, f.at, f.options.Restore.ID)
	}
	b.WriteString(planHeadline(f))
	b.WriteString(differencesText(o, f.differences()))
	if len(f.reply.Waves) > 0 {
		b.WriteString(wavesText(o, f.operation, f.reply.Waves))
		b.WriteString(planCosts(f.reply) + "\n")
	}
	if f.keys != nil {
		b.WriteString(f.keys.String() + "\n")
	}
	for _, note := range f.waits(now) {
		b.WriteString(o.Paint(terminal.Yellow, note) + "\n")
	}
	if f.reply.Blocked != "" { // what cannot run at all is an error and never gets here
		b.WriteString("not clear yet, so it looks again for a while: " + f.reply.Blocked + "\n")
	}
	for _, next := range f.later() {
		fmt.Fprintf(&b, "then %s:\n%s", aim(next), differencesText(o, starter.Differences(*next.Before, next.Spec)))
	}
	return b.String()
}

// differencesText lists what changes in a spec, field by field.
func differencesText(o terminal.Output, all []starter.Difference) string {
	width := 0
	for _, d := range all {
		width = max(width, terminal.Width(d.Path))
	}
	var b strings.Builder
	for _, d := range all {
		was, is := d.Before, d.After
		if was == "" {
			was = terminal.None
		}
		if is == "" {
			is = terminal.None
		}
		fmt.Fprintf(&b, "  %s  %s → %s\n", terminal.Pad(d.Path, width), was, o.Paint(terminal.Bold, is))
	}
	return b.String()
}

// aim says what an operation is for, after "to".
func aim(operation fleet.Operation) string {
	cluster := operation.Cluster
	switch operation.Kind {
	case fleet.CreateCluster:
		return "create " + cluster
	case fleet.DecommissionCluster:
		return "decommission " + cluster
	case fleet.UpscaleCluster:
		return "change the machines of " + cluster
	case fleet.ScaleCluster:
		return "change the size of " + cluster
	case fleet.FailoverMember:
		return "replace what is dead of " + cluster
	case fleet.MigrateByLearner:
		return "move " + cluster + " to new hosts"
	case fleet.StopCluster:
		return "stop " + cluster
	case fleet.StartCluster:
		return "start " + cluster
	case fleet.RecoverQuorum:
		return "recover " + cluster
	case fleet.RestoreCluster:
		return "bring " + cluster + " back to a backup"
	case fleet.RestorePrefixes:
		return "put keys of " + cluster + " back from a backup"
	case fleet.UpgradeCluster:
		return "change the etcd of " + cluster
	case fleet.RollCluster:
		return rollAim(operation)
	case fleet.ChangeLeader:
		return "change the leader of " + cluster
	case fleet.DiscardSetAside:
		return "delete what was kept aside on the disks of " + cluster
	case fleet.AdoptCluster:
		return "adopt " + cluster
	case fleet.BackupCluster:
		return "back " + cluster + " up"
	}
	return "run " + string(operation.Kind) + " on " + cluster
}

// rollAim says what a roll is for.
func rollAim(operation fleet.Operation) string {
	cluster := operation.Cluster
	switch operation.Options.Certificates {
	case fleet.RenewLeaves:
		return "renew the certificates of " + cluster
	case fleet.TrustNewCA:
		return "make a second authority of " + cluster + ", which all trust beside the first"
	case fleet.UseNewCA:
		return "have the second authority of " + cluster + " sign"
	case fleet.DropOldCA:
		return "have " + cluster + " trust its first authority no more"
	}
	if operation.Before != nil && operation.Before.Etcd != operation.Spec.Etcd {
		return "change the settings of " + cluster
	}
	return "restart the members of " + cluster
}

func planHeadline(f forecast) string {
	name, kind := f.operation.Cluster, f.operation.Kind
	nothing := len(f.reply.Waves) == 0
	switch {
	case kind == "" && f.amend == nil:
		return name + " is as asked for: there is nothing to do\n"
	case kind == "":
		return name + " needs no operation; of its spec this changes:\n"
	case nothing && f.reply.Blocked != "":
		return upperFirst("to "+aim(f.operation)) + ":\n"
	case nothing && kind == fleet.DecommissionCluster:
		return "nothing is left of " + name + ": there is nothing to do\n"
	case nothing && kind == fleet.FailoverMember:
		return "no member of " + name + " is known to be dead: there is nothing to do\n"
	case nothing && kind == fleet.RestorePrefixes:
		return "the keys of " + name + " are as in the backup: there is nothing to do\n"
	case nothing && len(f.differences()) > 0:
		return name + " runs so already; its spec is told:\n"
	case nothing:
		return name + " is as asked for: there is nothing to do\n"
	case kind == fleet.CreateCluster && f.reply.Exists:
		return name + " is incomplete. To finish creating it:\n"
	case kind == fleet.CreateCluster:
		return name + " does not exist yet. To create it:\n"
	}
	return upperFirst("to "+aim(f.operation)) + ":\n"
}

// planRow is a line of a plan: the steps of one kind in one wave, or several times
// the same.
type planRow struct {
	number, kind string
	subjects     []string
	words        string
}

// columns gives the widths of subjects that stand under each other.
func columns(rows []planRow) []int {
	var widths []int
	for _, r := range rows {
		for i, s := range r.subjects {
			if len(r.subjects) == 1 {
				continue // nothing stands beside it
			}
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], terminal.Width(s))
		}
	}
	return widths
}

// subject gives what a row is about, in columns.
func (r planRow) subject(columns []int) string {
	if len(r.subjects) == 1 {
		return r.subjects[0]
	}
	cells := make([]string, len(r.subjects))
	for i, s := range r.subjects {
		cells[i] = terminal.Pad(s, columns[i])
	}
	return strings.TrimRight(strings.Join(cells, "   "), " ")
}

// wavesText lists waves, with what they do in words where there is room for them.
func wavesText(o terminal.Output, operation fleet.Operation, waves [][]fleet.Step) string {
	var rows []planRow
	for _, b := range fold(waves) {
		rows = append(rows, blockRows(operation, b)...)
	}
	var number, kind, subjects int
	for _, r := range rows {
		number, kind = max(number, terminal.Width(r.number)), max(kind, terminal.Width(r.kind))
	}
	width, _ := o.Size()
	before, widths := number+kind+6, columns(rows)
	for _, r := range rows {
		wide := terminal.Width(r.subject(widths))
		if r.kind != "" && before+wide+2+terminal.Width(r.words) <= width {
			subjects = max(subjects, wide)
		}
	}
	var b strings.Builder
	for _, r := range rows {
		line := "  " + pad(r.number, number) + "  "
		if r.kind != "" {
			line += terminal.Pad(r.kind, kind) + "  "
		}
		line += terminal.Pad(r.subject(widths), subjects)
		if room := width - terminal.Width(line) - 2; r.words != "" && terminal.Width(r.words) <= room {
			line += "  " + o.Paint(terminal.Dim, r.words)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// pad aligns a number to the right.
func pad(number string, width int) string {
	return strings.Repeat(" ", width-terminal.Width(number)) + number
}

// blockRows gives a line for each kind of step in each wave; kinds that run in one
// wave share its number. What comes again is said, not shown again.
func blockRows(operation fleet.Operation, b block) []planRow {
	first, again := b.turns[0], b.turns[1:]
	if row, ok := oneAfterTheOther(operation, b); ok {
		return []planRow{row}
	}
	rows := waveRows(operation, first.waves, first.first)
	for _, t := range again {
		text := "the same for " + standIn(first, t.members)
		if t.settles && !first.settles {
			text += ", when all are in sync again"
		}
		if t.heir != "" && first.heir == "" {
			text += ", once " + t.heir + " leads"
		}
		rows = append(rows, planRow{number: span(t.first, t.last()), subjects: []string{text}})
	}
	return rows
}

// oneAfterTheOther gives the line for a step that several members have, each in a wave
// of its own, and nothing else between them.
func oneAfterTheOther(operation fleet.Operation, b block) (planRow, bool) {
	row := planRow{number: span(b.turns[0].first, b.turns[len(b.turns)-1].last())}
	for _, t := range b.turns {
		if len(b.turns) < 2 || len(t.waves) > 1 || len(t.waves[0]) > 1 || len(t.members) == 0 {
			return row, false
		}
		step := t.waves[0][0]
		row.kind, row.words = string(step.Kind), words(step, operation)+", one after the other"
		row.subjects = append(row.subjects, subject(operation.Cluster, step))
	}
	return row, true
}

func waveRows(operation fleet.Operation, waves [][]fleet.Step, first int) []planRow {
	var rows []planRow
	for i, wave := range waves {
		number := fmt.Sprint(first + i)
		byKind := map[fleet.StepKind]int{}
		for _, step := range wave {
			at, seen := byKind[step.Kind]
			if !seen {
				at = len(rows)
				byKind[step.Kind] = at
				rows = append(rows, planRow{number: number, kind: string(step.Kind), words: words(step, operation)})
				number = ""
			}
			rows[at].subjects = append(rows[at].subjects, subject(operation.Cluster, step))
		}
	}
	return rows
}

func span(first, last int) string {
	if first == last {
		return fmt.Sprint(first)
	}
	return fmt.Sprintf("%d–%d", first, last)
}

// standIn says whom a turn is about when it is not the first: who comes for whom,
// where it is so.
func standIn(first turn, members []string) string {
	var comes, leaves, others []string
	for i, name := range first.members {
		does := func(kind fleet.StepKind) bool {
			return slices.ContainsFunc(slices.Concat(first.waves...), func(s fleet.Step) bool { return s.Member == name && s.Kind == kind })
		}
		switch {
		case does(fleet.AddLearner), does(fleet.LaunchHost):
			comes = append(comes, members[i])
		case does(fleet.RemoveMember):
			leaves = append(leaves, members[i])
		default:
			others = append(others, members[i])
		}
	}
	if len(comes) == 0 || len(leaves) == 0 {
		return strings.Join(members, ", ")
	}
	text := strings.Join(comes, ", ") + " in place of " + strings.Join(leaves, ", ")
	if len(others) > 0 {
		text += ", with " + strings.Join(others, ", ")
	}
	return text
}

func subject(cluster string, step fleet.Step) string {
	switch {
	case step.Member == "":
		return cluster
	case step.Kind == fleet.LaunchHost && step.Zone != "":
		return step.Member + " (" + step.Zone + ")"
	}
	return step.Member
}

func planCosts(reply workflows.PlanReply) string {
	buys, destroys := "buys nothing", "nothing is destroyed"
	if len(reply.Buys) > 0 {
		buys = "buys " + strings.Join(reply.Buys, ", ")
	}
	switch n := len(reply.Destroys); {
	case n > 3: // one a line: what is lost for good is to be read
		destroys = fmt.Sprintf("destroys %d things:\n  %s", n, strings.Join(reply.Destroys, "\n  "))
	case n > 0:
		destroys = "destroys " + strings.Join(reply.Destroys, ", ")
	}
	return buys + " · " + destroys
}

// refusal gives the error of a plan that cannot run, or nil.
func refusal(resource string, reply workflows.PlanReply) error {
	if err := reply.Problems.Err(resource); err != nil {
		return err
	}
	if reply.Blocked == "" {
		return nil
	}
	kind := reply.Kind
	if kind == "" {
		kind = fleet.Blocked
	}
	return &fleet.Error{Kind: kind, Message: reply.Blocked}
}
