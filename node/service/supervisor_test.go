//go:build unix

package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// asInit makes the test binary a supervisor of the root that it names.
const asInit = "FLOTILLA_TEST_INIT_OF"

func TestMain(m *testing.M) {
	root := os.Getenv(asInit)
	if root == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := NewSupervisor(root, zap.NewNop()).Run(ctx)
	stop()
	if err != nil && !errors.Is(err, ErrAlreadyRuns) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// host is a root with a supervisor in a process of its own.
type host struct {
	*Supervised
	t    *testing.T
	root string
	init *exec.Cmd
}

func newHost(t *testing.T) *host {
	h := &host{t: t, root: t.TempDir()}
	h.Supervised = NewSupervised(h.root)
	h.boot()
	t.Cleanup(func() {
		h.shutdown()
		names, _ := filepath.Glob(h.files.status("*"))
		for _, path := range names {
			name := strings.TrimSuffix(filepath.Base(path), ".status")
			if rec, found, _ := h.files.find(name); found {
				signalKill(rec.PID)
				t.Errorf("service %s still ran at the end of the test", name)
			}
		}
	})
	return h
}

func (h *host) boot() {
	h.t.Helper()
	h.init = h.command()
	require.NoError(h.t, h.init.Start())
	h.eventually("the supervisor runs", h.initRuns)
}

func (h *host) command() *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asInit+"="+h.root)
	cmd.Stderr = os.Stderr
	return cmd
}

func (h *host) end(sig os.Signal) {
	if h.init != nil {
		_ = h.init.Process.Signal(sig)
		_ = h.init.Wait()
		h.init = nil
	}
}

func (h *host) shutdown() { h.end(syscall.SIGTERM) }

func (h *host) eventually(what string, is func() bool) {
	h.t.Helper()
	require.Eventually(h.t, is, 20*time.Second, 10*time.Millisecond, what)
}

func (h *host) status(name string) Status {
	h.t.Helper()
	s, err := h.Status(h.t.Context(), name)
	require.NoError(h.t, err)
	return s
}

// sh installs a service that runs a shell script.
func (h *host) sh(name, script string) {
	h.t.Helper()
	require.NoError(h.t, h.Install(h.t.Context(), Service{Name: name, Argv: []string{"/bin/sh", "-c", script}}))
}

func (h *host) start(name string) Status {
	h.t.Helper()
	require.NoError(h.t, h.Start(h.t.Context(), name))
	return h.status(name)
}

func TestStartStopRestart(t *testing.T) {
	h, ctx := newHost(t), t.Context()
	require.Equal(t, Status{}, h.status("a"))
	require.True(t, fleet.Is(h.Start(ctx, "a"), fleet.Conflict))
	require.NoError(t, h.Stop(ctx, "a"), "stopping what is not there")

	h.sh("a", "echo hello; exec sleep 1000")
	require.False(t, h.status("a").Running)
	first := h.start("a")
	require.True(t, first.Running && first.Wanted && first.Current)
	require.Equal(t, first.PID, h.start("a").PID, "started twice")
	h.sh("a", "echo hello; exec sleep 1000")
	require.Equal(t, first.PID, h.start("a").PID, "installed again without a change")

	h.sh("a", "exec sleep 1001")
	require.False(t, h.status("a").Current)
	second := h.start("a")
	require.NotEqual(t, first.PID, second.PID, "installed with a change")
	require.True(t, second.Current)
	require.NoError(t, h.Restart(ctx, "a"))
	third := h.status("a")
	require.NotEqual(t, second.PID, third.PID)
	require.Zero(t, third.Restarts)

	require.NoError(t, h.Stop(ctx, "a"))
	require.NoError(t, h.Stop(ctx, "a"))
	s := h.status("a")
	require.False(t, s.Running || s.Wanted)
	require.Empty(t, s.LastExit, "a stop is not a crash")
	require.Contains(t, tail(h.files.log("a"), 0, 100), "hello")

	h.start("a")
	require.NoError(t, h.Remove(ctx, "a"))
	require.NoError(t, h.Remove(ctx, "a"))
	require.Equal(t, Status{}, h.status("a"))
	for _, path := range []string{h.files.log("a"), h.files.status("a"), h.files.desired("a")} {
		require.NoFileExists(t, path)
	}
}

func TestServicesInheritOnlyWhatIsFlotillas(t *testing.T) {
	t.Setenv("FLOTILLA_HOST", "h-1")
	t.Setenv("ETCD_NAME", "stray")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
	t.Setenv(generationVariable, "77")
	t.Setenv("GOMAXPROCS", "1")
	t.Setenv("GOMEMLIMIT", "512MiB")
	h := newHost(t)
	h.sh("a", "env; echo end; exec sleep 1000")
	h.start("a")
	var env string
	h.eventually("it wrote its environment", func() bool {
		env = tail(h.files.log("a"), 0, 100<<10)
		return strings.HasSuffix(env, "end\n")
	})
	require.Contains(t, env, "FLOTILLA_HOST=h-1\n")
	require.Contains(t, env, generationVariable+"=1\n")
	require.Contains(t, env, markerVariable+"="+h.mark("a")+"\n")
	require.Contains(t, env, "GOMAXPROCS=1\n", "what a machine type means")
	require.Contains(t, env, "GOMEMLIMIT=512MiB\n")
	require.NotContains(t, env, "ETCD_NAME")
	require.NotContains(t, env, "s3cr3t")
}

func TestOneSupervisorPerRoot(t *testing.T) {
	h := newHost(t)
	second := h.command()
	require.NoError(t, second.Run(), "a second one ends at once, with 0")
	require.True(t, h.initRuns())
	h.eventually("its pid is written", func() bool {
		text, err := os.ReadFile(h.files.pid())
		return err == nil && string(text) == fmt.Sprintln(h.init.Process.Pid)
	})
}

func TestCrashLoopBacksOff(t *testing.T) {
	h := newHost(t)
	h.sh("a", `echo "about to fail"; exit 3`)
	require.NoError(t, h.Start(t.Context(), "a"))
	h.eventually("five ends", func() bool { return h.status("a").Restarts >= 5 })
	// 100, 200, 400 and 800 ms came before the fifth.
	rec := h.files.readRecord("a")
	h.eventually("it waits", func() bool { rec = h.files.readRecord("a"); return rec.PID == 0 })
	require.GreaterOrEqual(t, rec.NextStart.Sub(rec.Started), 1500*time.Millisecond)
	s := h.status("a")
	require.True(t, s.Wanted)
	require.Equal(t, "exit status 3", s.LastExit)
	require.Equal(t, "about to fail\n", s.LastOutput, "of the last run only")

	// Asking again does not wait for the next attempt.
	began := time.Now()
	h.sh("a", "exec sleep 1000")
	s = h.start("a")
	require.True(t, s.Running)
	require.Less(t, time.Since(began), time.Second)
	require.Zero(t, s.Restarts)
	require.Empty(t, s.LastExit)
}

func TestAProgramThatCannotBeStarted(t *testing.T) {
	h := newHost(t)
	require.NoError(t, h.Install(t.Context(), Service{Name: "a", Argv: []string{"/does/not/exist"}}))
	s := h.start("a")
	require.False(t, s.Running)
	require.Contains(t, s.LastExit, "could not be started")
}

func TestAServiceWaitsForWhatItRequires(t *testing.T) {
	h := newHost(t)
	needed := filepath.Join(h.root, "needed")
	require.NoError(t, h.Install(t.Context(), Service{
		Name: "a", Argv: []string{"/bin/sh", "-c", "exec sleep 1000"}, Requires: []string{needed},
	}))
	require.NoError(t, h.Start(t.Context(), "a"))
	h.eventually("it is tried more than once", func() bool { return h.status("a").Restarts > 1 })
	s := h.status("a")
	require.False(t, s.Running)
	require.Contains(t, s.LastExit, "what it needs is not there")
	require.Contains(t, s.LastExit, needed)
	require.NoError(t, os.WriteFile(needed, nil, 0o600))
	h.eventually("it runs as soon as that is there", func() bool { return h.status("a").Running })
}

func TestWhenAServiceBegan(t *testing.T) {
	h := newHost(t)
	h.sh("a", "exec sleep 1000")
	require.True(t, h.status("a").Began.IsZero())
	before := Now()
	first := h.start("a")
	require.Less(t, first.Began.Until(Now()), 10*time.Second)
	require.Less(t, before.Until(first.Began), 10*time.Second)
	require.LessOrEqual(t, first.Began.Until(before), 10*time.Millisecond, "to the tick")
	require.Equal(t, first.Began, h.status("a").Began)

	// A time of day that jumps is no matter.
	rec := h.files.readRecord("a")
	rec.Started = rec.Started.Add(time.Hour)
	require.NoError(t, durable.WriteJSON(h.files.status("a"), rec, 0o644))
	require.Equal(t, first.Began, h.status("a").Began)
	require.Zero(t, Moment{}.Until(Now()))
	require.Zero(t, Moment{Boot: "another", After: time.Second}.Until(Now()))
}

func TestAKilledServiceIsStartedAgain(t *testing.T) {
	h := newHost(t)
	h.sh("a", "exec sleep 1000")
	first := h.start("a")
	require.NoError(t, unix.Kill(first.PID, unix.SIGKILL))
	h.eventually("it runs again", func() bool { s := h.status("a"); return s.Running && s.PID != first.PID })
	s := h.status("a")
	require.Equal(t, 1, s.Restarts)
	require.Equal(t, "signal: killed", s.LastExit)
}

func TestServicesOutliveAKilledSupervisor(t *testing.T) {
	h, ctx := newHost(t), t.Context()
	h.sh("a", "exec sleep 1000")
	first := h.start("a")
	h.end(syscall.SIGKILL)
	require.True(t, h.status("a").Running)
	err := h.Restart(ctx, "a")
	require.True(t, fleet.Is(err, fleet.Unavailable), "%v", err)
	require.ErrorContains(t, err, "supervisor does not run")

	h.boot()
	require.Equal(t, first.PID, h.start("a").PID, "taken over as it is")
	require.NoError(t, unix.Kill(first.PID, unix.SIGKILL))
	h.eventually("its end is noticed", func() bool { s := h.status("a"); return s.Running && s.PID != first.PID })

	// Without its status file it is known by its mark.
	if _, _, marked := findMarked(h.mark("a")); marked {
		second := h.status("a")
		h.end(syscall.SIGKILL)
		require.NoError(t, os.Remove(h.files.status("a")))
		require.Equal(t, second.PID, h.status("a").PID)
		h.boot()
		require.Equal(t, second.PID, h.start("a").PID)
	}

	// Nor does a stop need a supervisor.
	h.end(syscall.SIGKILL)
	require.NoError(t, h.Stop(ctx, "a"))
	require.False(t, h.status("a").Running)
	h.boot()
	h.sh("b", "exec sleep 1000")
	h.start("b") // by now it has looked at everything
	require.False(t, h.status("a").Running)
}

func (h *host) mark(name string) string {
	m, err := h.files.marker(name)
	require.NoError(h.t, err)
	return m
}

func TestReboot(t *testing.T) {
	h, ctx := newHost(t), t.Context()
	h.sh("runs", "exec sleep 1000")
	h.sh("stopped", "exec sleep 1000")
	first := h.start("runs")
	h.start("stopped")
	require.NoError(t, h.Stop(ctx, "stopped"))

	h.shutdown()
	require.False(t, h.status("runs").Running, "ends with its supervisor")
	require.NoError(t, os.RemoveAll(filepath.Join(h.root, "run")), "as on a tmpfs")
	h.boot()
	h.eventually("it runs again", func() bool { return h.status("runs").Running })
	require.NotEqual(t, first.PID, h.status("runs").PID)
	require.False(t, h.status("stopped").Running)
	require.False(t, h.status("stopped").Wanted)
}

func TestStubbornServiceIsKilled(t *testing.T) {
	h := newHost(t)
	// It also hears SIGTERM only after it was continued.
	h.sh("a", `trap "" TERM; echo ready; while :; do sleep 0.1; done`)
	s := h.start("a")
	h.eventually("it ignores signals", func() bool { return tail(h.files.log("a"), 0, 100) != "" })
	began := time.Now()
	require.NoError(t, h.Stop(t.Context(), "a"))
	require.GreaterOrEqual(t, time.Since(began), StopTimeout)
	_, err := processIdentity(s.PID)
	require.ErrorIs(t, err, errNoProcess)
}

func TestASuspendedServiceHearsStop(t *testing.T) {
	h := newHost(t)
	h.sh("a", "exec sleep 1000")
	s := h.start("a")
	require.NoError(t, unix.Kill(s.PID, unix.SIGSTOP))
	began := time.Now()
	require.NoError(t, h.Stop(t.Context(), "a"))
	require.Less(t, time.Since(began), StopTimeout)
}

func TestZombiesAreNotAlive(t *testing.T) {
	cmd := exec.Command("/bin/sh", "-c", "exit 0")
	require.NoError(t, cmd.Start())
	pid := cmd.Process.Pid
	require.Eventually(t, func() bool { _, err := processIdentity(pid); return err != nil }, 10*time.Second, time.Millisecond,
		"not waited for, so a zombie")
	require.NoError(t, unix.Kill(pid, 0), "its PID is still there")
	require.NoError(t, cmd.Wait())
}

func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.log")
	require.NoError(t, rotate(path, 10), "not there yet")
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	require.NoError(t, rotate(path, 10))
	require.NoFileExists(t, rotated(path))
	for _, text := range []string{"the first long text", "the second long text"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, rotate(path, 10))
		require.Equal(t, text, tail(rotated(path), 0, 100))
		require.Empty(t, tail(path, 0, 100))
	}
}
