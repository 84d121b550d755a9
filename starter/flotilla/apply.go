package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func (a *app) applyCommand() *cobra.Command {
	var files []string
	var options fleet.Options
	var w waiting
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make clusters what their documents say",
		Long: `Make clusters what their documents say. A cluster that does not exist is created.
Of one that exists, the differences are shown field by field, with the operations
that they need in their order and the plan of the first; the operations then run one
after another. What needs no operation (labels, policy, protection) is just taken.
If nothing differs, nothing is done.

It asks on a terminal; elsewhere it wants --yes.`,
		Example: `  flotilla apply -f orders.yaml
  flotilla apply -f orders.yaml --dry-run
  cat *.yaml | flotilla apply -f - --yes`,
		Args: noArguments,
	}
	fileFlag(cmd, &files)
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show differences and plans, and change nothing")
	policyFlags(cmd, &options, true)
	waitFlags(cmd, &w)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
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
		if dryRun {
			return a.planAll(cmd.Context(), client, specs, options, *output)
		}
		return a.apply(cmd.Context(), client, specs, options, yes, w, *output)
	}
	return cmd
}

// apply shows all that is to happen, asks once, and then does it.
func (a *app) apply(ctx context.Context, client plane, specs []sourced, options fleet.Options, yes bool, w waiting, output format) error {
	var all []forecast
	for _, spec := range specs {
		f, err := a.compare(ctx, client, spec, options)
		if err == nil {
			err = f.refused()
		}
		if err != nil {
			return err
		}
		if f.same() {
			a.say("%s is as %s says: there is nothing to do", spec.Name, spec.source)
			continue
		}
		all = append(all, *f)
		a.say("%s", strings.TrimRight(planText(a.err, *f, a.now()), "\n"))
	}
	switch {
	case len(all) == 0:
		return nil
	case !yes && !a.person:
		return fleet.Errorf(fleet.Blocked, clusters(all), "this would be changed, and there is no terminal to ask at").WithRemedy("say --yes")
	case !yes:
		if err := a.agree(ctx, clusters(all), "Go on?"); err != nil {
			return err
		}
	}
	var jobs []job
	for _, f := range all {
		refs, err := place(ctx, client, f, w.requestID)
		if err != nil {
			return err
		}
		if len(refs) == 0 {
			a.say("%s is amended", f.operation.Cluster)
			continue
		}
		jobs = append(jobs, job{refs: refs, waves: f.reply.Waves, spec: f.operation.Spec})
	}
	return a.finishAll(ctx, client, jobs, w, output)
}

func clusters(all []forecast) string {
	names := make([]string, len(all))
	for i, f := range all {
		names[i] = f.operation.Cluster
	}
	return strings.Join(names, ", ")
}

// compare finds out what a document means for a cluster as it is, and what would happen.
func (a *app) compare(ctx context.Context, client plane, spec sourced, options fleet.Options) (*forecast, error) {
	view, err := client.Describe(ctx, spec.Name)
	if err != nil && !fleet.Is(err, fleet.NotFound) {
		return nil, err
	}
	f := &forecast{source: spec.source, options: options, operation: fleet.Operation{
		Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec.Spec, Options: options,
	}}
	phase := view.Summary.Phase
	if err != nil || phase == fleet.PhaseGone || phase == fleet.PhaseCreating || phase == fleet.PhaseIncomplete {
		f.changes = []fleet.Change{{Kind: fleet.CreateCluster, Spec: spec.Spec}}
		f.options.AllowDowntime, f.operation.Options.AllowDowntime = false, false // nothing runs yet
		return f, f.ask(ctx, client)
	}
	f.view = view
	changes, problems := fleet.Changes(view.Spec, spec.Spec)
	if len(problems) > 0 {
		return nil, problems.Err(spec.source)
	}
	before := view.Spec.Clone()
	f.operation.Before, f.operation.Kind = &before, ""
	if amended := before.Amended(spec.Spec); !amended.Equal(before) {
		f.amend = &amended
	}
	if f.changes = changes; len(changes) == 0 {
		f.operation.Spec = before
		return f, nil
	}
	f.operation.Kind, f.operation.Spec = changes[0].Kind, changes[0].Spec
	return f, f.ask(ctx, client)
}

// same says that a document asks for the cluster as it is.
func (f *forecast) same() bool { return f.operation.Kind == "" && f.amend == nil }

// refused gives why the first operation cannot be begun. What cannot be told now may be
// clear once it looks for longer.
func (f *forecast) refused() error {
	if f.reply.Kind == "" && len(f.reply.Problems) == 0 {
		return nil
	}
	return refusal(f.resource(), f.reply)
}

// planAll prints what documents would come to.
func (a *app) planAll(ctx context.Context, client plane, specs []sourced, options fleet.Options, output format) error {
	var first error
	for i, spec := range specs {
		if i > 0 && output == asYAML {
			fmt.Fprintln(a.out, "---")
		}
		f, err := a.compare(ctx, client, spec, options)
		if err == nil {
			err = a.showPlan(output, *f)
		}
		if err != nil && len(specs) > 1 {
			a.report(err)
			err = &exitError{code: exitCode(err), err: err, said: true}
		}
		if first == nil {
			first = err
		}
	}
	return first
}
