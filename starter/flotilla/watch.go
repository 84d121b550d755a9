package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/starter"
)

func (a *app) watchCommand() *cobra.Command {
	w := waiting{wait: true}
	cmd := &cobra.Command{
		Use:   "watch NAME|OPERATION",
		Short: "Watch an operation until it ends",
		Long: `Watch an operation until it ends: the running or latest one of a cluster with those
that are queued behind it, or one by its ID. Ctrl-C ends the watching, never the
operation.

The exit code is that of the operation: 0 when it is done, 1 when it failed, 5 while it
waits for approval (with --wait-approval it is watched on).`,
		Example: "  flotilla watch orders\n  flotilla watch 7f3a", Args: oneArgument("a cluster or an operation"),
		ValidArgsFunction: a.completeCluster,
	}
	watchFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		ref, err := client.FindOperation(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		refs := []starter.Ref{ref}
		if ref.Cluster == args[0] {
			refs = append(refs, queued(cmd.Context(), client, ref)...)
		}
		return a.finish(cmd.Context(), client, job{refs: refs}, w, *output)
	}
	return cmd
}

// queued gives the operations that run after the one that runs now.
func queued(ctx context.Context, client plane, ref starter.Ref) []starter.Ref {
	view, err := client.Describe(ctx, ref.Cluster)
	if err != nil || view.Summary.Operation != ref.ID {
		return nil // what cannot be seen is not followed; the operation itself is
	}
	var refs []starter.Ref
	for _, q := range view.Queue {
		refs = append(refs, starter.Ref{Cluster: ref.Cluster, ID: q.Operation, Kind: q.Kind, WorkflowID: q.WorkflowID})
	}
	return refs
}
