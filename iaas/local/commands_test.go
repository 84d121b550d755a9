package local

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// recorded leaves a command as a worker does that dies before it starts it.
func recorded(t *testing.T, p *Provider, host, token, script string) string {
	t.Helper()
	note := commandNote{
		ID: idOf("c-", "command", host, token), Token: token, Limit: 60, Script: script, Sent: time.Now(),
	}
	require.NoError(t, recordCommand(p.commandDir(host, note.ID), note))
	return note.ID
}

func TestCommandRecordedAndNotStarted(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h := running(t, p, "one")

	t.Run("a look starts it", func(t *testing.T) {
		id := recorded(t, p, h.ID, "look", "echo done")
		c := awaitCommand(t, p, iaas.Command{ID: id, HostID: h.ID})
		require.Equal(t, iaas.CommandSucceeded, c.State)
		require.Equal(t, "done\n", c.Stdout)
	})
	t.Run("sending again starts it", func(t *testing.T) {
		id := recorded(t, p, h.ID, "again", "echo done")
		c := ran(t, p, h.ID, "again", "echo done")
		require.Equal(t, id, c.ID)
		require.Equal(t, iaas.CommandSucceeded, c.State)
	})
	t.Run("a stopped host loses it for good", func(t *testing.T) {
		id := recorded(t, p, h.ID, "stopped", "echo done")
		require.NoError(t, p.StopHost(t.Context(), h.ID))
		await(t, p, h.ID, fleet.HostStopped)
		require.Equal(t, iaas.CommandLost, awaitCommand(t, p, iaas.Command{ID: id, HostID: h.ID}).State)
		require.NoError(t, p.StartHost(t.Context(), h.ID))
		await(t, p, h.ID, fleet.HostRunning)
		c := ran(t, p, h.ID, "stopped", "echo done")
		require.Equal(t, iaas.CommandLost, c.State, "what was reported lost does not run later")
		require.Empty(t, c.Stdout)
	})
}

func TestCommandLost(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h := running(t, p, "one")
	c, err := p.RunCommand(t.Context(), command(h.ID, "lost", "echo begun; touch begun; sleep 600"))
	require.NoError(t, err)
	eventually(t, "the script runs", func() bool { return exists(filepath.Join(p.hostFS(h.ID), "begun")) })
	init, up := p.initProcess(h.ID)
	require.True(t, up)
	found, err := withMarker(p.marker(h.ID))
	require.NoError(t, err)
	for _, proc := range found {
		if proc != init {
			proc.signal(syscall.SIGKILL)
		}
	}
	c = awaitCommand(t, p, c)
	require.Equal(t, iaas.CommandLost, c.State)
	require.Equal(t, "begun\n", c.Stdout, "what it said is still known")
	require.Equal(t, -1, c.ExitCode)
}

// What a script started is ended with it when its time is over, and not before.
func TestCommandTimeout(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h := running(t, p, "one")
	quick := ran(t, p, h.ID, "quick", "sleep 600 & echo $!")
	require.Equal(t, iaas.CommandSucceeded, quick.State, "a script's background does not hold it up")

	req := command(h.ID, "slow", "sleep 601 & touch slow; sleep 602; echo never")
	req.Timeout = time.Second
	c, err := p.RunCommand(t.Context(), req)
	require.NoError(t, err)
	c = awaitCommand(t, p, c)
	require.Equal(t, iaas.CommandTimedOut, c.State)
	require.Empty(t, c.Stdout)
	init, up := p.initProcess(h.ID)
	require.True(t, up)
	eventually(t, "only init and what the first script left run", func() bool {
		found, err := withMarker(p.marker(h.ID))
		require.NoError(t, err)
		return len(found) == 2 && (found[0] == init || found[1] == init)
	})
}

func TestOldCommandsArePruned(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	h := running(t, p, "one")
	long, err := p.RunCommand(t.Context(), command(h.ID, "long", "sleep 600"))
	require.NoError(t, err)
	eventually(t, "it runs", func() bool { return exists(filepath.Join(p.commandDir(h.ID, long.ID), "started")) })
	first := ran(t, p, h.ID, "first", "echo first")
	for i := range commandsKept {
		recorded(t, p, h.ID, strings.Repeat("x", i+1), "true")
	}
	old := time.Now().Add(-2 * commandAge)
	for _, id := range []string{long.ID, first.ID} {
		require.NoError(t, os.Chtimes(p.commandDir(h.ID, id), old, old))
	}
	ran(t, p, h.ID, "next", "true")
	_, err = p.Command(t.Context(), h.ID, first.ID)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err))
	c, err := p.Command(t.Context(), h.ID, long.ID)
	require.NoError(t, err)
	require.Equal(t, iaas.CommandRunning, c.State, "what runs is kept however old")
}

func TestHeadCutsBetweenCharacters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"", 4, ""},
		{"abcd", 4, "abcd"},
		{"abcde", 4, "abcd"},
		{"abcé", 4, "abc"},
		{"abéx", 4, "abé"},
		{"a\U0001F600b", 4, "a"},
		{"abc\xff\xff", 4, "abc\xff"},
	} {
		require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
		got, err := head(path, c.limit)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%q", c.text)
	}
}
