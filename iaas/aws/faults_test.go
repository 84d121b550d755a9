package aws_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/iaas/pace"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func newStand(t *testing.T, make func(*testing.T, cloudsim.Config) *cloudsim.World, change ...func(*aws.Config)) simtest.Stand {
	cfg := ec2sim.Region(region)
	w := make(t, cfg.Config)
	c := config(serve(t, w, cfg), cfg)
	for _, f := range change {
		f(&c)
	}
	goods := simtest.Goods{Zone: region + "a", Type: "m7g.medium", Larger: "m7g.large", Category: "gp3", Other: "gp2"}
	return simtest.Stand{Provider: open(t, c), T: t, World: w, Goods: goods}
}

// The answer of each call that changes something is lost in turn, once (the SDK asks
// again by itself) or, of those that take most care, so often that the caller has to:
// three end one call.
func TestLostAnswers(t *testing.T) {
	simtest.LostAnswers(t, []string{
		"RunInstances", "CreateVolume", "CreateTags", "AttachVolume", "ModifyVolume", "SendCommand", "StopInstances",
		"ModifyInstanceAttribute", "StartInstances", "DetachVolume", "DeleteVolume", "TerminateInstances",
		"CreateSnapshot", "DeleteSnapshot", // the first once, as it is looked for then
	}, map[string]int{"RunInstances": 4, "CreateVolume": 4, "SendCommand": 4}, func(t *testing.T) simtest.Stand { return newStand(t, simtest.World) })
}

// EC2 takes one snapshot of a volume every 15 seconds. Whoever asks again sooner, with the
// same token, gets the one that was taken, also if another worker died over it and nobody
// sees it yet; with another token, it is told when to ask again.
func TestSnapshotsOfOneVolume(t *testing.T) {
	t.Parallel()
	cfg := ec2sim.Region(region)
	cfg.Delays.Lag = 3 * time.Second
	w := simtest.Bodiless(t, cfg.Config)
	endpoint := serve(t, w, cfg)
	s := simtest.Stand{Provider: open(t, config(endpoint, cfg)), T: t, World: w}
	d, err := s.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "disk", Name: "m1", Zone: region + "a", Size: 20 * fleet.GiB, Category: "gp3"})
	require.NoError(t, err)
	req := iaas.SnapshotDiskRequest{Token: "one", Name: "m1", DiskID: d.ID, Tags: iaas.Tags{fleet.TagCluster: "c"}}
	var one fleet.DiskSnapshot
	s.Insist("snapshot", func(ctx context.Context) (err error) { one, err = s.SnapshotDisk(ctx, req); return err })

	again, err := open(t, config(endpoint, cfg)).SnapshotDisk(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, one.ID, again.ID)

	req.Token = "two"
	_, err = s.SnapshotDisk(t.Context(), req)
	require.Equal(t, fleet.Conflict, fleet.KindOf(err), "%v", err)
	require.ErrorContains(t, err, "wait 15 seconds between two snapshots of a volume")
	var e *fleet.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 5*time.Second, e.RetryAfter, "what is left after it was looked for")
	require.Equal(t, 1, w.SnapshotsBought())
	s.Insist("another one", func(ctx context.Context) (err error) { again, err = s.SnapshotDisk(ctx, req); return err })
	require.NotEqual(t, one.ID, again.ID)
	require.Equal(t, 2, w.SnapshotsBought())
}

// EC2 takes the size and the type of a volume in one. A volume is optimized for longer than
// the SDK waits before it asks again.
func TestRetypesOnce(t *testing.T) {
	simtest.RetypesOnce(t, []string{"ModifyVolume"}, func(t *testing.T) simtest.Stand {
		slow := func(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
			cfg.Delays.Settle = time.Minute
			return simtest.World(t, cfg)
		}
		return newStand(t, slow, func(c *aws.Config) { c.Categories = []string{"gp2", "gp3"} })
	})
}

func TestNoStock(t *testing.T) {
	newStand(t, simtest.Bodiless).NoStock(region+"b", "x8g.large")
}

func TestLaunchAgainWithAnotherConfiguration(t *testing.T) {
	var data string
	s := newStand(t, simtest.Bodiless, func(c *aws.Config) {
		c.UserData = func(context.Context) ([]byte, error) { return []byte(data), nil }
	})
	s.LaunchesAgain("EC2", func(now string) { data = now })
}

// A worker's pace is behind this provider as behind any: what EC2 throttles, after the
// SDK's own tries, slows it.
func TestPaced(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	p := pace.Wrap(s.Provider, "region "+region, pace.DefaultLimits())
	s.World.Inject(cloudsim.Fault{Kind: cloudsim.Throttle, Times: 4})
	_, err := p.Zones(t.Context())
	require.Equal(t, fleet.Throttled, fleet.KindOf(err), "%v", err)
	_, err = p.Zones(t.Context())
	require.NoError(t, err)
	require.Equal(t, 4, s.World.Struck(cloudsim.Throttle))
	require.Equal(t, 5, s.World.Count(""), "three tries, and two")
	require.EqualValues(t, 1, p.Stats(pace.Read).Throttled)
}

// A list comes whole over many pages, and what is not ours is not in it.
func TestPages(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	cfg := ec2sim.Region(region)
	const many = 1100
	_, err := s.World.Launch(cloudsim.LaunchRequest{
		Count: many, Type: "m7g.medium", Image: cfg.Images[0].ID, Subnet: cfg.Subnets[0].ID, Tags: map[string]string{fleet.TagToken: "t", fleet.TagCluster: "a*"},
	})
	require.NoError(t, err)
	_, err = s.World.Launch(cloudsim.LaunchRequest{
		Count: 3, Type: "m7g.medium", Image: cfg.Images[0].ID, Subnet: cfg.Subnets[0].ID, Tags: map[string]string{"theirs": "", fleet.TagCluster: "ab"},
	})
	require.NoError(t, err)
	for _, tags := range []iaas.Tags{nil, {fleet.TagCluster: "a*"}} {
		s.Await("all are listed", func(ctx context.Context) (bool, error) {
			hosts, err := s.ListHosts(ctx, tags)
			require.LessOrEqual(t, len(hosts), many)
			return len(hosts) == many, err
		})
	}
	s.World.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: "DescribeInstances"}})
	_, err = s.ListHosts(t.Context(), nil)
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "a list in part is an error")
}

// No credentials get into what people read.
func TestCredentials(t *testing.T) {
	const secret = "VERYSECRETACCESSKEY"
	s := newStand(t, simtest.Bodiless, func(c *aws.Config) {
		c.Credentials = staticCredentials("AKIDEXAMPLE", secret)
	})
	_, err := s.Zones(t.Context())
	require.Equal(t, fleet.Denied, fleet.KindOf(err), "%v", err)
	for e := err; e != nil; e = errors.Unwrap(e) {
		require.NotContains(t, e.Error(), secret)
	}
}
