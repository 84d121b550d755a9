package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// endpointsEvery is how often they are asked for while they are watched. An operation
// tells them before it takes a member away, and a client with several endpoints
// survives that anyway.
const endpointsEvery = time.Second

func (a *app) endpointsCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "endpoints NAME",
		Short: "Print where clients should connect now",
		Long: `Print where clients should connect now, in a line as etcdctl takes it. A member that is
about to be taken away is not among them. With --watch each change is printed, until
Ctrl-C.`,
		Example: `  flotilla endpoints orders
  flotilla endpoints orders --watch | while read -r line; do echo "$line" > endpoints; done`,
		Args: oneArgument("the name of a cluster"), ValidArgsFunction: a.completeCluster,
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "print each change, until interrupted")
	output := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.reach(cmd.Context())
		if err != nil {
			return err
		}
		defer client.Close()
		endpoints, err := client.Endpoints(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if len(endpoints) == 0 && !watch {
			return fleet.Errorf(fleet.Conflict, args[0], "has no member that a client could connect to").
				WithRemedy("flotilla describe %s shows how it stands", args[0])
		}
		if err := a.printEndpoints(*output, args[0], endpoints); err != nil || !watch {
			return err
		}
		ticker := time.NewTicker(endpointsEvery)
		defer ticker.Stop()
		return a.watchEndpoints(cmd.Context(), client, *output, args[0], endpoints, ticker.C)
	}
	return cmd
}

// clusterEndpoints is what endpoints prints.
type clusterEndpoints struct {
	Cluster   string           `json:"cluster"`
	Endpoints []fleet.Endpoint `json:"endpoints"`
}

func (a *app) printEndpoints(output format, cluster string, endpoints []fleet.Endpoint) error {
	if endpoints == nil {
		endpoints = []fleet.Endpoint{} // an empty list, not null
	}
	return a.print(output, clusterEndpoints{cluster, endpoints}, func() string { return strings.Join(endpointURLs(endpoints), ",") + "\n" })
}

// watchEndpoints looks at each tick and prints each change, until ctx ends, which is no
// failure, or the cluster is gone. A control plane that does not answer for a while is
// waited for.
func (a *app) watchEndpoints(ctx context.Context, client plane, output format, cluster string, last []fleet.Endpoint, ticks <-chan time.Time) error {
	silent := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
		}
		view, err := client.Describe(ctx, cluster)
		now := view.Endpoints
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil && view.Summary.Phase == fleet.PhaseGone:
			a.say("%s is gone", cluster)
			return nil
		case err != nil && !fleet.Is(err, fleet.Unavailable):
			return err
		case err != nil:
			if !silent {
				a.say("%s; watching on", err)
			}
			silent = true
			continue
		}
		silent = false
		if slices.Equal(now, last) {
			continue
		}
		if output == asYAML {
			fmt.Fprintln(a.out, "---")
		}
		if err := a.printEndpoints(output, cluster, now); err != nil {
			return err
		}
		last = now
	}
}
