package changes

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// moves is how often the leader is moved where a change of leader is to last long enough
// for something to break meanwhile.
const moves = 20

// burning is the journey as it goes under fire: where a leg itself breaks a member for
// good, there are five of them, so that the arsonist may break another one.
func burning(cluster string) []leg {
	voters := func(n int) harness.Change {
		return harness.Change{Kind: fleet.ScaleCluster, To: func(s *fleet.Spec) { s.Voters = n }}
	}
	legs := journey(cluster)
	first := slices.IndexFunc(legs, func(l leg) bool { return l.before != nil })
	legs = slices.Insert(legs, first, leg{name: "scale to five", Change: voters(5)})
	last := len(legs) - 1
	for legs[last].before == nil {
		last--
	}
	return slices.Insert(legs, last+1, leg{name: "scale to three", Change: voters(3)})
}

// TestChangesUnderFire takes a cluster with 200 MB of data through operations while
// workers are killed, members are killed, frozen and slowed, and the cloud throttles and fails
// calls; the judge holds what clients saw against what etcd promises. An operation that
// ends because of the fire is resumed, as a person would. Without FLOTILLA_WHOLE it is
// a part of the journey.
func TestChangesUnderFire(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	c := newCourt(t, e, "orders", filled)
	a := newArsonist(c)
	legs := burning(c.cluster)
	if !harness.Whole() {
		legs = some(legs, 3, harness.Random(c.seed))
	}
	voters := 3
	if legs[0].name == "scale out" {
		voters = 1
	}
	c.opens(small(c.cluster, voters, older))
	for i := 0; i < len(legs); i++ {
		these := []leg{legs[i]}
		if legs[i].stopped { // clients have nobody to talk to until it is started again
			i++
			these = append(these, legs[i])
		}
		c.burns(a, these)
	}
	t.Logf("what was done to them: %s", tally(a.total))
	e.Decommission(c.cluster, fleet.Options{})
	e.ExpectNothingLeft()
}

// burns does legs under fire, one after another, and judges what clients saw.
func (c *court) burns(a *arsonist, legs []leg) {
	view, err := c.e.Settled(c.cluster)
	require.NoError(c.t, err)
	name := legs[0].name
	for _, l := range legs[1:] {
		name += " and " + l.name
	}
	// What the leg breaks for good leaves three voters none to lose, and five one.
	a.spare = legs[0].before != nil && view.Spec.Voters < 5
	c.hears(name+" under fire", func() error {
		if legs[0].before != nil {
			if err := legs[0].before(c.t.Context(), c.e, c.cluster); err != nil {
				return err
			}
		}
		return a.under(c.t, func() error {
			for _, l := range legs {
				if err := c.goes(l); err != nil {
					return err
				}
			}
			return nil
		})
	})
	require.NoError(c.t, c.e.Stands(c.t.Context(), c.cluster), "%s after %s under fire", c.cluster, name)
}

// goes does a leg. A change of leader is over before anything can break: there the leader
// is moved again and again, from one member to the next.
func (c *court) goes(l leg) error {
	if l.Kind != fleet.ChangeLeader {
		return c.insist(l.name, l.Change)
	}
	members, err := membersOf(c.t.Context(), c.e, c.cluster)
	if err != nil {
		return err
	}
	var names []string
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range moves {
		change := harness.Change{Kind: fleet.ChangeLeader, Options: fleet.Options{Members: []string{names[i%len(names)]}}}
		if err := c.insist(l.name, change); err != nil {
			return err
		}
	}
	return nil
}
