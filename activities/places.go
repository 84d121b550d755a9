package activities

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

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
	r.CopyEvery = cmp.Or(r.CopyEvery, DefaultCopyEvery)
	return r
}

// placesOf gives the places other than an operation's own where something of its cluster
// is, or is to be.
func placesOf(op fleet.Operation) []fleet.Place {
	all := slices.Clone(op.Elsewhere)
	if op.Spec.Provider != "" {
		all = append(all, op.Spec.Places()[1:]...)
	}
	if op.Before != nil {
		all = append(all, op.Before.Places()...)
	}
	var others []fleet.Place
	for _, place := range all {
		if place != op.Spec.Place() && !slices.Contains(others, place) {
			others = append(others, place)
		}
	}
	return others
}

// resources lists what the cloud has of a cluster, in every place that it lies in. What is
// absent decides much, so a list that cannot be had is an error; but a place other than the
// operation's own whose cloud does not answer is only noted, where the operation can bear it.
func (r Region) resources(ctx context.Context, op fleet.Operation) (fleet.Observation, error) {
	obs := fleet.Observation{At: time.Now().UTC()}
	if err := list(ctx, r.Provider, op, &obs); err != nil {
		return obs, err
	}
	for _, place := range placesOf(op) {
		region, err := r.span.Elsewhere(place)
		if err != nil {
			return obs, err
		}
		there := obs
		if !bearsUnreached(op.Kind) {
			err = list(ctx, region, op, &there)
		} else {
			_, err = within(ctx, otherPlaceWithin, "waiting for the cloud of "+place.String(), func(ctx context.Context) (struct{}, error) {
				return struct{}{}, list(ctx, region, op, &there)
			})
			if fleet.Is(err, fleet.Unavailable) && ctx.Err() == nil {
				obs.Unreached = append(obs.Unreached, fleet.Unreached{Place: place, Why: err.Error()})
				continue
			}
		}
		if err != nil {
			return obs, err
		}
		there.Unreached, obs = obs.Unreached, there
	}
	return obs, nil
}

// otherPlaceWithin bounds what is asked of the cloud of another place by an operation
// that can do without: a region that is lost often says nothing at all, and a recovery
// looks at it several times.
const otherPlaceWithin = 5 * time.Second

// bearsUnreached says that an operation can do its work while a place where something of
// the cluster may be is out of reach: it destroys nothing for being absent. The planner
// says when it may.
func bearsUnreached(kind fleet.OperationKind) bool {
	switch kind {
	case fleet.RecoverQuorum, fleet.FailoverMember, fleet.ChangeLeader, fleet.RollCluster, fleet.UpgradeCluster,
		fleet.ScaleCluster, fleet.UpscaleCluster, fleet.MigrateByLearner, fleet.BackupCluster:
		return true
	}
	return false
}

// list adds what one place has of a cluster.
func list(ctx context.Context, region iaas.Provider, op fleet.Operation, obs *fleet.Observation) error {
	tags := iaas.Tags{fleet.TagCluster: op.Cluster}
	hosts, err := region.ListHosts(ctx, tags)
	if err != nil {
		return err
	}
	disks, err := region.ListDisks(ctx, tags)
	if err != nil {
		return err
	}
	if keepsCopies(op.Kind) {
		if err := listCopies(ctx, region, op.Kind, tags, obs); err != nil {
			return err
		}
	}
	obs.Hosts, obs.Disks = slices.Clone(obs.Hosts), append(slices.Clone(obs.Disks), disks...)
	for _, h := range hosts {
		obs.Hosts = append(obs.Hosts, fleet.ObservedHost{Host: h})
	}
	return nil
}

// regionOf gives the region of a host, a disk or a zone.
func (r Region) regionOf(name string) (iaas.Provider, error) { return r.span.Of(name) }

// elsewhere gives the places other than the operation's own where something of the
// cluster is, or may be.
func elsewhere(obs fleet.Observation) []fleet.Place {
	var all []fleet.Place
	note := func(id string) {
		if place, _, is := fleet.SplitPlace(id); is && !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	for _, u := range obs.Unreached {
		all = append(all, u.Place)
	}
	for _, h := range obs.Hosts {
		note(h.ID)
	}
	for _, d := range obs.Disks {
		note(d.ID)
	}
	return all
}
