package local

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

func command(host, token, script string) iaas.CommandRequest {
	return iaas.CommandRequest{HostID: host, Token: token, Script: script, Timeout: time.Minute}
}

// ran sends a script and gives what came of it.
func ran(t *testing.T, p *Provider, host, token, script string) iaas.Command {
	t.Helper()
	c, err := p.RunCommand(t.Context(), command(host, token, script))
	require.NoError(t, err)
	return awaitCommand(t, p, c)
}

// What runs on a host sees the host, and nothing of the worker's environment.
func TestHostIsAPlaceOfItsOwn(t *testing.T) {
	t.Setenv("FLOTILLA_TEST_SECRET", "of the worker")
	p := newProvider(t)
	one, two := running(t, p, "one"), running(t, p, "two")
	require.NotEqual(t, one.Address, two.Address)
	require.Regexp(t, `^127\.`, one.Address)

	c := ran(t, p, one.ID, "env", "env | sort; pwd; command -v flotilla-node; readlink $(command -v flotilla-node)")
	require.Equal(t, iaas.CommandSucceeded, c.State, c.Stderr)
	for _, line := range []string{
		envHost + "=" + one.ID, envRoot + "=" + p.root, envNodeRoot + "=" + p.hostFS(one.ID),
		"GOMAXPROCS=1", "GOMEMLIMIT=512MiB", p.hostFS(one.ID),
		filepath.Join(p.hostFS(one.ID), "usr/local/bin/flotilla-node"), p.nodeBinary,
	} {
		require.Contains(t, strings.Split(c.Stdout, "\n"), line)
	}
	require.NotContains(t, c.Stdout, "FLOTILLA_TEST_SECRET")
}

// A running host whose init is gone is booted by the next look.
func TestWatchdog(t *testing.T) {
	for name, look := range map[string]func(t *testing.T, p *Provider, id string){
		"Host": func(t *testing.T, p *Provider, id string) {
			_, err := p.Host(t.Context(), id)
			require.NoError(t, err)
		},
		"ListHosts": func(t *testing.T, p *Provider, _ string) {
			_, err := p.ListHosts(t.Context(), nil)
			require.NoError(t, err)
		},
		"RunCommand": func(t *testing.T, p *Provider, id string) {
			_, err := p.RunCommand(t.Context(), command(id, "again", "true"))
			if !fleet.Is(err, fleet.Unavailable) { // it may still be booting
				require.NoError(t, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			h := running(t, p, "one")
			before, up := p.initProcess(h.ID)
			require.True(t, up)
			before.signal(syscall.SIGKILL)
			eventually(t, "init is dead", func() bool { return !before.alive() })
			eventually(t, "init is back", func() bool {
				look(t, p, h.ID)
				after, up := p.initProcess(h.ID)
				return up && after != before
			})
		})
	}
}

// Two inits of one host: the second one ends at once.
func TestOneInitPerHost(t *testing.T) {
	p := newProvider(t)
	h := running(t, p, "one")
	r, err := p.readHost(h.ID)
	require.NoError(t, err)
	before, _ := p.initProcess(h.ID)
	require.NoError(t, os.Remove(filepath.Join(p.hostDir(h.ID), "boot.json")))
	require.NoError(t, p.boot(t.Context(), r))
	eventually(t, "one process is left", func() bool {
		found, err := withMarker(p.marker(h.ID))
		require.NoError(t, err)
		return len(found) == 1 && found[0] == before
	})
}

func TestTerminateLeavesNothing(t *testing.T) {
	p := newProvider(t)
	h := running(t, p, "one")
	c, err := p.RunCommand(t.Context(), command(h.ID, "stay", "setsid sleep 600 & echo $! >pid; sleep 600"))
	require.NoError(t, err)
	require.Equal(t, iaas.CommandRunning, c.State)
	eventually(t, "a process has left the group", func() bool {
		return exists(filepath.Join(p.hostFS(h.ID), "pid"))
	})
	require.NoError(t, p.TerminateHost(t.Context(), h.ID))
	await(t, p, h.ID, fleet.HostTerminated)
	left, err := withMarker(p.marker(h.ID))
	require.NoError(t, err)
	require.Empty(t, left)
	require.NoDirExists(t, p.hostDir(h.ID))

	again, err := p.LaunchHost(t.Context(), launchRequest("one"))
	require.NoError(t, err)
	require.Equal(t, h.ID, again.ID)
	require.Equal(t, fleet.HostTerminated, again.State, "a token does not buy a second host")
}

// A host that does not shut down is switched off when its time is over.
func TestStubbornHost(t *testing.T) {
	if binary, env := nodeUnderTest(); env == nil {
		t.Skipf("%s is not stubborn", binary)
	}
	t.Parallel()
	p := newProvider(t)
	h := running(t, p, "one")
	require.NoError(t, os.WriteFile(filepath.Join(p.hostFS(h.ID), "root", "stubborn"), nil, 0o600))
	init, _ := p.initProcess(h.ID)
	init.signal(syscall.SIGKILL)
	eventually(t, "the stubborn init runs", func() bool {
		_, err := p.Host(t.Context(), h.ID)
		require.NoError(t, err)
		now, up := p.initProcess(h.ID)
		return up && now != init
	})
	require.NoError(t, p.StopHost(t.Context(), h.ID))
	got, err := p.Host(t.Context(), h.ID)
	require.NoError(t, err)
	require.Equal(t, fleet.HostStopping, got.State)
	require.ErrorContains(t, p.StartHost(t.Context(), h.ID), "still stopping")

	r, err := p.readHost(h.ID)
	require.NoError(t, err)
	r.Changed = r.Changed.Add(-powerPatience)
	require.NoError(t, p.writeHost(r))
	await(t, p, h.ID, fleet.HostStopped)
	left, err := withMarker(p.marker(h.ID))
	require.NoError(t, err)
	require.Empty(t, left)
}

// A number that was given to another process since is not the init.
func TestReusedProcessNumber(t *testing.T) {
	p := newProvider(t)
	h := running(t, p, "one")
	pid := filepath.Join(p.hostFS(h.ID), "run", "init.pid")
	require.NoError(t, os.WriteFile(pid, []byte(strconv.Itoa(os.Getpid())), 0o600))
	_, up := p.initProcess(h.ID)
	require.False(t, up)
	self := process{PID: os.Getpid(), Start: "another time"}
	require.False(t, self.alive())
	self.signal(syscall.SIGKILL) // or this test would not go on
}

func TestTombstonesArePruned(t *testing.T) {
	p := newProvider(t)
	h := running(t, p, "one")
	require.NoError(t, p.TerminateHost(t.Context(), h.ID))
	await(t, p, h.ID, fleet.HostTerminated)
	d, err := p.CreateDisk(t.Context(), createRequest("one"))
	require.NoError(t, err)
	require.NoError(t, p.DeleteDisk(t.Context(), d.ID))

	r, err := p.readHost(h.ID)
	require.NoError(t, err)
	r.Ended = r.Ended.Add(-tombstoneAge)
	require.NoError(t, p.writeHost(r))
	dr, err := p.readDisk(d.ID)
	require.NoError(t, err)
	dr.Ended = dr.Ended.Add(-tombstoneAge)
	require.NoError(t, p.writeDisk(dr))

	running(t, p, "two")
	_, err = p.CreateDisk(t.Context(), createRequest("two"))
	require.NoError(t, err)
	_, err = p.Host(t.Context(), h.ID)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
	_, err = p.Disk(t.Context(), d.ID)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
	require.NoFileExists(t, p.hostLock(h.ID))
}
