package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"syscall"
)

// internalPorts are where the service roles reach each other. Nobody else needs them,
// and their hosts are fixed, so there are no membership ports.
type internalPorts struct {
	history, matching, worker int
}

const (
	// Below what Linux (32768) and macOS (49152) give to outgoing connections and to
	// listeners on port 0, so that only another server of this kind can take a port
	// between our look and our listen.
	internalPortMin = 15000
	internalPortMax = 32000

	portTries = 200

	// attemptVariable counts the starts that lost the race for an internal port.
	attemptVariable = "FLOTILLA_TEMPORAL_ATTEMPT"
	maxAttempts     = 8
)

// choosePorts fills in the ports that the command line left open, and reports at once
// a port that somebody else has.
func (o *options) choosePorts(ctx context.Context) error {
	taken := map[int]string{}
	for _, p := range []struct {
		flag string
		port int
	}{{"--port", o.port}, {"--ui-port", o.uiPort}, {"--metrics-port", o.metricsPort}} {
		if p.port == 0 {
			continue
		}
		if other, ok := taken[p.port]; ok {
			return fmt.Errorf("%s and %s are both %d: choose different ports", other, p.flag, p.port)
		}
		taken[p.port] = p.flag
		if err := checkPort(ctx, o.address(p.port)); err != nil {
			return portError(o.address(p.port), p.flag, err)
		}
	}
	targets := []*int{&o.internal.history, &o.internal.matching, &o.internal.worker}
	if o.port == 0 {
		o.anyPort = true
		targets = append(targets, &o.port)
	}
	for _, target := range targets {
		port, err := freePort(ctx, o.ip, taken)
		if err != nil {
			return err
		}
		*target = port
		taken[port] = "internal"
	}
	return nil
}

// freePort picks at random, so that servers started together rarely look at the same one.
func freePort(ctx context.Context, ip string, taken map[int]string) (int, error) {
	var last error
	for range portTries {
		port := internalPortMin + rand.IntN(internalPortMax-internalPortMin)
		if _, ok := taken[port]; ok {
			continue
		}
		if last = checkPort(ctx, net.JoinHostPort(ip, strconv.Itoa(port))); last == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on %s between %d and %d: %w", ip, internalPortMin, internalPortMax, last)
}

func checkPort(ctx context.Context, address string) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return l.Close()
}

func portError(address, flag string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program: end it, or choose another port with %s", address, flag)
	}
	return fmt.Errorf("cannot listen on %s (%s): %w", address, flag, err)
}

// startAgain replaces this process with a fresh one that chooses other internal ports.
// The server's own listeners end the process when a port is gone, and leave too much
// half started to try again in place; a new image under the same process ID is clean,
// and nobody who watches this process notices. It returns only when it cannot.
func startAgain() error {
	attempt, _ := strconv.Atoi(os.Getenv(attemptVariable))
	if attempt+1 >= maxAttempts {
		return fmt.Errorf("lost the race for free internal ports %d times", maxAttempts)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot start again with other internal ports: %w", err)
	}
	if err := os.Setenv(attemptVariable, strconv.Itoa(attempt+1)); err != nil {
		return err
	}
	return syscall.Exec(self, os.Args, os.Environ())
}
