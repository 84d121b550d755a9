package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// UpgradeCluster changes the release of etcd under a running cluster, up or down and one minor at
// a time, member by member and the leader last. A member that does not come back is
// rolled back, and the operation stops there, healthy.
func UpgradeCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
