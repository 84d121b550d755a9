package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

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
		client, err := a.reach(cmd.Context())
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
