package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

func (a *app) rehearseCommand() *cobra.Command {
	var id string
	cmd := &cobra.Command{
		Use: "rehearse NAME", Short: "Restore a backup for real on a host bought for it, and compare",
		Long: `Restore a backup for real: a cluster of one begins with it, on a host that is bought for
it and released afterwards, and what it serves is compared with the manifest: revision,
keys and etcd's own hash. What becomes of it is recorded beside the backup, with the time
that it took; flotilla backups shows it. The cluster itself is not touched, and the one
that is restored into is in no list.

Without --backup it is the newest backup that counts. The exit code is 0 when all is right.`,
		Example: "  flotilla rehearse orders\n  flotilla rehearse orders --backup 20260314t0215", Args: oneArgument("the name of a cluster"),
		ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().StringVar(&id, "backup", "", "the `ID` of the backup, or its beginning (default the newest that counts)")
	_ = cmd.RegisterFlagCompletionFunc("backup", a.completeBackup)
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
		asked := wish{backup: id}
		chosen, err := backupOf(cmd.Context(), client, view.Spec.Place(), fleet.BackupsOf{Cluster: args[0], UID: view.Summary.UID}, &asked)
		switch {
		case asked.away != "":
			return needsFirst("rehearsal of "+args[0], asked.away)
		case id != "" && err != nil:
			return err
		case id != "":
			id = chosen.ID
		}
		b, err := client.RehearseBackup(cmd.Context(), fleet.RehearseRequest{Spec: view.Spec, UID: view.Summary.UID, Backup: id}, a.teller())
		if err != nil {
			return err
		}
		r := b.Rehearsal
		if r == nil {
			return errors.New("the rehearsal ended without a word on what became of it")
		}
		if !r.OK {
			return fleet.Errorf(fleet.Lost, "backup "+b.ID+" of "+b.Cluster, "its rehearsal failed: %s", r.Why).
				WithRemedy("use another backup, and have a new one taken: flotilla backup %s", b.Cluster)
		}
		return a.print(*output, b, func() string {
			return fmt.Sprintf("%s was restored in %s: revision %d, %s, and the hash are as they were\n", b.ID, tookText(r.Took), b.Revision, terminal.Count(b.Keys, "key"))
		})
	}
	return cmd
}
