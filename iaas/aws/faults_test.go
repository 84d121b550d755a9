package aws_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

// stand is a provider on a world of its own.
type stand struct {
	*aws.Provider
	t     *testing.T
	world *cloudsim.World
}

func newStand(t *testing.T, make func(*testing.T, cloudsim.Config) *cloudsim.World, change ...func(*aws.Config)) stand {
	cfg := ec2sim.Region(region)
	w := make(t, cfg.Config)
	c := config(serve(t, w, cfg), cfg)
	for _, f := range change {
		f(&c)
	}
	return stand{open(t, c), t, w}
}

func (s stand) launch(token string) iaas.LaunchHostRequest {
	return iaas.LaunchHostRequest{
		Token: token, Name: "m1", Zone: region + "a", Type: "m7g.medium", Tags: iaas.Tags{fleet.TagCluster: "c", fleet.TagMember: "m1"},
	}
}

// insist asks as a caller does: again while there is no answer, or not yet.
func (s stand) insist(what string, call func(ctx context.Context) error) {
	s.t.Helper()
	var err error
	require.Eventually(s.t, func() bool {
		err = call(s.t.Context())
		switch fleet.KindOf(err) {
		case fleet.Unavailable, fleet.Throttled, fleet.NotFound, fleet.Conflict:
			return false
		}
		return true
	}, time.Minute, 20*time.Millisecond, "%s", what)
	require.NoError(s.t, err, what)
}

func (s stand) await(what string, so func(ctx context.Context) (bool, error)) {
	s.t.Helper()
	s.insist(what, func(ctx context.Context) error {
		ok, err := so(ctx)
		if err == nil && !ok {
			return fleet.Errorf(fleet.Conflict, what, "not yet")
		}
		return err
	})
}

// A whole life of a host and its disk, in which each call's answer may be lost.
func (s stand) live() {
	s.t.Helper()
	var h fleet.Host
	var d fleet.Disk
	hostIs := func(state fleet.HostState) {
		s.t.Helper()
		s.await("host is "+string(state), func(ctx context.Context) (bool, error) {
			now, err := s.Host(ctx, h.ID)
			return now.State == state, err
		})
	}
	diskIs := func(state fleet.DiskState, size fleet.Bytes) {
		s.t.Helper()
		s.await("disk is "+string(state), func(ctx context.Context) (bool, error) {
			now, err := s.Disk(ctx, d.ID)
			return now.State == state && now.Size == size, err
		})
	}
	s.insist("launch", func(ctx context.Context) (err error) { h, err = s.LaunchHost(ctx, s.launch("host")); return err })
	s.insist("create", func(ctx context.Context) (err error) {
		d, err = s.CreateDisk(ctx, iaas.CreateDiskRequest{Token: "disk", Name: "m1", Zone: region + "a", Size: 20 * fleet.GiB, Category: "gp3"})
		return err
	})
	hostIs(fleet.HostRunning)
	diskIs(fleet.DiskAvailable, 20*fleet.GiB)
	s.insist("tag", func(ctx context.Context) error { return s.TagHost(ctx, h.ID, iaas.Tags{"colour": "red"}) })
	s.insist("attach", func(ctx context.Context) error { return s.AttachDisk(ctx, d.ID, h.ID) })
	diskIs(fleet.DiskInUse, 20*fleet.GiB)
	s.insist("grow", func(ctx context.Context) error { return s.GrowDisk(ctx, d.ID, 30*fleet.GiB) })
	diskIs(fleet.DiskInUse, 30*fleet.GiB)
	require.Equal(s.t, "ran\n", s.run(h.ID, "ran", "echo ran | tee -a ran"))
	require.Equal(s.t, "1\n", s.run(h.ID, "count", "wc -l <ran"), "a command runs once")
	s.insist("stop", func(ctx context.Context) error { return s.StopHost(ctx, h.ID) })
	hostIs(fleet.HostStopped)
	s.insist("resize", func(ctx context.Context) error { return s.ResizeHost(ctx, h.ID, "m7g.large") })
	s.insist("start", func(ctx context.Context) error { return s.StartHost(ctx, h.ID) })
	hostIs(fleet.HostRunning)
	s.insist("detach", func(ctx context.Context) error { return s.DetachDisk(ctx, d.ID) })
	diskIs(fleet.DiskAvailable, 30*fleet.GiB)
	s.insist("delete", func(ctx context.Context) error { return s.DeleteDisk(ctx, d.ID) })
	s.insist("terminate", func(ctx context.Context) error { return s.TerminateHost(ctx, h.ID) })
	hostIs(fleet.HostTerminated)
	hosts, disks := s.world.Bought()
	require.Equal(s.t, [2]int{1, 1}, [2]int{hosts, disks}, "one host and one disk were bought")
}

// run runs a script and gives what it printed.
func (s stand) run(host, token, script string) string {
	s.t.Helper()
	var c iaas.Command
	s.insist("run", func(ctx context.Context) (err error) {
		c, err = s.RunCommand(ctx, iaas.CommandRequest{HostID: host, Token: token, Script: script, Timeout: time.Minute})
		return err
	})
	s.await("command ends", func(ctx context.Context) (bool, error) {
		now, err := s.Command(ctx, host, c.ID)
		if err == nil {
			c = now
		}
		return c.State != iaas.CommandRunning, err
	})
	require.Equal(s.t, iaas.CommandSucceeded, c.State, "%+v", c)
	return c.Stdout
}

// The answer of each call that changes something is lost in turn, once (the SDK asks
// again by itself) or, of those that take most care, so often that the caller has to:
// nothing is done twice.
func TestLostAnswers(t *testing.T) {
	for _, action := range []string{
		"RunInstances", "CreateVolume", "CreateTags", "AttachVolume", "ModifyVolume", "SendCommand", "StopInstances",
		"ModifyInstanceAttribute", "StartInstances", "DetachVolume", "DeleteVolume", "TerminateInstances",
	} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			times := 1
			if action == "RunInstances" || action == "CreateVolume" || action == "SendCommand" {
				times = 4 // three end one call, and the caller has to ask again
			}
			s := newStand(t, simtest.World)
			s.world.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer, Target: cloudsim.Target{Action: action}, Times: times})
			s.live()
			require.Equal(t, times, s.world.Struck(cloudsim.LoseAnswer), "answers were lost")
		})
	}
}

// A zone without stock is told from everything else at once, and is not asked again; a
// new token in another zone buys.
func TestNoStock(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	s.world.Inject(cloudsim.Fault{Kind: cloudsim.NoStockLeft, Target: cloudsim.Target{Zone: region + "a"}})
	_, err := s.LaunchHost(t.Context(), s.launch("one"))
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(err), "%v", err)
	require.Equal(t, 1, s.world.Count("RunInstances"))
	elsewhere := s.launch("two")
	elsewhere.Zone = region + "b"
	h, err := s.LaunchHost(t.Context(), elsewhere)
	require.NoError(t, err)
	require.Equal(t, region+"b", h.Zone)
	rare := s.launch("three")
	rare.Zone, rare.Type = region+"b", "x8g.large"
	_, err = s.LaunchHost(t.Context(), rare)
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(err), "a type that the zone does not sell: %v", err)
}

// A purchase that is asked for again by a worker with a newer configuration is the one
// that was made: what the image or the user data is now changes nothing about it.
func TestLaunchAgainWithAnotherConfiguration(t *testing.T) {
	signed := "link 1"
	s := newStand(t, simtest.Bodiless, func(c *aws.Config) {
		c.UserData = func(context.Context) ([]byte, error) { return []byte("#cloud-config\n# " + signed), nil }
	})
	h, err := s.LaunchHost(t.Context(), s.launch("one"))
	require.NoError(t, err)
	signed = "link 2"
	var again fleet.Host
	s.await("it is found", func(ctx context.Context) (bool, error) { // lists lag
		again, err = s.LaunchHost(ctx, s.launch("one"))
		return !fleet.Is(err, fleet.Invalid), nil
	})
	require.NoError(t, err)
	require.Equal(t, h.ID, again.ID)
	other := s.launch("one")
	other.Type = "m7g.large"
	_, err = s.LaunchHost(t.Context(), other)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "another request: %v", err)
	hosts, _ := s.world.Bought()
	require.Equal(t, 1, hosts)
	signed = strings.Repeat("long", 5000)
	_, err = s.LaunchHost(t.Context(), s.launch("two"))
	require.ErrorContains(t, err, "EC2 takes 16384")
}

// limiter counts what it is asked and told.
type limiter struct {
	mu               sync.Mutex
	waits, throttled int
}

func (l *limiter) Wait(context.Context, string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits++
	return nil
}

func (l *limiter) Done(_ string, throttled bool, _ time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if throttled {
		l.throttled++
	}
}

// Every try of a call is paced, and what throttles it is told.
func TestLimiter(t *testing.T) {
	l := &limiter{}
	s := newStand(t, simtest.Bodiless, func(c *aws.Config) { c.Limiter = l })
	s.world.Inject(cloudsim.Fault{Kind: cloudsim.Throttle, Times: 4})
	_, err := s.Zones(t.Context())
	require.Equal(t, fleet.Throttled, fleet.KindOf(err), "%v", err)
	_, err = s.Zones(t.Context())
	require.NoError(t, err)
	require.Equal(t, s.world.Count(""), l.waits)
	require.Equal(t, 4, l.throttled)
}

// A list comes whole over many pages, and what is not ours is not in it.
func TestPages(t *testing.T) {
	s := newStand(t, simtest.Bodiless)
	cfg := ec2sim.Region(region)
	const many = 1100
	_, err := s.world.Launch(cloudsim.LaunchRequest{
		Count: many, Type: "m7g.medium", Image: cfg.Images[0].ID, Subnet: cfg.Subnets[0].ID, Tags: map[string]string{fleet.TagToken: "t", fleet.TagCluster: "a*"},
	})
	require.NoError(t, err)
	_, err = s.world.Launch(cloudsim.LaunchRequest{
		Count: 3, Type: "m7g.medium", Image: cfg.Images[0].ID, Subnet: cfg.Subnets[0].ID, Tags: map[string]string{"theirs": "", fleet.TagCluster: "ab"},
	})
	require.NoError(t, err)
	for _, tags := range []iaas.Tags{nil, {fleet.TagCluster: "a*"}} {
		s.await("all are listed", func(ctx context.Context) (bool, error) {
			hosts, err := s.ListHosts(ctx, tags)
			require.LessOrEqual(t, len(hosts), many)
			return len(hosts) == many, err
		})
	}
	s.world.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: "DescribeInstances"}})
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
