package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func (a *app) describeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe NAME", Short: "Show all that is known of a cluster",
		Long:    "Show all that is known of a cluster, also of one that is gone for as long as Temporal keeps it.",
		Example: "  flotilla describe orders\n  flotilla describe orders -o json", Args: oneArgument("the name of a cluster"),
		ValidArgsFunction: a.completeCluster,
	}
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		view, err := client.Describe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if view.Spec.MaxLag() > 0 { // how far a standby is behind counts now, not after the last operation
			list, err := client.Clusters(cmd.Context(), starter.Filter{Names: []string{args[0]}})
			if err == nil && len(list.Clusters) == 1 && list.Clusters[0].UID == view.Summary.UID {
				view.Summary = list.Clusters[0]
			}
		}
		all := described{ClusterView: view}
		if ref, runs := starter.Running(view); runs {
			if progress, err := client.Progress(cmd.Context(), ref); err == nil { // the rest is worth showing without
				all.Progress = &progress
			}
		}
		var looks sync.WaitGroup
		looks.Go(func() { all.Backups = a.lookAtBackups(cmd.Context(), client, view) })
		looks.Go(func() { all.DiskSnapshots = a.lookAtCopies(cmd.Context(), client, view) })
		var unlisted error
		looks.Go(func() { all.Beside, unlisted = client.Beside(cmd.Context(), args[0], besideShown) })
		looks.Wait()
		if unlisted != nil { // the rest is worth showing without
			a.say("%s", a.err.Paint(terminal.Yellow, "its backups are not among the operations: "+unlisted.Error()))
		}
		if err := a.print(*output, all, func() string { return describeText(a.out, all, a.clock()) }); err != nil {
			return err
		}
		if url := client.WorkflowURL(workflows.ClusterID(args[0])); url != "" && *output == asTable {
			fmt.Fprintf(a.out, "\nin Temporal  %s\n", url)
		}
		return nil
	}
	return cmd
}

// described is what describe prints: the cluster, and how its running operation stands.
type described struct {
	workflows.ClusterView
	Progress *fleet.Progress `json:"progress,omitempty"`
	// Backups is nil where the spec asks for none, and there are none.
	Backups *backupsGlance `json:"backups,omitempty"`
	// Beside are the latest operations that ran beside those of the cluster's own workflow:
	// backups.
	Beside []starter.OperationEntry `json:"beside,omitempty"`
	// DiskSnapshots is nil of a cluster that is gone.
	DiskSnapshots *copiesGlance `json:"diskSnapshots,omitempty"`
}

// besideShown is how many backups describe lists among the operations: a schedule makes many.
const besideShown = 5

// backupsGlance is what describe says of backups.
type backupsGlance struct {
	// Count is how many count, and Newest when the newest of them was taken.
	Count    int                   `json:"count"`
	Newest   time.Time             `json:"newest,omitzero"`
	Findings []fleet.BackupFinding `json:"findings,omitempty"`
	// Error says why they could not be looked at.
	Error string `json:"error,omitempty"`
}

// glancePatience is how long backups are waited for: the rest is worth showing without.
const glancePatience = 10 * time.Second

func (a *app) lookAtBackups(ctx context.Context, client plane, view workflows.ClusterView) *backupsGlance {
	if view.Summary.Phase == fleet.PhaseGone {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, glancePatience)
	defer cancel()
	found, err := client.Backups(ctx, workflows.BackupsRequest{
		Provider: view.Spec.Provider, Region: view.Spec.Region,
		Clusters: []fleet.BackupsOf{{Cluster: view.Summary.Name, UID: view.Summary.UID}},
	})
	if err != nil {
		return &backupsGlance{Error: err.Error()}
	}
	glance := &backupsGlance{Findings: findingsOf(found, []fleet.Summary{summaryOf(view)}, a.clock().Now)}
	for _, b := range found.Backups {
		if b.Damaged != "" || b.Base != "" {
			continue
		}
		if glance.Count++; b.Taken.After(glance.Newest) {
			glance.Newest = b.Taken
		}
	}
	if len(found.Backups) == 0 && view.Spec.Backup.Every == 0 {
		return nil
	}
	return glance
}

// backupsTexts gives what describe says of backups, a line each.
func backupsTexts(o terminal.Output, g *backupsGlance, clock terminal.Clock) (texts []string) {
	switch {
	case g == nil:
		return nil
	case g.Error != "":
		return []string{o.Paint(terminal.Yellow, "cannot be listed now: "+firstLine(g.Error))}
	case g.Newest.IsZero():
		texts = append(texts, "none yet that counts")
	default:
		texts = append(texts, fmt.Sprintf("%d, the newest taken %s", g.Count, clock.Ago(g.Newest)))
	}
	for _, f := range g.Findings {
		texts = append(texts, o.Paint(terminal.Red, f.Text), "  "+f.Remedy)
	}
	return texts
}

func describeText(o terminal.Output, v described, clock terminal.Clock) string {
	var b strings.Builder
	s := v.Summary
	row := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); strings.TrimSpace(text) != "" {
			fmt.Fprintf(&b, "%s  %s\n", terminal.Pad(name, 12), text)
		}
	}
	row("name", "%s", o.Paint(terminal.Bold, s.Name))
	row("phase", "%s", o.Paint(phaseColour(s), string(s.Phase)))
	for i, text := range goingOn(o, v, clock) {
		row(heading(i, "operation"), "%s", text)
	}
	row("last error", "%s", o.Paint(terminal.Red, s.LastError))
	if left := v.Unfinished; left != nil && s.Operation == "" {
		row("unfinished", "%s %s: flotilla resume %s", left.Kind, shortID(left.ID), s.Name)
		if d := starter.Differences(v.Spec, left.Spec.Amended(v.Spec)); len(d) > 0 {
			row("", "%s", strings.ReplaceAll(strings.TrimSpace(differencesText(o, d)), "\n  ", "\n"+strings.Repeat(" ", 14)))
		}
	}
	if len(v.Operations) > 0 {
		for i, left := range v.Operations[0].Left {
			row(heading(i, "half done"), "%s", o.Paint(terminal.Yellow, left))
		}
		row("lost", "%s", o.Paint(terminal.Yellow, v.Operations[0].Lost))
	}
	if !s.At.IsZero() {
		row("members", "%s healthy, %s", healthText(s), clock.Ago(s.At))
		if s.Learners > 0 {
			row("learners", "%s", lagText(o, s))
		}
		row("leader", "%s", s.Leader)
		row("store", "%s, revision %d", s.DBSize.Human(), s.Revision)
	}
	row("where", "%s %s, zones %s", v.Spec.Provider, v.Spec.Region, strings.Join(v.Spec.Zones, ", "))
	if zones := v.Spec.Standby.Zones; len(zones) > 0 {
		row("standby", "%s", standbyText(v.Spec))
	}
	if record := v.Spec.Clients.Record; record != "" {
		row("record", "%s", record)
	}
	row("etcd", "%s, quota %s", v.Spec.Etcd.Version, v.Spec.Etcd.Quota)
	row("machine", "%s, %s %s disk", v.Spec.Machine.Type, v.Spec.Machine.Disk.Size, v.Spec.Machine.Disk.Category)
	row("size", "%s, %s", terminal.Count(v.Spec.Voters, "voter"), terminal.Count(v.Spec.Learners, "learner"))
	row("class", "%s", s.Class)
	for i, text := range backupsTexts(o, v.Backups, clock) {
		row(heading(i, "backups"), "%s", text)
	}
	for i, text := range copiesTexts(o, v.DiskSnapshots, clock) {
		row(heading(i, "disk copies"), "%s", text)
	}
	for i, text := range policyTexts(v.Spec.Policy) {
		row(heading(i, "policy"), "%s", text)
	}
	if v.Spec.DeletionProtection {
		row("protection", "on: a decommission is refused")
	}
	row("created", "%s", clock.Ago(s.Created))
	row("uid", "%s", s.UID)
	if len(v.Endpoints) > 0 {
		row("endpoints", "%s", strings.Join(endpointURLs(v.Endpoints), "\n"+strings.Repeat(" ", 14)))
	}
	if !v.AsideUntil.IsZero() {
		row("aside", "what a restore or a recovery kept is discarded at %s (policy.keepAside)", stamp(v.AsideUntil))
	}
	if v.FinalSnapshot != nil {
		row("snapshot", "%s", snapshotText(*v.FinalSnapshot))
	}
	if len(v.Operations)+len(v.Beside) > 0 {
		entries := make([]starter.OperationEntry, len(v.Operations))
		for i, record := range v.Operations {
			entries[i] = starter.OperationEntry{Cluster: s.Name, OperationRecord: record}
			if v.Progress != nil && v.Progress.Operation == record.ID {
				entries[i].Waiting, entries[i].Marks = v.Progress.Waiting, v.Progress.Marks
			}
		}
		entries = append(entries, v.Beside...)
		slices.SortStableFunc(entries, func(x, y starter.OperationEntry) int { return y.Started.Compare(x.Started) })
		b.WriteString("\n" + operationsText(o, entries, clock))
	}
	return b.String()
}

// lagText says how far learners are behind, and whether that is too far.
func lagText(o terminal.Output, s fleet.Summary) string {
	text := fmt.Sprintf("%d, at most %d entries behind", s.Learners, s.Lag)
	switch {
	case s.StandbyIsBehind():
		return text + ", " + o.Paint(terminal.Red, fmt.Sprintf("and for %s or longer: what the voters acknowledge meanwhile would be lost with them", s.MaxLag))
	case s.Behind > 0:
		return text + fmt.Sprintf(", %s", time.Duration(s.Behind).Round(time.Millisecond))
	}
	return text
}

// standbyText says where the standby is, and on what, where that is not as the voters are.
func standbyText(s fleet.Spec) string {
	zones := "zones " + strings.Join(s.Standby.Zones, ", ")
	if !s.StandbyElsewhere() {
		return zones
	}
	text := s.StandbyPlace().Provider + " " + s.StandbyPlace().Region + ", " + zones
	if there := s.MachineIn(s.LearnerZones()[0]); there != s.Machine {
		text += fmt.Sprintf(", %s with %s %s disk", there.Type, there.Disk.Size, there.Disk.Category)
	}
	return text
}

// heading names the first of several rows.
func heading(i int, name string) string {
	if i > 0 {
		return ""
	}
	return name
}

// goingOn says what runs, what it waits for, and what follows it.
func goingOn(o terminal.Output, v described, clock terminal.Clock) []string {
	name := v.Summary.Name
	if v.Summary.Operation == "" {
		return nil
	}
	texts := []string{fmt.Sprintf("%s is running: flotilla watch %s", v.Summary.Operation, name)}
	if p := v.Progress; p != nil && p.Waiting != nil {
		texts = []string{v.Summary.Operation + " " + o.Paint(terminal.Yellow, waitingText(*p, clock.Now)), whatToDo(*p)}
	}
	if p := v.Progress; p != nil {
		texts = append(texts, marksText(p.Marks, clock)...)
	}
	for _, next := range v.Queue {
		texts = append(texts, fmt.Sprintf("then %s %s", next.Kind, shortID(next.Operation)))
	}
	return texts
}

// policyTexts gives what a spec's policy says, field by field.
func policyTexts(p fleet.Policy) []string {
	var texts []string
	for _, d := range starter.Differences(fleet.Spec{}, fleet.Spec{Policy: p}) {
		texts = append(texts, strings.TrimPrefix(d.Path, "policy.")+" "+d.After)
	}
	return texts
}

func (a *app) operationsCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "operations [NAME]", Short: "List operations of a cluster, or of the whole fleet", Args: atMostOne,
		Example: "  flotilla operations\n  flotilla operations orders -o json", ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "show at most this many, the latest first")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		entries, err := client.Operations(cmd.Context(), strings.Join(args, ""), max(limit, 1))
		if err != nil {
			return err
		}
		if entries == nil {
			entries = []starter.OperationEntry{}
		}
		if len(entries) == 0 && *output == asTable {
			a.say("no operations yet")
			return nil
		}
		list := struct {
			Operations []starter.OperationEntry `json:"operations"`
		}{entries}
		return a.print(*output, list, func() string { return operationsText(a.out, entries, a.clock()) })
	}
	return cmd
}

func operationsText(o terminal.Output, entries []starter.OperationEntry, clock terminal.Clock) string {
	rows := make([][]string, len(entries))
	for i, e := range entries {
		end, note := e.Ended, operationNote(e, clock)
		if end.IsZero() {
			end = clock.Now
		}
		rows[i] = []string{shortID(e.ID), string(e.Kind), e.Cluster, o.Paint(stateColour(e.State), string(e.State)),
			clock.Ago(e.Started), terminal.Elapsed(end.Sub(e.Started)), e.By, terminal.Clip(firstLine(note), noteWidth)}
	}
	return terminal.Table([]string{"OPERATION", "KIND", "CLUSTER", "STATE", "STARTED", "TOOK", "BY", "NOTE"}, rows)
}

// operationNote is what most matters of an operation, in a line.
func operationNote(e starter.OperationEntry, clock terminal.Clock) string {
	var notes []string
	switch {
	case e.Waiting != nil:
		notes = append(notes, waitWords[e.Waiting.For])
	case e.Cancelled != "":
		notes = append(notes, "cancelled "+e.Cancelled)
	case e.Error != "":
		notes = append(notes, firstLine(e.Error))
	}
	if n := len(e.Left); n > 0 {
		notes = append(notes, terminal.Count(n, "thing")+" half done")
	}
	if n := len(e.Dropped); n > 0 {
		notes = append(notes, terminal.Count(n, "operation")+" dropped")
	}
	if n := len(e.Marks); n > 0 {
		notes = append(notes, marksText(e.Marks[n-1:], clock)...)
	}
	return strings.Join(notes, "; ")
}

// noteWidth keeps a table readable; describe and -o json have the whole of it.
const noteWidth = 60

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func stateColour(s fleet.OperationState) terminal.Colour {
	switch s {
	case fleet.OperationDone:
		return terminal.Green
	case fleet.OperationFailed:
		return terminal.Red
	case fleet.OperationCancelled:
		return terminal.Yellow
	}
	return terminal.Blue
}
