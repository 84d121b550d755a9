package local

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// The test binary plays two more parts: the init of a host, and a worker that
// is killed (crash_test.go). Its environment says which.
const (
	envPart    = "FLOTILLA_TEST_PART"
	partInit   = "init"
	partWorker = "worker"

	// quickExit keeps the race detector from lingering for a second at each end.
	quickExit = "GORACE=atexit_sleep_ms=0"
)

var partInitEnv = []string{envPart + "=" + partInit, quickExit}

func TestMain(m *testing.M) {
	switch os.Getenv(envPart) {
	case partInit:
		os.Exit(playInit(os.Args))
	case partWorker:
		os.Exit(playWorker())
	}
	os.Exit(m.Run())
}

// playInit is a flotilla-node with nothing to supervise: it holds the lock, tells
// its number and waits to be asked to stop.
func playInit(args []string) int {
	if len(args) != 4 || args[1] != "--root" || args[3] != "init" {
		fmt.Fprintln(os.Stderr, "unexpected arguments:", args)
		return 2
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	run := filepath.Join(args[2], "run")
	held, err := os.OpenFile(filepath.Join(run, "init.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if ok, err := flock(held, unix.LOCK_EX); !ok {
		fmt.Fprintln(os.Stderr, "another init runs", err)
		return 0
	}
	pid := strconv.Itoa(os.Getpid())
	if err := os.WriteFile(filepath.Join(run, "init.pid"), []byte(pid+"\n"), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := os.Stat(filepath.Join(args[2], "root", "stubborn")); err == nil {
		<-stop
		select {} // a host that hangs when it is shut down
	}
	<-stop
	_ = held.Close()
	return 0
}

// nodeUnderTest gives what hosts run: the test binary as a stand-in, or a real
// flotilla-node if FLOTILLA_TEST_NODE names one.
func nodeUnderTest() (binary string, env []string) {
	if real := os.Getenv("FLOTILLA_TEST_NODE"); real != "" {
		return real, nil
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return self, partInitEnv
}

// opened gives a provider on a root and leaves no process behind.
func opened(t *testing.T, root string, change ...func(*Config)) *Provider {
	t.Helper()
	binary, env := nodeUnderTest()
	cfg := Config{
		Root: root, Region: "test", NodeBinary: binary, Env: env,
		Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)),
	}
	for _, c := range change {
		c(&cfg)
	}
	p, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { killRoot(t, p) })
	return p
}

// killRoot ends every process of every host below a root.
func killRoot(t *testing.T, p *Provider) {
	marker := []string{envRoot + "=" + p.root}
	eventually(t, "no process is left below the root", func() bool {
		left, err := withMarker(marker)
		for _, proc := range left {
			proc.signal(syscall.SIGKILL)
		}
		return err == nil && len(left) == 0
	})
}

func newProvider(t *testing.T, change ...func(*Config)) *Provider {
	t.Helper()
	return opened(t, t.TempDir(), change...)
}

func launchRequest(member string) iaas.LaunchHostRequest {
	return iaas.LaunchHostRequest{
		Token: "op/" + member + "/host", Name: member, Zone: "a", Type: "small",
		Tags: iaas.Tags{fleet.TagMember: member},
	}
}

func createRequest(member string) iaas.CreateDiskRequest {
	return iaas.CreateDiskRequest{
		Token: "op/" + member + "/disk", Name: member, Zone: "a", Size: fleet.GiB, Category: "ssd",
		Tags: iaas.Tags{fleet.TagMember: member},
	}
}

func running(t *testing.T, p *Provider, member string) fleet.Host {
	t.Helper()
	h, err := p.LaunchHost(t.Context(), launchRequest(member))
	require.NoError(t, err)
	return await(t, p, h.ID, fleet.HostRunning)
}

func await(t *testing.T, p *Provider, id string, state fleet.HostState) fleet.Host {
	t.Helper()
	var h fleet.Host
	eventually(t, fmt.Sprintf("host %s is %s", id, state), func() bool {
		var err error
		h, err = p.Host(t.Context(), id)
		require.NoError(t, err)
		return h.State == state
	})
	return h
}

func awaitCommand(t *testing.T, p *Provider, c iaas.Command) iaas.Command {
	t.Helper()
	eventually(t, "command "+c.ID+" ends", func() bool {
		var err error
		c, err = p.Command(t.Context(), c.HostID, c.ID)
		require.NoError(t, err)
		return c.State != iaas.CommandRunning
	})
	return c
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-deadline.C:
			require.FailNow(t, "patience has ended", what)
		case <-tick.C:
		}
	}
}

// seed gives the source of a test's chance, and prints what repeats it.
func seed(t *testing.T) *rand.Rand {
	n := rand.Uint64()
	if s := os.Getenv("FLOTILLA_TEST_SEED"); s != "" {
		var err error
		n, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("repeat with FLOTILLA_TEST_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}
