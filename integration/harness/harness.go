// Package harness runs Flotilla as its users do, for tests: a real Temporal
// server, real workers as processes of their own, and the local provider's real
// hosts, each environment in a directory of its own. What it starts, it ends.
package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/integration/binaries"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/starter"
)

// Patience bounds every wait of a test. Nothing takes nearly as long; it only
// turns a hang into a failure, on a machine that is busy with other tests too.
const Patience = 4 * time.Minute

// Env is one control plane and its machine.
type Env struct {
	t        testing.TB
	Dir      string
	Temporal *Temporal
	Client   *starter.Client
	Provider *local.Provider // looks at the same hosts as the workers
	// Cloud is whom workers buy of: Provider, unless a test has put another in front of it.
	Cloud iaas.Provider
	Flags []string // more of them, for the workers that are started from now on
	// Releases is the catalogue that workers read.
	Releases string
	key      string
	objects  string
	node     string // the program that hosts run
	waiter   client.Client

	mu      sync.Mutex
	workers []*Process
}

// Option changes an environment before it starts.
type Option func(*Env)

// WithNode makes hosts run another program of ours than flotilla-node.
func WithNode(program string) Option { return func(e *Env) { e.node = program } }

// WithObjectStore keeps objects there, and not in a directory of the environment.
func WithObjectStore(location string) Option { return func(e *Env) { e.objects = location } }

// Start starts Temporal and connects to it. Workers are started with StartWorker.
func Start(t testing.TB, options ...Option) *Env {
	t.Helper()
	e := &Env{t: t, Dir: tempDir(t), node: "flotilla-node"}
	e.key, e.objects = filepath.Join(e.Dir, "fleet.key"), "file://"+filepath.Join(e.Dir, "objects")
	e.Releases = filepath.Join(Root(), "bin", "releases.yaml")
	for _, option := range options {
		option(e)
	}
	key, err := pki.GenerateFleetKey()
	require.NoError(t, err)
	require.NoError(t, key.WriteFile(e.key))
	e.Temporal = startTemporal(t, filepath.Join(e.Dir, "temporal.db"))
	e.Provider, err = local.Open(local.Config{Root: filepath.Join(e.Dir, "local"), Region: Region, NodeBinary: Binary(e.node)})
	require.NoError(t, err)
	e.Cloud = e.Provider
	t.Cleanup(e.end)
	e.Client, err = starter.Dial(t.Context(), starter.Options{Address: e.Temporal.Address, Namespace: "default"})
	require.NoError(t, err)
	e.waiter, err = client.DialContext(t.Context(), client.Options{HostPort: e.Temporal.Address, Logger: silent{}})
	require.NoError(t, err)
	return e
}

// Region is the region of every environment.
const Region = "local-1"

// tempDir is like t.TempDir, with a short path: sockets and locks of what runs
// below it have limits. A failed test leaves it for a look.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "flotilla-it-")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("left for a look: %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// end ends what the environment started: workers, hosts, then the client.
func (e *Env) end() {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	for _, w := range e.Workers() {
		w.Kill()
	}
	if e.t.Failed() {
		e.t.Logf("the logs of members are in %s", e.KeepLogs())
	}
	_ = e.Provider.ClearFaults(ctx)
	hosts, err := e.Provider.ListHosts(ctx, nil)
	for _, h := range hosts {
		if terr := e.Provider.TerminateHost(ctx, h.ID); terr != nil {
			err = terr
		}
	}
	if err != nil {
		e.t.Errorf("ending the hosts of the environment: %v", err)
	}
	for _, pid := range e.Processes() {
		_ = killPID(pid)
	}
	if e.Client != nil {
		e.Client.Close()
	}
	if e.waiter != nil {
		e.waiter.Close()
	}
}

// KeepLogs copies what members have written into their logs so far, and gives where to: a
// host that ends takes its files with it.
func (e *Env) KeepLogs() string {
	logs, _ := filepath.Glob(filepath.Join(e.Dir, "*", "hosts", "*", "fs", "var", "log"))
	kept := e.Dir + "-logs" // a test that passes leaves no e.Dir
	for _, dir := range logs {
		host := filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(dir))))
		_ = os.RemoveAll(filepath.Join(kept, host))
		if err := os.CopyFS(filepath.Join(kept, host), os.DirFS(dir)); err != nil {
			e.t.Logf("keeping the logs of %s: %v", host, err)
		}
	}
	return kept
}

// Workers are the worker processes that were started and not killed.
func (e *Env) Workers() []*Process {
	e.mu.Lock()
	defer e.mu.Unlock()
	var alive []*Process
	for _, w := range e.workers {
		if w.Alive() {
			alive = append(alive, w)
		}
	}
	return alive
}

// StartWorker starts a worker and waits until it takes work. env is added to its
// environment; program is flotilla-worker unless a test has its own.
func (e *Env) StartWorker(program string, env ...string) *Process {
	e.t.Helper()
	health := FreeAddress(e.t)
	p := start(e.t, filepath.Join(e.Dir, fmt.Sprintf("worker-%d.log", len(e.workers))), env, Binary(program), e.flags(health)...)
	e.mu.Lock()
	e.workers = append(e.workers, p)
	e.mu.Unlock()
	p.awaitReady("http://" + health + "/readyz")
	p.Metrics = "http://" + health + "/metrics"
	return p
}

// WorkerFails runs a worker that is not to start, with nothing but these flags and
// where Temporal is, unless args is for one that is complete otherwise. It gives its
// exit code and what it said.
func (e *Env) WorkerFails(args ...string) (int, string) {
	e.t.Helper()
	all := []string{"--address", e.Temporal.Address, "--metrics-address", "", "--health-address", ""}
	if len(args) > 0 {
		all = append(all, "--data", filepath.Join(e.Dir, "local"), "--node-binary", Binary(e.node),
			"--object-store", e.objects, "--fleet-key", e.key, "--releases", e.Releases)
	}
	p := start(e.t, filepath.Join(e.Dir, "worker-fails.log"),
		[]string{"AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}, Binary("flotilla-worker"), append(all, args...)...)
	select {
	case <-p.ended:
	case <-time.After(Patience):
		e.t.Errorf("a worker was expected to refuse %v; it runs", args)
		p.Kill()
	}
	return p.cmd.ProcessState.ExitCode(), p.Log()
}

// flags are what a worker is told; of those that are repeated, the last one counts.
func (e *Env) flags(health string) []string {
	return append([]string{
		"--address", e.Temporal.Address, "--namespace", "default", "--region", Region,
		"--data", filepath.Join(e.Dir, "local"), "--node-binary", Binary(e.node),
		"--object-store", e.objects, "--fleet-key", e.key, "--releases", e.Releases,
		"--scratch", e.Dir, "--metrics-address", health, "--health-address", health, "--drain-timeout", "10s",
	}, e.Flags...)
}

// Spec is a small cluster.
func Spec(name string, voters int, version string) fleet.Spec {
	return fleet.Spec{
		Name: name, Provider: "local", Region: Region, Zones: []string{"a", "b", "c"}, Voters: voters,
		Etcd:    fleet.EtcdSpec{Version: version},
		Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Size: 20 * fleet.GiB, Category: "ssd"}},
	}.WithDefaults()
}

// Root is the root of the project.
func Root() string { return binaries.Root() }

// Binary is the path of one of our programs, which Build has built.
func Binary(name string) string { return filepath.Join(built, name) }

var built string

// Build builds our programs as they are now, for all tests of a package. Call it
// from TestMain; the returned function deletes them.
func Build() (func(), error) {
	dir, done, err := binaries.Build("./node/flotilla-node", "./workers/flotilla-worker",
		"./starter/flotilla", "./integration/breakworker", "./integration/breaknode")
	built = dir
	return done, err
}

// Tool is the path of a program that runs beside ours, as `make build` left it.
func Tool(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Root(), "bin", "tools.json"))
	require.NoError(t, err, "%s is not built: run make build first", name)
	var tools map[string]string
	require.NoError(t, json.Unmarshal(data, &tools))
	require.NotEmpty(t, tools[name], "%s is not built: run make build first", name)
	return tools[name]
}
