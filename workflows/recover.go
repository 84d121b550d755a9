package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// RecoverQuorum makes a cluster that lost its quorum one again: it stops what is left of it,
// looks at the disks, and waits for a person to approve of what may be lost before the member
// that is furthest becomes a cluster of one and grows.
func RecoverQuorum(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
