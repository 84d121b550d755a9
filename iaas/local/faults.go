package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// throttleRetryAfter is the delay that a call throttled by a fault asks for: long
// enough to be seen, short enough for a person who is watching.
const throttleRetryAfter = 200 * time.Millisecond

// AnyType in a capacity limit counts all machine types of the zone together.
const AnyType = "*"

// reasonFailed is what a failed host says of itself.
const reasonFailed = "failed by fault injection"

// Faults are what goes wrong on purpose. They are kept in the root and read at
// every call, so that telling them from one process works in all at once.
type Faults struct {
	// Hosts are the IDs of hosts whose hardware died: all their processes are
	// killed, they show as stopped, and cannot be started. Their disks are whole.
	Hosts []string `json:"hosts,omitempty"`
	// Silent are the IDs of hosts whose agent does not answer: they run, with all that
	// is on them, and take no command.
	Silent []string `json:"silent,omitempty"`
	// Zones are those that failed: every host in them has, and they sell, attach
	// and grow nothing. What is in them can still be given up.
	Zones []string `json:"zones,omitempty"`
	// Capacity is how many hosts a zone has in all.
	Capacity []CapacityLimit `json:"capacity,omitempty"`
	// Latency is what each call takes longer.
	Latency fleet.Duration `json:"latency,omitzero"`
	// ThrottleEvery makes each n-th call of a process fleet.Throttled; 0: none.
	ThrottleEvery int `json:"throttleEvery,omitempty"`
	// ErrorRate is the share of calls, 0 to 1, that are fleet.Unavailable
	// before they have done anything.
	ErrorRate float64 `json:"errorRate,omitempty"`
}

// CapacityLimit is how many hosts of a type a zone has, sold ones included.
type CapacityLimit struct {
	Zone  string `json:"zone"`
	Type  string `json:"type"` // AnyType: of all types together
	Hosts int    `json:"hosts"`
}

func (f Faults) silent(hostID string) bool { return slices.Contains(f.Silent, hostID) }

func (f Faults) zoneFailed(zone string) bool { return slices.Contains(f.Zones, zone) }

func (f Faults) hostFailed(h fleet.Host) bool {
	return slices.Contains(f.Hosts, h.ID) || f.zoneFailed(h.Zone)
}

// sells says whether one more host of this type would be within all limits.
func (f Faults) sells(hosts []hostRecord, zone, machineType string) bool {
	for _, limit := range f.Capacity {
		if limit.Zone != zone || limit.Type != AnyType && limit.Type != machineType {
			continue
		}
		sold := 0
		for _, h := range hosts {
			if h.State != fleet.HostTerminated && h.Zone == zone && (limit.Type == AnyType || h.Type == machineType) {
				sold++
			}
		}
		if sold >= limit.Hosts {
			return false
		}
	}
	return true
}

// ListFaults gives the faults that are in force.
func (p *Provider) ListFaults(ctx context.Context) (Faults, error) {
	if err := ended(ctx, "faults"); err != nil {
		return Faults{}, err
	}
	return p.readFaults()
}

// ClearFaults ends all faults. Hosts that had failed boot again.
func (p *Provider) ClearFaults(ctx context.Context) error {
	if err := p.changeFaults(ctx, func(f *Faults) { *f = Faults{} }); err != nil {
		return err
	}
	return p.lookAtAll(ctx, nil)
}

// FailHost makes a host fail at once, as by dead hardware: kill -9 for all on it.
func (p *Provider) FailHost(ctx context.Context, id string) error {
	if _, err := p.readHost(id); err != nil {
		return err
	}
	err := p.changeFaults(ctx, func(f *Faults) { f.Hosts = with(f.Hosts, id) })
	if err != nil {
		return err
	}
	return p.strike(ctx, id)
}

// SilenceHost keeps a host's agent from answering, as when the cloud's own network is
// gone from it: commands are refused as unavailable, and those in hand go on without
// anybody hearing of them. Clients and peers of its members notice nothing.
func (p *Provider) SilenceHost(ctx context.Context, id string) error {
	if _, err := p.readHost(id); err != nil {
		return err
	}
	return p.changeFaults(ctx, func(f *Faults) { f.Silent = with(f.Silent, id) })
}

// FailDisk loses a disk for good, with all that is on it, as a cloud that says that it
// is gone: processes that use it die, it is deleted, and nothing heals it.
func (p *Provider) FailDisk(ctx context.Context, id string) error {
	return p.tellDisk(ctx, id, Faults{}, func(r *diskRecord, _ Faults) error {
		if r.State == fleet.DiskDeleted {
			return noDisk(*r)
		}
		r.State = fleet.DiskDeleting
		return nil
	})
}

// HealHost ends the failure and the silence of a host. It boots again if it was running.
func (p *Provider) HealHost(ctx context.Context, id string) error {
	err := p.changeFaults(ctx, func(f *Faults) { f.Hosts, f.Silent = without(f.Hosts, id), without(f.Silent, id) })
	if err != nil {
		return err
	}
	return p.lookAtAll(ctx, func(h hostRecord) bool { return h.ID == id })
}

// FailZone makes a whole zone fail at once, with every host in it.
func (p *Provider) FailZone(ctx context.Context, zone string) error {
	if err := p.checkZone(zone); err != nil {
		return err
	}
	if err := p.changeFaults(ctx, func(f *Faults) { f.Zones = with(f.Zones, zone) }); err != nil {
		return err
	}
	hosts, err := p.allHosts()
	if err != nil {
		return err
	}
	var failed error
	for _, h := range hosts {
		if h.Zone == zone && h.State != fleet.HostTerminated {
			failed = errors.Join(failed, p.strike(ctx, h.ID))
		}
	}
	return failed
}

// HealZone ends the failure of a zone. Hosts that were running boot again.
func (p *Provider) HealZone(ctx context.Context, zone string) error {
	if err := p.checkZone(zone); err != nil {
		return err
	}
	if err := p.changeFaults(ctx, func(f *Faults) { f.Zones = without(f.Zones, zone) }); err != nil {
		return err
	}
	return p.lookAtAll(ctx, func(h hostRecord) bool { return h.Zone == zone })
}

// SetCapacity says how many hosts of a type (AnyType: of all together) a zone
// has, those included that are sold already. A negative number ends the limit.
func (p *Provider) SetCapacity(ctx context.Context, zone, machineType string, hosts int) error {
	if err := p.checkZone(zone); err != nil {
		return err
	}
	if machineType != AnyType {
		if err := p.checkPlace("faults", zone, machineType); err != nil {
			return err
		}
	}
	return p.changeFaults(ctx, func(f *Faults) {
		f.Capacity = slices.DeleteFunc(f.Capacity, func(l CapacityLimit) bool {
			return l.Zone == zone && l.Type == machineType
		})
		if hosts >= 0 {
			f.Capacity = append(f.Capacity, CapacityLimit{Zone: zone, Type: machineType, Hosts: hosts})
		}
	})
}

// SetLatency makes each call take longer by d; 0 ends that.
func (p *Provider) SetLatency(ctx context.Context, d time.Duration) error {
	if d < 0 {
		return fleet.Errorf(fleet.Invalid, "faults", "a latency of %v is negative", d)
	}
	return p.changeFaults(ctx, func(f *Faults) { f.Latency = fleet.Duration(d) })
}

// SetThrottle makes each n-th call of a process fleet.Throttled; 0 ends that.
func (p *Provider) SetThrottle(ctx context.Context, everyNth int) error {
	if everyNth < 0 {
		return fleet.Errorf(fleet.Invalid, "faults", "each %d-th call cannot be throttled", everyNth)
	}
	return p.changeFaults(ctx, func(f *Faults) { f.ThrottleEvery = everyNth })
}

// SetErrorRate makes a share of the calls, 0 to 1, fleet.Unavailable; 0 ends that.
func (p *Provider) SetErrorRate(ctx context.Context, rate float64) error {
	if math.IsNaN(rate) || rate < 0 || rate > 1 {
		return fleet.Errorf(fleet.Invalid, "faults", "an error rate of %v is not from 0 to 1", rate)
	}
	return p.changeFaults(ctx, func(f *Faults) { f.ErrorRate = rate })
}

func (p *Provider) checkZone(zone string) error {
	return p.checkPlace("faults", zone, p.types[0].Name)
}

func (p *Provider) faultsPath() string { return filepath.Join(p.root, "faults.json") }

func (p *Provider) readFaults() (Faults, error) {
	var f Faults
	data, err := os.ReadFile(p.faultsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err != nil {
		return f, ioError("faults", "they cannot be read", err)
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return f, fleet.Errorf(fleet.Denied, "faults", "their file %s is damaged (%w)", p.faultsPath(), err).
			WithRemedy("remove the file, which ends all faults")
	}
	return f, nil
}

func (p *Provider) changeFaults(ctx context.Context, change func(*Faults)) error {
	unlock, err := lock(ctx, p.rootLock())
	if err != nil {
		return err
	}
	defer unlock()
	f, err := p.readFaults()
	if err != nil {
		return err
	}
	change(&f)
	if err := writeJSON(p.faultsPath(), f); err != nil {
		return ioError("faults", "they cannot be written", err)
	}
	p.log.Sugar().Infow("faults changed", "faults", fmt.Sprintf("%+v", f))
	return nil
}

// strike kills all that runs on a host that has failed. What an earlier boot may
// have started is caught too: boots happen under the host's lock and ask for faults.
func (p *Provider) strike(ctx context.Context, id string) error {
	unlock, err := lock(ctx, p.hostLock(id))
	if err != nil {
		return err
	}
	defer unlock()
	return p.killAll(ctx, id)
}

// lookAtAll takes the next step with the hosts chosen; nil chooses all.
func (p *Provider) lookAtAll(ctx context.Context, choose func(hostRecord) bool) error {
	hosts, err := p.allHosts()
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if choose == nil || choose(h) {
			if _, err := p.look(ctx, h.ID); err != nil && !fleet.Is(err, fleet.NotFound) {
				return err
			}
		}
	}
	return nil
}

func with(set []string, s string) []string {
	all := map[string]bool{s: true}
	for _, v := range set {
		all[v] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func without(set []string, s string) []string {
	return slices.DeleteFunc(set, func(v string) bool { return v == s })
}
