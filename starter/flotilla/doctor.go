package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// examined is what doctor prints.
type examined struct {
	Provider string        `json:"provider"`
	Region   string        `json:"region"`
	Checks   []fleet.Check `json:"checks"`
}

func (a *app) doctorCommand() *cobra.Command {
	var provider, region string
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say what a region lacks for its work", Args: noArguments,
		Long: `Say what a region lacks for its work: credentials, rights (tried by dry runs), subnets,
security groups and what they let through, image, machine types, quotas, the catalogue
of releases, and the way of workers and hosts to the object store. The region's workers look, with what they were
configured with: nothing is bought or changed, and no credentials are needed here.

The exit code is 1 if something is missing. What cannot be found out is said, and is
no failure.`,
		Example: `  flotilla doctor --provider aws --region us-east-1
  flotilla doctor --provider aws --region us-east-1 -o json | jq '.checks[] | select(.state=="missing")'`,
	}
	placeFlags(cmd, &provider, &region)
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		checks, err := client.Examine(cmd.Context(), provider, region)
		if err != nil {
			return err
		}
		if err := a.print(*output, examined{provider, region, checks}, func() string { return checksText(a.out, checks) }); err != nil {
			return err
		}
		missing := 0
		for _, c := range checks {
			if c.State == fleet.CheckMissing {
				missing++
			}
		}
		if missing > 0 {
			return &exitError{code: exitFailed, err: fmt.Errorf("%s/%s lacks %s", provider, region, terminal.Count(missing, "thing"))}
		}
		if len(checks) == 0 {
			return &exitError{code: exitFailed, err: errors.New("nothing was looked at")}
		}
		return nil
	}
	return cmd
}

// placeFlags are the flags that say which region a command is about.
func placeFlags(cmd *cobra.Command, provider, region *string) {
	cmd.Flags().StringVar(provider, "provider", "", "the region's provider, as in aws")
	cmd.Flags().StringVar(region, "region", "", "the region")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if *provider == "" || *region == "" {
			return usageError(cmd, fmt.Errorf("%s needs --provider and --region", cmd.CommandPath()))
		}
		return nil
	}
}

var checkColours = map[fleet.CheckState]terminal.Colour{
	fleet.CheckOK: terminal.Green, fleet.CheckMissing: terminal.Red, fleet.CheckUnknown: terminal.Yellow,
}

func checksText(o terminal.Output, checks []fleet.Check) string {
	rows := make([][]string, len(checks))
	var remedies strings.Builder
	for i, c := range checks {
		rows[i] = []string{o.Paint(checkColours[c.State], string(c.State)), c.What, c.Found}
		if c.Remedy != "" && c.State == fleet.CheckMissing {
			fmt.Fprintf(&remedies, "%s: %s\n", c.What, c.Remedy)
		}
	}
	text := terminal.Table([]string{"STATE", "WHAT", "FOUND"}, rows)
	if remedies.Len() > 0 {
		text += "\nWhat to do:\n" + remedies.String()
	}
	return text
}
