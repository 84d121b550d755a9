package main

import (
	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func (a *app) planCommand() *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "plan -f FILE",
		Short: "Show what an operation would do, and change nothing",
		Long: `Show what an operation would do, and change nothing. It is the same planner that
runs the operation, played forward from what exists now.

With -f it is what flotilla apply would do: create a cluster, or make one that exists
what the document says. Every other change is forecast by its own name.`,
		Example: `  flotilla plan -f orders.yaml
  cat orders.yaml | flotilla plan -f -
  flotilla plan upscale orders --type medium
  flotilla plan decommission orders`,
		Args: noArguments,
	}
	fileFlag(cmd, &files)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		specs, err := a.readSpecs(cmd, files)
		if err != nil {
			return err
		}
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		return a.planAll(cmd.Context(), client, specs, fleet.Options{}, *output)
	}
	cmd.AddCommand(a.planAdoptCommand())
	for _, v := range a.verbs() {
		cmd.AddCommand(a.planVerbCommand(v()))
	}
	return cmd
}

func fileFlag(cmd *cobra.Command, files *[]string) {
	cmd.Flags().StringArrayVarP(files, "file", "f", nil, "`file` with one or more specs; - is standard input; may repeat")
}
