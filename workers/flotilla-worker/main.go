// Command flotilla-worker runs the workflows and steps of Flotilla.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workers"
)

// version is set by the build; without that it is what the program knows of itself.
var version = ""

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "flotilla-worker:", err)
		return exitCode(err)
	}
	return 0
}

func command() *cobra.Command {
	if version == "" {
		version = workers.BuildID()
	}
	config := workers.Config{BuildID: version}
	var file string
	c := &cobra.Command{
		Use:   "flotilla-worker",
		Short: "Run the workflows and steps of Flotilla",
		Long: `Runs the workflows and steps of Flotilla for one region of one provider.

Every flag can also be given as an environment variable (FLOTILLA_OBJECT_STORE for
--object-store) or as a field of the YAML file named with --config; a flag wins
over the environment, and that over the file. How Temporal is reached comes from
Temporal's own configuration: TEMPORAL_ADDRESS, TEMPORAL_API_KEY, TEMPORAL_TLS_…,
or a profile in its TOML file.

Exit codes: 0 drained, 1 failed, 2 wrong configuration, 3 something is not reachable.`,
		Example: `  flotilla-worker --data /var/lib/flotilla --node-binary bin/flotilla-node \
    --object-store file:///var/lib/flotilla/objects --fleet-key fleet.key --releases releases.yaml`,
		Version: version, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := workers.Fill(cmd.Flags(), file, os.LookupEnv); err != nil {
				return err
			}
			return workers.Run(cmd.Context(), config, workers.Options{})
		},
	}
	c.Flags().AddFlagSet(config.Flags())
	c.Flags().StringVar(&file, "config", os.Getenv("FLOTILLA_CONFIG"), "YAML file with these settings")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fleet.Errorf(fleet.Invalid, "command line", "%w", err).WithRemedy("see flotilla-worker --help")
	})
	return c
}

func exitCode(err error) int {
	switch fleet.KindOf(err) {
	case fleet.Invalid, fleet.Denied, fleet.NotFound: // a file that it names, say
		return 2
	case fleet.Unavailable:
		return 3
	}
	return 1
}
