package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// swept is what sweep prints.
type swept struct {
	starter.Strays
	Removed []string `json:"removed,omitempty"`
	Left    []string `json:"left,omitempty"`
}

// sweep is what its flags say.
type sweep struct {
	provider, region string
	olderThan        time.Duration
	unknown          bool
	remove, yes      bool
}

func (a *app) sweepCommand() *cobra.Command {
	var s sweep
	cmd := &cobra.Command{
		Use: "sweep", Short: "List hosts, disks and snapshots that belong to no cluster, and remove them", Args: noArguments,
		Long: `List the hosts, disks and disk snapshots of a region that carry the fleet's tags and belong to no
cluster, with their age and about what they cost in a month, at list prices in the
currency that the cloud tells them in; with --remove, end them after a confirmation. What is
stored of a snapshot, for which clouds charge, they do not tell: it costs "at most" so much.
A cost that is not known is said to be unknown, and a line says why.

A host, disk or snapshot belongs to no cluster if the cluster that it names is gone, or another
one has its name now. One whose cluster is not known at all is listed too; it is removed
only with --unknown, since that is how everything looks where Temporal has lost its state.`,
		Example: `  flotilla sweep --provider aws --region us-east-1
  flotilla sweep --provider aws --region us-east-1 --remove --yes`,
	}
	placeFlags(cmd, &s.provider, &s.region)
	flags := cmd.Flags()
	flags.DurationVar(&s.olderThan, "older-than", time.Hour, "leave out what is younger")
	flags.BoolVar(&s.remove, "remove", false, "end what is listed, for good")
	flags.BoolVar(&s.unknown, "unknown", false, "also remove what names a cluster that is not known")
	flags.BoolVar(&s.yes, "yes", false, "do not ask")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if s.olderThan < 0 {
			return usageError(cmd, fmt.Errorf("--older-than %s is negative", s.olderThan))
		}
		return a.sweep(cmd.Context(), s, *output)
	}
	return cmd
}

func (a *app) sweep(ctx context.Context, s sweep, output format) error {
	place := s.provider + "/" + s.region
	if s.remove && !s.yes && !a.person {
		return fleet.Errorf(fleet.Blocked, place, "hosts and disks would be ended for good, and there is no terminal to ask at").
			WithRemedy("say --yes; without --remove they are only listed")
	}
	client, err := a.reach(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	strays, err := client.Strays(ctx, s.provider, s.region, s.olderThan)
	if err != nil {
		return err
	}
	result := swept{Strays: strays}
	show := func() error {
		return a.print(output, result, func() string { return straysText(result, a.clock()) })
	}
	for _, note := range strays.Notes {
		a.say("%s", a.err.Paint(terminal.Yellow, note))
	}
	doomed := slices.Clone(strays.Resources)
	if !s.unknown {
		doomed = slices.DeleteFunc(doomed, func(r starter.Stray) bool { return r.Unknown })
	}
	if !s.remove || len(doomed) == 0 {
		if err := show(); err != nil {
			return err
		}
		a.say("%s", strayWords(s, len(strays.Resources), len(doomed)))
		return nil
	}
	if !s.yes {
		a.say("%s", strings.TrimRight(straysText(result, a.clock()), "\n"))
		a.say("%s", a.err.Paint(terminal.Red, fmt.Sprintf("%s of %s will be ended for good, with all data on them.", terminal.Count(len(doomed), "resource"), place)))
		if err := a.confirm(ctx, place, s.region); err != nil {
			return err
		}
	}
	reply, err := client.RemoveStrays(ctx, s.provider, s.region, doomed)
	if err != nil {
		return err
	}
	result.Removed, result.Left = reply.Removed, reply.Left
	if err := show(); err != nil {
		return err
	}
	a.say("removed: %s", terminal.Count(len(reply.Removed), "resource"))
	if len(reply.Left) > 0 {
		return &exitError{code: exitFailed, err: fmt.Errorf("%s: %s", place, strings.Join(reply.Left, "; "))}
	}
	return nil
}

// strayWords says what follows from a list that was not acted on.
func strayWords(s sweep, found, doomed int) string {
	switch {
	case found == 0:
		return "nothing belongs to no cluster"
	case s.remove:
		return "nothing was removed: their clusters are not known at all; --unknown removes them too"
	case doomed < found:
		return fmt.Sprintf("--remove ends %d of them; --unknown those too whose clusters are not known at all", doomed)
	}
	return "--remove ends them"
}

func straysText(s swept, clock terminal.Clock) string {
	if len(s.Resources) == 0 {
		return ""
	}
	rows := make([][]string, len(s.Resources))
	sums, atMost, unknown := map[string]float64{}, false, 0
	for i, r := range s.Resources {
		cost := "unknown"
		if r.Monthly != nil {
			cost = r.Monthly.String()
			sums[r.Monthly.Currency] += r.Monthly.Amount
			atMost = atMost || r.Monthly.AtMost
		} else {
			unknown++
		}
		why := r.Why
		if slices.Contains(s.Removed, r.ID) {
			why += "; removed"
		}
		rows[i] = []string{string(r.Kind), r.ID, r.Zone, r.What, r.State, r.Member, clock.Age(r.Created), cost, why}
	}
	text := terminal.Table([]string{"KIND", "ID", "ZONE", "WHAT", "STATE", "MEMBER", "AGE", "A MONTH", "WHY"}, rows)
	return text + sumText(sums, atMost, unknown)
}

// sumText says what all of it costs, by currency, and of how many that is not known.
func sumText(sums map[string]float64, atMost bool, unknown int) string {
	var all []string
	for _, currency := range slices.Sorted(maps.Keys(sums)) {
		all = append(all, fleet.Cost{Amount: sums[currency], Currency: currency}.String())
	}
	if len(all) == 0 {
		return ""
	}
	text := "Together about "
	if atMost {
		text = "Together at most about "
	}
	text += strings.Join(all, " and ") + " a month, at list prices"
	if unknown > 0 {
		text += fmt.Sprintf(", and %d of unknown cost", unknown)
	}
	return text + ".\n"
}
