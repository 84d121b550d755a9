package aliyun_test

import (
	"context"
	"errors"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func examine(t *testing.T, s simtest.Stand) []fleet.Check {
	t.Helper()
	return s.Provider.(*aliyun.Provider).Examine(t.Context())
}

func TestExamine(t *testing.T) {
	s := newStand(t, simtest.World)
	checks := examine(t, s)
	require.Empty(t, simtest.Lacking(checks))
	require.Greater(t, len(checks), 20)
	hosts, disks := s.World.Bought()
	require.Zero(t, hosts+disks, "it buys nothing")
	require.Empty(t, s.World.CommandsOf(""), "it runs nothing")
	heal := s.World.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: "DeleteInstance"}})
	require.Empty(t, simtest.Lacking(examine(t, s)), "whether that hangs on our tags is not known")
	heal()

	h, err := s.LaunchHost(t.Context(), s.Request("host"))
	require.NoError(t, err)
	d, err := s.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "disk", Name: "m1", Zone: region + "-g", Size: 20 * fleet.GiB, Category: "cloud_essd:PL0"})
	require.NoError(t, err)
	s.Await("they can be looked at", func(ctx context.Context) (bool, error) {
		now, err := s.Host(ctx, h.ID)
		disk, err2 := s.Disk(ctx, d.ID)
		return now.State == fleet.HostRunning && disk.State == fleet.DiskAvailable, errors.Join(err, err2)
	})
	s.Await("its agent answers", func(context.Context) (bool, error) { return s.World.AgentAnswers(h.ID), nil })
	require.Empty(t, simtest.Lacking(examine(t, s)))
	now, err := s.Host(t.Context(), h.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.HostRunning, now.State, "dry runs do nothing to it")
	require.Equal(t, "ecs.g8y.large", now.Type)

	for action, what := range map[string]string{
		"RunInstances": "right and means to buy a host in cn-hangzhou-h", "CreateDisk": "right to CreateDisk",
		"DeleteInstance": "right to DeleteInstance", "ModifyInstanceSpec": "right to ModifyInstanceSpec", "RunCommand": "right to RunCommand",
		"DescribeDisks": "right to DescribeDisks", "DescribeInvocationResults": "right to DescribeInvocationResults",
	} {
		heal = s.World.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: action}})
		missing := simtest.Lacking(examine(t, s))
		require.Contains(t, missing, what)
		require.Contains(t, missing[what].Remedy, "docs/providers/aliyun.md", action)
		heal()
	}
}

// What an operator may get wrong is said in words, all of it in one go.
func TestExamineFindsMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*aliyun.Config)
		region func(*cloudsim.Config)
		what   string
		words  string
	}{
		"key": {change: func(c *aliyun.Config) {
			c.Credentials = credentials.NewStaticAKCredentialsProvider("LTAIEXAMPLE", "wrong")
		}, what: "credentials"},
		"vSwitch":   {change: func(c *aliyun.Config) { c.VSwitches[region+"-g"] = "vsw-bp1ffff" }, what: "vSwitch vsw-bp1ffff", words: "does not exist"},
		"swapped":   {change: func(c *aliyun.Config) { c.VSwitches[region+"-g"] = c.VSwitches[region+"-h"] }, what: "vSwitch vsw-bp1a2b3c4d5e6f7g8h9w2", words: "not in " + region + "-g"},
		"zone":      {change: func(c *aliyun.Config) { c.VSwitches["cn-x"] = c.VSwitches[region+"-g"] }, what: "zone cn-x", words: "has none of that name"},
		"group":     {change: func(c *aliyun.Config) { c.SecurityGroups = []string{"sg-bp1a2b3c4d5e6f7g8h9s2"} }, what: "security group sg-bp1a2b3c4d5e6f7g8h9s2", words: "the vSwitches are in"},
		"image":     {change: func(c *aliyun.Config) { c.Image = "m-bp1ffff" }, what: "image m-bp1ffff", words: "not shown"},
		"other cpu": {change: func(c *aliyun.Config) { c.Image = "m-bp1a2b3c4d5e6f7g8h9a2" }, what: "machine type ecs.g8y.large", words: "does not boot on it"},
		"role":      {change: func(c *aliyun.Config) { c.RAMRole = "nobody" }, what: "right and means to buy a host in " + region + "-g", words: "InvalidRamRole.NotFound"},
		"set":       {change: func(c *aliyun.Config) { c.DeploymentSet = "ds-bp1ffff" }, what: "deployment set ds-bp1ffff", words: "not shown"},
		"quota":     {region: func(c *cloudsim.Config) { c.Limits.VCPUs = 7 }, what: "quota of pay-as-you-go vCPUs", words: "take 8"},
		"clients shut out": {
			region: func(c *cloudsim.Config) { c.Groups[0].Rules = nil }, what: "clients and workers to members, port 2379", words: "lets anybody in",
		},
		"peers denied": {
			region: func(c *cloudsim.Config) {
				c.Groups[0].Rules = append(c.Groups[0].Rules, cloudsim.Rule{From: 2380, To: 2380, CIDR: "10.0.0.0/8", Deny: true, Priority: 1})
			},
			what: "members to members, port 2380", words: "does not let hosts",
		},
		"store denied": {
			region: func(c *cloudsim.Config) {
				c.Groups[0].Rules = append(c.Groups[0].Rules, cloudsim.Rule{Out: true, From: 1, To: 65535, CIDR: "0.0.0.0/0", Deny: true, Priority: 1})
			},
			what: "hosts to the object store and the run-command service, port 443", words: "does not let it out",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bodiless := func(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
				if c.region != nil {
					c.region(&cfg)
				}
				return simtest.Bodiless(t, cfg)
			}
			var changes []func(*aliyun.Config)
			if c.change != nil {
				changes = append(changes, c.change)
			}
			missing := simtest.Lacking(examine(t, newStand(t, bodiless, changes...)))
			require.Contains(t, missing, c.what)
			require.Contains(t, missing[c.what].Found, c.words)
		})
	}
}
