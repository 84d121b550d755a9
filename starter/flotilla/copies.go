package main

import (
	"context"
	"fmt"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// copiesGlance is what describe says of copies of disks.
type copiesGlance struct {
	Snapshots []fleet.Resource `json:"snapshots"`
	// Notes say what could not be listed, and why it is not known what some cost.
	Notes []string `json:"notes,omitempty"`
	// Error says why they could not be looked at.
	Error string `json:"error,omitempty"`
}

func (a *app) lookAtCopies(ctx context.Context, client plane, view workflows.ClusterView) *copiesGlance {
	if view.Summary.Phase == fleet.PhaseGone {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, glancePatience)
	defer cancel()
	found, err := client.DiskSnapshots(ctx, view)
	if err != nil {
		return &copiesGlance{Snapshots: []fleet.Resource{}, Error: err.Error()}
	}
	return &copiesGlance{Snapshots: found.Resources, Notes: found.Notes}
}

// copiesTexts gives what describe says of copies of disks, a line each.
func copiesTexts(o terminal.Output, g *copiesGlance, clock terminal.Clock) (texts []string) {
	if g == nil {
		return nil
	}
	if g.Error != "" {
		return []string{o.Paint(terminal.Yellow, "cannot be listed now: "+firstLine(g.Error))}
	}
	for _, s := range g.Snapshots {
		text := fmt.Sprintf("%s of %s (%s), %s", s.ID, s.Member, s.Of, s.Size.Human())
		if s.Written > 0 {
			text += ", " + s.Written.Human() + " written"
		}
		text += ", " + s.State + ", taken " + clock.Ago(s.Created)
		if s.Monthly != nil {
			text += ", " + s.Monthly.String() + " a month"
		}
		texts = append(texts, text)
	}
	for _, note := range g.Notes {
		texts = append(texts, o.Paint(terminal.Yellow, firstLine(note)))
	}
	return texts
}
