package aws_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func examine(t *testing.T, s simtest.Stand) []fleet.Check {
	t.Helper()
	return s.Provider.(*aws.Provider).Examine(t.Context())
}

func TestExamine(t *testing.T) {
	s := newStand(t, simtest.World, func(c *aws.Config) { c.PlacementGroup = "spread" })
	checks := examine(t, s)
	require.Empty(t, simtest.Lacking(checks))
	require.Greater(t, len(checks), 20)
	hosts, disks := s.World.Bought()
	require.Zero(t, hosts+disks, "it buys nothing")
	require.Empty(t, s.World.CommandsOf(""), "it runs nothing")
	heal := s.World.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: "TerminateInstances"}})
	require.Empty(t, simtest.Lacking(examine(t, s)), "whether that hangs on our tags is not known")
	heal()

	h, err := s.LaunchHost(t.Context(), s.Request("host"))
	require.NoError(t, err)
	d, err := s.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "disk", Name: "m1", Zone: region + "a", Size: 20 * fleet.GiB, Category: "gp3"})
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
	require.Equal(t, "m7g.medium", now.Type)

	for action, what := range map[string]string{
		"RunInstances": "right and means to buy a host in us-east-1b", "CreateVolume": "right and means to buy a disk",
		"TerminateInstances": "right to TerminateInstances", "AttachVolume": "right to AttachVolume", "CreateTags": "right to CreateTags",
		"SendCommand": "right to SendCommand", "DescribeVolumes": "right to DescribeVolumes", "ListCommands": "right to ListCommands",
	} {
		heal = s.World.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: action}})
		missing := simtest.Lacking(examine(t, s))
		require.Contains(t, missing, what)
		require.Contains(t, missing[what].Remedy, "docs/providers/aws.md", action)
		heal()
	}
}

// What an operator may get wrong is said in words, all of it in one go.
func TestExamineFindsMistakes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*aws.Config)
		what   string
		words  string
	}{
		"key":       {func(c *aws.Config) { c.Credentials = staticCredentials("AKIDEXAMPLE", "wrong") }, "credentials", ""},
		"subnet":    {func(c *aws.Config) { c.Subnets[region+"a"] = "subnet-0fffffffffffffff1" }, "subnet subnet-0fffffffffffffff1", "does not exist"},
		"swapped":   {func(c *aws.Config) { c.Subnets[region+"a"] = c.Subnets[region+"b"] }, "subnet subnet-0a1b2c3d4e5f60002", "not in " + region + "a"},
		"zone":      {func(c *aws.Config) { c.Subnets["us-east-9z"] = c.Subnets[region+"a"] }, "zone us-east-9z", "has none of that name"},
		"group":     {func(c *aws.Config) { c.SecurityGroups = []string{"sg-0a1b2c3d4e5f60002"} }, "security group sg-0a1b2c3d4e5f60002", "the subnets are in"},
		"image":     {func(c *aws.Config) { c.Image = "ami-0fffffffffffffff1" }, "image ami-0fffffffffffffff1", "does not exist"},
		"other cpu": {func(c *aws.Config) { c.Image = "ami-0a1b2c3d4e5f60002" }, "machine type m7g.large", "does not boot on it"},
		"profile":   {func(c *aws.Config) { c.InstanceProfile = "nobody" }, "right and means to buy a host in " + region + "a", "nobody"},
		"key of disks": {func(c *aws.Config) {
			c.KMSKey = "arn:aws:kms:us-east-1:111122223333:key/00000000-0000-0000-0000-000000000000"
		}, "right and means to buy a disk", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t, simtest.Bodiless, c.change)
			missing := simtest.Lacking(examine(t, s))
			require.Contains(t, missing, c.what)
			require.Contains(t, missing[c.what].Found, c.words)
		})
	}
}

// So is what the region itself lacks.
func TestExamineFindsWhatIsShut(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*cloudsim.Config)
		what   string
		words  string
	}{
		"peers":   {func(c *cloudsim.Config) { c.Groups[0].Rules = c.Groups[0].Rules[1:] }, "members to members, port 2380", "does not let hosts"},
		"clients": {func(c *cloudsim.Config) { c.Groups[0].Rules = c.Groups[0].Rules[2:] }, "clients and workers to members, port 2379", "lets anybody in"},
		"store":   {func(c *cloudsim.Config) { c.Groups[0].Rules[2].From, c.Groups[0].Rules[2].To = 2380, 2380 }, "hosts to the object store and the run-command service, port 443", "does not let it out"},
		"vCPUs":   {func(c *cloudsim.Config) { c.Limits.VCPUs = 3 }, "quota of vCPUs (L-1216C47A)", "take 4"},
		"storage": {func(c *cloudsim.Config) { c.Limits.Storage = 64 * fleet.GiB }, "quota of gp3 storage (L-7A658B76)", "take 80"},
	} {
		t.Run(name, func(t *testing.T) {
			missing := simtest.Lacking(examine(t, newStand(t, func(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
				c.change(&cfg)
				return simtest.Bodiless(t, cfg)
			})))
			require.Contains(t, missing, c.what)
			require.Contains(t, missing[c.what].Found, c.words)
		})
	}
}

func TestCostsAreNearThePriceList(t *testing.T) {
	hourly := map[string]float64{"c7g.large": 0.0725, "m7g.large": 0.0816, "r7g.large": 0.1071}
	s := newStand(t, func(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
		for name, memory := range map[string]fleet.Bytes{"c7g.large": 4 * fleet.GiB, "r7g.large": 16 * fleet.GiB} {
			cfg.Types = append(cfg.Types, cloudsim.InstanceType{MachineType: fleet.MachineType{Name: name, VCPUs: 2, Memory: memory}, Architecture: "arm64"})
		}
		return simtest.Bodiless(t, cfg)
	})
	prices := s.Provider.(*aws.Provider)
	for name, price := range hourly {
		cost, err := prices.HostCost(t.Context(), fleet.Host{Type: name})
		require.NoError(t, err)
		require.Equal(t, "USD", cost.Currency)
		require.InEpsilon(t, price*730, cost.Amount, 0.04, name)
	}
	cost, err := prices.HostCost(t.Context(), fleet.Host{Type: "m7g.large", State: fleet.HostStopped})
	require.NoError(t, err)
	require.Equal(t, "0.00 USD", cost.String())
	_, err = prices.HostCost(t.Context(), fleet.Host{Type: "m1.ancient"})
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)
	cost, err = prices.DiskCost(t.Context(), fleet.Disk{Size: 20 * fleet.GiB, Category: "gp3"})
	require.NoError(t, err)
	require.Equal(t, "1.60 USD", cost.String())
	_, err = prices.DiskCost(t.Context(), fleet.Disk{Size: 20 * fleet.GiB, Category: "gp9"})
	require.True(t, fleet.Is(err, fleet.NotFound), "%v", err)
	for written, want := range map[fleet.Bytes]string{0: "at most 1.00 USD", 2 * fleet.GiB: "at most 0.10 USD", fleet.MiB: "at most 0.01 USD"} {
		cost, err = prices.DiskSnapshotCost(t.Context(), fleet.DiskSnapshot{Size: 20 * fleet.GiB, Written: written})
		require.NoError(t, err)
		require.Equal(t, want, cost.String())
	}
}
