package dev

import (
	"context"
	"errors"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

// hostsTimeout bounds stopping or starting all hosts of this machine.
const hostsTimeout = time.Minute

// OpenProvider gives the local provider of an environment, to look at its hosts and
// to inject faults.
func OpenProvider(r devenv.Record) (*local.Provider, error) {
	return local.Open(local.Config{Root: r.LocalRoot, Region: r.Region, Zones: r.Zones, NodeBinary: r.NodeBinary})
}

// Hosts gives the hosts of an environment, oldest first.
func Hosts(ctx context.Context, r devenv.Record) ([]fleet.Host, error) {
	p, err := OpenProvider(r)
	if err != nil {
		return nil, err
	}
	return p.ListHosts(ctx, nil)
}

// stopHosts stops all hosts, as a machine that is shut down: disks keep their data.
func stopHosts(ctx context.Context, r devenv.Record) (int, error) {
	return eachHost(ctx, r, fleet.HostRunning, func(ctx context.Context, p *local.Provider, id string) error { return p.StopHost(ctx, id) })
}

func startHosts(ctx context.Context, r devenv.Record) (int, error) {
	return eachHost(ctx, r, fleet.HostStopped, func(ctx context.Context, p *local.Provider, id string) error { return p.StartHost(ctx, id) })
}

// terminateHosts ends all hosts for good.
func terminateHosts(ctx context.Context, r devenv.Record) (int, error) {
	return eachHost(ctx, r, "", func(ctx context.Context, p *local.Provider, id string) error { return p.TerminateHost(ctx, id) })
}

// eachHost does something to each host in a state (any, when empty) and looks until
// it is not in that state any more.
func eachHost(ctx context.Context, r devenv.Record, state fleet.HostState, do func(context.Context, *local.Provider, string) error) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, hostsTimeout)
	defer cancel()
	p, err := OpenProvider(r)
	if err != nil {
		return 0, err
	}
	hosts, err := p.ListHosts(ctx, nil)
	if err != nil {
		return 0, err
	}
	var chosen []fleet.Host
	var failed error
	for _, h := range hosts {
		if state != "" && h.State != state {
			continue
		}
		if err := do(ctx, p, h.ID); err != nil && !fleet.Is(err, fleet.NotFound) {
			failed = errors.Join(failed, err)
			continue
		}
		chosen = append(chosen, h)
	}
	for _, h := range chosen {
		failed = errors.Join(failed, settled(ctx, p, h.ID))
	}
	return len(chosen), failed
}

// settled waits until a host is in none of the states in between.
func settled(ctx context.Context, p *local.Provider, id string) error {
	for {
		h, err := p.Host(ctx, id)
		switch {
		case fleet.Is(err, fleet.NotFound):
			return nil
		case err == nil && (h.State == fleet.HostRunning || h.State == fleet.HostStopped || h.State == fleet.HostTerminated):
			return nil
		case ctx.Err() != nil:
			return fleet.Errorf(fleet.Unavailable, "host "+id, "is still %s after %s", h.State, hostsTimeout)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
