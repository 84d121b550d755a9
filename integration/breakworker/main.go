// Command breakworker is flotilla-worker with break points, for the crash tests:
// it writes down every boundary that it passes, and at the one it was told stops
// dead, with no heartbeat, until it is killed or let go.
//
//	FLOTILLA_TRACE  file that gets a line for each boundary passed
//	FLOTILLA_BREAK  the boundary to stop at, as it stands in a trace
//	FLOTILLA_STOP   file that is written when it stops; deleting it lets it go
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.temporal.io/sdk/interceptor"

	"github.com/flotilla-etcd/flotilla/activities"
	"github.com/flotilla-etcd/flotilla/workers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var config workers.Config
	flags := config.Flags()
	points := newPoints(os.Getenv("FLOTILLA_TRACE"), os.Getenv("FLOTILLA_BREAK"), os.Getenv("FLOTILLA_STOP"))
	err := flags.Parse(os.Args[1:])
	if err == nil {
		err = workers.Run(ctx, config, workers.Options{
			Interceptors: []interceptor.WorkerInterceptor{&breaks{points: points}},
			Region: func(r *activities.Region) {
				r.Provider = provider{r.Provider, points}
				r.Store = store{r.Store, points}
			},
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "breakworker:", err)
		os.Exit(1)
	}
}
