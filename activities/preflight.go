package activities

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// checkSpec checks the spec of a new cluster, and that the catalogue and the region
// have what it asks for.
func (p *Planner) checkSpec(ctx context.Context, spec fleet.Spec) (fleet.Problems, error) {
	wanted := needs{types: []string{spec.Machine.Type}, zones: slices.Concat(spec.Zones, spec.Standby.Zones), categories: []string{spec.Machine.Disk.Category}}
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
	types, zones, categories, versions []string
	// platforms are what the cluster's hosts are, as in linux/amd64.
	platforms []string
}

// needsOf gives what waves buy and install.
func needsOf(op fleet.Operation, waves [][]fleet.Step) needs {
	var n needs
	for _, step := range slices.Concat(waves...) {
		switch {
		case step.Kind == fleet.LaunchHost && step.HostID == "":
			n.types = with(n.types, typeOf(op, step))
			// A failover goes to the zones that are left, and finds out which they are.
			if op.Kind != fleet.FailoverMember {
				n.zones = with(n.zones, step.Zone)
			}
		case step.Kind == fleet.ResizeHost:
			n.types = with(n.types, typeOf(op, step))
		case step.Kind == fleet.AttachDisk && step.DiskID == "":
			n.categories = with(n.categories, op.Spec.Machine.Disk.Category)
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
	if len(wanted.zones) > 0 {
		zones, err := p.Provider.Zones(ctx)
		if err != nil {
			return nil, err
		}
		for _, zone := range wanted.zones {
			path := "zones"
			if i := slices.Index(spec.Zones, zone); i >= 0 {
				path = fmt.Sprintf("zones[%d]", i)
			} else if i := slices.Index(spec.Standby.Zones, zone); i >= 0 {
				path = fmt.Sprintf("standby.zones[%d]", i)
			}
			unsold(&problems, path, zone, zones, "zones")
		}
	}
	if len(wanted.types) > 0 {
		types, err := p.Provider.MachineTypes(ctx)
		if err != nil {
			return nil, err
		}
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = t.Name
		}
		for _, name := range wanted.types {
			unsold(&problems, "machine.type", name, names, "types")
		}
	}
	if len(wanted.categories) > 0 {
		categories, err := p.Provider.DiskCategories(ctx)
		if err != nil {
			return nil, err
		}
		for _, category := range wanted.categories {
			unsold(&problems, "machine.disk.category", category, categories, "categories")
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
		*problems = append(*problems, fleet.Problem{Path: path, Message: fmt.Sprintf(
			"the region has no %q; its %s are %s", value, what, strings.Join(sold, ", "))})
	}
}
