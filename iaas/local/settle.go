package local

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// powerPatience is how long init may take to stop its members, which it
	// gives 10 s, before everything on the host is killed.
	powerPatience = 12 * time.Second
	// settlePatience is how long a call that changes a host drives that change
	// itself. The next looks do what is left.
	settlePatience = 2 * time.Second
	settlePause    = 20 * time.Millisecond
)

// look gives a host as it is now, after taking the next step that its record
// asks for, if any. It does not wait: when somebody else is at it, the record
// is what there is to say.
func (p *Provider) look(ctx context.Context, id string) (fleet.Host, error) {
	r, err := p.readHost(id)
	if err != nil {
		return fleet.Host{}, err
	}
	f, err := p.readFaults()
	if err != nil {
		return fleet.Host{}, err
	}
	if p.steady(r, f) {
		return view(r, f), nil
	}
	unlock, ok, err := tryLock(p.hostLock(id))
	if err != nil {
		return fleet.Host{}, err
	}
	if !ok {
		return view(r, f), nil
	}
	defer unlock()
	after, _, err := p.step(ctx, id)
	switch {
	case err != nil && (after.ID == "" || ctx.Err() != nil):
		return fleet.Host{}, err // it became unreadable, or nobody waits any more
	case err != nil:
		// The host is still what its record says; why it gets no further is
		// the reason that people look for.
		p.log.Warn("a host did not get further", zap.String("host", id), zap.Error(err))
		h := view(r, f)
		h.Reason = err.Error()
		return h, nil
	}
	return view(after, f), nil
}

// steady says whether a host is where it was told to be.
func (p *Provider) steady(r hostRecord, f Faults) bool {
	if p.isPaused(r.ID) {
		return false
	}
	switch r.State {
	case fleet.HostStopped, fleet.HostTerminated:
		return true
	case fleet.HostPending, fleet.HostRunning:
		if f.hostFailed(r.Host) {
			left, err := withMarker(p.marker(r.ID))
			return err == nil && len(left) == 0
		}
		_, up := p.initProcess(r.ID)
		return up && r.State == fleet.HostRunning
	}
	return false
}

// settle takes steps until the host is where it was told to be, for a while.
func (p *Provider) settle(ctx context.Context, id string) error {
	for deadline := time.Now().Add(settlePatience); ; {
		unlock, err := lock(ctx, p.hostLock(id))
		if err != nil {
			return err
		}
		_, done, err := p.step(ctx, id)
		unlock()
		if err != nil || done || time.Now().After(deadline) {
			return err
		}
		if err := wait(ctx, settlePause); err != nil {
			return err
		}
	}
}

// step takes the one next step that a host's record asks for and says whether
// that was the last. The host's lock is held. Each step may be taken again
// after a death in the middle of it.
func (p *Provider) step(ctx context.Context, id string) (hostRecord, bool, error) {
	r, err := p.readHost(id)
	if err != nil {
		return r, false, err
	}
	f, err := p.readFaults()
	if err != nil {
		return r, false, err
	}
	if p.isPaused(id) { // by somebody who died before he could resume it
		if err := p.resume(id); err != nil {
			return r, false, err
		}
	}
	failed := f.hostFailed(r.Host)
	switch r.State {
	case fleet.HostPending, fleet.HostRunning:
		if failed {
			return r, true, p.killAll(ctx, id)
		}
		return p.stepUp(ctx, r)
	case fleet.HostStopping:
		down, err := p.powerOff(ctx, &r, failed)
		if err != nil || !down {
			return r, false, err
		}
		r.State = fleet.HostStopped
		return r, true, p.writeHost(r)
	case fleet.HostTerminating:
		down, err := p.powerOff(ctx, &r, failed)
		if err != nil || !down {
			return r, false, err
		}
		return p.bury(ctx, r)
	}
	return r, true, nil
}

// stepUp brings a host towards running, and keeps it there.
func (p *Provider) stepUp(ctx context.Context, r hostRecord) (hostRecord, bool, error) {
	if _, up := p.initProcess(r.ID); !up {
		if err := p.boot(ctx, r); err != nil {
			return r, false, err
		}
		r.Reason = "its init is not up yet; see " + filepath.Join(p.hostDir(r.ID), "init.log")
		return r, false, nil // the reason is for this look only
	}
	if r.State == fleet.HostRunning {
		return r, true, nil
	}
	r.State = fleet.HostRunning
	return r, true, p.writeHost(r)
}

// powerOff brings a host down: init is asked once and given time, then all that
// is left on the host is killed. A failed host has nothing left to ask.
func (p *Provider) powerOff(ctx context.Context, r *hostRecord, failed bool) (bool, error) {
	age := time.Since(r.Changed)
	if init, up := p.initProcess(r.ID); up && !failed && age >= 0 && age < powerPatience {
		if !r.Signalled {
			init.signal(syscall.SIGTERM)
			r.Signalled = true
			return false, p.writeHost(*r)
		}
		return false, nil
	}
	return true, p.killAll(ctx, r.ID)
}

// bury is the end of a host that is down: its disks are detached and stay, its
// directory goes, and the record stays for a while for the sake of its token.
func (p *Provider) bury(ctx context.Context, r hostRecord) (hostRecord, bool, error) {
	if err := p.detachAll(ctx, r.ID); err != nil {
		return r, false, err
	}
	if err := os.RemoveAll(p.hostDir(r.ID)); err != nil {
		return r, false, ioError(r.label(), "its directory cannot be removed", err)
	}
	r.State, r.Ended = fleet.HostTerminated, time.Now().UTC()
	return r, true, p.writeHost(r)
}

// view is what others see of a host: a failed one is down, whatever was asked of it.
func view(r hostRecord, f Faults) fleet.Host {
	h := r.Host
	switch h.State {
	case fleet.HostPending, fleet.HostRunning, fleet.HostStopping, fleet.HostStopped:
		if f.hostFailed(h) {
			h.State, h.Reason = fleet.HostStopped, reasonFailed
		}
	}
	return h
}
