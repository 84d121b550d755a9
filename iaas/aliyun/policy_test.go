package aliyun_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

// unseen are the rights of the policy that no call is named for.
var unseen = map[string]string{"ram:PassRole": "RunInstances with a role"}

// The policy in the docs has the rights of all calls that are made, and no others.
func TestPolicyIsWhatIsCalled(t *testing.T) {
	s := newStand(t, simtest.World)
	s.Live()
	examine(t, s)
	for _, look := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := s.ListHosts(ctx, iaas.Tags{fleet.TagCluster: "c"})
			return err
		},
		func(ctx context.Context) error {
			_, err := s.ListDiskSnapshots(ctx, iaas.Tags{fleet.TagCluster: "c"})
			return err
		},
		func(ctx context.Context) error { _, err := s.MachineTypes(ctx); return err },
		func(ctx context.Context) error { _, err := s.Available(ctx, region+"-g", "ecs.g8y.large"); return err },
	} {
		require.NoError(t, look(t.Context()))
	}
	granted := simtest.Granted(t, "../../docs/providers/aliyun.md", "1")
	called := map[string]bool{}
	for _, c := range s.World.Calls() {
		action := "ecs:" + c.Action
		if c.Action == "DescribeVSwitches" {
			action = "vpc:" + c.Action
		}
		called[action] = true
		require.True(t, granted[action], "%s is called, and the policy in docs/providers/aliyun.md does not grant it", action)
	}
	for action := range granted {
		require.True(t, called[action] || unseen[action] != "", "the policy in docs/providers/aliyun.md grants %s, and nothing calls it", action)
	}
}
