// Program flotilla-temporal is the Temporal service that Flotilla is developed,
// demonstrated and tested against: every service role and the Web UI in one process on
// loopback, with its state in one SQLite file that survives a kill -9.
//
// It is no production server. It has no authentication, which is why it listens on
// loopback only, and it trades durability across a power loss for latency.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// stopTimeout bounds a clean end. Past it the process leaves anyway: SQLite's
// write-ahead log makes an abrupt end safe, and whoever sent the signal is waiting.
const stopTimeout = 4 * time.Second

func main() { os.Exit(exitCode()) }

func exitCode() int {
	opts, err := parseOptions(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fail(err)
		return 2
	case opts.version:
		fmt.Println(versionLine())
		return 0
	}
	// Caught from here on, so that a signal during the start is not lost.
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, opts); err != nil {
		fail(err)
		return 1
	}
	return 0
}

// run starts everything, says that it is ready, and ends it when ctx is done.
func run(ctx context.Context, opts *options) error {
	if err := opts.choosePorts(ctx); err != nil {
		return err
	}
	db, err := openDatabase(ctx, opts.db)
	if err != nil {
		return err
	}
	defer db.Close()

	srv, err := startServer(ctx, opts, db)
	if err != nil {
		return err
	}
	ui, err := startUI(ctx, opts)
	if err != nil {
		stopWithin(stopTimeout, srv.Stop)
		return err
	}
	fmt.Println(readyLine(opts))

	<-ctx.Done()
	stopWithin(stopTimeout, func() {
		ui.Stop()
		srv.Stop()
	})
	return nil
}

func readyLine(opts *options) string {
	line := "ready frontend=" + opts.frontendAddress()
	if opts.uiPort != 0 {
		line += " ui=http://" + opts.uiAddress()
	}
	if opts.metricsPort != 0 {
		line += " metrics=http://" + opts.metricsAddress() + "/metrics"
	}
	return line
}

func stopWithin(limit time.Duration, stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		stop()
	}()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

func fail(err error) {
	_, _ = fmt.Fprintln(os.Stderr, "flotilla-temporal:", err)
}
