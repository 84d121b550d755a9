package local

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// machineTypes are what a host may be unless the configuration says otherwise. They bound the Go programs on it
// (GOMAXPROCS and GOMEMLIMIT), and keep nothing from anybody else.
var machineTypes = []fleet.MachineType{
	{Name: "small", VCPUs: 1, Memory: 512 * fleet.MiB},
	{Name: "medium", VCPUs: 2, Memory: fleet.GiB},
	{Name: "large", VCPUs: 4, Memory: 4 * fleet.GiB},
	{Name: "xlarge", VCPUs: 8, Memory: 8 * fleet.GiB},
}

// diskCategories are names only: every disk is a directory of this machine.
var diskCategories = []string{"ssd", "hdd"}

// Zones gives the zones of the configuration, those that have failed too.
func (p *Provider) Zones(ctx context.Context) ([]string, error) {
	if _, err := p.begin(ctx); err != nil {
		return nil, err
	}
	return slices.Clone(p.zones), nil
}

// MachineTypes gives the types on offer, the smallest first.
func (p *Provider) MachineTypes(ctx context.Context) ([]fleet.MachineType, error) {
	if _, err := p.begin(ctx); err != nil {
		return nil, err
	}
	return slices.Clone(p.types), nil
}

// DiskCategories gives the categories on offer.
func (p *Provider) DiskCategories(ctx context.Context) ([]string, error) {
	if _, err := p.begin(ctx); err != nil {
		return nil, err
	}
	return slices.Clone(p.categories), nil
}

// Available says whether LaunchHost would sell one now; only faults keep it from that.
func (p *Provider) Available(ctx context.Context, zone, machineType string) (bool, error) {
	f, err := p.begin(ctx)
	if err != nil {
		return false, err
	}
	if err := p.checkPlace("local provider", zone, machineType); err != nil {
		return false, err
	}
	hosts, err := p.allHosts()
	if err != nil {
		return false, err
	}
	return !f.zoneFailed(zone) && f.sells(hosts, zone, machineType), nil
}

// checkPlace refuses a zone or a type that is not on offer.
func (p *Provider) checkPlace(resource, zone, machineType string) error {
	if !slices.Contains(p.zones, zone) {
		return fleet.Errorf(fleet.Invalid, resource, "there is no zone %q", zone).
			WithRemedy("choose one of %s", strings.Join(p.zones, ", "))
	}
	if _, ok := p.typeOf(machineType); !ok {
		var names []string
		for _, t := range p.types {
			names = append(names, t.Name)
		}
		return fleet.Errorf(fleet.Invalid, resource, "there is no machine type %q", machineType).
			WithRemedy("choose one of %s", strings.Join(names, ", "))
	}
	return nil
}

func (p *Provider) typeOf(name string) (fleet.MachineType, bool) {
	i := slices.IndexFunc(p.types, func(t fleet.MachineType) bool { return t.Name == name })
	if i < 0 {
		return fleet.MachineType{}, false
	}
	return p.types[i], true
}

// procs is the GOMAXPROCS of a type: a share of a processor counts as a whole one.
func procs(t fleet.MachineType) int { return max(1, int(math.Ceil(t.VCPUs))) }
