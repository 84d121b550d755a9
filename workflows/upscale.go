package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// UpscaleCluster changes the machine type, the disks or the quota of a running cluster, up or down,
// one member at a time and the leader last: in place or through learners on new hosts,
// as the spec says. It takes a cluster of which all members are healthy.
func UpscaleCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
