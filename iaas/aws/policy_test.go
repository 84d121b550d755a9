package aws_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

// unseen are the rights of the policy that no call is named for: those that AWS asks for
// on behalf of one.
var unseen = map[string]string{
	"iam:PassRole":                        "RunInstances with an instance profile",
	"kms:CreateGrant":                     "disks that are encrypted with a key of one's own",
	"kms:Decrypt":                         "likewise",
	"kms:DescribeKey":                     "likewise",
	"kms:GenerateDataKeyWithoutPlaintext": "likewise",
	"kms:ReEncryptFrom":                   "likewise",
	"kms:ReEncryptTo":                     "likewise",
}

// The policy in the docs has the rights of all calls that are made, and no others.
func TestPolicyIsWhatIsCalled(t *testing.T) {
	s := newStand(t, simtest.World, func(c *aws.Config) { c.PlacementGroup = "spread" })
	s.Live()
	examine(t, s)
	for _, look := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := s.ListHosts(ctx, iaas.Tags{fleet.TagCluster: "c"})
			return err
		},
		func(ctx context.Context) error {
			_, err := s.ListDisks(ctx, iaas.Tags{fleet.TagCluster: "c"})
			return err
		},
		func(ctx context.Context) error {
			_, err := s.ListDiskSnapshots(ctx, iaas.Tags{fleet.TagCluster: "c"})
			return err
		},
		func(ctx context.Context) error { _, err := s.MachineTypes(ctx); return err },
		func(ctx context.Context) error { _, err := s.Available(ctx, region+"a", "m7g.medium"); return err },
	} {
		require.NoError(t, look(t.Context()))
	}
	granted := simtest.Granted(t, "../../docs/providers/aws.md", "2012-10-17")
	called := map[string]bool{}
	for _, c := range s.World.Calls() {
		service := "ec2:"
		switch c.Action {
		case "SendCommand", "GetCommandInvocation", "ListCommands":
			service = "ssm:"
		case "GetServiceQuota":
			service = "servicequotas:"
		}
		called[service+c.Action] = true
		require.True(t, granted[service+c.Action], "%s%s is called, and the policy in docs/providers/aws.md does not grant it", service, c.Action)
	}
	for action := range granted {
		if strings.HasPrefix(action, "s3:") { // of the object store, which is another one's
			continue
		}
		require.True(t, called[action] || unseen[action] != "", "the policy in docs/providers/aws.md grants %s, and nothing calls it", action)
	}
}
