package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// MigrateByLearner moves members of a running cluster to new hosts, one by one: a learner that gets
// in sync becomes a voter before the old one leaves and its host is released.
func MigrateByLearner(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
