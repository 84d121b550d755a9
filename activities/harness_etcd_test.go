package activities

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.temporal.io/sdk/activity"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/integration/binaries"
	"github.com/flotilla-etcd/flotilla/plan"
)

// These tests carry steps out for real: hosts of the local provider, the real
// flotilla-node on them, and real etcds from what `make build` left in bin.

// flotillaNode builds the program that runs on hosts, once.
var flotillaNode = sync.OnceValues(func() (string, error) {
	dir, done, err := binaries.Build("./node/flotilla-node")
	removeBuilt = done
	return filepath.Join(dir, "flotilla-node"), err
})

var removeBuilt func()

func TestMain(m *testing.M) {
	code := m.Run()
	if removeBuilt != nil {
		removeBuilt()
	}
	os.Exit(code)
}

// hosted is a region whose hosts are real ones, for a test that runs beside others:
// most of its time it waits. None is left at the end.
func hosted(t *testing.T) Region {
	t.Helper()
	if testing.Short() {
		t.Skip("starts hosts and members")
	}
	t.Parallel()
	binary, err := flotillaNode()
	require.NoError(t, err)
	r := region(t)
	provider, err := local.Open(local.Config{
		Root: hostedRoot(r), Region: "local-1", NodeBinary: binary,
		Env: []string{"FLOTILLA_NODE_DEPOT=" + filepath.Join(r.Scratch, "depot")},
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, provider.ClearFaults(context.Background()))
		hosts, err := provider.ListHosts(context.Background(), nil)
		require.NoError(t, err)
		for _, h := range hosts {
			require.NoError(t, provider.TerminateHost(context.Background(), h.ID))
		}
		await(t, "all hosts are gone", func() bool {
			left, err := provider.ListHosts(context.Background(), nil)
			return err == nil && len(left) == 0
		})
	})
	r.Provider = provider
	return r
}

// hostedRoot is where the local provider keeps a region's hosts.
func hostedRoot(r Region) string { return filepath.Join(r.Scratch, "hosted") }

// await waits for a fact.
func await(t *testing.T, fact string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !so(); time.Sleep(20 * time.Millisecond) {
		require.True(t, time.Now().Before(deadline), "not within two minutes: %s", fact)
	}
}

// stand is a cluster that was made as an operation does: wave by wave.
type stand struct {
	t *testing.T
	Region
	op fleet.Operation
}

// newest gives the newest release of a minor in bin.
func newest(t *testing.T, catalogue, minor string) string {
	t.Helper()
	data, err := os.ReadFile(catalogue)
	require.NoError(t, err, "no releases of etcd are here: run make build")
	releases, err := fleet.ParseCatalogue(data, catalogue)
	require.NoError(t, err)
	found := ""
	for _, version := range releases.Versions() {
		if strings.HasPrefix(version, minor+".") {
			found = version
		}
	}
	require.NotEmpty(t, found, "etcd %s is not in %s: run make build", minor, catalogue)
	return found
}

// created gives a running cluster with so many voters.
func created(t *testing.T, voters int, change ...func(*fleet.Operation)) *stand {
	t.Helper()
	s := &stand{t: t, Region: hosted(t), op: operation()}
	s.Catalogue = "../bin/releases.yaml"
	s.op.Spec.Etcd.Version, s.op.Spec.Voters = newest(t, s.Catalogue, "3.6"), voters
	s.op.Spec.Policy = fleet.Policy{Soak: fleet.Duration(2 * time.Second), ReadyWithin: fleet.Duration(2 * time.Minute), DeadAfter: fleet.Duration(3 * time.Second)}
	for _, c := range change {
		c(&s.op)
	}
	look := s.run(50)
	require.Len(t, look.Observation.Members, voters)
	return s
}

// activitiesByName is a registry that is asked.
type activitiesByName map[string]any

func (n activitiesByName) RegisterActivityWithOptions(a any, o activity.RegisterOptions) {
	n[o.Name] = a
}

// run looks and acts until the operation is done, as its workflow does.
func (s *stand) run(waves int) fleet.Look {
	s.t.Helper()
	var memory fleet.Memory
	for range waves {
		look := s.look(memory)
		if look.Decision.Verdict == fleet.VerdictDone {
			return look
		}
		require.Equal(s.t, fleet.VerdictAct, look.Decision.Verdict, look.Decision.Reason)
		for _, step := range look.Decision.Wave {
			memory.Begin(s.op.Cluster, step)
			note, err := s.do(step)
			require.NoError(s.t, err, "%s", step)
			memory.Done(step, look.Observation)
			s.t.Logf("%s: %s", step, note)
		}
	}
	require.FailNow(s.t, "no end", "after %d waves of %s", waves, s.op.Kind)
	return fleet.Look{}
}

func (s *stand) look(memory fleet.Memory) (look fleet.Look) {
	s.t.Helper()
	planner := &Planner{s.patient()}
	_, err := as(s.t, func(ctx context.Context) (err error) {
		look, err = planner.Look(ctx, fleet.LookRequest{Operation: s.op, Memory: memory})
		return err
	})
	require.NoError(s.t, err)
	return look
}

func (s *stand) patient() Region { return s.ready() }

// stepTimeout ends a step that waits for what does not come.
const stepTimeout = 3 * time.Minute

// do carries out one step.
func (s *stand) do(step fleet.Step) (string, error) {
	all := activitiesByName{}
	Register(all, s.Region)
	run, ok := all[string(step.Kind)].(func(context.Context, fleet.StepRequest) (fleet.StepReply, error))
	require.True(s.t, ok, "%s is an activity", step.Kind)
	var reply fleet.StepReply
	var stepErr error
	policy, err := s.policy(s.op)
	require.NoError(s.t, err)
	seen, err := as(s.t, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, stepTimeout)
		defer cancel()
		reply, stepErr = run(ctx, fleet.StepRequest{Operation: s.op, Step: step, Policy: policy})
		return ctx.Err()
	})
	require.NoError(s.t, err, "%s did not end in time: %v", step, seen.notes())
	return reply.Note, stepErr
}

// must carries out one step that succeeds.
func (s *stand) must(step fleet.Step) string {
	s.t.Helper()
	note, err := s.do(step)
	require.NoError(s.t, err, "%s", step)
	return note
}

// step is one on a member, filled in as the planner would.
func (s *stand) step(kind fleet.StepKind, name string) fleet.Step {
	obs := s.observed()
	step := fleet.Step{Kind: kind, Member: name, Existing: true, Token: string(kind) + "/" + name}
	if h := obs.Host(name); h != nil {
		endpoint := plan.EndpointOf(h.Host)
		step.HostID, step.Zone, step.Endpoint = h.ID, h.Zone, &endpoint
	}
	if d := obs.Disk(name); d != nil {
		step.DiskID = d.ID
	}
	if m := obs.Member(name); m != nil {
		step.MemberID = m.ID
	}
	for _, h := range obs.Hosts {
		step.Initial = append(step.Initial, plan.EndpointOf(h.Host))
	}
	return step
}

// observed is one look at the cluster, without a plan.
func (s *stand) observed() (obs fleet.Observation) {
	s.t.Helper()
	_, err := as(s.t, func(ctx context.Context) (err error) {
		obs, err = s.patient().observeOnce(ctx, s.op, fleet.Unanswered{}, false)
		return err
	})
	require.NoError(s.t, err)
	return obs
}

// etcd gives a client of the cluster's members, as its users have one.
func (s *stand) etcd() *clientv3.Client {
	s.t.Helper()
	authority, err := s.authority(s.t.Context(), s.op.Cluster, s.op.UID)
	require.NoError(s.t, err)
	tls, err := authority.ClientTLS("a client", time.Now())
	require.NoError(s.t, err)
	var urls []string
	for _, h := range s.observed().Hosts {
		urls = append(urls, plan.EndpointOf(h.Host).ClientURL())
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: urls, TLS: tls, Logger: zap.NewNop()})
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

func (s *stand) local() *local.Provider { return s.Provider.(*local.Provider) }

func (s *stand) host(name string) fleet.Host {
	hosts, err := s.Provider.ListHosts(s.t.Context(), iaas.Tags{fleet.TagMember: name})
	require.NoError(s.t, err)
	require.Len(s.t, hosts, 1)
	return hosts[0]
}
