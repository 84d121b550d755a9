package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// waiting is what the commands that start an operation have in common.
type waiting struct {
	wait      bool
	timeout   time.Duration
	requestID string
}

func waitFlags(cmd *cobra.Command, w *waiting) {
	flags := cmd.Flags()
	flags.BoolVar(&w.wait, "wait", true, "watch until it ends; with --wait=false the answer is that it has begun")
	flags.DurationVar(&w.timeout, "timeout", 0, "watch no longer than this; the operation goes on (0: until it ends)")
	flags.StringVar(&w.requestID, "request-id", "", "`id` of this request: the same one twice is one operation")
}

const exampleSpec = `The least that a spec says (docs/examples/orders.yaml says more):

  name: orders
  provider: local            # aws, aliyun
  region: local-1
  zones: [a, b, c]
  voters: 3
  etcd: { version: 3.7.3 }
  machine: { type: small, disk: { size: 20GiB, category: ssd } }`

func (a *app) createCommand() *cobra.Command {
	var files []string
	var w waiting
	cmd := &cobra.Command{
		Use:   "create -f FILE",
		Short: "Create clusters from their specs",
		Long: `Create clusters from their specs. A creation that stopped half way continues when
it is asked for again; nothing is bought twice.

` + exampleSpec,
		Example: `  flotilla create -f orders.yaml
  flotilla create -f orders.yaml --wait=false --request-id deploy-42
  cat *.yaml | flotilla create -f -`,
		Args: noArguments,
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "`file` with one or more specs; - is standard input; may repeat")
	waitFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		specs, err := a.readSpecs(cmd, files)
		if err != nil {
			return err
		}
		if len(specs) > 1 && w.requestID != "" {
			return usageError(cmd, errors.New("--request-id is for one cluster: each of several needs its own"))
		}
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		plans := make([]workflows.PlanReply, len(specs))
		for i, spec := range specs {
			if plans[i], err = a.planCreate(cmd.Context(), client, spec); err != nil {
				return err
			}
		}
		return a.createAll(cmd.Context(), client, specs, plans, w, *output)
	}
	return cmd
}

// planCreate asks for everything that is wrong with a spec before anything is begun.
func (a *app) planCreate(ctx context.Context, client *starter.Client, spec sourced) (workflows.PlanReply, error) {
	reply, err := client.Plan(ctx, fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec.Spec})
	if err != nil {
		return reply, err
	}
	if len(reply.Problems) > 0 {
		return reply, refusal(spec.source, reply)
	}
	return reply, nil // what is blocked now is refused, or joined, by the cluster itself
}

func (a *app) createAll(ctx context.Context, client *starter.Client, specs []sourced, plans []workflows.PlanReply, w waiting, output format) error {
	refs := make([]starter.Ref, len(specs))
	for i, spec := range specs {
		reply, err := client.Create(ctx, spec.Spec, starter.Request{ID: w.requestID})
		if err != nil {
			return err
		}
		refs[i] = starter.RefOf(spec.Name, reply)
	}
	if len(refs) == 1 {
		return a.finish(ctx, client, refs[0], plans[0].Waves, w, output)
	}
	// Several at a time are told line by line; they cannot be drawn over each other.
	plain := *a
	plain.err.Live = false
	errs := make([]error, len(refs))
	var wait sync.WaitGroup
	for i, ref := range refs {
		wait.Go(func() { errs[i] = plain.finish(ctx, client, ref, plans[i].Waves, w, output) })
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			a.report(err)
			return &exitError{code: exitCode(err), err: err, said: true}
		}
	}
	return nil
}
