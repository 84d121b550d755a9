package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// FailoverMember replaces the members of a running cluster that are dead by the word of all
// witnesses. What is only silent is never taken for dead, and no voter is removed that the
// quorum needs.
func FailoverMember(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}
