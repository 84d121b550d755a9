package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
)

func (a *app) watchCommand() *cobra.Command {
	w := waiting{wait: true}
	cmd := &cobra.Command{
		Use:   "watch NAME|OPERATION",
		Short: "Watch an operation until it ends",
		Long: `Watch an operation until it ends: the running or latest one of a cluster, or one
by its ID. Ctrl-C ends the watching, never the operation.

The exit code is that of the operation: 0 when it is done, 1 when it failed.`,
		Example: "  flotilla watch orders\n  flotilla watch 7f3a", Args: oneArgument("a cluster or an operation"),
		ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().DurationVar(&w.timeout, "timeout", 0, "watch no longer than this (0: until it ends)")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		ref, err := client.FindOperation(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return a.finish(cmd.Context(), client, ref, nil, w, *output)
	}
	return cmd
}

func (a *app) cancelCommand() *cobra.Command {
	var why, operation string
	cmd := &cobra.Command{
		Use:   "cancel NAME",
		Short: "Stop a cluster's running operation after the steps in hand",
		Long: `Stop a cluster's running operation after the steps in hand. What is done stays
done: go on with flotilla resume, or undo a creation with flotilla decommission.`,
		Example: "  flotilla cancel orders --why 'wrong zone'", Args: oneArgument("the name of a cluster"),
		ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().StringVar(&why, "why", "", "the `reason`, for the record")
	cmd.Flags().StringVar(&operation, "operation", "", "cancel only if this `id` is the running operation")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		reply, err := client.Cancel(cmd.Context(), args[0], operation, why)
		if err != nil {
			return err
		}
		return a.print(*output, starter.RefOf(args[0], reply), func() string {
			return string(reply.Kind) + " " + shortID(reply.Operation) + " of " + args[0] +
				" stops after the steps in hand\nwatch it end: flotilla watch " + args[0] + "\ngo on later:  flotilla resume " + args[0] + "\n"
		})
	}
	return cmd
}

func (a *app) resumeCommand() *cobra.Command {
	var w waiting
	var options fleet.Options
	cmd := &cobra.Command{
		Use:   "resume NAME",
		Short: "Go on with an operation that failed or was cancelled",
		Long: `Go on with an operation that failed or was cancelled: the same is asked for again,
and what is left of it is done. One that still runs is watched.`,
		Example: "  flotilla resume orders", Args: oneArgument("the name of a cluster"),
		ValidArgsFunction: a.completeCluster,
	}
	waitFlags(cmd, &w)
	skipSnapshotFlag(cmd, &options)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		ref, err := a.resume(cmd.Context(), client, args[0], starter.Request{ID: w.requestID, Options: options})
		if err != nil {
			return err
		}
		return a.finish(cmd.Context(), client, ref, nil, w, *output)
	}
	return cmd
}

// resume gives the operation that continues what stopped.
func (a *app) resume(ctx context.Context, client *starter.Client, name string, request starter.Request) (starter.Ref, error) {
	view, err := client.Describe(ctx, name)
	if err != nil {
		return starter.Ref{}, err
	}
	if len(view.Operations) > 0 && view.Operations[0].State == fleet.OperationRunning {
		latest := view.Operations[0]
		a.say("%s %s of %s still runs; watching it", latest.Kind, shortID(latest.ID), name)
		return starter.Ref{Cluster: name, ID: latest.ID, Kind: latest.Kind, WorkflowID: latest.WorkflowID}, nil
	}
	switch view.Summary.Phase {
	case fleet.PhaseIncomplete, fleet.PhaseCreating:
		reply, err := client.Create(ctx, view.Spec, request)
		return starter.RefOf(name, reply), err
	case fleet.PhaseDecommissioning:
		reply, err := client.Submit(ctx, name, fleet.DecommissionCluster, request)
		return starter.RefOf(name, reply), err
	}
	return starter.Ref{}, fleet.Errorf(fleet.Conflict, name, "is %s: there is nothing to go on with", view.Summary.Phase).
		WithRemedy("flotilla operations %s shows what was done to it", name)
}
