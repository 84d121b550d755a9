package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// ScaleCluster changes the number of voters and learners of a running cluster. New members join
// as learners; the ones that leave are chosen by rule, and the leader leads no more by then.
func ScaleCluster(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
