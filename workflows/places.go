package workflows

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// places gives places without home, each once.
func places(home fleet.Place, all ...fleet.Place) []fleet.Place {
	var others []fleet.Place
	for _, place := range all {
		if place != home && !slices.Contains(others, place) {
			others = append(others, place)
		}
	}
	return others
}

// elsewhere gives the places other than the spec's where something of the cluster may
// be, with those of the operation in hand.
func (c *cluster) elsewhere() []fleet.Place {
	all := slices.Clone(c.Elsewhere)
	if c.running != nil {
		all = append(append(all, c.running.Elsewhere...), c.running.Spec.Place())
	}
	return places(c.Spec.Place(), all...)
}
