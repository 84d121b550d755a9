package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// DiscardSetAside deletes the data that restores and recoveries of a cluster put aside.
// Members go on running.
func DiscardSetAside(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
