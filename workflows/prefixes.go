package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// RestorePrefixes puts the keys below some prefixes back into a running cluster. It reads
// the backup to its end and compares, waits for a person to approve of what is lost, and
// writes. A pause or a cancellation stops it between two transactions; whoever goes on
// does what is left.
func RestorePrefixes(ctx workflow.Context, op fleet.Operation) (OperationResult, error) {
	return runOperation(ctx, op)
}

// CompareKeys says what RestorePrefixes would do, and does nothing.
func CompareKeys(ctx workflow.Context, op fleet.Operation) (fleet.KeyRestore, error) {
	options := stepOptions(op, fleet.Step{Kind: fleet.CompareKeys}, fleet.Policy{}, string(fleet.CompareKeys))
	var reply fleet.StepReply
	err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, options), string(fleet.CompareKeys),
		fleet.StepRequest{Operation: op}).Get(ctx, &reply)
	if err != nil || reply.Keys == nil {
		return fleet.KeyRestore{}, err
	}
	return *reply.Keys, nil
}
