package aliyun_test

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// Quotas of disks are looked at where ECS tells them, of the region or of its zones, and
// sales by zone.
func TestExamineDisks(t *testing.T) {
	find := func(checks []fleet.Check, what string) fleet.Check {
		t.Helper()
		i := slices.IndexFunc(checks, func(c fleet.Check) bool { return c.What == what })
		require.GreaterOrEqual(t, i, 0, "%s is not looked at", what)
		return checks[i]
	}
	const category, quota = "disk category cloud_essd", "quota of pay-as-you-go cloud_essd"
	s := newStand(t, func(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
		cfg.Categories[0].Zones = []string{region + "-g", region + "-i"}
		return simtest.Bodiless(t, cfg)
	})
	checks := examine(t, s)
	require.Equal(t, fleet.Check{What: category, State: fleet.CheckOK, Found: "not sold now in " + region + "-h"}, find(checks, category))
	require.Equal(t, fleet.Check{What: quota, State: fleet.CheckUnknown, Found: "ECS does not tell it: see it in Quota Center"}, find(checks, quota))
	_, err := s.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "t", Name: "m1", Zone: region + "-h", Size: 20 * fleet.GiB, Category: "cloud_essd"})
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)

	s = newStand(t, func(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
		cfg.Limits.Storage = 100 * fleet.GiB
		return simtest.Bodiless(t, cfg)
	})
	_, err = s.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "t", Name: "m1", Zone: region + "-h", Size: 20 * fleet.GiB, Category: "cloud_essd"})
	require.NoError(t, err)
	s.Await("it counts", func(context.Context) (bool, error) {
		return find(examine(t, s), quota).Found == "100 GiB, of which 20 are used", nil
	})

	w, p := onWire(t)
	w.Answers("DescribeZones", `{"RequestId": "R", "Zones": {"Zone": [{"ZoneId": "cn-hangzhou-g"}, {"ZoneId": "cn-hangzhou-h"}, {"ZoneId": "cn-hangzhou-i"}]}}`)
	for _, action := range []string{ // whatever else is looked at
		"DescribeVSwitches", "DescribeSecurityGroups", "DescribeSecurityGroupAttribute", "DescribeImages", "DescribeInstanceTypes", "DescribeAvailableResource",
		"DescribeDeploymentSets", "DescribeInstances", "DescribeDisks", "RunInstances", "CreateDisk", "StartInstance", "StopInstance", "DeleteInstance",
		"ModifyInstanceSpec", "AttachDisk", "DetachDisk", "ResizeDisk", "ModifyDiskSpec", "DeleteDisk", "TagResources", "RunCommand",
		"DescribeInvocationResults", "DescribeCloudAssistantStatus", "DescribePrice",
	} {
		w.Answers(action, `{"RequestId": "R"}`)
	}
	w.Answers("DescribeAccountAttributes", `{"RequestId": "R", "AccountAttributeItems": {"AccountAttributeItem": [
		{"AttributeName": "max-postpaid-yundisk-capacity", "AttributeValues": {"ValueItem": [
			{"DiskCategory": "cloud_essd", "ZoneId": "cn-hangzhou-g", "Value": "32768"}, {"DiskCategory": "cloud_essd", "ZoneId": "cn-hangzhou-h", "Value": "100"},
			{"DiskCategory": "cloud_ssd", "ZoneId": "cn-hangzhou-g", "Value": "1"}, {"DiskCategory": "cloud_essd", "ZoneId": "cn-hangzhou-k", "Value": "1"}]}},
		{"AttributeName": "used-postpaid-yundisk-capacity", "AttributeValues": {"ValueItem": [
			{"DiskCategory": "cloud_essd", "ZoneId": "cn-hangzhou-g", "Value": "20"}, {"DiskCategory": "cloud_essd", "ZoneId": "cn-hangzhou-h", "Value": "90"}]}}]}}`)
	checks = p.Examine(t.Context())
	require.Equal(t, fleet.CheckOK, find(checks, quota+" in "+region+"-g").State)
	require.Equal(t, fleet.CheckMissing, find(checks, quota+" in "+region+"-h").State)
	require.False(t, slices.ContainsFunc(checks, func(c fleet.Check) bool { return strings.HasPrefix(c.What, quota+" in "+region+"-k") }), "no member comes there")
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
		"disks":     {region: func(c *cloudsim.Config) { c.Categories[0].Zones = []string{"cn-elsewhere"} }, what: "disk category cloud_essd", words: "no zone sells it now"},
		"storage":   {region: func(c *cloudsim.Config) { c.Limits.Storage = 64 * fleet.GiB }, what: "quota of pay-as-you-go cloud_essd", words: "64 GiB, of which 0 are used; a cluster of three and a change of it take 80"},
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
