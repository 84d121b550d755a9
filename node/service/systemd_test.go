package service

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

func exampleService() Service {
	return Service{
		Name:        "orders-1",
		Description: "etcd 3.7.3, member orders-1 of orders (100%\nu1)",
		Argv:        []string{"/opt/flotilla/etcd/3.7.3/etcd", "--name=orders-1", `--odd=a "b" $HOME 100% c:\d`},
		Env:         map[string]string{"B": "2 x", "A": "1%"},
		Writable:    []string{"/disks/disk-1/orders-1"},
		Readable:    []string{"/var/lib/flotilla/members/orders-1/pki"},
		Requires:    []string{"/disks/disk-1/orders-1/owner.json"},
	}
}

func TestUnitFile(t *testing.T) {
	unit, err := renderUnit(exampleService())
	require.NoError(t, err)
	golden := "testdata/flotilla-etcd-orders-1.service"
	if *update {
		require.NoError(t, os.WriteFile(golden, unit, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(unit), "run go test ./node/service -update and look at the difference")
}

func TestSystemdUnderstandsTheUnitFile(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not on this machine")
	}
	s := exampleService()
	s.Argv[0] = "/bin/sh" // it looks whether the program is there
	unit, err := renderUnit(s)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), unitName(s.Name))
	require.NoError(t, os.WriteFile(path, unit, 0o644))
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	require.NoError(t, err, "%s", out)
	// It warns of what it ignores, and calls that a success.
	require.NotContains(t, string(out), filepath.Base(path))
}

// fakeSystemctl notes what it is called with.
type fakeSystemctl struct {
	calls []string
	show  string
	fails string
}

func (f *fakeSystemctl) run(_ context.Context, name string, args ...string) (string, error) {
	call := name + " " + strings.Join(args, " ")
	f.calls = append(f.calls, call)
	switch {
	case f.fails != "" && strings.Contains(call, f.fails):
		return "", errors.New("it said no")
	case args[0] == "show":
		return f.show, nil
	case name == "journalctl":
		return "the last words\n", nil
	}
	return "", nil
}

func (f *fakeSystemctl) changes() []string {
	var changes []string
	for _, c := range f.calls {
		if !strings.HasPrefix(c, "systemctl show") && !strings.HasPrefix(c, "journalctl") {
			changes = append(changes, c)
		}
	}
	f.calls = nil
	return changes
}

const unit = "flotilla-etcd-orders-1.service"

func TestSystemdCalls(t *testing.T) {
	f, ctx := &fakeSystemctl{show: "ActiveState=inactive\nUnitFileState=disabled\n"}, t.Context()
	m := &Systemd{dir: t.TempDir(), run: f.run}
	s, err := m.Status(ctx, "orders-1")
	require.NoError(t, err)
	require.Equal(t, Status{}, s)
	require.NoError(t, m.Stop(ctx, "orders-1"))
	require.Empty(t, f.changes(), "nothing is there")

	require.NoError(t, m.Install(ctx, exampleService()))
	require.Equal(t, []string{"systemctl daemon-reload"}, f.changes())
	require.NoError(t, m.Start(ctx, "orders-1"))
	require.Equal(t, []string{"systemctl enable " + unit, "systemctl start " + unit}, f.changes())

	f.show = "ActiveState=activating\nUnitFileState=enabled\n"
	require.NoError(t, m.Start(ctx, "orders-1"))
	require.Equal(t, []string{"systemctl enable " + unit, "systemctl restart " + unit}, f.changes(), "does not wait for the next attempt")

	require.NoError(t, m.Stop(ctx, "orders-1"))
	require.Equal(t, []string{"systemctl disable --now " + unit}, f.changes())
	require.NoError(t, m.Remove(ctx, "orders-1"))
	require.Equal(t, []string{"systemctl disable --now " + unit, "systemctl daemon-reload"}, f.changes())
	require.NoFileExists(t, m.unitPath("orders-1"))

	require.NoError(t, m.Install(ctx, exampleService()))
	f.show, f.fails = "ActiveState=inactive\nUnitFileState=disabled\n", "enable"
	require.ErrorContains(t, m.Start(ctx, "orders-1"), "service orders-1: could not be started: it said no")
}

func TestSystemdKnowsWhatWasStartedByWhichUnit(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("this platform has no /proc, and so no systemd")
	}
	text, err := renderUnit(exampleService())
	require.NoError(t, err)
	changed := exampleService()
	changed.Argv = append(changed.Argv, "--more")
	other, err := renderUnit(changed)
	require.NoError(t, err)

	cmd := exec.Command("sleep", "1000")
	cmd.Env = []string{"A=1", string(definitionOf.Find(text)), "B=2"}
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	// The kernel shows it a moment after the program was begun.
	require.Eventually(t, func() bool { return current(cmd.Process.Pid, text) }, time.Minute, time.Millisecond)
	require.False(t, current(cmd.Process.Pid, other))
}

func TestParseShow(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		show string
		want Status
	}{
		"runs": {
			"ActiveState=active\nMainPID=42\nNRestarts=0\nUnitFileState=enabled\nExecMainCode=0\nExecMainStatus=0\n" +
				"ExecMainStartTimestampMonotonic=40000000\nExecMainExitTimestampMonotonic=0\n",
			Status{Wanted: true, Running: true, PID: 42, Started: now.Add(-time.Minute)},
		},
		"crashed": {
			"ActiveState=activating\nMainPID=0\nNRestarts=3\nUnitFileState=enabled\nExecMainCode=1\nExecMainStatus=2\n" +
				"ExecMainStartTimestampMonotonic=40000000\nExecMainExitTimestampMonotonic=41000000\n",
			Status{Wanted: true, Restarts: 3, LastExit: "exit status 2", Started: now.Add(-time.Minute)},
		},
		"killed and stopped": {
			"ActiveState=failed\nMainPID=0\nNRestarts=0\nUnitFileState=disabled\nExecMainCode=2\nExecMainStatus=9\n" +
				"ExecMainStartTimestampMonotonic=40000000\nExecMainExitTimestampMonotonic=41000000\n",
			Status{LastExit: "killed by signal 9", Started: now.Add(-time.Minute)},
		},
		"never started": {"ActiveState=inactive\nMainPID=0\nUnitFileState=disabled\nExecMainStartTimestampMonotonic=0\n", Status{}},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, parseShow(c.show, now, 100*time.Second)) })
	}
}
