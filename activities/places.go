package activities

import (
	"maps"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/span"
)

// ready gives the region with providers that bear failures, joined to those elsewhere.
func (r Region) ready() Region {
	elsewhere := maps.Clone(r.Elsewhere)
	for place, provider := range elsewhere {
		elsewhere[place] = patient{provider}
	}
	r.span = span.New(patient{r.Provider}, elsewhere)
	r.Provider = r.span
	return r
}

// regions gives the regions that the cluster of an operation lies in, its own first.
func (r Region) regions(op fleet.Operation) ([]iaas.Provider, error) {
	all := []iaas.Provider{r.Provider}
	for _, place := range op.Elsewhere {
		region, err := r.span.Elsewhere(place)
		if err != nil {
			return nil, err
		}
		all = append(all, region)
	}
	return all, nil
}

// regionOf gives the region of a host, a disk or a zone.
func (r Region) regionOf(name string) (iaas.Provider, error) { return r.span.Of(name) }

// elsewhere gives the places other than the operation's own where something of the
// cluster is.
func elsewhere(obs fleet.Observation) []fleet.Place {
	var all []fleet.Place
	note := func(id string) {
		if place, _, is := fleet.SplitPlace(id); is && !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	for _, h := range obs.Hosts {
		note(h.ID)
	}
	for _, d := range obs.Disks {
		note(d.ID)
	}
	return all
}
