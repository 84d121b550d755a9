package main

import (
	"fmt"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// planText shows a forecast: the waves in order, then what is bought and destroyed.
func planText(operation fleet.Operation, reply workflows.PlanReply) string {
	if len(reply.Waves) == 0 {
		return planHeadline(operation, reply)
	}
	rows := planRows(operation.Cluster, reply.Waves)
	widths := map[int]int{}
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], terminal.Width(cell))
		}
	}
	var b strings.Builder
	b.WriteString(planHeadline(operation, reply))
	for _, row := range rows {
		var line strings.Builder
		line.WriteString("  ")
		for i, cell := range row {
			gap := "  "
			if i >= 2 {
				gap = "   "
			}
			line.WriteString(terminal.Pad(cell, widths[i]) + gap)
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	b.WriteString(planCosts(reply) + "\n")
	return b.String()
}

func planHeadline(operation fleet.Operation, reply workflows.PlanReply) string {
	name, nothing := operation.Cluster, len(reply.Waves) == 0
	switch {
	case operation.Kind == fleet.CreateCluster && nothing:
		return name + " is as asked for: there is nothing to do\n"
	case operation.Kind == fleet.CreateCluster && reply.Exists:
		return name + " is incomplete. To finish creating it:\n"
	case operation.Kind == fleet.CreateCluster:
		return name + " does not exist yet. To create it:\n"
	case nothing:
		return "nothing is left of " + name + ": there is nothing to do\n"
	}
	return "To decommission " + name + ":\n"
}

// planRows gives number, kind and subjects; kinds that run in one wave share a number.
func planRows(cluster string, waves [][]fleet.Step) [][]string {
	var rows [][]string
	for i, wave := range waves {
		number := fmt.Sprintf("%d", i+1)
		byKind := map[fleet.StepKind]int{}
		for _, step := range wave {
			at, seen := byKind[step.Kind]
			if !seen {
				at = len(rows)
				byKind[step.Kind] = at
				rows = append(rows, []string{number, string(step.Kind)})
				number = ""
			}
			rows[at] = append(rows[at], subject(cluster, step))
		}
	}
	return rows
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
