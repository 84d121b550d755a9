// Command breakworker is flotilla-worker with break points, for the crash tests:
// it writes down every boundary that it passes, and stops clusters dead at the
// ones it was told, with no heartbeat, until it is killed or lets them go.
//
//	FLOTILLA_TRACE   file that gets a line "<cluster> <boundary>" for each one passed
//	FLOTILLA_BREAKS  file with such lines: a cluster stops at each of its boundaries, once
//	FLOTILLA_STOPS   directory that gets a file named for each cluster that stopped;
//	                 with its boundary in it; deleting the file lets the cluster go
//	FLOTILLA_BEGUN   file with what the workers before this one began, to which it adds
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"github.com/flotilla-etcd/flotilla/activities"
	"github.com/flotilla-etcd/flotilla/workers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "breakworker:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop was called
	}
}

func run(ctx context.Context) error {
	points, err := newPoints(os.Getenv("FLOTILLA_TRACE"), os.Getenv("FLOTILLA_BREAKS"), os.Getenv("FLOTILLA_STOPS"), os.Getenv("FLOTILLA_BEGUN"))
	if err != nil {
		return err
	}
	// No workflow is kept in memory: each of its tasks replays it, which shows what is not
	// deterministic, and none waits for the memory of a worker that died.
	worker.SetStickyWorkflowCacheSize(0)
	var config workers.Config
	if err := config.Flags().Parse(os.Args[1:]); err != nil {
		return err
	}
	// Each attempt at a step of a cluster that stands keeps its place, and another one follows
	// every few seconds: the other clusters are not to wait for a place.
	config.MaxSteps = 100_000
	return workers.Run(ctx, config, workers.Options{
		Interceptors: []interceptor.WorkerInterceptor{&breaks{points: points}},
		Region: func(r *activities.Region) {
			r.Provider = provider{r.Provider, points}
			r.Store = watched(r.Store, points)
			r.Calls = points.etcd
		},
	})
}
