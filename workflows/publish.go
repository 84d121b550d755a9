package workflows

import (
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// publishEndpoints has the cluster's record say where clients are to connect, where the
// spec has one: before a member goes, and as soon as a cluster serves again. Where none
// serves, what it says stays. With the cluster the record goes.
//
// A record that cannot be changed ends what people planned before it takes a member away.
// What repairs goes on: who is dead is dead, and it is tried again before the next wave.
func (o *operation) publishEndpoints(ctx workflow.Context) error {
	endpoints, gone := o.last.Endpoints, o.op.Kind == fleet.DecommissionCluster
	if gone {
		endpoints = nil
	}
	switch {
	case o.op.Spec.Clients.Record == "" || o.op.Kind.Beside(),
		gone && o.last.Decision.Verdict != fleet.VerdictDone,
		!gone && (!o.last.Observation.Quorum || slices.Equal(o.published, endpoints)):
		return nil
	}
	ctx = workflow.WithActivityOptions(ctx, publishOptions(o.op))
	err := workflow.ExecuteActivity(ctx, fleet.ActivityPublishEndpoints, fleet.PublishRequest{Operation: o.op, Endpoints: endpoints}).Get(ctx, nil)
	switch {
	case err == nil:
		o.published = endpoints
		return nil
	case temporal.IsCanceledError(err) || ctx.Err() != nil || mustPublish(o.op.Kind):
		return err
	}
	o.progress.LastError = asError(err).Error()
	workflow.GetLogger(ctx).Warn("the record of a cluster was not changed", "cluster", o.op.Cluster, "error", err)
	return nil
}

// mustPublish says whether an operation ends where its cluster's record cannot be changed.
func mustPublish(kind fleet.OperationKind) bool {
	return kind.Planned() || kind == fleet.CreateCluster || kind == fleet.DecommissionCluster
}
