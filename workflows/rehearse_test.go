package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Whatever becomes of a rehearsal, what it bought is released; and it is the backup's fault
// only where the backup could not be restored.
func TestRehearsalReleases(t *testing.T) {
	began := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	made := workflows.OperationResult{Progress: fleet.Progress{Operation: "r1", Steps: []fleet.StepProgress{
		{Step: fleet.Step{Kind: fleet.RestoreMember}, State: fleet.StepDone, Started: began},
		{Step: fleet.Step{Kind: fleet.AwaitHealthy}, State: fleet.StepDone, Ended: began.Add(90 * time.Second)},
	}}}
	atOnce := workflows.OperationResult{Progress: fleet.Progress{Operation: "r1", Steps: []fleet.StepProgress{
		{Step: fleet.Step{Kind: fleet.RestoreMember}, State: fleet.StepDone, Started: began},
		{Step: fleet.Step{Kind: fleet.StartMember}, State: fleet.StepDone, Ended: began.Add(4 * time.Second)},
	}}}
	damaged := workflows.OperationResult{Progress: fleet.Progress{Operation: "r1", Steps: []fleet.StepProgress{
		{Step: fleet.Step{Kind: fleet.RestoreMember}, State: fleet.StepFailed, Error: "it is damaged", Started: began},
	}}}
	failed := func(r workflows.OperationResult) error {
		return temporal.NewApplicationErrorWithOptions("it failed", string(fleet.Lost), temporal.ApplicationErrorOptions{NonRetryable: true, Details: []any{r}})
	}
	for name, test := range map[string]struct {
		create   func(ctx workflow.Context) (workflows.OperationResult, error)
		cancel   bool
		compared *fleet.RehearsalRequest
		kept     bool // what was bought cannot be released
		fails    bool
	}{
		"all is right": {create: func(workflow.Context) (workflows.OperationResult, error) { return made, nil }, compared: &fleet.RehearsalRequest{Took: fleet.Duration(90 * time.Second)}},
		"it serves as soon as it is started": {create: func(workflow.Context) (workflows.OperationResult, error) { return atOnce, nil },
			compared: &fleet.RehearsalRequest{Took: fleet.Duration(4 * time.Second)}},
		"a damaged backup": {create: func(workflow.Context) (workflows.OperationResult, error) {
			return workflows.OperationResult{}, failed(damaged)
		}, compared: &fleet.RehearsalRequest{Failed: "it is damaged"}},
		"no host to be had": {create: func(workflow.Context) (workflows.OperationResult, error) {
			return workflows.OperationResult{}, failed(workflows.OperationResult{})
		}, fails: true},
		"called off meanwhile": {create: func(ctx workflow.Context) (workflows.OperationResult, error) {
			return made, workflow.Sleep(ctx, time.Hour)
		}, cancel: true, fails: true},
		"no host to be had, and one not to be released": {create: func(workflow.Context) (workflows.OperationResult, error) {
			return workflows.OperationResult{}, failed(workflows.OperationResult{})
		}, kept: true, fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv()
			env.RegisterWorkflowWithOptions(workflows.RehearseBackup, workflow.RegisterOptions{Name: workflows.RehearseType})
			env.RegisterWorkflowWithOptions(func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
				require.Equal(t, "b2", op.Options.Restore.ID, "the newest that counts")
				return test.create(ctx)
			}, workflow.RegisterOptions{Name: string(fleet.CreateCluster)})
			released := 0
			env.RegisterWorkflowWithOptions(func(_ workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
				released++
				require.Equal(t, "rehearsal-r1", op.Cluster)
				require.True(t, op.Options.SkipFinalSnapshot)
				if test.kept {
					return workflows.OperationResult{}, temporal.NewNonRetryableApplicationError("the cloud is away", string(fleet.Unavailable), nil)
				}
				return workflows.OperationResult{}, nil
			}, workflow.RegisterOptions{Name: string(fleet.DecommissionCluster)})
			env.RegisterActivityWithOptions(func(context.Context, fleet.BackupsRequest) (fleet.BackupsReply, error) {
				return fleet.BackupsReply{Backups: []fleet.Backup{{ID: "b1"}, {ID: "b2"}, {ID: "b3", Damaged: "cut short"}}}, nil
			}, activity.RegisterOptions{Name: fleet.ActivityListBackups})
			var compared *fleet.RehearsalRequest
			env.RegisterActivityWithOptions(func(_ context.Context, r fleet.RehearsalRequest) (fleet.Rehearsal, error) {
				compared = &r
				return fleet.Rehearsal{OK: r.Failed == "", Why: r.Failed}, nil
			}, activity.RegisterOptions{Name: fleet.ActivityCompareRehearsal})
			if test.cancel {
				env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
			}
			env.ExecuteWorkflow(workflows.RehearseType, fleet.RehearseRequest{ID: "r1", UID: "u1", Spec: fleet.Spec{Name: "orders", Provider: "local", Region: "local-1"}})
			require.Equal(t, test.fails, env.GetWorkflowError() != nil, "%v", env.GetWorkflowError())
			require.Equal(t, 1, released)
			if test.kept {
				require.ErrorContains(t, env.GetWorkflowError(), "it failed; and what was bought for rehearsal-r1 is not released: the cloud is away; flotilla sweep finds it")
			}
			require.Equal(t, test.compared == nil, compared == nil)
			if compared != nil {
				require.Equal(t, test.compared.Took, compared.Took)
				require.Equal(t, test.compared.Failed, compared.Failed)
			}
		})
	}
}
