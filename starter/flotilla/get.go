package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// stale is the age from which a count's age is shown beside it.
const stale = 30 * time.Second

// clusterList is what get clusters prints.
type clusterList struct {
	Clusters []fleet.Summary `json:"clusters"`
	// Notes say what could not be looked at now.
	Notes []string `json:"notes,omitempty"`
}

func (a *app) getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get", Short: "List clusters, or their backups", Args: noArguments,
		Example: "  flotilla get clusters\n  flotilla get backups",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.getClustersCommand(), a.getBackupsCommand())
	return cmd
}

func (a *app) getClustersCommand() *cobra.Command {
	var filter starter.Filter
	var phases []string
	var class string
	cmd := &cobra.Command{
		Use:     "clusters [NAME…]",
		Aliases: []string{"cluster"},
		Short:   "List the fleet, or some clusters of it",
		Long: `List the fleet, or some clusters of it. The list is Temporal's; how many members
are healthy, who leads and how large the store is are looked at now, region by
region, unless --no-live is given.`,
		Example: `  flotilla get clusters
  flotilla get cluster orders -o yaml
  flotilla get clusters --phase Incomplete --provider aws -o json`,
		ValidArgsFunction: a.completeCluster,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&phases, "phase", nil, "only clusters in these phases")
	flags.StringVar(&filter.Provider, "provider", "", "only clusters of this provider")
	flags.StringVar(&filter.Region, "region", "", "only clusters in this region")
	flags.StringVar(&class, "class", "", "only clusters of this QoS class")
	flags.BoolVar(&filter.NoLive, "no-live", false, "do not look at the clusters: show how they were after their last operation")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		for _, phase := range phases {
			filter.Phases = append(filter.Phases, fleet.Phase(phase))
		}
		filter.Class, filter.Names = fleet.Class(class), args
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		list, err := client.Clusters(cmd.Context(), filter)
		if err != nil {
			return err
		}
		if err := missing(args, list.Clusters); err != nil {
			return err
		}
		shown := clusterList{Clusters: list.Clusters, Notes: list.Notes}
		if shown.Clusters == nil {
			shown.Clusters = []fleet.Summary{} // an empty list, not null
		}
		if err := a.print(*output, shown, func() string { return clustersText(a.out, list.Clusters, a.clock()) }); err != nil {
			return err
		}
		for _, note := range list.Notes {
			a.say("%s", a.err.Paint(terminal.Yellow, note))
		}
		if len(list.Clusters) == 0 && *output == asTable {
			a.say("no clusters; flotilla create --help shows how to make one")
		}
		return nil
	}
	return cmd
}

// missing is the error when a cluster was named that is not in the list.
func missing(names []string, found []fleet.Summary) error {
	for _, name := range names {
		there := false
		for _, s := range found {
			there = there || s.Name == name
		}
		if !there {
			return &fleet.Error{Kind: fleet.NotFound, Message: name + " does not exist (any more)",
				Remedy: "flotilla get clusters shows what does; flotilla describe " + name + " what was"}
		}
	}
	return nil
}

var clusterColumns = []string{"NAME", "PHASE", "MEMBERS", "LEADER", "ETCD", "DB SIZE", "CLASS", "AGE", "OPERATION"}

func clustersText(o terminal.Output, clusters []fleet.Summary, clock terminal.Clock) string {
	if len(clusters) == 0 {
		return ""
	}
	rows := make([][]string, len(clusters))
	for i, s := range clusters {
		size := ""
		if s.DBSize > 0 {
			size = s.DBSize.Human()
		}
		rows[i] = []string{s.Name, o.Paint(phaseColour(s), string(s.Phase)), membersCell(s, clock), s.Leader, s.Etcd, size,
			string(s.Class), clock.Age(s.Created), shortID(s.Operation)}
	}
	return terminal.Table(clusterColumns, rows)
}

func membersCell(s fleet.Summary, clock terminal.Clock) string {
	if s.At.IsZero() {
		return ""
	}
	text := healthText(s)
	if age := clock.Now.Sub(s.At); age >= stale {
		text += fmt.Sprintf(" (%s)", clock.Ago(s.At))
	}
	return text
}

func phaseColour(s fleet.Summary) terminal.Colour {
	switch {
	case s.Phase == fleet.PhaseRunning && (s.At.IsZero() || s.Healthy >= max(s.Members, s.Voters)):
		return terminal.Green
	case s.Phase == fleet.PhaseRunning && s.Healthy <= s.Voters/2:
		return terminal.Red
	case s.Phase == fleet.PhaseIncomplete && s.Operation == "":
		return terminal.Red
	}
	return terminal.Yellow
}
