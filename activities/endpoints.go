package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

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

// nowhereToPublish is why a record cannot be published.
const nowhereToPublish = "the workers of this region publish no records: give them --publish"

// publishWithin is how long it may take until everybody is told of a change.
const publishWithin = 5 * time.Minute

// PublishEndpoints has a cluster's record say where clients are to connect.
func (p *Planner) PublishEndpoints(ctx context.Context, r fleet.PublishRequest) (fleet.StepReply, error) {
	record := r.Operation.Spec.Record(r.Endpoints)
	if p.Endpoints == nil {
		return note("", fleet.Errorf(fleet.Invalid, "record "+record.Name, nowhereToPublish))
	}
	said := fmt.Sprintf("%s says %d members", record.Name, len(record.Endpoints))
	_, err := within(ctx, publishWithin, "waiting until everybody is told of "+record.Name, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, p.Endpoints.Publish(ctx, record)
	})
	return note(said, err)
}
