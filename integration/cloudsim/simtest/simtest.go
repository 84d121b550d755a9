// Package simtest makes worlds for tests. The test binary plays the init of their hosts,
// so that no flotilla-node has to be built; a real one is given by Config.NodeBinary.
package simtest

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// envPart says that a test binary is started as the init of a host.
const (
	envPart  = "FLOTILLA_SIMTEST_PART"
	partInit = "init"
)

// Main is a TestMain for packages that use World.
func Main(m *testing.M) {
	if os.Getenv(envPart) == partInit {
		os.Exit(playInit(os.Args))
	}
	os.Exit(m.Run())
}

// playInit is a flotilla-node with nothing to supervise: it holds the host's lock, tells
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
	if err == nil {
		err = unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(run, "init.pid"), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-stop
	_ = held.Close()
	return 0
}

// World makes a world of a configuration and ends it with the test. Its hosts are in a
// directory of the test's own; without a NodeBinary the test binary plays their init,
// for which its TestMain is Main.
func World(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
	t.Helper()
	if cfg.Root == "" {
		cfg.Root = t.TempDir()
	}
	if cfg.NodeBinary == "" {
		self, err := os.Executable()
		require.NoError(t, err)
		cfg.NodeBinary = self
		// The race detector otherwise lingers for a second at each end.
		cfg.Env = append(cfg.Env, envPart+"="+partInit, "GORACE=atexit_sleep_ms=0")
	}
	return open(t, cfg)
}

// Bodiless makes a world that keeps the rules and runs nothing.
func Bodiless(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
	t.Helper()
	cfg.Root = ""
	return open(t, cfg)
}

func open(t *testing.T, cfg cloudsim.Config) *cloudsim.World {
	if cfg.Log == nil {
		cfg.Log = zaptest.NewLogger(t, zaptest.Level(zap.ErrorLevel))
	}
	w, err := cloudsim.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	return w
}
