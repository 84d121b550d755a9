package clouds

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/integration/judge"
)

// stand is a control plane with a worker for a region of a cloud, and a cluster in it.
type stand struct {
	*harness.Env
	t      *testing.T
	world  *cloudsim.World
	spec   fleet.Spec
	seed   uint64
	filler judge.Filler
	larger string // machine type than that of spec
}

// setup is what a test has otherwise than others.
type setup struct {
	options []harness.Option
	keys    map[string]string // access keys that the region takes; its own if nil
	flags   []string          // more of the worker's
	// settle is how long a changed disk takes no other change; hardly any time if zero.
	settle time.Duration
}

func (o setup) keysOr(own map[string]string) map[string]string {
	if o.keys != nil {
		return o.keys
	}
	return own
}

// onCloud starts a region of a cloud, and gives the address of the face that speaks for
// it. No worker serves it yet.
func onCloud(t *testing.T, o setup, cfg cloudsim.Config, face func(*cloudsim.World) http.Handler) (*stand, string) {
	s := &stand{Env: harness.Start(t, o.options...), t: t, seed: harness.Seed(t), filler: judge.Filler{Prefix: "filler/", Bytes: 2 << 20}}
	cfg.Seed, cfg.Root, cfg.NodeBinary = s.seed, filepath.Join(s.Dir, "local"), harness.Binary("flotilla-node")
	cfg.Env = []string{"FLOTILLA_NODE_DEPOT=" + filepath.Join(s.Dir, "releases")}
	cfg.Delays.Settle = cmp.Or(o.settle, cfg.Delays.Settle)
	s.world = simtest.World(t, cfg)
	server := httptest.NewServer(face(s.world))
	t.Cleanup(func() {
		for _, w := range s.Workers() {
			w.Kill() // nobody is to ask a region that ends
		}
		server.Close()
	})
	return s, server.URL
}

// serve starts a worker that reaches the region by the SDK only, as the test does by
// provider; the test also has the world behind it. spec and larger, a machine type, say
// what is special to the cloud.
func (s *stand) serve(provider iaas.Provider, spec fleet.Spec, larger string, flags, env []string) {
	s.Provider, s.Cloud, s.larger = s.world.Machine(), provider, larger
	s.Flags = append([]string{"--provider", spec.Provider, "--region", spec.Region}, flags...)
	s.StartWorker("flotilla-worker", env...)
	spec.Name, spec.Voters, spec.Etcd = "orders", 3, fleet.EtcdSpec{Version: "3.7.3"}
	spec.Machine.Disk.Size = 20 * fleet.GiB
	s.spec = spec.WithDefaults()
	s.spec.Policy.Soak, s.spec.Policy.DeadAfter = fleet.Duration(time.Second), fleet.Duration(2*time.Second)
}

const region = "us-east-1"

// onAWS starts a worker for a region of AWS.
func onAWS(t *testing.T, o setup) *stand {
	cfg := ec2sim.Region(region)
	cfg.Keys = o.keysOr(cfg.Keys)
	s, endpoint := onCloud(t, o, cfg.Config, func(w *cloudsim.World) http.Handler { return ec2sim.New(w, cfg) })
	c := aws.Config{
		Region: region, Subnets: map[string]string{}, Image: cfg.Images[0].ID, SecurityGroups: []string{cfg.Groups[0].ID},
		InstanceProfile: cfg.Profiles[0], Types: []string{"m7g.medium", "m7g.large"}, EC2Endpoint: endpoint, SSMEndpoint: endpoint, QuotasEndpoint: endpoint,
	}
	var subnets, zones, env []string
	for _, n := range cfg.Subnets {
		c.Subnets[n.Zone] = n.ID
		subnets, zones = append(subnets, n.Zone+"="+n.ID), append(zones, n.Zone)
	}
	for id, secret := range cfg.Keys {
		c.Credentials = credentials.NewStaticCredentialsProvider(id, secret, "")
		env = []string{"AWS_ACCESS_KEY_ID=" + id, "AWS_SECRET_ACCESS_KEY=" + secret}
	}
	provider, err := aws.Open(t.Context(), c)
	require.NoError(t, err)
	s.serve(provider, fleet.Spec{
		Provider: "aws", Region: region, Zones: zones, Machine: fleet.MachineSpec{Type: "m7g.medium", Disk: fleet.DiskSpec{Category: "gp3"}},
	}, "m7g.large", append([]string{
		"--aws-subnets", strings.Join(subnets, ","), "--aws-image", c.Image,
		"--aws-security-groups", c.SecurityGroups[0], "--aws-instance-profile", c.InstanceProfile,
		"--aws-machine-types", strings.Join(c.Types, ","), "--aws-ec2-endpoint", endpoint, "--aws-ssm-endpoint", endpoint, "--aws-quotas-endpoint", endpoint,
	}, o.flags...), env)
	return s
}

// create makes the cluster and puts something into it.
func (s *stand) create() {
	s.t.Helper()
	began := time.Now()
	s.Create(s.spec)
	s.t.Logf("creating took %s", time.Since(began).Round(time.Millisecond))
	require.NoError(s.t, s.Stands(s.t.Context(), s.spec.Name))
	s.fill()
}

// fill puts something into the cluster.
func (s *stand) fill() {
	s.t.Helper()
	client, err := s.dial(s.t.Context())
	require.NoError(s.t, err)
	defer client.Close()
	require.NoError(s.t, judge.Fill(s.t.Context(), client, s.filler))
}

func (s *stand) dial(ctx context.Context) (*clientv3.Client, error) {
	a, err := s.Connect(ctx, s.spec.Name)
	if err != nil {
		return nil, err
	}
	return a.Client, nil
}

func (s *stand) endpoints(ctx context.Context) (urls []string, err error) {
	list, err := s.Client.Endpoints(ctx, s.spec.Name)
	for _, e := range list {
		urls = append(urls, e.ClientURL())
	}
	return urls, err
}

// change does an operation while clients use the cluster, expects it to stand as asked
// for afterwards and clients to have noticed nothing wrong, and gives the steps it took.
func (s *stand) change(what string, change harness.Change) (steps []string) {
	s.t.Helper()
	s.judged(what, func() error {
		r, err := s.BeginChange(s.spec.Name, change)
		if err != nil {
			return err
		}
		result, err := r.Await()
		for _, p := range result.Progress.Steps {
			steps = append(steps, strings.TrimSpace(fmt.Sprint(p.Step)))
		}
		if err != nil {
			return err
		}
		return s.Stands(s.t.Context(), s.spec.Name)
	})
	return steps
}

// judged does something to the cluster while clients use it, and expects that it is done
// and that clients have noticed nothing wrong.
func (s *stand) judged(what string, do func() error) {
	s.t.Helper()
	run, err := judge.Start(s.t.Context(), judge.Config{
		Dial: s.dial, Endpoints: s.endpoints, Seed: s.seed, Filler: &s.filler, CatchUp: harness.Patience / 2,
	})
	require.NoError(s.t, err)
	from := time.Now()
	failed := do()
	to := time.Now()
	stopped := run.Stop()
	verdict := run.Verdict()
	s.t.Logf("%s took %s\n%s\n%s", what, to.Sub(from).Round(time.Millisecond), verdict, run.Stalls(from, to))
	require.NoError(s.t, failed, what)
	require.NoError(s.t, stopped, "the clients of %s while %s", s.spec.Name, what)
	require.True(s.t, verdict.OK(), "what clients saw while %s", what)
}

// decommission takes the cluster down, and expects that nothing is left.
func (s *stand) decommission() {
	s.t.Helper()
	began := time.Now()
	s.Decommission(s.spec.Name, fleet.Options{})
	s.t.Logf("decommissioning took %s", time.Since(began).Round(time.Millisecond))
	s.nothingLeft()
}

// nothingLeft expects that nothing with our tags is left in the region, no process, no
// secret, and nothing that a sweep finds.
func (s *stand) nothingLeft() {
	s.t.Helper()
	instances, err := s.world.Instances(nil, func(i cloudsim.Instance) bool {
		return ours(i.Tags) && i.State != fleet.HostTerminated
	})
	require.NoError(s.t, err)
	require.Empty(s.t, instances, "instances are left")
	disks, err := s.world.Disks(nil, func(d cloudsim.Disk) bool { return ours(d.Tags) })
	require.NoError(s.t, err)
	require.Empty(s.t, disks, "disks are left")
	s.ExpectNothingLeft()
	a := s.sweep()
	require.Contains(s.t, a.Err, "nothing belongs to no cluster", "%s", a.Out)
}

// sweep runs flotilla sweep as a script does, for what is of any age.
func (s *stand) sweep(args ...string) harness.Answer {
	s.t.Helper()
	a := s.CLI(append([]string{"sweep", "--provider", s.spec.Provider, "--region", s.spec.Region, "--older-than", "0s"}, args...)...)
	require.Zero(s.t, a.Code, "%s", a.Err)
	return a
}

func ours(tags map[string]string) bool {
	for key := range tags {
		if strings.HasPrefix(key, "flotilla:") {
			return true
		}
	}
	return false
}

// follower gives a member's host that does not lead.
func (s *stand) follower() fleet.Host {
	s.t.Helper()
	leader, err := s.Leader(s.t.Context(), s.spec.Name)
	require.NoError(s.t, err)
	hosts, err := s.HostsOf(s.t.Context(), s.spec.Name)
	require.NoError(s.t, err)
	i := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.Member() != leader })
	require.GreaterOrEqual(s.t, i, 0, "%s has no follower", s.spec.Name)
	return hosts[i]
}
