package activities

import (
	"context"
	"slices"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// endpoints gives where clients should connect now: at the voters that answer, or at
// every host that runs when etcd does not say who that is.
func (r Region) endpoints(ctx context.Context, op fleet.Operation) ([]fleet.Endpoint, error) {
	obs, err := r.resources(ctx, op)
	if err != nil {
		return nil, err
	}
	obs.Hosts = slices.DeleteFunc(obs.Hosts, func(h fleet.ObservedHost) bool {
		return h.State != fleet.HostRunning || h.Tags[fleet.TagUID] != op.UID
	})
	if client, err := r.client(ctx, op, ""); err == nil {
		defer client.Close()
		seen, _ := asking(ctx, func(ctx context.Context) (etcdadmin.Observation, error) { return client.Observe(ctx), nil })
		obs.Members = seen.Members
	}
	return plan.Endpoints(plan.Input{Operation: op, Observation: obs}, nil), nil
}
