package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

func (a *app) verifyCommand() *cobra.Command {
	var w where
	var repair bool
	cmd := &cobra.Command{
		Use: "verify NAME [BACKUP]", Short: "Read a backup and the changes behind it to the last byte",
		Long: `Read a backup to its last byte, in the region where it is: every object is compared with
its digest, unsealed, decompressed, and compared with the checksum that etcd gave the
database. Without an ID it is the newest one; the beginning of an ID does, or the ID of
the operation.

Then the changes that were recorded behind it, up to the newest: each segment likewise, and
that they follow on each other. What is wrong is listed with its revisions and times, and
which of them can be restored no more. The oldest backup's are all there are.

Where there is a second store, what each of the two has of it is read. With --repair, what
is missing or damaged in one of them is replaced by what the other has, after that was
compared with the digests; what is right is never written over. That is shown, and recorded
beside the backup. A store that cannot be asked is named, and what the other has is read.

The exit code is 0 when all is right, or was repaired, and 1 when anything is damaged or
missing, or one of two stores cannot be asked.`,
		Example: "  flotilla verify orders\n  flotilla verify orders 20260314t0215\n  flotilla verify orders 20260314t0215 --repair", ValidArgsFunction: a.completeCluster,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 || len(args) == 2 {
				return nil
			}
			return usageError(cmd, errors.New("verify needs the name of a cluster, and takes the ID of a backup"))
		},
	}
	w.flags(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "replace what is missing or damaged in one of two stores by what the other has")
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
		if at.UID == "" {
			return usageError(cmd, errors.New("a cluster that is forgotten needs --uid; flotilla backups with the same flags shows it"))
		}
		at.ID, at.Repair = strings.Join(args[1:], ""), repair
		b, err := client.VerifyBackup(cmd.Context(), at, a.teller())
		if err != nil {
			return err
		}
		if err := a.print(*output, b, func() string { return verifiedText(a.out, b, a.clock()) }); err != nil {
			return err
		}
		if b.Unasked != nil {
			return &exitError{code: exitFailed, err: errors.New("one of the two stores cannot be asked"), said: true}
		}
		if b.Changes != nil && !b.Changes.Right() {
			return &exitError{code: exitFailed, err: errors.New("the changes behind the backup are not right"), said: true}
		}
		return nil
	}
	return cmd
}

// verifiedText says what reading a backup, which is whole, and the changes behind it showed.
func verifiedText(o terminal.Output, b fleet.Backup, clock terminal.Clock) string {
	return repairsText(o, []fleet.Backup{b}, clock) +
		fmt.Sprintf("%s is whole: revision %d, %s, %s, taken %s from %s by %s\n", b.ID, b.Revision,
			terminal.Count(b.Keys, "key"), b.Size.Human(), clock.Ago(b.Taken), b.Member, cmp.Or(b.AskedBy, "nobody named")) +
		notCopiedText(b) + changesText(o, b, clock) + unaskedText(o, b)
}

// unaskedText says that one of two stores was not read.
func unaskedText(o terminal.Output, b fleet.Backup) string {
	switch u := b.Unasked; {
	case u == nil:
		return ""
	case u.First != "":
		return fmt.Sprintf("%s, so only the second one was read, and NEWER backups and changes may be in the first: %s\n", o.Paint(terminal.Red, "the first store cannot be asked"), u.First)
	default:
		return fmt.Sprintf("%s, so only the first one was read: %s\n", o.Paint(terminal.Red, "the second store cannot be asked"), u.Second)
	}
}

// changesText says how the changes behind a backup are, and what to do where they are not right.
func changesText(o terminal.Output, b fleet.Backup, clock terminal.Clock) string {
	c := b.Changes
	if c == nil {
		return "no changes are recorded behind it\n"
	}
	var t strings.Builder
	state := "whole"
	if !c.Right() {
		state = o.Paint(terminal.Red, "NOT whole")
	}
	fmt.Fprintf(&t, "the changes behind it are %s: %s, up to revision %d, %s\n", state, terminal.Count(c.Segments, "segment"), c.Reach.Revision, clock.Ago(c.Reach.Until))
	if c.NotCopied > 0 {
		fmt.Fprintf(&t, "the second store does not have the last %s of them yet\n", terminal.Count(c.NotCopied, "segment"))
	}
	oneStore := false
	for _, d := range c.Damaged {
		if d.Repaired {
			fmt.Fprintf(&t, "%s in the %s store: %s\n", o.Paint(terminal.Yellow, "repaired"), d.Where, revisionsText(d.First, d.Last, d.Earliest, d.Latest))
			continue
		}
		in := " in the " + string(d.Where) + " store"
		switch {
		case d.Where == fleet.InBoth:
			in = ", and whole nowhere else"
		case d.NotRepaired == "":
			oneStore = true
		}
		fmt.Fprintf(&t, "%s%s: %s\n  %s\n", o.Paint(terminal.Red, "DAMAGED"), in, revisionsText(d.First, d.Last, d.Earliest, d.Latest), cmp.Or(d.NotRepaired, d.Why))
	}
	if c.More > 0 {
		fmt.Fprintf(&t, "and %d more\n", c.More)
	}
	if oneStore {
		fmt.Fprintf(&t, "Restores take the other store's, which are whole; flotilla verify %s %s --repair replaces these by them\n", b.Cluster, b.ID)
	}
	if len(c.Lost) == 0 && slices.ContainsFunc(c.Damaged, func(d fleet.DamagedChanges) bool { return d.Where == fleet.InBoth }) {
		fmt.Fprintln(&t, "Other segments hold the same revisions, so nothing is lost; the damaged ones go with the backups that they follow on")
	}
	needed := false
	for _, l := range c.Lost {
		fmt.Fprintf(&t, "%s: %s; no backup and no changes lead there", o.Paint(terminal.Red, "CANNOT BE RESTORED"), revisionsText(l.First, l.Last, l.After, l.Before))
		if l.Healed {
			fmt.Fprint(&t, "; a backup was taken behind them, and what comes after can be restored")
		}
		needed = needed || !l.Healed
		fmt.Fprintln(&t)
	}
	if needed {
		fmt.Fprintf(&t, "Have a backup taken: flotilla backup %s; what comes after it can be restored again\n", b.Cluster)
	}
	return t.String()
}

// revisionsText names revisions with when they were made.
func revisionsText(first, last int64, from, to time.Time) string {
	text := fmt.Sprintf("revisions %d to %d", first, last)
	switch {
	case last == 0:
		return fmt.Sprintf("revisions from %d on", first)
	case last < first:
		text = fmt.Sprintf("that nothing was written after revision %d", last)
	case last == first:
		text = fmt.Sprintf("revision %d", first)
	}
	switch {
	case from.IsZero() && to.IsZero():
		return text
	case from.IsZero():
		return fmt.Sprintf("%s (until %s UTC)", text, to.UTC().Format(time.DateTime))
	}
	return fmt.Sprintf("%s (%s to %s UTC)", text, from.UTC().Format(time.DateTime), to.UTC().Format(time.DateTime))
}

// notCopiedText says that the second store does not have a backup yet.
func notCopiedText(b fleet.Backup) string {
	if b.Where == fleet.InFirst {
		return "the second store does not have it yet\n"
	}
	return ""
}

// repairsText says what was replaced in one of two stores by what the other has.
func repairsText(o terminal.Output, backups []fleet.Backup, clock terminal.Clock) string {
	var b strings.Builder
	for _, of := range backups {
		for _, r := range of.Repaired {
			fmt.Fprintf(&b, "%s by %s: %s of %s in %s from the other store\n  because %s\n", o.Paint(terminal.Yellow, "repaired "+clock.Ago(r.When)),
				cmp.Or(r.By, "nobody named"), terminal.Count(len(r.Objects)+r.More, "object"), of.ID, r.Store, r.Why)
		}
	}
	return b.String()
}
