package cloudsim

import (
	"slices"
	"time"
)

// FaultKind is what goes wrong on purpose.
type FaultKind string

// The faults. The first group hits calls, the second what the region does.
const (
	// Throttle refuses calls as asked too often.
	Throttle FaultKind = "throttle"
	// ServerError fails calls before they have done anything.
	ServerError FaultKind = "server error"
	// LoseAnswer does what was asked and closes the connection instead of answering.
	LoseAnswer FaultKind = "lose answer"
	// Slow delays calls by Fault.Delay.
	Slow FaultKind = "slow"
	// Deny refuses calls as not allowed.
	Deny FaultKind = "deny"

	// NoStockLeft sells no instance.
	NoStockLeft FaultKind = "no stock"
	// NeverReady keeps instances pending.
	NeverReady FaultKind = "never ready"
	// StuckDetach keeps disks detaching.
	StuckDetach FaultKind = "stuck detach"
	// Agentless keeps the run-command agent from answering.
	Agentless FaultKind = "agent away"
	// ZoneOut is a zone that is out: FailZone makes it.
	ZoneOut FaultKind = "zone out"
)

// Target is what a fault may hit. In a Fault, an empty field is any.
type Target struct {
	Action string // of the vendor, as in RunInstances
	Zone   string
	Type   string // instance type
	ID     string // instance or disk
}

func (t Target) within(f Target) bool {
	return (f.Action == "" || f.Action == t.Action) && (f.Zone == "" || f.Zone == t.Zone) &&
		(f.Type == "" || f.Type == t.Type) && (f.ID == "" || f.ID == t.ID)
}

// Fault is one thing that goes wrong.
type Fault struct {
	Kind FaultKind
	Target
	// Times is how often it strikes; 0: until it is healed.
	Times int
	// Share is how many of those that it may hit it does; 0: all.
	Share float64
	// Delay is that of Slow, and what Throttle asks callers to wait.
	Delay time.Duration

	struck int
}

// Inject makes a fault; heal ends it.
func (w *World) Inject(f Fault) (heal func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	active := &f
	w.faults = append(w.faults, active)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.faults = slices.DeleteFunc(w.faults, func(other *Fault) bool { return other == active })
	}
}

// HealAll ends all faults.
func (w *World) HealAll() error {
	w.mu.Lock()
	w.faults = nil
	w.mu.Unlock()
	if w.machine == nil {
		return nil
	}
	return w.machine.ClearFaults(w.ctx)
}

// Struck says how often faults of a kind have struck, of those that are active.
func (w *World) Struck(kind FaultKind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum := 0
	for _, f := range w.faults {
		if f.Kind == kind {
			sum += f.struck
		}
	}
	return sum
}

// strikes gives the fault that hits a target now, if there is one, and counts it.
// w.mu is held.
func (w *World) strikes(kind FaultKind, at Target) *Fault {
	for _, f := range w.faults {
		if f.Kind != kind || !at.within(f.Target) || f.Times > 0 && f.struck >= f.Times {
			continue
		}
		if f.Share > 0 && w.random.Float64() >= f.Share {
			continue
		}
		f.struck++
		return f
	}
	return nil
}

// holds says whether a fault would hit a target, without counting. w.mu is held.
func (w *World) holds(kind FaultKind, at Target) bool {
	return slices.ContainsFunc(w.faults, func(f *Fault) bool {
		return f.Kind == kind && at.within(f.Target) && (f.Times == 0 || f.struck < f.Times)
	})
}

// stays is holds for those who do not hold w.mu.
func (w *World) stays(kind FaultKind, at Target) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.holds(kind, at)
}

func (w *World) zoneDown(zone string) bool { return w.holds(ZoneOut, Target{Zone: zone}) }

// FailZone makes a zone go out: what runs in it dies, nothing is sold or changed there,
// and its instances are shown as they were. heal brings it back.
func (w *World) FailZone(zone string) (heal func() error, err error) {
	end := w.Inject(Fault{Kind: ZoneOut, Target: Target{Zone: zone}})
	if w.machine == nil {
		return func() error { end(); return nil }, nil
	}
	return func() error { end(); return w.machine.HealZone(w.ctx, zone) }, w.machine.FailZone(w.ctx, zone)
}

// Reclaim ends an instance at once, as a cloud does that wants its capacity back: what
// runs on it dies as by a power cut.
func (w *World) Reclaim(id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, err := w.told(id)
	if err != nil {
		return err
	}
	w.terminate(i, ByCloud)
	return nil
}
