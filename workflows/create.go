package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// CreateCluster brings a cluster into being, from nothing or from where an
// earlier attempt stopped: hosts, disks, certificates, members, and a quorum that
// serves. The order is the planner's (plan/create.go).
func CreateCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
