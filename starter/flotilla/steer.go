package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
)

// steering is what the commands that steer a running operation have in common.
type steering struct {
	operation, why string
	output         *format
}

func (a *app) steerCommand(use, short, long, example string, s *steering) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: oneArgument("the name of a cluster"), ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().StringVar(&s.why, "why", "", "the `reason`, for the record")
	cmd.Flags().StringVar(&s.operation, "operation", "", "only if this `id` is the running operation")
	s.output = outputFlag(cmd)
	return cmd
}

// running gives the operation that runs on a cluster, if it is the one that is meant.
func (s steering) running(ctx context.Context, client plane, cluster string) (starter.Ref, error) {
	view, err := client.Describe(ctx, cluster)
	if err != nil {
		return starter.Ref{}, err
	}
	ref, runs := starter.Running(view)
	if found, err := client.FindOperation(ctx, cluster); !runs && err == nil && found.Kind.Beside() {
		ref, runs = found, true
	}
	switch {
	case !runs:
		return ref, fleet.Errorf(fleet.Conflict, cluster, "no operation is running").
			WithRemedy("flotilla operations %s shows what was done to it", cluster)
	case s.operation != "" && !strings.HasPrefix(ref.ID, s.operation):
		return ref, fleet.Errorf(fleet.Conflict, cluster, "%s is not running; %s %s is", s.operation, ref.Kind, shortID(ref.ID))
	}
	return ref, nil
}

// steered is what is printed of an operation that was steered.
type steered struct {
	starter.Ref
	Did fleet.MarkKind `json:"did"`
}

// steer does something to the running operation and says so.
func (a *app) steer(cmd *cobra.Command, cluster string, s steering, did fleet.MarkKind,
	do func(context.Context, plane, starter.Ref) error, text func(starter.Ref) string,
) error {
	ctx := cmd.Context()
	client, err := a.reach(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	ref, err := s.running(ctx, client, cluster)
	if err != nil {
		return err
	}
	if err := do(ctx, client, ref); err != nil {
		return err
	}
	return a.print(*s.output, steered{ref, did}, func() string { return string(ref.Kind) + " " + shortID(ref.ID) + " of " + cluster + text(ref) })
}

func (a *app) approveCommand() *cobra.Command {
	var s steering
	cmd := a.steerCommand("approve NAME", "Approve the operation that waits for it",
		`Approve the operation of a cluster that waits for it: it begins. The plan that is
approved is shown. Who approved it, and why, stands in its record.`,
		"  flotilla approve orders\n  flotilla approve orders --operation 7f3a --why 'agreed in the change meeting'", &s)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		approve := func(ctx context.Context, client plane, ref starter.Ref) error {
			if p, err := client.Progress(ctx, ref); err == nil && p.Waiting != nil && len(p.Waiting.Plan) > 0 {
				a.say("%s", strings.TrimRight(wavesText(a.err, fleet.Operation{Kind: ref.Kind, Cluster: ref.Cluster}, p.Waiting.Plan), "\n"))
			}
			return client.Approve(ctx, ref, s.why)
		}
		return a.steer(cmd, args[0], s, fleet.MarkApproved, approve, func(ref starter.Ref) string {
			return " is approved\nwatch it: flotilla watch " + ref.Cluster + "\n"
		})
	}
	return cmd
}

func (a *app) rejectCommand() *cobra.Command {
	var s steering
	cmd := a.steerCommand("reject NAME --why REASON", "Reject the operation that waits for approval",
		"Reject the operation of a cluster that waits for approval: it ends, and nothing was changed.",
		"  flotilla reject orders --why 'not before the sale is over'", &s)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(s.why) == "" {
			return usageError(cmd, errors.New("a rejection needs --why: the reason stands in the record"))
		}
		reject := func(ctx context.Context, client plane, ref starter.Ref) error { return client.Reject(ctx, ref, s.why) }
		return a.steer(cmd, args[0], s, fleet.MarkRejected, reject, func(starter.Ref) string { return " is rejected\n" })
	}
	return cmd
}

func (a *app) pauseCommand() *cobra.Command {
	var s steering
	cmd := a.steerCommand("pause NAME", "Have the running operation wait after the steps in hand",
		`Have the running operation of a cluster wait after the steps in hand, until flotilla
resume or flotilla cancel. A member that is being replaced or restarted stays as it is
then; the cluster serves.`,
		"  flotilla pause orders --why 'traffic is high'", &s)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		pause := func(ctx context.Context, client plane, ref starter.Ref) error { return client.Pause(ctx, ref, s.why) }
		return a.steer(cmd, args[0], s, fleet.MarkPaused, pause, func(ref starter.Ref) string {
			return " pauses after the steps in hand\ngo on: flotilla resume " + ref.Cluster + "\n"
		})
	}
	return cmd
}

func (a *app) cancelCommand() *cobra.Command {
	var s steering
	cmd := a.steerCommand("cancel NAME", "Stop a cluster's running operation after the steps in hand",
		`Stop a cluster's running operation after the steps in hand; those queued behind it are
dropped. What is done stays done: go on with flotilla resume, or undo a creation with
flotilla decommission.`,
		"  flotilla cancel orders --why 'wrong zone'", &s)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		reply, err := client.Cancel(cmd.Context(), args[0], s.operation, s.why)
		if err != nil {
			return err
		}
		return a.print(*s.output, starter.RefOf(args[0], reply), func() string {
			return string(reply.Kind) + " " + shortID(reply.Operation) + " of " + args[0] +
				" stops after the steps in hand\nwatch it end: flotilla watch " + args[0] + "\n" + later(reply.Kind, args[0])
		})
	}
	return cmd
}

// later says how to go on with what was cancelled.
func later(kind fleet.OperationKind, cluster string) string {
	if kind.Beside() {
		return "again later:  flotilla backup " + cluster + "\n"
	}
	return "go on later:  flotilla resume " + cluster + "\n"
}
