package workflows_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workers"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// recorded are the histories of every released version; testdata/replay/README.md
// says how they are made.
func recorded(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "replay", "*", pattern+".json"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "no history of %s is recorded", pattern)
	return files
}

// history reads one of them. Payloads stand in it as people read them.
func history(t *testing.T, file string) *historypb.History {
	t.Helper()
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	var h historypb.History
	require.NoError(t, temporalproto.CustomJSONUnmarshalOptions{
		Metadata: map[string]any{commonpb.EnablePayloadShorthandMetadataKey: true},
	}.Unmarshal(data, &h), file)
	return &h
}

// TestReplay shows that this code does with every recorded workflow what the code
// that ran it did: whoever changes a workflow learns here that one which runs would
// be stuck.
func TestReplay(t *testing.T) {
	replayer := worker.NewWorkflowReplayer()
	workers.RegisterWorkflows(replayer)
	for _, file := range recorded(t, "*") {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file), func(t *testing.T) {
			require.NoError(t, replayer.ReplayWorkflowHistory(nil, history(t, file)))
		})
	}
}

// Every workflow, every way in which it can end, and all that people say to it is
// among them.
func TestReplayIsComplete(t *testing.T) {
	for _, pattern := range []string{
		"Cluster-made-1", "Cluster-made-2", "Cluster-failed-1", "Cluster-refused-1", "Cluster-cancelled-1",
		"CreateCluster-made", "CreateCluster-failed", "CreateCluster-refused", "CreateCluster-cancelled",
		"DecommissionCluster-made", "DecommissionCluster-failed",
		"ScaleCluster-scaled", "ScaleCluster-scaled-2", // out and in
		"UpscaleCluster-scaled", "UpscaleCluster-changed", // in place and by replacement
		"ChangeLeader-scaled", "FailoverMember-scaled", "FailoverMember-scaled-2", // back on its disk, and replaced
		"RollCluster-changed", "RollCluster-changed-5", // settings, and four of certificates
		"UpgradeCluster-changed", "UpgradeCluster-changed-2", // and back
		"MigrateByLearner-changed", "StopCluster-changed", "StartCluster-changed",
		"RollCluster-asked", "UpgradeCluster-asked", "UpgradeCluster-asked-2", // approved and paused, rejected, resumed
		"UpscaleCluster-halted", "MigrateByLearner-halted", "MigrateByLearner-halted-2", // failed and asks, cancelled, resumed
		"AdoptCluster-adopted", "RecoverQuorum-recovered", "BackupCluster-saved", "BackupCluster-saved-2", // and called off
		"RestoreCluster-restored",
		workflows.BackupsType, workflows.VerifyBackupType, workflows.RehearseType, workflows.ScheduleType, workflows.ChangesType, workflows.CopiesType,
		"CreateCluster-rehearsal", "DecommissionCluster-rehearsal",
		workflows.PlanType, workflows.SurveyType, workflows.CertificateType, workflows.RecipientType,
	} {
		recorded(t, pattern)
	}
	for _, kind := range fleet.OperationKinds {
		recorded(t, string(kind)+"-*")
	}
	said := map[string]bool{}
	for _, file := range recorded(t, "*") {
		for _, event := range history(t, file).Events {
			said[event.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput().GetName()] = true
			said[event.GetWorkflowExecutionSignaledEventAttributes().GetSignalName()] = true
		}
	}
	for _, name := range []string{
		workflows.UpdateSubmit, workflows.UpdateCancel, workflows.UpdateProtect, workflows.UpdateAmend, workflows.SignalEndpoints,
		workflows.UpdateApprove, workflows.UpdateReject, workflows.UpdatePause, workflows.UpdateResume,
	} {
		require.True(t, said[name], "no history in which somebody says %q is recorded", name)
	}
}

// TestReplayNoticesAChange shows that the replay would fail.
func TestReplayNoticesAChange(t *testing.T) {
	extra := func(ctx workflow.Context, op fleet.Operation) (workflows.OperationResult, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: 1e9})
		if err := workflow.ExecuteActivity(ctx, "Polish").Get(ctx, nil); err != nil {
			return workflows.OperationResult{}, err
		}
		return workflows.CreateCluster(ctx, op)
	}
	quiet := func(workflow.Context, workflows.ClusterState) (workflows.ClusterView, error) {
		return workflows.ClusterView{}, nil
	}
	for name, test := range map[string]struct {
		run  any
		kind string
		file string
	}{
		"an activity more":  {extra, string(fleet.CreateCluster), "CreateCluster-made"},
		"an operation less": {quiet, workflows.ClusterType, "Cluster-made-1"},
	} {
		t.Run(name, func(t *testing.T) {
			replayer := worker.NewWorkflowReplayer()
			replayer.RegisterWorkflowWithOptions(test.run, workflow.RegisterOptions{Name: test.kind})
			for _, file := range recorded(t, test.file) {
				require.ErrorContains(t, replayer.ReplayWorkflowHistory(nil, history(t, file)), "TMPRL1100") // the SDK's code for it
			}
		})
	}
}
