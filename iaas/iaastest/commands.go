package iaastest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// commandTimeout is that of commands which should not time out.
const commandTimeout = time.Minute

func (s *suite) command(host, token, script string) iaas.CommandRequest {
	return iaas.CommandRequest{HostID: host, Token: s.run + "/" + token, Script: script, Timeout: commandTimeout}
}

// finished sends a command and waits until it has ended.
func (s *suite) finished(req iaas.CommandRequest) iaas.Command {
	s.t.Helper()
	var c iaas.Command
	s.succeeds("run "+req.Token, func() (err error) { c, err = s.Provider.RunCommand(s.ctx, req); return err })
	require.Equal(s.t, req.HostID, c.HostID)
	return s.awaitCommand(c)
}

func (s *suite) awaitCommand(c iaas.Command) iaas.Command {
	s.t.Helper()
	s.eventually("command "+c.ID+" ends", func() bool {
		now, err := s.Provider.Command(s.ctx, c.HostID, c.ID)
		if !s.passing(err) || err != nil {
			return false
		}
		c = now
		return c.State != iaas.CommandRunning
	})
	return c
}

func testCommands(t *testing.T, s *suite) {
	host := s.launched(s.launchRequest("m1")).ID
	cases := map[string]struct {
		script         string
		state          iaas.CommandState
		code           int
		stdout, stderr string
	}{
		"succeeds":     {"echo hello", iaas.CommandSucceeded, 0, "hello", ""},
		"fails":        {"echo sorry >&2; exit 3", iaas.CommandFailed, 3, "", "sorry"},
		"two streams":  {"echo out; echo err >&2", iaas.CommandSucceeded, 0, "out", "err"},
		"several":      {"set -e\nx=1\nx=$((x + 1))\necho \"$x 'quoted' \\$HOME\"", iaas.CommandSucceeded, 0, "2 'quoted' $HOME", ""},
		"not a syntax": {"if", iaas.CommandFailed, 2, "", "*"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := s.within(t)
			got := s.finished(s.command(host, strings.ReplaceAll(name, " ", "-"), c.script))
			require.Equal(t, c.state, got.State)
			require.Equal(t, c.stdout, strings.TrimSpace(got.Stdout))
			if c.stderr != "*" {
				require.Equal(t, c.stderr, strings.TrimSpace(got.Stderr))
				require.Equal(t, c.code, got.ExitCode)
			} else {
				require.NotZero(t, got.ExitCode)
			}
		})
	}
	t.Run("limits", func(t *testing.T) { testCommandLimits(t, s.within(t), host) })
	t.Run("runs once", func(t *testing.T) { testCommandRunsOnce(t, s.within(t), host) })
	t.Run("times out", func(t *testing.T) {
		s := s.within(t)
		req := s.command(host, "timeout", "echo begun; sleep 600; echo never")
		req.Timeout = time.Second
		got := s.finished(req)
		require.Equal(t, iaas.CommandTimedOut, got.State)
		require.NotContains(t, got.Stdout, "never")
	})
	t.Run("absent", func(t *testing.T) {
		_, err := s.Provider.Command(s.ctx, host, "absent")
		require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
	})
}

func testCommandLimits(t *testing.T, s *suite, host string) {
	script := "exit 0 #"
	script += strings.Repeat("x", iaas.MaxScript-len(script))
	require.Equal(t, iaas.CommandSucceeded, s.finished(s.command(host, "longest", script)).State)

	s.refused(fleet.Invalid, "too long a script", func() error {
		_, err := s.Provider.RunCommand(s.ctx, s.command(host, "too-long", script+"x"))
		return err
	})

	got := s.finished(s.command(host, "talkative",
		"i=0; while [ $i -lt 3000 ]; do echo 0123456789; echo 0123456789 >&2; i=$((i + 1)); done"))
	require.Equal(t, iaas.CommandSucceeded, got.State)
	for name, c := range map[string]struct {
		text  string
		limit int
	}{"stdout": {got.Stdout, iaas.MaxStdout}, "stderr": {got.Stderr, iaas.MaxStderr}} {
		require.LessOrEqual(t, len(c.text), c.limit, name)
		require.Greater(t, len(c.text), c.limit/2, name)
		require.True(t, strings.HasPrefix(c.text, "0123456789"), "%s is cut at its end", name)
	}
}

func testCommandRunsOnce(t *testing.T, s *suite, host string) {
	file := fmt.Sprintf("${TMPDIR:-/tmp}/flotilla-iaastest-%s", s.run)
	req := s.command(host, "once", "echo ran >>"+file)
	ids := concurrently(t, func() (string, error) {
		c, err := s.Provider.RunCommand(s.ctx, req)
		return c.ID, err
	})
	for _, id := range ids {
		require.Equal(t, ids[0], id, "one token is one command")
	}
	require.Equal(t, iaas.CommandSucceeded, s.finished(req).State)
	require.Equal(t, iaas.CommandSucceeded, s.finished(req).State)

	got := s.finished(s.command(host, "count", "wc -l <"+file+"; rm -f "+file))
	require.Equal(t, "1", strings.TrimSpace(got.Stdout), "the script ran once")

	req.Script += " # another"
	s.refused(fleet.Invalid, "the same token with another script", func() error {
		_, err := s.Provider.RunCommand(s.ctx, req)
		return err
	})
}

func testCommandsOfStoppedHost(t *testing.T, s *suite) {
	host := s.launched(s.launchRequest("m1")).ID
	s.succeeds("stop", func() error { return s.Provider.StopHost(s.ctx, host) })
	s.awaitHost(host, fleet.HostStopped)
	s.refused(fleet.Conflict, "a command on a stopped host", func() error {
		_, err := s.Provider.RunCommand(s.ctx, s.command(host, "stopped", "true"))
		return err
	})
	s.succeeds("start", func() error { return s.Provider.StartHost(s.ctx, host) })
	s.awaitHost(host, fleet.HostRunning)
	got := s.finished(s.command(host, "started", "echo back"))
	require.Equal(t, "back", strings.TrimSpace(got.Stdout))
}
