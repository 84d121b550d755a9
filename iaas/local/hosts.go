package local

import (
	"context"
	"errors"
	"maps"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// LaunchHost buys a host and starts to boot it.
func (p *Provider) LaunchHost(ctx context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	f, err := p.begin(ctx)
	if err != nil {
		return fleet.Host{}, err
	}
	resource := "host " + req.Name
	if err := checkToken(resource, req.Token); err != nil {
		return fleet.Host{}, err
	}
	id, err := p.buyHost(ctx, req, f)
	if err != nil {
		return fleet.Host{}, err
	}
	return p.look(ctx, id)
}

// buyHost records a host, or finds the one that was recorded for the token.
// Everything after this follows from the record.
func (p *Provider) buyHost(ctx context.Context, req iaas.LaunchHostRequest, f Faults) (string, error) {
	unlock, err := lock(ctx, p.rootLock())
	if err != nil {
		return "", err
	}
	defer unlock()
	id := p.HostID(req.Token)
	resource := label("host", req.Name, id)
	old, err := p.readHost(id)
	if err == nil {
		if !sameLaunch(old.Request, req) {
			return "", reusedToken(old.label())
		}
		return id, nil
	}
	if !fleet.Is(err, fleet.NotFound) {
		return "", err
	}
	if err := p.checkPlace(resource, req.Zone, req.Type); err != nil {
		return "", err
	}
	if f.zoneFailed(req.Zone) {
		return "", zoneDown(resource, req.Zone)
	}
	others, err := p.allHosts()
	if err != nil {
		return "", err
	}
	if !f.sells(others, req.Zone, req.Type) {
		return "", soldOut(resource, req.Zone, req.Type)
	}
	p.pruneHosts(others)
	address, ports, err := p.place(ctx, others)
	if err != nil {
		return "", err
	}
	now := time.Now().UTC()
	r := hostRecord{
		Format: recordFormat,
		Host: fleet.Host{
			ID: id, Name: req.Name, Region: p.region, Zone: req.Zone, Type: req.Type, State: fleet.HostPending,
			Address: address, Ports: ports, Tags: bought(req.Tags, req.Token), Launched: now,
		},
		Request: req,
		Changed: now,
	}
	return id, p.writeHost(r)
}

func sameLaunch(a, b iaas.LaunchHostRequest) bool {
	return a.Token == b.Token && a.Name == b.Name && a.Zone == b.Zone && a.Type == b.Type && maps.Equal(a.Tags, b.Tags)
}

func reusedToken(resource string) error {
	return fleet.Errorf(fleet.Invalid, resource, "its token was used again for another request").
		WithRemedy("use a new token for each thing that is bought")
}

func zoneDown(resource, zone string) error {
	return fleet.Errorf(fleet.Unavailable, resource, "zone %s does not answer", zone).
		WithRemedy("wait until it is healed, or use another zone")
}

func soldOut(resource, zone, machineType string) error {
	return fleet.Errorf(fleet.OutOfCapacity, resource, "zone %s has no more %s hosts", zone, machineType).
		WithRemedy("choose another zone or type")
}

// pruneHosts forgets hosts that ended long ago. The root's lock is held.
func (p *Provider) pruneHosts(all []hostRecord) {
	for _, r := range all {
		if r.State != fleet.HostTerminated || time.Since(r.Ended) < tombstoneAge {
			continue
		}
		err := errors.Join(os.Remove(p.hostRecordPath(r.ID)), os.Remove(p.hostLock(r.ID)))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			p.log.Warn("an ended host was not pruned", zap.String("host", r.ID), zap.Error(err))
		}
	}
}

// Host gives one host. A terminated one shows as that for a day.
func (p *Provider) Host(ctx context.Context, id string) (fleet.Host, error) {
	if _, err := p.begin(ctx); err != nil {
		return fleet.Host{}, err
	}
	return p.look(ctx, id)
}

// ListHosts gives the hosts with these tags. It looks at all hosts, so that
// whatever was left half done is driven on even if nobody asks for it by name.
func (p *Provider) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	if _, err := p.begin(ctx); err != nil {
		return nil, err
	}
	all, err := p.allHosts()
	if err != nil {
		return nil, err
	}
	hosts := []fleet.Host{}
	for _, r := range all {
		if err := ended(ctx, "local provider"); err != nil {
			return nil, err
		}
		if r.State == fleet.HostTerminated {
			continue
		}
		h, err := p.look(ctx, r.ID)
		if fleet.Is(err, fleet.NotFound) {
			continue // pruned since the listing
		}
		if err != nil {
			return nil, err
		}
		if h.State != fleet.HostTerminated && matches(h.Tags, tags) {
			hosts = append(hosts, h)
		}
	}
	return hosts, nil
}

// StopHost shuts a host down; what runs on it is asked to stop and then killed.
func (p *Provider) StopHost(ctx context.Context, id string) error {
	return p.change(ctx, id, func(r *hostRecord, _ Faults) error {
		switch r.State {
		case fleet.HostPending, fleet.HostRunning:
			r.State = fleet.HostStopping
			return nil
		case fleet.HostStopping, fleet.HostStopped:
			return nil
		}
		return gone(*r)
	})
}

// StartHost boots a stopped host. fleet.Unavailable while a fault keeps it down.
func (p *Provider) StartHost(ctx context.Context, id string) error {
	return p.change(ctx, id, func(r *hostRecord, f Faults) error {
		switch r.State {
		case fleet.HostPending, fleet.HostRunning, fleet.HostStopped:
			if f.hostFailed(r.Host) {
				return fleet.Errorf(fleet.Unavailable, r.label(), "it cannot start, %s", reasonFailed).
					WithRemedy("heal the host or its zone, or replace the host")
			}
			if r.State == fleet.HostStopped {
				r.State = fleet.HostPending
			}
			return nil
		case fleet.HostStopping:
			return fleet.Errorf(fleet.Conflict, r.label(), "it is still stopping").
				WithRemedy("start it when it has stopped")
		}
		return gone(*r)
	})
}

// ResizeHost changes the type of a stopped host.
func (p *Provider) ResizeHost(ctx context.Context, id, machineType string) error {
	return p.change(ctx, id, func(r *hostRecord, f Faults) error {
		if err := p.checkPlace(r.label(), r.Zone, machineType); err != nil {
			return err
		}
		switch {
		case r.State == fleet.HostTerminating || r.State == fleet.HostTerminated:
			return gone(*r)
		case r.Type == machineType:
			return nil
		case view(*r, f).State != fleet.HostStopped:
			return fleet.Errorf(fleet.Conflict, r.label(), "it is %s, and only a stopped host can be resized", r.State).
				WithRemedy("stop it first")
		}
		// The limits count hosts of all states, so that this one moves from one
		// type to the other in a single write, guarded by the root's lock.
		unlock, err := lock(ctx, p.rootLock())
		if err != nil {
			return err
		}
		defer unlock()
		all, err := p.allHosts()
		if err != nil {
			return err
		}
		others := all[:0:0]
		for _, h := range all {
			if h.ID != r.ID {
				others = append(others, h)
			}
		}
		if !f.sells(others, r.Zone, machineType) {
			return soldOut(r.label(), r.Zone, machineType)
		}
		r.Type = machineType
		return p.writeHost(*r)
	})
}

// TagHost adds tags to a host. Its token goes on to name it, whatever its tag says.
func (p *Provider) TagHost(ctx context.Context, id string, tags iaas.Tags) error {
	return p.change(ctx, id, func(r *hostRecord, _ Faults) error {
		if r.State == fleet.HostTerminating || r.State == fleet.HostTerminated {
			return gone(*r)
		}
		changed, err := tagged(r.label(), r.Tags, tags)
		if err != nil || changed == nil {
			return err
		}
		r.Tags = changed
		return p.writeHost(*r)
	})
}

// TerminateHost ends a host for good: its processes are killed, its disks
// detached, its directory removed.
func (p *Provider) TerminateHost(ctx context.Context, id string) error {
	err := p.change(ctx, id, func(r *hostRecord, _ Faults) error {
		if r.State != fleet.HostTerminated {
			r.State = fleet.HostTerminating
		}
		return nil
	})
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

// gone is the answer to asking something of a host that is ending or has ended.
func gone(r hostRecord) error {
	if r.State == fleet.HostTerminating {
		return fleet.Errorf(fleet.Conflict, r.label(), "it is being terminated")
	}
	return fleet.Errorf(fleet.NotFound, r.label(), "it was terminated")
}

// change writes down what a host is told to be and then drives it there for a
// while. Where it already is so, or on its way, nothing is written anew.
func (p *Provider) change(ctx context.Context, id string, tell func(*hostRecord, Faults) error) error {
	f, err := p.begin(ctx)
	if err != nil {
		return err
	}
	if _, err := p.readHost(id); err != nil {
		return err
	}
	unlock, err := lock(ctx, p.hostLock(id))
	if err != nil {
		return err
	}
	r, err := p.readHost(id)
	if err == nil {
		was := r.State
		if err = tell(&r, f); err == nil && r.State != was {
			if was != fleet.HostStopping { // else init has been asked, and its time runs
				r.Changed, r.Signalled = time.Now().UTC(), false
			}
			p.log.Info("a host is to change", zap.String("host", id), zap.String("name", r.Name),
				zap.String("from", string(was)), zap.String("to", string(r.State)))
			err = p.writeHost(r)
		}
	}
	unlock()
	if err != nil {
		return err
	}
	switch r.State {
	case fleet.HostStopping, fleet.HostTerminating:
		return p.settle(ctx, id)
	}
	_, err = p.look(ctx, id)
	return err
}
