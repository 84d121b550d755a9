package clouds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/flotilla-etcd/flotilla/activities"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/iaas/pace"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestManyCreatesAgainstThrottling does the buying of many clusters' creation at once,
// with the steps' own code, the SDK and the pace that a worker has, against a region that
// throttles hard. No etcd is behind it. All of it is bought, once; what it took is logged.
// FLOTILLA_WHOLE does it for 200 clusters.
func TestManyCreatesAgainstThrottling(t *testing.T) {
	abreast(t)
	clusters := 6
	if harness.Whole() {
		clusters = 200
	}
	cfg := ec2sim.Region(region)
	w := simtest.Bodiless(t, cfg.Config)
	// What EC2 grants of each kind of call ("Request throttling": purchases are a bucket
	// of their own), twice as fast so as not to take all day.
	for action, rate := range map[string]cloudsim.Rate{
		"": {Burst: 50, PerSecond: 20}, "DescribeInstances": {Burst: 50, PerSecond: 20}, "DescribeVolumes": {Burst: 50, PerSecond: 20},
		"RunInstances": {Burst: 5, PerSecond: 4}, "CreateVolume": {Burst: 10, PerSecond: 5}, "AttachVolume": {Burst: 10, PerSecond: 5},
	} {
		w.SetRate(action, rate)
	}
	face := httptest.NewServer(ec2sim.New(w, cfg))
	t.Cleanup(face.Close)
	c := aws.Config{
		Region: region, Subnets: map[string]string{}, Image: cfg.Images[0].ID, SecurityGroups: []string{cfg.Groups[0].ID},
		InstanceProfile: cfg.Profiles[0], EC2Endpoint: face.URL, SSMEndpoint: face.URL,
	}
	for _, n := range cfg.Subnets {
		c.Subnets[n.Zone] = n.ID
	}
	for id, secret := range cfg.Keys {
		c.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
	}
	cloud, err := aws.Open(t.Context(), c)
	require.NoError(t, err)
	paced := pace.Wrap(cloud, "region aws/"+region, pace.DefaultLimits())

	began := time.Now()
	var attempts atomic.Int64
	var all sync.WaitGroup
	places := make(chan struct{}, 64) // what a worker does at a time (--max-steps)
	for n := range clusters {
		name := fmt.Sprintf("c%03d", n)
		for member, zone := range []string{region + "a", region + "b", region + "c"} {
			all.Go(func() {
				b := buyer{region: activities.Region{Provider: paced}, places: places, attempts: &attempts}
				if err := b.buy(t.Context(), name, fleet.MemberName(name, member+1), zone); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	all.Wait()
	hosts, disks := w.Bought()
	require.Equal(t, [2]int{3 * clusters, 3 * clusters}, [2]int{hosts, disks}, "each was bought once")
	calls, throttled := map[string]int{}, 0
	for _, call := range w.Calls() {
		if calls[call.Action]++; call.Refused == cloudsim.Throttled {
			throttled++
		}
	}
	t.Logf("%d clusters in %s: %.1f calls and %.1f throttled ones for each, %.1f attempts of steps (6 without faults); %v",
		clusters, time.Since(began).Round(time.Second), float64(w.Count(""))/float64(clusters), float64(throttled)/float64(clusters),
		float64(attempts.Load())/float64(clusters), calls)
	require.Positive(t, throttled)
}

// buyer does the steps that buy, as workflows have workers do them: again after a while
// when they fail.
type buyer struct {
	region   activities.Region
	places   chan struct{}
	attempts *atomic.Int64
}

func (b buyer) buy(ctx context.Context, cluster, member, zone string) error {
	op := fleet.Operation{Cluster: cluster, UID: "u1", Kind: fleet.CreateCluster, Spec: fleet.Spec{
		Name: cluster, Machine: fleet.MachineSpec{Type: "m7g.medium", Disk: fleet.DiskSpec{Size: 20 * fleet.GiB, Category: "gp3"}},
	}}
	step := fleet.Step{Kind: fleet.LaunchHost, Member: member, Zone: zone, Token: cluster + "/" + member + "/host"}
	if err := b.do(ctx, op, step); err != nil {
		return err
	}
	var hosts []fleet.Host
	for len(hosts) == 0 { // the look between two waves
		var err error
		hosts, err = b.region.Provider.ListHosts(ctx, iaas.Tags{fleet.TagCluster: cluster, fleet.TagMember: member})
		if err != nil && !fleet.Is(err, fleet.Throttled) && !fleet.Is(err, fleet.Unavailable) {
			return err
		}
	}
	return b.do(ctx, op, fleet.Step{
		Kind: fleet.AttachDisk, Member: member, Zone: zone, HostID: hosts[0].ID, Token: cluster + "/" + member + "/disk",
	})
}

// do does a step, by its activity, until it is done. Pauses are those of workflows.
func (b buyer) do(ctx context.Context, op fleet.Operation, step fleet.Step) error {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	for pause := 200 * time.Millisecond; ; pause = min(2*pause, 15*time.Second) {
		b.places <- struct{}{}
		env := suite.NewTestActivityEnvironment()
		env.SetTestTimeout(10 * time.Minute)
		activities.Register(env, b.region)
		b.attempts.Add(1)
		_, err := env.ExecuteActivity(string(step.Kind), fleet.StepRequest{Operation: op, Step: step})
		<-b.places
		if err == nil {
			return nil
		}
		var said *temporal.ApplicationError
		if !errors.As(err, &said) || said.NonRetryable() || ctx.Err() != nil {
			return err
		}
		time.Sleep(max(pause, said.NextRetryDelay()))
	}
}
