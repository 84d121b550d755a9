package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// backup stores a snapshot.
func backup() *verb {
	var revision int64
	var moment string
	return &verb{
		kind: fleet.BackupCluster, use: "backup NAME", short: "Store a snapshot of a cluster",
		long: `Store a snapshot of a cluster: streamed from a learner, else from the follower that is
least busy, compressed and sealed on its way into the object store, and read back. It
counts once all of that is right, and not before. The cluster is not changed, so this
runs beside any other operation on it.

With --time or --revision it is of a point in time: made of an earlier backup and the
changes that were recorded since (backup.changes in the spec). No member is asked, so it
works when none is left. Such a backup is there to be restored, and is kept for a day.`,
		example: `  flotilla backup orders
  flotilla backup orders --no-wait
  flotilla backup orders --time 2026-03-14T02:15:00Z
  flotilla backup orders --revision 4711`,
		flags: func(cmd *cobra.Command) {
			pointInTimeFlags(cmd, &moment, &revision)
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			at, err := pointInTime(moment, revision, cmd.Flags().Changed("revision"))
			if err != nil {
				return wish{}, usageError(cmd, err)
			}
			return wish{options: fleet.Options{At: at}}, nil
		},
		resolve: func(ctx context.Context, _ *app, client plane, view workflows.ClusterView, asked *wish) (*forecast, error) {
			if asked.options.At == nil {
				return nil, nil
			}
			_, err := backupOf(ctx, client, view.Spec.Place(), fleet.BackupsOf{Cluster: view.Summary.Name, UID: view.Summary.UID}, &wish{at: asked.options.At})
			return nil, err
		},
		check: func(view workflows.ClusterView) (string, error) {
			if view.Summary.Phase == fleet.PhaseStopped && moment == "" && revision == 0 {
				return "", fleet.Errorf(fleet.Blocked, view.Summary.Name, "is stopped: no member can give a snapshot").
					WithRemedy("start it first: flotilla start %s", view.Summary.Name)
			}
			return "", nil
		},
	}
}

func pointInTimeFlags(cmd *cobra.Command, moment *string, revision *int64) {
	cmd.Flags().StringVar(moment, "time", "", "as the cluster was at this `time`, as in 2026-03-14T02:15:00Z")
	cmd.Flags().Int64Var(revision, "revision", 0, "as the cluster was at this `revision`")
}

// pointInTime reads the flags that say one; nil when none does.
func pointInTime(moment string, revision int64, byRevision bool) (*fleet.PointInTime, error) {
	switch {
	case moment != "" && byRevision:
		return nil, errors.New("--time and --revision say the same thing: give one of them")
	case byRevision && revision < 1:
		return nil, fmt.Errorf("there is no revision %d", revision)
	case byRevision:
		return &fleet.PointInTime{Revision: revision}, nil
	case moment == "":
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339Nano, moment)
	if err != nil {
		return nil, fmt.Errorf("--time %s: write it as 2026-03-14T02:15:00Z", moment)
	}
	if t.After(time.Now()) {
		return nil, fmt.Errorf("--time %s has not come yet", moment)
	}
	return &fleet.PointInTime{Time: t}, nil
}

// where says in which region backups are looked for, of a cluster that Temporal does
// not know any more.
type where struct{ provider, region, uid string }

func (w *where) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.provider, "provider", "", "of a cluster that is forgotten: its `provider`")
	cmd.Flags().StringVar(&w.region, "region", "", "of a cluster that is forgotten: the `region` whose workers look")
	cmd.Flags().StringVar(&w.uid, "uid", "", "of a name that was used several times: the `uid` of the one that is meant")
}

// find gives where the backups of a cluster are. Without a UID all clusters are meant
// that ever had the name, unless it exists.
func (w where) find(ctx context.Context, client plane, cluster string) (workflows.BackupRequest, error) {
	request := workflows.BackupRequest{Provider: w.provider, Region: w.region, Cluster: cluster, UID: w.uid}
	if w.provider != "" && w.region != "" {
		return request, nil
	}
	view, err := client.Describe(ctx, cluster)
	if fleet.Is(err, fleet.NotFound) {
		return request, fleet.Errorf(fleet.NotFound, cluster, "is not known (any more), so it is not known where its backups are").
			WithRemedy("say where to look: --provider and --region")
	}
	if err != nil {
		return request, err
	}
	request.Provider, request.Region = cmp.Or(w.provider, view.Spec.Provider), cmp.Or(w.region, view.Spec.Region)
	if request.UID = cmp.Or(w.uid, view.Summary.UID); request.UID == view.Summary.UID {
		request.KeepChanges = fleet.Duration(view.Spec.Backup.KeptChanges())
	}
	return request, nil
}

// backupList is what lists of backups print.
type backupList struct {
	Backups []fleet.Backup `json:"backups"`
	Gaps    []fleet.Gap    `json:"gaps,omitempty"`
	// Findings are what is wrong with them, by the specs of the clusters.
	Findings []fleet.BackupFinding `json:"findings,omitempty"`
	// anyUID says that all clusters are meant that ever had the name.
	anyUID bool
}

func (a *app) backupsCommand() *cobra.Command {
	var w where
	cmd := &cobra.Command{
		Use: "backups NAME", Short: "List the backups of a cluster",
		Long: `List the backups of a cluster, oldest first: those that count, and those that do not any
more because something of them is missing or altered. That the bytes are right only
flotilla verify and a rehearsal show.

UP TO is the revision and the time that the changes recorded behind a backup lead to: the
cluster can be had as it was at any in between. Gaps between changes are listed below,
and so is what is wrong by the cluster's spec: a backup or a rehearsal that is overdue or
failed, changes that are not recorded.

Where the workers have a second store, STORES says which of the two has each. Of a cluster
that is forgotten, all that ever had the name are listed, each with its UID.`,
		Example: "  flotilla backups orders\n  flotilla backups orders -o json\n  flotilla backups orders-old --provider local --region local-1", Args: oneArgument("the name of a cluster"),
		ValidArgsFunction: a.completeCluster,
	}
	w.flags(cmd)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		at, err := w.find(cmd.Context(), client, args[0])
		if err != nil {
			return err
		}
		found, err := client.Backups(cmd.Context(), workflows.BackupsRequest{
			Provider: at.Provider, Region: at.Region, Clusters: []fleet.BackupsOf{{Cluster: at.Cluster, UID: at.UID}},
		})
		if err != nil {
			return err
		}
		list := backupList{Backups: found.Backups, Gaps: found.Gaps, anyUID: at.UID == ""}
		// One that is forgotten has no spec, and a name that was used again has another's.
		view, err := client.Describe(cmd.Context(), at.Cluster)
		if err == nil && (at.UID == "" || at.UID == view.Summary.UID) {
			list.Findings = findingsOf(found, []fleet.Summary{summaryOf(view)}, a.clock().Now)
		}
		none := "no backup of " + args[0] + " yet; flotilla backup " + args[0] + " takes one"
		if err != nil || at.UID != "" && at.UID != view.Summary.UID {
			none = fmt.Sprintf("the object store of %s/%s has no backup of %s", at.Provider, at.Region, args[0])
			if at.UID != "" {
				none += " with UID " + at.UID
			}
		}
		return a.printBackups(*output, list, none)
	}
	return cmd
}

func (a *app) getBackupsCommand() *cobra.Command {
	var filter starter.Filter
	cmd := &cobra.Command{
		Use: "backups [NAME…]", Aliases: []string{"backup"}, Short: "List the newest backup of each cluster",
		Long:    "List the newest backup of each cluster of the fleet, or of some; flotilla backups NAME lists all of one.",
		Example: "  flotilla get backups\n  flotilla get backups orders billing -o json", ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().StringVar(&filter.Provider, "provider", "", "only clusters of this provider")
	cmd.Flags().StringVar(&filter.Region, "region", "", "only clusters in this region")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		filter.Names, filter.NoLive = args, true
		list, err := client.Clusters(cmd.Context(), filter)
		if err != nil {
			return err
		}
		if err := missing(args, list.Clusters); err != nil {
			return err
		}
		found, err := newest(cmd.Context(), client, list.Clusters)
		if err != nil {
			return err
		}
		return a.printBackups(*output, backupList{Backups: found.Backups, Findings: findingsOf(found, list.Clusters, a.clock().Now)}, "no backups yet")
	}
	return cmd
}

// newest gives the newest backup of each cluster; one that has none is in it by its
// name alone.
func newest(ctx context.Context, client plane, clusters []fleet.Summary) (workflows.BackupsReply, error) {
	requests := map[fleet.Place]*workflows.BackupsRequest{}
	var places []fleet.Place
	for _, s := range clusters {
		place := fleet.Place{Provider: s.Provider, Region: s.Region}
		if requests[place] == nil {
			requests[place] = &workflows.BackupsRequest{Provider: s.Provider, Region: s.Region, Latest: true}
			places = append(places, place)
		}
		requests[place].Clusters = append(requests[place].Clusters, fleet.BackupsOf{Cluster: s.Name, UID: s.UID})
	}
	all, reply := map[string]fleet.Backup{}, workflows.BackupsReply{Rehearsed: map[string]fleet.Rehearsal{}, Away: map[string]fleet.StoresAway{}}
	for _, place := range places {
		found, err := client.Backups(ctx, *requests[place])
		if err != nil {
			return reply, err
		}
		maps.Copy(reply.Rehearsed, found.Rehearsed)
		maps.Copy(reply.Away, found.Away)
		for _, b := range found.Backups {
			all[b.Cluster] = b
		}
	}
	reply.Backups = make([]fleet.Backup, len(clusters))
	for i, s := range clusters {
		reply.Backups[i] = fleet.Backup{Cluster: s.Name, UID: s.UID}
		if b, ok := all[s.Name]; ok {
			reply.Backups[i] = b
		}
	}
	return reply, nil
}

// summaryOf gives a cluster's summary with the policy that its spec has now.
func summaryOf(view workflows.ClusterView) fleet.Summary {
	s := view.Summary
	s.Backup = &view.Spec.Backup
	return s
}

// findingsOf says what is wrong with the backups of clusters that run.
func findingsOf(found workflows.BackupsReply, clusters []fleet.Summary, now time.Time) (all []fleet.BackupFinding) {
	found.Backups = slices.DeleteFunc(slices.Clone(found.Backups), func(b fleet.Backup) bool { return b.ID == "" })
	for _, s := range clusters {
		if s.Phase != fleet.PhaseRunning || s.Backup == nil {
			continue
		}
		all = append(all, s.Backup.Findings(found.Seen(s), now)...)
	}
	return all
}

// findingsText lists findings, each with what to do.
func findingsText(o terminal.Output, findings []fleet.BackupFinding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s\n  %s\n", o.Paint(terminal.Red, f.Cluster+": "+f.Text), f.Remedy)
	}
	if len(findings) > 0 {
		return "\n" + b.String()
	}
	return ""
}

func (a *app) printBackups(output format, found backupList, none string) error {
	if found.Backups == nil {
		found.Backups = []fleet.Backup{}
	}
	if len(found.Backups)+len(found.Findings) == 0 && output == asTable {
		a.say("%s", none)
		return nil
	}
	return a.print(output, found, func() string {
		return backupsText(a.out, found.Backups, found.anyUID, a.clock()) + repairsText(a.out, found.Backups, a.clock()) + gapsText(a.out, found.Gaps, a.clock()) + findingsText(a.out, found.Findings)
	})
}

// backupsText is the table of backups; with the UID of each where a name may have been used
// several times.
func backupsText(o terminal.Output, backups []fleet.Backup, uids bool, clock terminal.Clock) string {
	two := slices.ContainsFunc(backups, func(b fleet.Backup) bool { return b.Where != "" })
	locks := slices.ContainsFunc(backups, func(b fleet.Backup) bool { return !b.LockedUntil.IsZero() })
	rows := make([][]string, len(backups))
	for i, b := range backups {
		rows[i] = []string{b.Cluster, b.ID, "", "", "", "", "", "", "", o.Paint(terminal.Red, "none")}
		switch {
		case b.ID == "":
		case b.Damaged != "":
			rows[i][9] = o.Paint(terminal.Red, "DOES NOT COUNT: "+terminal.Clip(firstLine(b.Damaged), noteWidth))
		default:
			rows[i] = []string{b.Cluster, b.ID, clock.Ago(b.Taken), fmt.Sprint(b.Revision), reachText(b, clock), fmt.Sprint(b.Keys), b.Size.Human(),
				b.StoredSize.Human(), b.AskedBy, rehearsalText(o, b.Rehearsal, clock)}
		}
		if locks {
			until := "not"
			if !b.LockedUntil.IsZero() {
				until = b.LockedUntil.UTC().Format(time.DateTime)
			}
			rows[i] = append(rows[i], until)
		}
		if two {
			rows[i] = append(rows[i], whereText(o, b.Where))
		}
		if uids {
			rows[i] = append(rows[i], b.UID)
		}
	}
	columns := []string{"CLUSTER", "BACKUP", "TAKEN", "REVISION", "UP TO", "KEYS", "SIZE", "STORED", "BY", "REHEARSED"}
	if locks {
		columns = append(columns, "LOCKED UNTIL")
	}
	if two {
		columns = append(columns, "STORES")
	}
	if uids {
		columns = append(columns, "UID")
	}
	return terminal.Table(columns, rows)
}

// whereText says which of two stores have a backup.
func whereText(o terminal.Output, w fleet.Where) string {
	switch w {
	case fleet.InBoth:
		return o.Paint(terminal.Green, "both")
	case fleet.InFirst:
		return o.Paint(terminal.Yellow, "first only")
	case fleet.InSecond:
		return o.Paint(terminal.Red, "second only")
	}
	return "?"
}

// reachText says how far the changes behind a backup bring it.
func reachText(b fleet.Backup, clock terminal.Clock) string {
	if b.Reach == nil {
		return "itself"
	}
	return fmt.Sprintf("%d, %s", b.Reach.Revision, clock.Ago(b.Reach.Until))
}

// gapsText says what no backup and no changes lead to.
func gapsText(o terminal.Output, gaps []fleet.Gap, clock terminal.Clock) string {
	var b strings.Builder
	for _, g := range gaps {
		text := fmt.Sprintf("GAP: revisions %d to %d of %s, between %s and %s, were not recorded", g.First, g.Last, g.Cluster, clock.Ago(g.After), clock.Ago(g.Before))
		if g.Healed {
			fmt.Fprintln(&b, text+"; a backup was taken behind it")
		} else {
			fmt.Fprintln(&b, o.Paint(terminal.Red, text+"; a backup is needed behind it, and was asked for"))
		}
	}
	return b.String()
}

// rehearsalText says what became of restoring a backup for real.
func rehearsalText(o terminal.Output, r *fleet.Rehearsal, clock terminal.Clock) string {
	switch {
	case r == nil:
		return "never"
	case !r.OK:
		return o.Paint(terminal.Red, "FAILED "+clock.Ago(r.When)+": "+terminal.Clip(firstLine(r.Why), noteWidth))
	}
	return o.Paint(terminal.Green, clock.Ago(r.When)) + ", took " + tookText(r.Took)
}

// tookText is a duration as a person says it.
func tookText(d fleet.Duration) string {
	return time.Duration(d).Round(100 * time.Millisecond).String()
}

// takenText says what backup an operation took.
func takenText(b fleet.Backup) string {
	return fmt.Sprintf("%s (revision %d, %s, %s from %s, stored as %s)", b.ID, b.Revision, terminal.Count(b.Keys, "key"),
		b.Size.Human(), b.Member, b.StoredSize.Human())
}
