package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// stand is a warm control plane: Temporal, one worker, and this machine's hosts.
type stand struct {
	b        *testing.B
	e        *harness.Env
	worker   *harness.Process
	temporal client.Client
	began    time.Time
}

func newStand(b *testing.B) *stand {
	s := &stand{b: b, began: time.Now(), e: harness.Start(b)}
	s.endWhenInterrupted()
	s.worker = s.e.StartWorker("flotilla-worker")
	var err error
	s.temporal, err = client.DialContext(b.Context(), client.Options{
		HostPort: s.e.Temporal.Address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(b, err)
	b.Cleanup(s.temporal.Close)
	return s
}

// endWhenInterrupted ends what was started when a person does not want to wait:
// tests that are interrupted do not clean up.
func (s *stand) endWhenInterrupted() {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	s.b.Cleanup(func() { signal.Stop(interrupted) })
	go func() {
		<-interrupted
		for _, w := range s.e.Workers() {
			w.Kill()
		}
		s.e.Temporal.Kill()
		// A supervisor starts its members again while it lives, so once is not enough.
		for left := s.e.Processes(); len(left) > 0; left = s.e.Processes() {
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			time.Sleep(50 * time.Millisecond)
		}
		_ = os.RemoveAll(s.e.Dir)
		_ = os.RemoveAll(filepath.Dir(harness.Binary("flotilla"))) // TestMain will not
		os.Exit(130)
	}()
}

// warm lets everything be done once that is done once only: the release is
// unpacked, caches are filled, connections stand.
func (s *stand) warm() {
	s.handmade(-1)
	s.create("warm", 3)
	s.decommission("warm", 3)
	progress("warm after %s", short(time.Since(s.began)))
}

// brief bounds one try of something that is tried again.
func (s *stand) brief() context.Context {
	ctx, cancel := context.WithTimeout(s.b.Context(), 500*time.Millisecond)
	time.AfterFunc(time.Second, cancel)
	return ctx
}

// creation is one cluster's way from the request to its first write.
type creation struct {
	ref                                      starter.Ref
	began                                    time.Time
	accepted, ended, certified, total, write time.Duration // since began; write is its own
}

// create creates a cluster as a user does: asks, waits for the end, gets a
// certificate, writes.
func (s *stand) create(name string, voters int) creation {
	t := s.b
	spec := harness.Spec(name, voters, version)
	c := creation{began: time.Now()}
	running, err := s.e.Begin(name, fleet.CreateCluster, &spec)
	require.NoError(t, err)
	c.ref, c.accepted = running.Ref, time.Since(c.began)
	result, err := running.Await()
	require.NoError(t, err)
	c.ended = time.Since(c.began)
	access, err := s.e.Connect(t.Context(), name)
	require.NoError(t, err)
	defer access.Close()
	c.certified = time.Since(c.began)
	_, err = access.Put(t.Context(), "first", "write")
	require.NoError(t, err)
	c.total = time.Since(c.began)
	c.write = c.total - c.certified
	require.Equal(t, voters, result.Summary.Healthy)
	return c
}

func (s *stand) decommission(name string, voters int) starter.Ref {
	running, err := s.e.Begin(name, fleet.DecommissionCluster, nil)
	require.NoError(s.b, err)
	_, err = running.Await()
	require.NoError(s.b, err)
	s.nothing(name, voters)
	return running.Ref
}

// all does the same to many clusters at once, and gives how long each one took.
func (s *stand) all(names []string, voters int, kind fleet.OperationKind) series {
	times := make(series, len(names))
	var group errgroup.Group
	for i, name := range names {
		group.Go(func() error {
			var spec *fleet.Spec
			if kind == fleet.CreateCluster {
				filled := harness.Spec(name, voters, version)
				spec = &filled
			}
			began := time.Now()
			running, err := s.e.Begin(name, kind, spec)
			if err != nil {
				return err
			}
			_, err = running.Await()
			times[i] = time.Since(began)
			return err
		})
	}
	require.NoError(s.b, group.Wait())
	return times
}

func members(name string, voters int) []string {
	return plan.MemberNames(harness.Spec(name, voters, version))
}

// correct fails unless a cluster has exactly its members, bought once, and serves.
func (s *stand) correct(name string, voters int) {
	require.NoError(s.b, s.e.Exactly(s.b.Context(), name, members(name, voters)...), name)
	_, err := s.e.Serves(s.b.Context(), name, members(name, voters)...)
	require.NoError(s.b, err, name)
}

func (s *stand) nothing(name string, voters int) {
	require.NoError(s.b, s.e.Nothing(s.b.Context(), name, members(name, voters)...), name)
}

// shortOperations times what a person waits for at the keyboard.
func (s *stand) shortOperations(live int) (listing, cli, planning series) {
	t := s.b
	spec := harness.Spec("planned", 3, version)
	for range 5 {
		began := time.Now()
		list, err := s.e.Client.Clusters(t.Context(), starter.Filter{})
		require.NoError(t, err)
		listing = append(listing, time.Since(began))
		require.Len(t, list.Clusters, live)
		require.Empty(t, list.Notes)

		began = time.Now()
		out, err := exec.CommandContext(t.Context(), harness.Binary("flotilla"), "get", "clusters", "--address", s.e.Temporal.Address).CombinedOutput()
		require.NoError(t, err, "%s", out)
		cli = append(cli, time.Since(began))

		began = time.Now()
		reply, err := s.e.Client.Plan(t.Context(), fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec})
		require.NoError(t, err)
		planning = append(planning, time.Since(began))
		require.NotEmpty(t, reply.Waves)
	}
	return listing, cli, planning
}

func clusterWorkflow(name string) string { return workflows.ClusterID(name) }

// cpu gives the CPU seconds that the worker and Temporal have used so far, without
// what they started.
func (s *stand) cpu() (worker, temporal float64) {
	return cpuOf(s.b, s.worker.PID()), cpuOf(s.b, s.temporalPID())
}

// temporalPID finds the server by its database, which is this run's own.
func (s *stand) temporalPID() int {
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(s.b, err)
	for _, path := range lines {
		line, _ := os.ReadFile(path)
		if strings.Contains(string(line), "\x00"+filepath.Join(s.e.Dir, "temporal.db")) {
			var pid int
			_, err := fmt.Sscanf(path, "/proc/%d/cmdline", &pid)
			require.NoError(s.b, err)
			return pid
		}
	}
	require.Fail(s.b, "Temporal does not run")
	return 0
}

// cpuOf reads the user and system time of a process, in ticks of 10 ms (proc(5)).
func cpuOf(t testing.TB, pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(stat), ") ") // after the name, which may hold anything
	fields := strings.Fields(rest)
	var user, system float64
	_, err = fmt.Sscan(fields[11]+" "+fields[12], &user, &system)
	require.NoError(t, err)
	return (user + system) / 100
}
