package workflows_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func TestFleetRecipientIsAskedOfItsRegion(t *testing.T) {
	env := newEnv()
	queue := ""
	env.RegisterActivityWithOptions(func(ctx context.Context) (fleet.RecipientReply, error) {
		queue = activity.GetInfo(ctx).TaskQueue
		return fleet.RecipientReply{Recipient: "age1"}, nil
	}, activity.RegisterOptions{Name: fleet.ActivityFleetRecipient})
	env.ExecuteWorkflow(workflows.FleetRecipient, workflows.RecipientRequest{Provider: "local", Region: "local-1"})
	var reply workflows.RecipientReply
	require.NoError(t, env.GetWorkflowResult(&reply))
	require.Equal(t, "age1", reply.Recipient)
	require.Equal(t, workflows.RegionQueue("local", "local-1"), queue)
}
