package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

func (a *app) decommissionCommand() *cobra.Command {
	var w waiting
	var options fleet.Options
	var yes bool
	cmd := &cobra.Command{
		Use:   "decommission NAME",
		Short: "Take a cluster down: final snapshot, then hosts and disks",
		Long: `Take a cluster down. A final snapshot is stored and verified by restoring it; only
then are members stopped and hosts, disks and secrets destroyed.

It asks for the name of the cluster on a terminal; elsewhere it wants --yes.`,
		Example: `  flotilla decommission orders
  flotilla decommission orders --yes --skip-final-snapshot`,
		Args: oneArgument("the name of a cluster"), ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	skipSnapshotFlag(cmd, &options)
	waitFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		view, err := client.Describe(cmd.Context(), name)
		if err != nil {
			return err
		}
		if view.Summary.Phase == fleet.PhaseGone {
			a.say("%s is gone already: there is nothing to do", name)
			return nil
		}
		if view.Spec.DeletionProtection {
			return fleet.Errorf(fleet.Blocked, name, "is protected from deletion").
				WithRemedy("turn that off first: flotilla protect %s --off", name)
		}
		waves, err := a.confirmDecommission(cmd.Context(), client, name, options, yes)
		if err != nil {
			return err
		}
		reply, err := client.Submit(cmd.Context(), name, fleet.DecommissionCluster, starter.Request{ID: w.requestID, Options: options})
		if err != nil {
			return err
		}
		return a.finish(cmd.Context(), client, starter.RefOf(name, reply), waves, w, *output)
	}
	return cmd
}

// confirmDecommission shows what will be destroyed and wants the name typed.
func (a *app) confirmDecommission(ctx context.Context, client *starter.Client, name string, options fleet.Options, yes bool) ([][]fleet.Step, error) {
	if !yes && !a.person {
		return nil, fleet.Errorf(fleet.Blocked, name, "decommissioning destroys it, and there is no terminal to ask at").
			WithRemedy("say --yes; flotilla plan decommission %s shows what would happen", name)
	}
	operation := fleet.Operation{Kind: fleet.DecommissionCluster, Cluster: name, Options: options}
	plan, err := client.Plan(ctx, operation)
	if err != nil {
		if yes {
			return nil, nil //nolint:nilerr // only the preview is missing; the operation looks for itself
		}
		return nil, err
	}
	if yes {
		return plan.Waves, nil
	}
	a.say("%s", strings.TrimRight(planText(operation, plan), "\n"))
	if options.SkipFinalSnapshot {
		a.say("%s", a.err.Paint(terminal.Red, "No final snapshot is taken: the data is gone for good."))
	}
	return plan.Waves, a.confirm(ctx, name, name)
}

// confirm wants the person to type a word.
func (a *app) confirm(ctx context.Context, resource, word string) error {
	_, _ = fmt.Fprintf(a.err, "Type %s to go on: ", a.err.Paint(terminal.Bold, word))
	typed := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(a.in).ReadString('\n')
		typed <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		a.say("")
		return ctx.Err()
	case text := <-typed:
		if text != word {
			return &exitError{code: exitRefused, err: errors.New(resource + ": not confirmed, nothing was changed")}
		}
		return nil
	}
}

func (a *app) protectCommand() *cobra.Command {
	var off bool
	cmd := &cobra.Command{
		Use:   "protect NAME",
		Short: "Turn deletion protection on, or off with --off",
		Long:  "Turn deletion protection on, or off with --off. While it is on, a decommission is refused.",
		Example: `  flotilla protect orders
  flotilla protect orders --off`,
		Args: oneArgument("the name of a cluster"), ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().BoolVar(&off, "off", false, "turn it off")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		if err := client.Protect(cmd.Context(), args[0], !off); err != nil {
			return err
		}
		state := "is protected from deletion"
		if off {
			state = "may be decommissioned"
		}
		_, err = fmt.Fprintf(a.out, "%s %s\n", args[0], state)
		return err
	}
	return cmd
}
