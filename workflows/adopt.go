package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// AdoptCluster takes over a cluster that something else created: its authority, its hosts and
// disks, then one member after another, each in sync before the next is touched.
func AdoptCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
