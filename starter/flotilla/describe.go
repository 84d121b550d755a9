package main

import (
	"fmt"
	"strings"

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
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		view, err := client.Describe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if err := a.print(*output, view, func() string { return describeText(a.out, view, a.clock()) }); err != nil {
			return err
		}
		if url := client.WorkflowURL(workflows.ClusterID(args[0])); url != "" && *output == asTable {
			fmt.Fprintf(a.out, "\nin Temporal  %s\n", url)
		}
		return nil
	}
	return cmd
}

func describeText(o terminal.Output, v workflows.ClusterView, clock terminal.Clock) string {
	var b strings.Builder
	s := v.Summary
	row := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); strings.TrimSpace(text) != "" {
			fmt.Fprintf(&b, "%s  %s\n", terminal.Pad(name, 12), text)
		}
	}
	row("name", "%s", o.Paint(terminal.Bold, s.Name))
	row("phase", "%s", o.Paint(phaseColour(s), string(s.Phase)))
	if s.Operation != "" {
		row("operation", "%s is running: flotilla watch %s", s.Operation, s.Name)
	}
	row("last error", "%s", o.Paint(terminal.Red, s.LastError))
	if !s.At.IsZero() {
		row("members", "%s healthy, %s", healthText(s), clock.Ago(s.At))
		row("leader", "%s", s.Leader)
		row("store", "%s, revision %d", s.DBSize.Human(), s.Revision)
	}
	row("where", "%s %s, zones %s", v.Spec.Provider, v.Spec.Region, strings.Join(v.Spec.Zones, ", "))
	row("etcd", "%s, quota %s", v.Spec.Etcd.Version, v.Spec.Etcd.Quota)
	row("machine", "%s, %s %s disk", v.Spec.Machine.Type, v.Spec.Machine.Disk.Size, v.Spec.Machine.Disk.Category)
	row("size", "%s, %s", terminal.Count(v.Spec.Voters, "voter"), terminal.Count(v.Spec.Learners, "learner"))
	row("class", "%s", s.Class)
	if v.Spec.DeletionProtection {
		row("protection", "on: a decommission is refused")
	}
	row("created", "%s", clock.Ago(s.Created))
	row("uid", "%s", s.UID)
	if len(v.Endpoints) > 0 {
		row("endpoints", "%s", strings.Join(endpointURLs(v.Endpoints), "\n"+strings.Repeat(" ", 14)))
	}
	if v.FinalSnapshot != nil {
		row("snapshot", "%s", snapshotText(*v.FinalSnapshot))
	}
	if len(v.Operations) > 0 {
		entries := make([]starter.OperationEntry, len(v.Operations))
		for i, record := range v.Operations {
			entries[i] = starter.OperationEntry{Cluster: s.Name, OperationRecord: record}
		}
		b.WriteString("\n" + operationsText(o, entries, clock))
	}
	return b.String()
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
		client, err := a.dial(cmd.Context())
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
		end, note := e.Ended, e.Error
		if end.IsZero() {
			end = clock.Now
		}
		if e.Cancelled != "" {
			note = "cancelled " + e.Cancelled
		}
		rows[i] = []string{shortID(e.ID), string(e.Kind), e.Cluster, o.Paint(stateColour(e.State), string(e.State)),
			clock.Ago(e.Started), terminal.Elapsed(end.Sub(e.Started)), e.By, terminal.Clip(firstLine(note), noteWidth)}
	}
	return terminal.Table([]string{"OPERATION", "KIND", "CLUSTER", "STATE", "STARTED", "TOOK", "BY", "NOTE"}, rows)
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
