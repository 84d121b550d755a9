package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// DecommissionCluster ends a cluster: a verified final snapshot unless waived,
// then no member, host, disk or secret is left. The order is the planner's
// (plan/decommission.go).
func DecommissionCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
