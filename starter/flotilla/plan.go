package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// planned is a forecast as it is printed.
type planned struct {
	Cluster string              `json:"cluster"`
	Kind    fleet.OperationKind `json:"kind"`
	workflows.PlanReply
}

func (a *app) planCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "plan -f FILE",
		Short: "Show what an operation would do, and change nothing",
		Long: `Show what an operation would do, and change nothing. It is the same planner that
runs the operation, played forward from what exists now.`,
		Example: `  flotilla plan -f orders.yaml
  cat orders.yaml | flotilla plan -f -
  flotilla plan decommission orders`,
		Args: noArguments,
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "`file` with one or more specs; - is standard input; may repeat")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		specs, err := a.readSpecs(cmd, files)
		if err != nil {
			return err
		}
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		var first error
		for i, spec := range specs {
			if i > 0 && *output == asYAML {
				fmt.Fprintln(a.out, "---")
			}
			operation := fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec.Spec}
			reply, err := client.Plan(cmd.Context(), operation)
			if err == nil {
				err = a.showPlan(*output, operation, reply, spec.source)
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
	cmd.AddCommand(a.planDecommissionCommand())
	return cmd
}

func (a *app) planDecommissionCommand() *cobra.Command {
	var options fleet.Options
	cmd := &cobra.Command{
		Use: "decommission NAME", Short: "Show what decommissioning a cluster would do, and change nothing",
		Example: "  flotilla plan decommission orders", Args: oneArgument("the name of a cluster"),
		ValidArgsFunction: a.completeCluster,
	}
	skipSnapshotFlag(cmd, &options)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.dial(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		operation := fleet.Operation{Kind: fleet.DecommissionCluster, Cluster: args[0], Options: options}
		reply, err := client.Plan(cmd.Context(), operation)
		if err != nil {
			return err
		}
		return a.showPlan(*output, operation, reply, args[0])
	}
	return cmd
}

// showPlan prints a forecast; one that cannot run is an error, in json and yaml
// after the forecast itself.
func (a *app) showPlan(output format, operation fleet.Operation, reply workflows.PlanReply, source string) error {
	refused := refusal(source, reply)
	if refused != nil && output == asTable {
		return refused
	}
	err := a.print(output, planned{Cluster: operation.Cluster, Kind: operation.Kind, PlanReply: reply}, func() string {
		return planText(operation, reply)
	})
	if err != nil {
		return err
	}
	return refused
}

func skipSnapshotFlag(cmd *cobra.Command, options *fleet.Options) {
	cmd.Flags().BoolVar(&options.SkipFinalSnapshot, "skip-final-snapshot", false,
		"take no last snapshot: the data is gone for good")
}
