package workers_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/activities"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/workers"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// config is a worker's that can run on this machine.
func config(t *testing.T, address string) workers.Config {
	t.Helper()
	dir := t.TempDir()
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	require.NoError(t, key.WriteFile(filepath.Join(dir, "fleet.key")))
	var c workers.Config
	health := harness.FreeAddress(t)
	require.NoError(t, c.Flags().Parse([]string{
		"--address", address, "--namespace", "default", "--data", filepath.Join(dir, "local"),
		"--node-binary", harness.Binary("flotilla-node"), "--object-store", "file://" + filepath.Join(dir, "objects"),
		"--fleet-key", filepath.Join(dir, "fleet.key"), "--releases", filepath.Join(harness.Root(), "bin", "releases.yaml"),
		"--scratch", dir, "--metrics-address", health, "--health-address", health, "--log-level", "error", "--drain-timeout", "30s",
	}))
	return c
}

// run runs a worker until stop is called; ended gives what it ended with.
func run(t *testing.T, c workers.Config, o workers.Options) (stop func(), ended chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	over := make(chan struct{})
	go func() {
		defer close(over)
		ended <- workers.Run(ctx, c, o)
	}()
	t.Cleanup(func() {
		cancel()
		<-over
	})
	return cancel, ended
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func awaitReady(t *testing.T, c workers.Config) {
	t.Helper()
	require.Eventually(t, func() bool {
		code, _ := get(t, "http://"+c.HealthAddress+"/readyz")
		return code == http.StatusOK
	}, harness.Patience, 20*time.Millisecond, "the worker is never ready")
}

func needsTemporal(t *testing.T) *harness.Env {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts a Temporal server")
	}
	return harness.Start(t)
}

func TestTemporalIsNotThere(t *testing.T) {
	t.Parallel()
	c := config(t, harness.FreeAddress(t))
	began := time.Now()
	err := workers.Run(t.Context(), c, workers.Options{})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err))
	require.Less(t, time.Since(began), 15*time.Second)
	require.ErrorContains(t, err, "Temporal at "+c.Address)
	require.ErrorContains(t, err, "TEMPORAL_ADDRESS")
	require.NotContains(t, err.Error(), "\n")
}

func TestWhatIsWrongIsSaidBeforeWorkIsTaken(t *testing.T) {
	e := needsTemporal(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for name, test := range map[string]struct {
		spoil func(c *workers.Config)
		says  string
	}{
		"fleet key for all to read": {func(c *workers.Config) { require.NoError(t, os.Chmod(c.FleetKey, 0o644)) }, "chmod 600"},
		"no fleet key":              {func(c *workers.Config) { c.FleetKey += ".lost" }, "does not exist"},
		"no releases":               {func(c *workers.Config) { c.Releases += ".lost" }, "--releases"},
		"no scratch directory":      {func(c *workers.Config) { c.Scratch += "/lost" }, "--scratch"},
		"occupied port":             {func(c *workers.Config) { c.MetricsAddress = taken.Addr().String() }, "cannot listen on " + taken.Addr().String()},
		"log level":                 {func(c *workers.Config) { c.LogLevel = "loud" }, "--log-level"},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(t, e.Temporal.Address)
			test.spoil(&c)
			require.ErrorContains(t, workers.Run(t.Context(), c, workers.Options{}), test.says)
		})
	}
}

// slow is a cloud that lets a list of hosts wait until it is released.
type slow struct {
	iaas.Provider
	asked, release chan struct{}
	once           sync.Once
}

func (s *slow) ListHosts(ctx context.Context, tags iaas.Tags) ([]fleet.Host, error) {
	s.once.Do(func() { close(s.asked) })
	select {
	case <-s.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Provider.ListHosts(ctx, tags)
}

// TestDrain tells a worker to end while a step is in hand. The step finishes, the
// worker takes no other, and its end is no failure.
func TestDrain(t *testing.T) {
	e := needsTemporal(t)
	cloud := &slow{asked: make(chan struct{}), release: make(chan struct{})}
	c := config(t, e.Temporal.Address)
	c.Serve = []string{workers.ServeActivities}
	stop, ended := run(t, c, workers.Options{Region: func(r *activities.Region) {
		cloud.Provider, r.Provider = r.Provider, cloud
	}})
	awaitReady(t, c)
	remember := config(t, e.Temporal.Address)
	remember.Serve = []string{workers.ServeWorkflows}
	run(t, remember, workers.Options{})
	type answer struct {
		reply workflows.PlanReply
		err   error
	}
	planned := make(chan answer, 1)
	go func() {
		var a answer
		spec := harness.Spec("orders", 3, "3.7.3")
		a.reply, a.err = e.Client.Plan(t.Context(), fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec})
		planned <- a
	}()
	<-cloud.asked
	stop()
	select {
	case err := <-ended:
		t.Fatalf("expected that it waits for the step in hand; it ended with %v", err)
	case <-planned:
		t.Fatal("the step cannot have ended")
	case <-time.After(200 * time.Millisecond): // the only proof that it waits is that it goes on
	}
	close(cloud.release)
	a := <-planned
	require.NoError(t, a.err)
	require.NotEmpty(t, a.reply.Waves)
	require.NoError(t, <-ended)
}

// TestWorkerTellsOfItself has a worker do something and reads what it says.
func TestWorkerTellsOfItself(t *testing.T) {
	e := needsTemporal(t)
	c := config(t, e.Temporal.Address)
	stop, ended := run(t, c, workers.Options{})
	awaitReady(t, c)
	code, body := get(t, "http://"+c.HealthAddress+"/healthz")
	require.Equal(t, http.StatusOK, code)
	require.Equal(t, "ok\n", body)
	spec := harness.Spec("orders", 3, "3.7.3")
	_, err := e.Client.Plan(t.Context(), fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec})
	require.NoError(t, err)
	for _, metric := range []string{
		`flotilla_step_duration_seconds_count{outcome="done",step="Forecast"}`, "temporal_request_total", "temporal_workflow_completed", "go_goroutines",
	} {
		// The worker counts what it did once Temporal has it, which is when the client has it, too.
		require.Eventually(t, func() bool {
			code, body = get(t, "http://"+c.MetricsAddress+"/metrics")
			return code == http.StatusOK && strings.Contains(body, metric)
		}, harness.Patience, 20*time.Millisecond, "it does not tell of %s", metric)
	}
	e.Temporal.Kill()
	require.Eventually(t, func() bool {
		code, body = get(t, "http://"+c.HealthAddress+"/readyz")
		return code == http.StatusServiceUnavailable
	}, harness.Patience, 20*time.Millisecond, "it is ready without Temporal")
	require.Contains(t, body, "not ready: ")
	code, _ = get(t, "http://"+c.HealthAddress+"/healthz")
	require.Equal(t, http.StatusOK, code, "killing it would not bring Temporal back")
	stop()
	require.NoError(t, <-ended)
}

// TestProgram ends the real program as a service manager does.
func TestProgram(t *testing.T) {
	e := needsTemporal(t)
	require.Zero(t, e.StartWorker("flotilla-worker").Terminate())
}
