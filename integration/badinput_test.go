package integration

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

const goodSpec = `
name: orders
provider: local
region: local-1
zones: [a, b, c]
voters: 1
etcd: { version: 3.7.3 }
machine: { type: small, disk: { size: 20GiB, category: ssd } }
`

// TestBadInput gives the command line what cannot succeed: it says so in words that
// name the thing, with the documented exit code, and nothing is made.
func TestBadInput(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	nowhere := "127.0.0.1:1"
	for _, c := range []struct {
		name, spec, address string
		args                []string
		code                int
		says                []string
	}{
		{name: "broken YAML", spec: "name: [", code: 2, says: []string{"is not YAML"}},
		{name: "unknown field", spec: goodSpec + "colour: red\n", code: 2, says: []string{"colour: there is no such field"}},
		{name: "everything", spec: strings.NewReplacer("voters: 1", "voters: 4", "20GiB", "20").Replace(goodSpec), code: 2,
			says: []string{"2 problems", "voters: 4 must be odd", "machine.disk.size: 20 needs a unit"}},
		{name: "unknown version", spec: strings.Replace(goodSpec, "3.7.3", "3.7.99", 1), code: 2, says: []string{"etcd.version", "3.7.99", "catalogue"}},
		{name: "unknown type", spec: strings.Replace(goodSpec, "small", "huge", 1), code: 2, says: []string{"machine.type", "huge"}},
		{name: "unknown zone", spec: strings.Replace(goodSpec, "[a, b, c]", "[a, z]", 1), code: 2, says: []string{"zones[1]", `"z"`}},
		{name: "no Temporal", spec: goodSpec, address: nowhere, code: 3, says: []string{nowhere, "not reachable"}},
		{name: "no such cluster", args: []string{"describe", "nothing"}, code: 1, says: []string{"nothing", "does not exist"}},
		{name: "no such file", args: []string{"create", "-f", "/no/such/file"}, code: 2, says: []string{"/no/such/file"}},
		{name: "no such command", args: []string{"creat"}, code: 2, says: []string{"creat"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			address, args := e.Temporal.Address, c.args
			if c.address != "" {
				address = c.address
			}
			if c.spec != "" {
				file := filepath.Join(t.TempDir(), "spec.yaml")
				require.NoError(t, os.WriteFile(file, []byte(c.spec), 0o600))
				args = []string{"create", "-f", file}
			}
			code, text := flotilla(t, append(args, "--address", address)...)
			require.Equal(t, c.code, code, "exit code; it said: %s", text)
			for _, words := range c.says {
				require.Contains(t, text, words)
			}
			require.NotContains(t, text, "goroutine ", "a stack reached the user")
		})
	}
	e.ExpectNothingLeft()
}

// TestWrongHash lets the catalogue give a hash that the archive does not have: the
// create stops, says both, and is undone.
func TestWrongHash(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	catalogue, err := os.ReadFile(filepath.Join(harness.Root(), "bin", "releases.yaml"))
	require.NoError(t, err)
	lines := strings.Split(string(catalogue), "\n")
	for i, line := range lines {
		if at := strings.Index(line, "sha256:"); at >= 0 {
			lines[i] = line[:at] + "sha256: " + strings.Repeat("0", 64)
		}
	}
	wrong := filepath.Join(e.Dir, "wrong.yaml")
	require.NoError(t, os.WriteFile(wrong, []byte(strings.Join(lines, "\n")), 0o600))
	e.Releases = wrong
	e.StartWorker("flotilla-worker")
	file := filepath.Join(t.TempDir(), "spec.yaml")
	require.NoError(t, os.WriteFile(file, []byte(goodSpec), 0o600))
	code, text := flotilla(t, "create", "-f", file, "--address", e.Temporal.Address)
	require.NotZero(t, code)
	require.Contains(t, text, strings.Repeat("0", 64))
	require.Contains(t, text, "SHA-256")
	code, text = flotilla(t, "decommission", "orders", "--yes", "--address", e.Temporal.Address)
	require.Zero(t, code, "undoing a create that failed: %s", text)
	e.ExpectNothingLeft()
}

// TestOccupiedPort takes a member's port before the member can.
func TestOccupiedPort(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	b := e.StartBreaker(harness.Points{"orders": {"CreateCluster 2/AttachDisk/1 before"}})
	spec := harness.Spec("orders", 1, "3.7.3")
	running, err := e.Begin(spec.Name, fleet.CreateCluster, &spec)
	require.NoError(t, err)
	require.Empty(t, b.AwaitStops(map[string]*harness.Running{"orders": running}))
	hosts, err := e.HostsOf(t.Context(), "orders")
	require.NoError(t, err)
	listener, err := net.Listen("tcp", net.JoinHostPort(hosts[0].Address, "2379"))
	require.NoError(t, err)
	defer listener.Close()
	require.NoError(t, b.Release("orders"))
	harness.Eventually(t, "the occupied port is named", func(ctx context.Context) error {
		progress, err := e.Client.Progress(ctx, running.Ref)
		if err != nil {
			return err
		}
		for _, p := range progress.Steps {
			if strings.Contains(p.Error+p.Note+progress.LastError, "is in use by another program") {
				return nil
			}
		}
		return errors.New(progress.Doing)
	})
	require.NoError(t, listener.Close())
	e.Await(running.Ref) // it goes on once the port is free
	e.Decommission("orders", fleet.Options{})
	e.ExpectNothingLeft()
}

// TestWorkerCannotStart gives workers what they cannot start with.
func TestWorkerCannotStart(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	for _, c := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"nothing", nil, 2, "--object-store: is missing"},
		{"no object store", []string{"--object-store", "s3://bucket?endpoint=http://127.0.0.1:1&region=r"}, 3, "127.0.0.1:1"},
		{"unknown provider", []string{"--provider", "moon"}, 2, "moon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := e.WorkerFails(c.args...)
			require.Equal(t, c.code, code, "exit code; it said: %s", text)
			require.Contains(t, text, c.says)
			require.NotContains(t, text, "goroutine ", "a stack reached the user")
		})
	}
}

// TestCorruptState damages the record of a host: every look says which file it is,
// and nothing is taken for absent.
func TestCorruptState(t *testing.T) {
	t.Parallel()
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3")
	e.Create(spec)
	records, err := filepath.Glob(filepath.Join(e.Dir, "local", "hosts", "*.json"))
	require.NoError(t, err)
	require.Len(t, records, 1)
	whole, err := os.ReadFile(records[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(records[0], whole[:len(whole)/2], 0o600))
	code, text := flotilla(t, "plan", "decommission", "orders", "--address", e.Temporal.Address)
	require.NotZero(t, code)
	require.Contains(t, text, filepath.Base(records[0]), "the damaged file should be named")
	require.NoError(t, os.WriteFile(records[0], whole, 0o600))
	code, text = flotilla(t, "decommission", "orders", "--yes", "--address", e.Temporal.Address)
	require.Zero(t, code, "after the file was mended: %s", text)
	e.ExpectNothingLeft()
}

// flotilla runs the command line and gives its exit code and all that it said.
func flotilla(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var said bytes.Buffer
	command := exec.CommandContext(t.Context(), harness.Binary("flotilla"), args...)
	command.Stdout, command.Stderr = &said, &said
	command.Dir = t.TempDir()
	err := command.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return command.ProcessState.ExitCode(), said.String()
}
