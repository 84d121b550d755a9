package main

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

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
	var options fleet.Options
	var w waiting
	var from, uid string
	cmd := &cobra.Command{
		Use:   "create -f FILE",
		Short: "Create clusters from their specs",
		Long: `Create clusters from their specs. A creation that stopped half way continues when
it is asked for again; nothing is bought twice.

--from-backup has a cluster begin with a backup, also of one that is decommissioned or that
Temporal has forgotten: the newest of it that counts, or CLUSTER/BACKUP. The workers of the
document's region look for it, in their object store.

` + exampleSpec,
		Example: `  flotilla create -f orders.yaml
  flotilla create -f orders.yaml --wait=false --request-id deploy-42
  cat *.yaml | flotilla create -f -
  flotilla create -f orders.yaml --from-backup orders-old`,
		Args: noArguments,
	}
	fileFlag(cmd, &files)
	cmd.Flags().StringVar(&from, "from-backup", "", "begin with a backup of this `cluster`; with /BACKUP, with that one")
	cmd.Flags().StringVar(&uid, "uid", "", "of a name that was used several times: the `uid` of the one that --from-backup means")
	_ = cmd.RegisterFlagCompletionFunc("from-backup", a.completeSource)
	policyFlags(cmd, &options, false)
	waitFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if uid != "" && from == "" {
			return usageError(cmd, errors.New("--uid is for --from-backup"))
		}
		if err := mistaken(cmd, inFlags(options.Policy.Validate("policy"), policyFields)); err != nil {
			return err
		}
		specs, err := a.readSpecs(cmd, files)
		if err != nil {
			return err
		}
		if err := oneRequest(cmd, len(specs), w); err != nil {
			return err
		}
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		if from != "" {
			if len(specs) != 1 {
				return usageError(cmd, errors.New("--from-backup is for one cluster"))
			}
			if options.Restore, err = beginning(cmd.Context(), client, specs[0], from, uid); err != nil {
				return err
			}
		}
		plans := make([]workflows.PlanReply, len(specs))
		for i, spec := range specs {
			if plans[i], err = a.planCreate(cmd.Context(), client, spec, options); err != nil {
				return err
			}
		}
		return a.createAll(cmd.Context(), client, specs, plans, starter.Request{ID: w.requestID, Options: options}, w, *output)
	}
	return cmd
}

// oneRequest refuses one request ID for several clusters.
func oneRequest(cmd *cobra.Command, clusters int, w waiting) error {
	if clusters > 1 && w.requestID != "" {
		return usageError(cmd, errors.New("--request-id is for one cluster: each of several needs its own"))
	}
	return nil
}

// beginning finds the backup that a cluster is to begin with, by CLUSTER or CLUSTER/BACKUP.
func beginning(ctx context.Context, client plane, spec sourced, from, uid string) (*fleet.Restore, error) {
	name, id, _ := strings.Cut(from, "/")
	of, err := sourceOf(ctx, client, name, uid)
	if err != nil {
		return nil, err
	}
	asked := wish{backup: id}
	b, err := backupOf(ctx, client, spec.Place(), of, &asked)
	switch {
	case asked.away != "":
		return nil, needsFirst(spec.Name, asked.away)
	case err != nil:
		return nil, err
	}
	restore := fleet.RestoreOf(b)
	return restore, restore.Check(spec.Spec)
}

// planCreate asks for everything that is wrong with a spec before anything is begun.
func (a *app) planCreate(ctx context.Context, client plane, spec sourced, options fleet.Options) (workflows.PlanReply, error) {
	reply, err := client.Plan(ctx, fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec.Spec, Options: options})
	if err != nil {
		return reply, err
	}
	if len(reply.Problems) > 0 {
		return reply, refusal(spec.source, reply)
	}
	return reply, nil // what is blocked now is refused, or joined, by the cluster itself
}

func (a *app) createAll(ctx context.Context, client plane, specs []sourced, plans []workflows.PlanReply,
	request starter.Request, w waiting, output format,
) error {
	jobs := make([]job, len(specs))
	for i, spec := range specs {
		reply, err := client.Create(ctx, spec.Spec, request)
		if err != nil {
			return err
		}
		jobs[i] = job{refs: []starter.Ref{starter.RefOf(spec.Name, reply)}, waves: plans[i].Waves, spec: spec.Spec}
	}
	return a.finishAll(ctx, client, jobs, w, output)
}

// finishAll follows what was begun on several clusters at the same time.
func (a *app) finishAll(ctx context.Context, client plane, jobs []job, w waiting, output format) error {
	if len(jobs) == 1 {
		return a.finish(ctx, client, jobs[0], w, output)
	}
	// Several at a time are told line by line; they cannot be drawn over each other.
	plain := *a
	plain.err.Live = false
	errs := make([]error, len(jobs))
	var wait sync.WaitGroup
	for i, j := range jobs {
		wait.Go(func() { errs[i] = plain.finish(ctx, client, j, w, output) })
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
