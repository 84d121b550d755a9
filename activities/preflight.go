package activities

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// checkSpec checks the spec of a new cluster, and that the catalogue and the region
// have what it asks for.
func (p *Planner) checkSpec(ctx context.Context, spec fleet.Spec) (fleet.Problems, error) {
	var wanted needs
	for _, zone := range slices.Concat(spec.Zones, spec.LearnerZones()) {
		wares, machine := wanted.of(zone), spec.MachineIn(zone)
		wares.zones = with(wares.zones, zone)
		wares.types, wares.categories = with(wares.types, machine.Type), with(wares.categories, machine.Disk.Category)
	}
	if fleet.Minor(spec.Etcd.Version) != "" { // else it is wrong in itself
		wanted.versions = []string{spec.Etcd.Version}
	}
	problems, err := p.missing(ctx, spec, wanted)
	if spec.Clients.Record != "" && p.Endpoints == nil {
		problems = append(problems, fleet.Problem{Path: "clients.record", Message: nowhereToPublish})
	}
	return append(spec.Validate(), problems...), err
}

// checkWaves checks that the catalogue and the region have what an operation will
// need, before it does anything.
func (p *Planner) checkWaves(ctx context.Context, op fleet.Operation, obs fleet.Observation, waves [][]fleet.Step) (fleet.Problems, error) {
	wanted := needsOf(op, waves)
	for _, h := range obs.Hosts {
		if h.Report != nil {
			wanted.platforms = with(wanted.platforms, h.Report.Platform)
		}
	}
	return p.missing(ctx, op.Spec, wanted)
}

// needs are what an operation buys and installs, each once.
type needs struct {
	versions []string
	// wares are what it buys, by place; the operation's own is the empty one.
	wares map[fleet.Place]*wares
	// platforms are what the cluster's hosts are, as in linux/amd64.
	platforms []string
}

// wares are what an operation buys in one place, each once.
type wares struct{ types, zones, categories []string }

// of gives the wares of the place of a zone.
func (n *needs) of(zone string) *wares {
	place, _, _ := fleet.SplitPlace(zone)
	if n.wares == nil {
		n.wares = map[fleet.Place]*wares{}
	}
	if n.wares[place] == nil {
		n.wares[place] = &wares{}
	}
	return n.wares[place]
}

// needsOf gives what waves buy and install.
func needsOf(op fleet.Operation, waves [][]fleet.Step) needs {
	var n needs
	for _, step := range slices.Concat(waves...) {
		switch {
		case step.Kind == fleet.LaunchHost && step.HostID == "":
			w := n.of(step.Zone)
			w.types = with(w.types, typeOf(op, step))
			// A failover goes to the zones that are left, and finds out which they are.
			if op.Kind != fleet.FailoverMember {
				w.zones = with(w.zones, step.Zone)
			}
		case step.Kind == fleet.ResizeHost:
			w := n.of(step.Zone)
			w.types = with(w.types, typeOf(op, step))
		case step.Kind == fleet.AttachDisk && step.DiskID == "":
			w := n.of(step.Zone)
			w.categories = with(w.categories, op.Spec.MachineIn(step.Zone).Disk.Category)
		case step.Kind == fleet.RetypeDisk:
			w := n.of(step.Zone)
			w.categories = with(w.categories, step.Category)
		case step.Kind == fleet.PrepareHost:
			n.versions = with(n.versions, versionOf(op, step))
		}
	}
	return n
}

// versionOf is the release that a step is about: the spec's, unless it says otherwise.
func versionOf(op fleet.Operation, step fleet.Step) string {
	return cmp.Or(step.Version, op.Spec.Etcd.Version)
}

func with(set []string, value string) []string {
	if slices.Contains(set, value) {
		return set
	}
	return append(set, value)
}

// missing gives what the catalogue or the region does not have. It asks for no list
// that nothing is looked up in.
func (p *Planner) missing(ctx context.Context, spec fleet.Spec, wanted needs) (fleet.Problems, error) {
	var problems fleet.Problems
	if len(wanted.versions) > 0 {
		catalogue, err := p.catalogue()
		if err != nil {
			return nil, err
		}
		for _, version := range wanted.versions {
			problems = append(problems, unlisted(catalogue, version, wanted.platforms)...)
		}
	}
	places := slices.SortedFunc(maps.Keys(wanted.wares), func(a, b fleet.Place) int { return strings.Compare(a.String(), b.String()) })
	for _, place := range places {
		provider := p.Provider
		machine := "machine"
		if place != (fleet.Place{}) {
			there, err := p.span.Elsewhere(place)
			if err != nil {
				return nil, err
			}
			provider, machine = there, "standby.machine"
		}
		unsold, err := notSold(ctx, provider, spec, *wanted.wares[place], machine)
		if err != nil {
			return nil, err
		}
		problems = append(problems, unsold...)
	}
	return problems, nil
}

// notSold gives what a region does not have; machine is the field of the spec that says
// what is bought there.
func notSold(ctx context.Context, region iaas.Provider, spec fleet.Spec, wanted wares, machine string) (fleet.Problems, error) {
	var problems fleet.Problems
	if len(wanted.zones) > 0 {
		zones, err := region.Zones(ctx)
		if err != nil {
			return nil, err
		}
		for _, zone := range wanted.zones {
			path := "zones"
			if i := slices.Index(spec.Zones, zone); i >= 0 {
				path = fmt.Sprintf("zones[%d]", i)
			} else if i := slices.Index(spec.LearnerZones(), zone); i >= 0 {
				path = fmt.Sprintf("standby.zones[%d]", i)
			}
			unsold(&problems, path, zone, zones, "zones")
		}
	}
	if len(wanted.types) > 0 {
		types, err := region.MachineTypes(ctx)
		if err != nil {
			return nil, err
		}
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = t.Name
		}
		for _, name := range wanted.types {
			unsold(&problems, machine+".type", name, names, "types")
		}
	}
	if len(wanted.categories) > 0 {
		categories, err := region.DiskCategories(ctx)
		if err != nil {
			return nil, err
		}
		for _, category := range wanted.categories {
			unsold(&problems, machine+".disk.category", category, categories, "categories")
		}
	}
	return problems, nil
}

// unlisted says where the catalogue has no build of a version.
func unlisted(catalogue fleet.Catalogue, version string, platforms []string) fleet.Problems {
	if !catalogue.Has(version) {
		return fleet.Problems{{Path: "etcd.version", Message: fmt.Sprintf(
			"%s is not in the catalogue (%s); add it to the workers' release catalogue", version, strings.Join(catalogue.Versions(), ", "))}}
	}
	var problems fleet.Problems
	for _, platform := range platforms {
		if _, err := catalogue.Find(version, platform); err != nil {
			problems = append(problems, fleet.Problem{Path: "etcd.version", Message: err.Error()})
		}
	}
	return problems
}

func unsold(problems *fleet.Problems, path, value string, sold []string, what string) {
	if !slices.Contains(sold, value) {
		value, sold = fleet.Unqualified(value), slices.Clone(sold)
		for i := range sold {
			sold[i] = fleet.Unqualified(sold[i])
		}
		*problems = append(*problems, fleet.Problem{Path: path, Message: fmt.Sprintf(
			"the region has no %q; its %s are %s", value, what, strings.Join(sold, ", "))})
	}
}
