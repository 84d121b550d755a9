package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// recoverQuorum brings back a cluster that has lost its quorum.
func recoverQuorum() *verb {
	var options fleet.Options
	return &verb{
		kind: fleet.RecoverQuorum, use: "recover NAME", short: "Bring back a cluster that lost its quorum, from what its disks or backups hold",
		long: `Bring back a cluster that lost its quorum. What is left of it is stopped, and its disks
are looked at. Where they are a quorum, they are started again, and nothing is lost. Else
the member that is furthest becomes a cluster of one, with everything that it has, and grows
to its size. Where nobody's data is whole, or a backup and the changes recorded since have
more for sure, the voters are made from those, on new hosts where hosts or disks are gone.
Before any of that it waits for flotilla approve, and says what may be lost by that, and
what it could go on from else: --survivor and --from-backup choose.

What cannot be seen is never taken for dead: it may serve. --without says of a member that
it does not, and gives up what only it has.

--to-standby is for when the cluster's own region is gone, with its cloud and its workers:
the workers of the standby's region do it, whatever of the other one does not answer, and
the standby's place becomes the cluster's home, where it grows. It has no standby then:
flotilla apply of its document brings it home again.

While the first of two object stores cannot be asked, a recovery from the newest backup of
the second always waits for approval; --accept-loss is for one that is named then.

It asks for the name of the cluster on a terminal; elsewhere it wants --yes.`,
		example: `  flotilla recover orders
  flotilla recover orders --without orders-2,orders-3
  flotilla recover orders --without orders-2,orders-3 --yes --accept-loss
  flotilla recover orders --to-standby --without orders-1,orders-2,orders-3
  flotilla recover orders --from-backup
  flotilla recover orders --from-backup=20260314t0215`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringSliceVar(&options.Without, "without", nil, "members that cannot be seen, do not serve, and whose data is given up")
			cmd.Flags().StringVar(&options.Survivor, "survivor", "", "the member to recover from (default the one that is furthest)")
			cmd.Flags().StringVar(&options.FromBackup, "from-backup", "", "recover from the newest backup and the changes since, or as one was by its `ID`")
			cmd.Flags().Lookup("from-backup").NoOptDefVal = fleet.NewestBackup
			cmd.Flags().BoolVar(&options.ToStandby, "to-standby", false, "make the standby's place the cluster's home, by the workers of that region")
			cmd.Flags().BoolVar(&options.AcceptLoss, "accept-loss", false, "go on without approval of what may be lost")
		},
		wish:    func(*cobra.Command, []string) (wish, error) { return wish{options: options}, nil },
		resolve: resolveRecovery,
		warning: func(w wish) string {
			if w.options.AcceptLoss {
				return "recovering it stops what is left of it, and may lose what it is recovered from does not have, without asking again"
			}
			return "recovering it stops what is left of it; before anything is lost, it asks again"
		},
	}
}

// resolveRecovery has the whole ID of a backup that is named by its beginning, so that a
// newer one cannot be taken for it later. While backups cannot be listed, the operation
// looks for itself.
func resolveRecovery(ctx context.Context, _ *app, client plane, view workflows.ClusterView, asked *wish) (*forecast, error) {
	named := asked.options.FromBackup
	if named == "" || named == fleet.NewestBackup {
		return nil, nil
	}
	name, place := view.Summary.Name, view.Spec.Place()
	found, err := client.Backups(ctx, workflows.BackupsRequest{
		Provider: place.Provider, Region: place.Region, Clusters: []fleet.BackupsOf{{Cluster: name, UID: view.Summary.UID}},
	})
	if err != nil {
		return nil, ctx.Err()
	}
	b, err := chooseBackup(name, found.Backups, named)
	asked.options.FromBackup = b.ID
	return nil, err
}
