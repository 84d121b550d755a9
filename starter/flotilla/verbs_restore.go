package main

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// restore brings a cluster back to a backup, or makes a new one of it.
func restore() *verb {
	var options fleet.Options
	var id, to string
	var inPlace bool
	return &verb{
		kind: fleet.RestoreCluster, use: "restore NAME", short: "Restore a backup: into a new cluster, or in place",
		long: `Restore a backup of a cluster: the newest one that counts, or the one that --backup names.

--to makes a new cluster of it, with the same spec and another name. The one that was
backed up is not touched.

--in-place brings the cluster itself back to the backup, on the hosts and disks that it
has. All its members are stopped, and their data is kept on their disks. What was written
since the backup is lost, so it waits for flotilla approve before anything is stopped.
--without says of a member that cannot be seen that it does not serve.

To have it as it was at a point in time, have a backup made of that first: flotilla
backup NAME --time or --revision.

Either way the revision goes on a thousand million higher, and everything below is marked
as compacted: clients that watch from before are told, and list anew.

It asks for the name of the cluster on a terminal; elsewhere it wants --yes.`,
		example: `  flotilla restore orders --to orders-copy --yes
  flotilla restore orders --in-place --backup 20260314t0215
  flotilla restore orders --in-place --yes --accept-loss`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&id, "backup", "", "the `ID` of the backup, or its beginning (default the newest that counts)")
			cmd.Flags().StringVar(&to, "to", "", "the `name` of a new cluster that begins with it")
			cmd.Flags().BoolVar(&inPlace, "in-place", false, "bring the cluster itself back to it")
			cmd.Flags().StringSliceVar(&options.Without, "without", nil, "members that cannot be seen, do not serve, and are given up")
			cmd.Flags().BoolVar(&options.AcceptLoss, "accept-loss", false, "go on without approval of what is lost")
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			switch {
			case (to == "") == !inPlace:
				return wish{}, usageError(cmd, errors.New("say where to: --to NEW, or --in-place"))
			case to != "" && (options.AcceptLoss || len(options.Without) > 0):
				return wish{}, usageError(cmd, errors.New("--accept-loss and --without are for --in-place"))
			}
			return wish{options: options, backup: id, to: to}, nil
		},
		resolve: resolveRestore,
		warning: func(w wish) string {
			switch {
			case w.to != "":
				return "this creates " + w.to + ", with hosts and disks of its own"
			case w.options.AcceptLoss:
				return "restoring it stops all of it, and loses what was written since the backup, without asking again"
			}
			return "restoring it stops all of it, and loses what was written since the backup; before that, it asks again"
		},
	}
}

// resolveRestore finds the backup that is meant.
func resolveRestore(ctx context.Context, a *app, client plane, view workflows.ClusterView, asked *wish) (*forecast, error) {
	name := view.Summary.Name
	found, err := client.Backups(ctx, workflows.BackupsRequest{
		Provider: view.Spec.Provider, Region: view.Spec.Region, Clusters: []fleet.BackupsOf{{Cluster: name, UID: view.Summary.UID}},
	})
	if err != nil {
		return nil, err
	}
	b, err := chooseBackup(name, found.Backups, asked.backup)
	if err != nil {
		return nil, err
	}
	asked.options.Restore = fleet.RestoreOf(b)
	if asked.to == "" {
		return nil, nil
	}
	spec := view.Spec.Clone()
	spec.Name = asked.to
	if err := spec.Validate().Err("spec of " + asked.to); err != nil {
		return nil, err
	}
	if err := asked.options.Restore.Check(spec); err != nil {
		return nil, err
	}
	there, err := client.Describe(ctx, asked.to)
	if err == nil && there.Summary.Phase != fleet.PhaseGone && there.Summary.Phase != fleet.PhaseIncomplete {
		return nil, fleet.Errorf(fleet.Conflict, asked.to, "exists already (it is %s)", there.Summary.Phase).WithRemedy("choose another name")
	}
	if err != nil && !fleet.Is(err, fleet.NotFound) {
		return nil, err
	}
	return a.compare(ctx, client, sourced{Spec: spec, source: "spec of " + asked.to}, asked.options)
}

// chooseBackup gives the newest backup that counts, or the one whose ID or operation is
// named, or whose ID begins so.
func chooseBackup(cluster string, found []fleet.Backup, id string) (fleet.Backup, error) {
	var best *fleet.Backup
	for i, b := range found {
		if id == "" && b.Damaged == "" && b.Base == "" || id != "" && (strings.HasPrefix(b.ID, id) || b.Operation == id) {
			best = &found[i]
		}
	}
	switch {
	case best == nil:
		return fleet.Backup{}, fleet.Errorf(fleet.NotFound, "backup "+cmp.Or(id, "that counts")+" of "+cluster, "there is none").
			WithRemedy("flotilla backups %s shows what there is", cluster)
	case best.Damaged != "":
		return fleet.Backup{}, fleet.Errorf(fleet.Lost, "backup "+best.ID+" of "+cluster, "it does not count: %s", best.Damaged).
			WithRemedy("restore another one: flotilla backups %s", cluster)
	}
	return *best, nil
}
