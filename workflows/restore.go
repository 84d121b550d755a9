package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// RestoreCluster brings a cluster back to a backup, on the hosts and disks that it has. It
// waits for a person to approve of what is lost before anything of the cluster is stopped.
func RestoreCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
