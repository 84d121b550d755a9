package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/starter/devenv"
)

// within is how long a test waits for a fact; processes start in milliseconds.
const within = 30 * time.Second

func eventually(t *testing.T, what string, fact func() bool) {
	t.Helper()
	require.Eventually(t, fact, within, 10*time.Millisecond, what)
}

// bin makes a directory of programs that are all this test.
func bin(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	dir := t.TempDir()
	for _, name := range []string{"flotilla-worker", "flotilla-node", "flotilla-temporal"} {
		require.NoError(t, os.Symlink(self, filepath.Join(dir, name)))
	}
	tools, err := json.Marshal(map[string]any{"temporal-server": filepath.Join(dir, "flotilla-temporal"), "a list": []string{"is no program"}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tools.json"), tools, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "releases.yaml"), nil, 0o600))
	return dir
}

// run is a development environment that runs in this test.
type run struct {
	config Config
	stop   context.CancelFunc
	ended  chan error
	mu     sync.Mutex
	said   strings.Builder
}

func begin(t *testing.T, data string) *run {
	t.Helper()
	r := &run{ended: make(chan error, 1)}
	r.config = Config{DataDir: data, BinDir: bin(t), Say: func(format string, args ...any) {
		r.mu.Lock()
		defer r.mu.Unlock()
		fmt.Fprintf(&r.said, format+"\n", args...)
	}}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(t.Context())
	go func() { r.ended <- Run(ctx, r.config) }()
	t.Cleanup(func() { r.stop() })
	eventually(t, "the environment is ready", func() bool {
		select {
		case err := <-r.ended:
			require.NoError(t, err)
		default:
		}
		record, err := devenv.Read(data)
		return err == nil && record.Ready
	})
	return r
}

func (r *run) end(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		require.NoError(t, err)
	case <-time.After(within):
		t.Fatal("the environment does not end")
	}
}

func read(t *testing.T, data string) devenv.Record {
	t.Helper()
	record, err := devenv.Read(data)
	require.NoError(t, err)
	return record
}

func TestRunFromStartToEnd(t *testing.T) {
	data := filepath.Join(t.TempDir(), ".flotilla")
	r := begin(t, data)
	first := read(t, data)
	assert.Equal(t, os.Getpid(), first.Supervisor)
	assert.True(t, held(data))
	_, err := pki.LoadFleetKey(first.FleetKey)
	require.NoError(t, err, "the fleet's key is private and readable")

	err = Run(t.Context(), r.config)
	assert.Equal(t, fleet.Conflict, fleet.KindOf(err), "a second one: %v", err)
	assert.ErrorContains(t, err, first.Address)

	// What is killed comes back, and what it stood beside does not notice.
	pid, err := KillWorker(data)
	require.NoError(t, err)
	assert.Equal(t, first.Processes["worker"].PID, pid)
	eventually(t, "the worker runs again", func() bool {
		worker := read(t, data).Processes["worker"]
		return worker.Restarts == 1 && worker.PID != pid && answers(t.Context(), worker.Health) == nil
	})
	assert.Equal(t, first.Processes["temporal"], read(t, data).Processes["temporal"])

	r.end(t)
	assert.Contains(t, r.said.String(), "worker ended by itself (signal: killed)")
	assert.False(t, held(data))
	last := read(t, data)
	assert.False(t, last.Ready)
	assert.Zero(t, last.Supervisor)
	for name, process := range first.Processes {
		assert.Contains(t, tail(process.Log, 1), "ended cleanly", name)
	}
	_, found := devenv.Find(filepath.Dir(data))
	assert.False(t, found, "clients do not take an ended one for a running one")

	// The next start has the same ports and the same key.
	key, err := os.ReadFile(first.FleetKey)
	require.NoError(t, err)
	r = begin(t, data)
	again := read(t, data)
	assert.Equal(t, [2]int{first.Port, first.UIPort}, [2]int{again.Port, again.UIPort})
	same, err := os.ReadFile(first.FleetKey)
	require.NoError(t, err)
	assert.Equal(t, string(key), string(same))
	r.end(t)
}

func TestWhatAKilledSupervisorLeftIsEnded(t *testing.T) {
	data := filepath.Join(t.TempDir(), ".flotilla")
	require.NoError(t, os.MkdirAll(filepath.Join(data, "logs"), 0o700))
	dir := bin(t)
	port, err := anyPort(t.Context())
	require.NoError(t, err)
	left := &service{name: "temporal", program: filepath.Join(dir, "flotilla-temporal"), log: Log(data, "temporal"), env: os.Environ(),
		args: []string{"--ip", loopback, "--port", fmt.Sprint(port), "--db", filepath.Join(data, "temporal.db")}}
	cmd, err := left.start()
	require.NoError(t, err)
	ended := wait(cmd)
	record := devenv.Record{DataDir: data, Processes: map[string]devenv.Process{
		"temporal": {PID: cmd.Process.Pid, Program: left.program},
		"worker":   {PID: os.Getpid(), Program: filepath.Join(dir, "flotilla-worker")}, // somebody else by now: this test
	}}
	require.NoError(t, record.Write())
	eventually(t, "it runs", func() bool { return connects(t.Context(), hostPort(port)) == nil })

	endLeftovers(t.Context(), record, t.Logf)
	select {
	case how := <-ended:
		assert.Equal(t, "exit status 0", how)
	case <-time.After(within):
		t.Fatal("it was not ended")
	}
}

func TestAStartThatFailsSaysWhy(t *testing.T) {
	parent := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(parent, "refuse"), nil, 0o600))
	data := filepath.Join(parent, ".flotilla")
	err := Run(t.Context(), Config{DataDir: data, BinDir: bin(t)})
	require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%v", err)
	assert.ErrorContains(t, err, "the database is locked")
	assert.False(t, held(data))

	err = Run(t.Context(), Config{DataDir: data, BinDir: t.TempDir()})
	assert.Equal(t, fleet.NotFound, fleet.KindOf(err))
	assert.ErrorContains(t, err, "make build")
}

func TestPorts(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", hostPort(0))
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	taken := listener.Addr().(*net.TCPAddr).Port

	_, err = choosePort(t.Context(), "--port", taken)
	assert.Equal(t, fleet.Conflict, fleet.KindOf(err), "a port that was asked for must be free")
	port, err := choosePort(t.Context(), "--port", 0, 0, taken)
	require.NoError(t, err)
	assert.NotEqual(t, taken, port, "another one is taken where nobody asked for it")
}

func TestEnvironmentsThatStartAtOnceTakeOtherPorts(t *testing.T) {
	errs := make(chan error, 4)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var dirs []string
	for range cap(errs) {
		config := Config{DataDir: filepath.Join(t.TempDir(), ".flotilla"), BinDir: bin(t)}
		dirs = append(dirs, config.DataDir)
		go func() { errs <- Run(ctx, config) }()
	}
	addresses := map[string]bool{}
	for _, dir := range dirs {
		eventually(t, dir+" is ready", func() bool {
			record, err := devenv.Read(dir)
			return err == nil && record.Ready
		})
		addresses[read(t, dir).Address] = true
	}
	assert.Len(t, addresses, len(dirs))
	stop()
	for range dirs {
		assert.NoError(t, <-errs)
	}
}

func TestFindDataDir(t *testing.T) {
	clone := t.TempDir()
	below := filepath.Join(clone, "docs")
	require.NoError(t, os.Mkdir(below, 0o700))
	dir, err := FindDataDir("", below)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(below, ".flotilla"), dir, "a new one is made here")

	require.NoError(t, os.Mkdir(filepath.Join(clone, ".flotilla"), 0o700))
	require.NoError(t, devenv.Record{DataDir: filepath.Join(clone, ".flotilla")}.Write())
	dir, err = FindDataDir("", below)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(clone, ".flotilla"), dir)
	dir, err = FindDataDir("/elsewhere", below)
	require.NoError(t, err)
	assert.Equal(t, "/elsewhere", dir)
}

func TestCredentialsOfS3AreMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s3.credentials")
	access, secret, err := s3Credentials(path)
	require.NoError(t, err)
	access2, secret2, err := s3Credentials(path)
	require.NoError(t, err)
	assert.Equal(t, [2]string{access, secret}, [2]string{access2, secret2})
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}

func TestLogs(t *testing.T) {
	data := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(data, "logs"), 0o700))
	var b strings.Builder
	err := CopyLog(t.Context(), &b, data, "worker", 2, false)
	assert.Equal(t, fleet.NotFound, fleet.KindOf(err))
	require.NoError(t, os.WriteFile(Log(data, "worker"), []byte("one\ntwo\nthree\n"), 0o600))
	require.NoError(t, CopyLog(t.Context(), &b, data, "worker", 2, false))
	assert.Equal(t, "two\nthree\n", b.String())
	assert.NoError(t, says(Log(data, "worker"), 4, "three"))
	assert.Error(t, says(Log(data, "worker"), 8, "two"), "what was said before does not count")
}
