package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// StopCluster saves a verified snapshot unless waived, then stops all members and hosts. Disks and
// secrets stay, so that StartCluster brings the same cluster back.
func StopCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
