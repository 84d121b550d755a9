package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func (a *app) resumeCommand() *cobra.Command {
	var w waiting
	var options fleet.Options
	var why string
	cmd := &cobra.Command{
		Use:   "resume NAME",
		Short: "Go on with what is paused, waits for a person, failed or was cancelled",
		Long: `Go on with an operation: one that is paused, or that waits for a person after a failed
step, goes on where it is. Of one that failed or was cancelled what is left is done, by
another operation with the same spec and options. One that just runs is watched.`,
		Example: "  flotilla resume orders\n  flotilla resume orders --why 'the zone is back'", Args: oneArgument("the name of a cluster"),
		ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().StringVar(&why, "why", "", "the `reason`, for the record")
	cmd.Flags().BoolVar(&options.SkipFinalSnapshot, "skip-final-snapshot", false,
		"of a decommission or a stop: give up the snapshot that could not be taken")
	waitFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		ref, err := a.resume(cmd.Context(), client, args[0], why, starter.Request{ID: w.requestID, Options: options})
		if err != nil {
			return err
		}
		return a.finish(cmd.Context(), client, job{refs: append([]starter.Ref{ref}, queued(cmd.Context(), client, ref)...)}, w, *output)
	}
	return cmd
}

// resume gives the operation that goes on, or that goes on with what stopped.
func (a *app) resume(ctx context.Context, client plane, name, why string, request starter.Request) (starter.Ref, error) {
	view, err := client.Describe(ctx, name)
	if err != nil {
		return starter.Ref{}, err
	}
	if ref, runs := starter.Running(view); runs {
		return ref, a.resumeRunning(ctx, client, ref, why)
	}
	reply, err := resumeEnded(ctx, client, view, request)
	return starter.RefOf(name, reply), err
}

// resumeRunning has a running operation go on, if it waits for somebody to say so.
func (a *app) resumeRunning(ctx context.Context, client plane, ref starter.Ref, why string) error {
	progress, err := client.Progress(ctx, ref)
	if err != nil {
		return err
	}
	switch w := progress.Waiting; {
	case w != nil && (w.For == fleet.WaitPaused || w.For == fleet.WaitPerson):
		a.say("%s %s of %s goes on", ref.Kind, shortID(ref.ID), ref.Cluster)
		return client.ResumePaused(ctx, ref, why)
	case w != nil:
		a.say("%s %s of %s is not paused", ref.Kind, shortID(ref.ID), ref.Cluster) // what it waits for is shown
		return nil
	}
	a.say("%s %s of %s still runs; watching it", ref.Kind, shortID(ref.ID), ref.Cluster)
	return nil
}

// resumeEnded asks for what is left of an operation that did not end well.
func resumeEnded(ctx context.Context, client plane, view workflows.ClusterView, request starter.Request) (workflows.SubmitReply, error) {
	name, left := view.Summary.Name, view.Unfinished
	switch {
	case left == nil:
		return workflows.SubmitReply{}, fleet.Errorf(fleet.Conflict, name, "is %s: there is nothing to go on with", view.Summary.Phase).
			WithRemedy("flotilla operations %s shows what was done to it", name)
	case request.Options.SkipFinalSnapshot && left.Kind != fleet.DecommissionCluster && left.Kind != fleet.StopCluster:
		return workflows.SubmitReply{}, fleet.Errorf(fleet.Invalid, name, "--skip-final-snapshot has no meaning: %s takes no snapshot", left.Kind)
	case request.Options.SkipFinalSnapshot: // not as it was asked for, but to the same end
		return client.Change(ctx, name, left.Kind, nil, request)
	}
	return client.Resume(ctx, name, request.ID)
}
