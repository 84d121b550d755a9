package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// StartCluster starts the hosts and members of a stopped cluster: the same data, members and
// identity, at new addresses where the cloud gives such.
func StartCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
