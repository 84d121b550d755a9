package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// restore brings a cluster back to a backup, makes a new one of it, or puts some of its keys
// back.
func restore() *verb {
	var w wish
	var inPlace bool
	var moment string
	var revision int64
	return &verb{
		kind: fleet.RestoreCluster, use: "restore NAME", short: "Restore a backup: into a new cluster, in place, or some keys of it",
		long: `Restore a backup of a cluster: the newest one that counts, or the one that --backup names.

--to makes a new cluster of it, with the same spec and another name. The one that was
backed up is not touched.

--in-place brings the cluster itself back to the backup, on the hosts and disks that it
has. The backup is read to its end before anything is stopped. Then all its members are
stopped, and their data is kept on their disks. What was written since the backup is lost,
so it waits for flotilla approve before that. --without says of a member that cannot be
seen that it does not serve.

--prefix puts the keys below a prefix back into the cluster while it runs; several may be
named. What the backup does not have there stays, or is deleted with --exact. --from takes
the backup of another cluster. The plan says how many keys are created, changed and
deleted; where any key would lose what it has, it waits for flotilla approve. What clients
write after that comparison stays theirs. No member is disturbed.

--time or --revision restores a point in time: a backup of it is made first, as flotilla
backup does with the same flags, of an earlier one and the changes recorded since.

While the first of two object stores cannot be asked, the backup must be named, by --backup,
--time or --revision: the second store may not have the newest one. --to waits for the first.

As a whole, the revision goes on a thousand million higher, and everything below is marked
as compacted: clients that watch from before are told, and list anew. Keys that are put
back are written as any client writes them.

It asks for the name of the cluster on a terminal; elsewhere it wants --yes.`,
		example: `  flotilla restore orders --to orders-copy --yes
  flotilla restore orders --in-place --backup 20260314t0215
  flotilla restore orders --in-place --yes --accept-loss
  flotilla restore orders --time 2026-03-14T02:15:00Z --to orders-then --yes
  flotilla restore orders --prefix /shop/ --prefix /users/ --dry-run
  flotilla restore orders --prefix /shop/ --exact --from orders-old --yes`,
		flags: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&w.backup, "backup", "", "the `ID` of the backup, or its beginning (default the newest that counts)")
			pointInTimeFlags(cmd, &moment, &revision)
			cmd.Flags().StringVar(&w.to, "to", "", "the `name` of a new cluster that begins with it")
			cmd.Flags().BoolVar(&inPlace, "in-place", false, "bring the cluster itself back to it")
			cmd.Flags().StringArrayVar(&w.prefixes, "prefix", nil, "put the keys below this `prefix` back; may be given several times")
			cmd.Flags().BoolVar(&w.exact, "exact", false, "delete what is below the prefixes and not in the backup")
			cmd.Flags().StringVar(&w.from, "from", "", "take the backup of this other `cluster`, which need not exist any more")
			cmd.Flags().StringVar(&w.uid, "uid", "", "of a name that was used several times: the `uid` of the one that is meant by --from")
			cmd.Flags().StringSliceVar(&w.options.Without, "without", nil, "members that cannot be seen, do not serve, and are given up")
			cmd.Flags().BoolVar(&w.options.AcceptLoss, "accept-loss", false, "go on without approval of what is lost")
		},
		wish: func(cmd *cobra.Command, _ []string) (wish, error) {
			at, err := pointInTime(moment, revision, cmd.Flags().Changed("revision"))
			if err == nil {
				w.at = at
				err = restoreMistake(w, inPlace)
			}
			if err != nil {
				return wish{}, usageError(cmd, err)
			}
			return w, nil
		},
		resolve: resolveRestore,
		warning: restoreWarning,
	}
}

// restoreMistake says what is wrong with the flags of a restore.
func restoreMistake(w wish, inPlace bool) error {
	ways := 0
	for _, way := range []bool{w.to != "", inPlace, len(w.prefixes) > 0} {
		if way {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("say where to: --to NEW, --in-place, or --prefix PREFIX")
	case w.at != nil && w.backup != "":
		return errors.New("--backup says what to restore, and so do --time and --revision: give one of them")
	case w.to != "" && w.options.AcceptLoss:
		return errors.New("--accept-loss is for --in-place and --prefix")
	case !inPlace && len(w.options.Without) > 0:
		return errors.New("--without is for --in-place")
	case len(w.prefixes) == 0 && (w.exact || w.from != "" || w.uid != ""):
		return errors.New("--exact, --from and --uid are for --prefix")
	case w.uid != "" && w.from == "":
		return errors.New("--uid is for --from")
	case slices.Contains(w.prefixes, ""):
		return errors.New("an empty --prefix means all keys: use --in-place or --to")
	}
	return nil
}

func restoreWarning(w wish) string {
	again := "; before that, it asks again"
	if w.options.AcceptLoss {
		again = ", without asking again"
	}
	switch {
	case w.to != "":
		return "this creates " + w.to + ", with hosts and disks of its own"
	case len(w.prefixes) > 0:
		return "keys are put back to what the backup has, and lose what they have now" + again
	}
	return "restoring it stops all of it, and loses what was written since the backup" + again
}

// resolveRestore finds the backup that is meant, or the one that leads to the point in time.
func resolveRestore(ctx context.Context, a *app, client plane, view workflows.ClusterView, asked *wish) (*forecast, error) {
	of := fleet.BackupsOf{Cluster: view.Summary.Name, UID: view.Summary.UID}
	if asked.from != "" {
		var err error
		if of, err = sourceOf(ctx, client, asked.from, asked.uid); err != nil {
			return nil, err
		}
	}
	b, err := backupOf(ctx, client, view.Spec.Place(), of, asked)
	if err != nil {
		return nil, err
	}
	asked.options.Restore = fleet.RestoreOf(b)
	switch {
	case len(asked.prefixes) > 0:
		asked.kind = fleet.RestorePrefixes
		asked.options.Restore.Prefixes, asked.options.Restore.Exact = fleet.Prefixes(asked.prefixes), asked.exact
		return nil, asked.options.Restore.CheckPrefixes()
	case asked.to == "":
		return nil, nil
	case asked.away != "":
		return nil, needsFirst(asked.to, asked.away)
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
	f, err := a.compare(ctx, client, sourced{Spec: spec, source: "spec of " + asked.to}, asked.options)
	if f != nil {
		f.at = asked.at
	}
	return f, err
}

// sourceOf says whose backups are meant by a name: those of the cluster that has it, or of
// all that ever had it, when none is known any more and no UID is given.
func sourceOf(ctx context.Context, client plane, name, uid string) (fleet.BackupsOf, error) {
	of := fleet.BackupsOf{Cluster: name, UID: uid}
	if uid != "" {
		return of, nil
	}
	view, err := client.Describe(ctx, name)
	if err != nil && !fleet.Is(err, fleet.NotFound) {
		return of, err
	}
	of.UID = view.Summary.UID
	return of, nil
}

// backupOf finds the backup that is asked for, where the workers of a region look. Without a
// UID the name must have been used once. For a point in time it is the one that leads there;
// one that is of that very revision already is taken, and nothing has to be made.
func backupOf(ctx context.Context, client plane, at fleet.Place, of fleet.BackupsOf, asked *wish) (fleet.Backup, error) {
	found, err := client.Backups(ctx, workflows.BackupsRequest{Provider: at.Provider, Region: at.Region, Clusters: []fleet.BackupsOf{of}})
	if err != nil {
		return fleet.Backup{}, err
	}
	var uids []string
	for _, b := range found.Backups {
		if !slices.Contains(uids, b.UID) {
			uids = append(uids, b.UID)
		}
	}
	if len(uids) > 1 {
		return fleet.Backup{}, fleet.Errorf(fleet.Invalid, of.Cluster, "the name was used several times (uid %s)", strings.Join(uids, ", ")).
			WithRemedy("say which one is meant: --uid; flotilla backups %s --provider %s --region %s lists them", of.Cluster, at.Provider, at.Region)
	}
	asked.away = ""
	for _, away := range found.Away {
		asked.away = cmp.Or(asked.away, away.First)
	}
	if asked.at == nil {
		b, err := chooseBackup(of.Cluster, found.Backups, asked.backup)
		switch {
		case asked.away != "" && asked.backup == "":
			err = notTheNewest(of.Cluster, b, asked.away)
		case asked.away != "" && fleet.Is(err, fleet.NotFound):
			err = fleet.Errorf(fleet.Unavailable, "", "%w; the first store cannot be asked, and may have it: %s", err, asked.away)
		}
		return b, err
	}
	b, err := leadsTo(of.Cluster, found.Backups, *asked.at)
	if err != nil && asked.away != "" {
		err = fleet.Errorf(fleet.Unavailable, "", "%w; the first store cannot be asked, and may have what leads there: %s", err, asked.away)
	}
	if err == nil && asked.at.Revision == b.Revision && b.Revision != 0 {
		asked.at = nil
	}
	return b, err
}

// notTheNewest refuses to take a backup for the newest while a store that may have newer ones
// cannot be asked.
func notTheNewest(cluster string, known fleet.Backup, away string) error {
	if known.ID == "" {
		return fleet.Errorf(fleet.Unavailable, "backups of "+cluster, "the second store has none that counts, and the first cannot be asked: %s", away).
			WithRemedy("wait for the first store")
	}
	return fleet.Errorf(fleet.Unavailable, "newest backup of "+cluster, "the first store may have NEWER ones than %s, taken %s, which is the newest in the second; it cannot be asked: %s",
		known.ID, stamp(known.Taken), away).
		WithRemedy("wait for the first store; or choose one yourself, by --backup %s, or with what was recorded since, by --time: flotilla backups %s lists what the second store has", known.ID, cluster)
}

// needsFirst refuses what makes a new cluster while the first of two stores cannot be asked.
func needsFirst(cluster, away string) error {
	return fleet.Errorf(fleet.Unavailable, cluster, "a new cluster needs the first store, where its authority is made and its hosts get their programs; it cannot be asked: %s", away).
		WithRemedy("wait for the first store; or restore in place, which the second store suffices for; or, if the first is gone for good, start workers with --object-store set to the second one (docs/backup.md)")
}

// leadsTo gives the newest backup from which a point in time can be had.
func leadsTo(cluster string, found []fleet.Backup, at fleet.PointInTime) (fleet.Backup, error) {
	var reaches []string
	for i := len(found) - 1; i >= 0; i-- {
		b := found[i]
		last, until := b.Revision, b.Taken
		if b.Reach != nil {
			last, until = b.Reach.Revision, b.Reach.Until
		}
		switch {
		case b.Damaged != "":
			continue
		case at.Revision != 0 && b.Revision <= at.Revision && at.Revision <= last,
			at.Revision == 0 && !b.Stored.After(at.Time) && !at.Time.After(until):
			return b, nil
		}
		reaches = append(reaches, fmt.Sprintf("%s leads from revision %d, %s, to %d, %s", b.ID, b.Revision, stamp(b.Stored), last, stamp(until)))
	}
	refused := fleet.Errorf(fleet.NotFound, at.String()+" of "+cluster, "no backup and the changes recorded behind it lead there: %s",
		cmp.Or(strings.Join(reaches[:min(len(reaches), 3)], "; "), "there is no backup that counts"))
	return fleet.Backup{}, refused.WithRemedy("flotilla backups %s shows from when to when each can be restored (UP TO)", cluster)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// chooseBackup gives the newest backup that counts, or the one that is named.
func chooseBackup(cluster string, found []fleet.Backup, id string) (fleet.Backup, error) {
	if id == "" {
		for _, b := range slices.Backward(found) {
			if b.Damaged == "" && b.Base == "" {
				return b, nil
			}
		}
		return fleet.Backup{}, fleet.Errorf(fleet.NotFound, "backup that counts of "+cluster, "there is none").
			WithRemedy("flotilla backups %s shows what there is", cluster)
	}
	at, err := fleet.BackupNamed(cluster, found, id)
	if err != nil {
		return fleet.Backup{}, err
	}
	if b := found[at]; b.Damaged != "" {
		return fleet.Backup{}, fleet.Errorf(fleet.Lost, "backup "+b.ID+" of "+cluster, "it does not count: %s", b.Damaged).
			WithRemedy("restore another one: flotilla backups %s", cluster)
	}
	return found[at], nil
}
