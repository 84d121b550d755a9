package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func TestExitCodes(t *testing.T) {
	ref := starter.Ref{Cluster: "orders", Kind: fleet.CreateCluster, ID: "7f3a"}
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{fmt.Errorf("anything"), 1},
		{fleet.Errorf(fleet.NotFound, "orders", "does not exist"), 1},
		{fleet.Errorf(fleet.Invalid, "bad.yaml", "is wrong"), 2},
		{fleet.Problems{{Path: "voters", Message: "4"}}.Err("bad.yaml"), 2},
		{fleet.Errorf(fleet.Unavailable, "Temporal", "does not answer"), 3},
		{fleet.Errorf(fleet.Blocked, "orders", "is protected"), 4},
		{fmt.Errorf("while waiting: %w", context.Canceled), 130},
		// An operation that failed has failed, whatever its cause would mean for a request.
		{failed(ref, workflows.OperationResult{}, fleet.Errorf(fleet.Unavailable, "host", "does not answer")), 1},
		{failed(ref, workflows.OperationResult{}, fleet.Errorf(fleet.Blocked, "orders", "would lose quorum")), 4},
	} {
		assert.Equal(t, test.want, exitCode(test.err), "%v", test.err)
	}
}

// try runs the CLI as a shell without a terminal does.
func try(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("TEMPORAL_CONFIG_FILE", os.DevNull)
	var out, err bytes.Buffer
	a := &app{in: strings.NewReader(stdin), out: terminal.Plain(&out), err: terminal.Plain(&err), connect: dial, now: time.Now}
	code = a.run(t.Context(), args)
	return code, out.String(), err.String()
}

const bad = `name: bad
provider: local
region: local-1
zones: [a]
voters: 4
etcd: { version: 3.7.3 }
machine: { type: small, disk: { size: 20, category: ssd } }
`

func TestWhatIsWrongWithASpecIsSaidAtOnce(t *testing.T) {
	code, _, stderr := try(t, bad, "create", "-f", "-")
	assert.Equal(t, exitInput, code)
	golden(t, "problems", stderr)

	path := filepath.Join(t.TempDir(), "bad.yaml")
	require.NoError(t, os.WriteFile(path, []byte(bad), 0o600))
	code, _, stderr = try(t, "", "plan", "-f", path, "-f", path)
	assert.Equal(t, exitInput, code)
	assert.Equal(t, 2, strings.Count(stderr, " has 2 problems:"), "every file is reported:\n%s", stderr)
}

func TestMistakesInTheCommandLine(t *testing.T) {
	for _, test := range []struct {
		args []string
		says string
	}{
		{[]string{"create"}, "no spec is given"},
		{[]string{"create", "-f", "/nonexistent.yaml"}, "no such file"},
		{[]string{"creat"}, "did you mean create?"},
		{[]string{"describe"}, "needs one argument, the name of a cluster"},
		{[]string{"get", "clusters", "-o", "xml"}, "is not one of table, json, yaml"},
		{[]string{"version", "now"}, "takes no argument"},
		{[]string{"env", "orders", "--shell", "tcsh"}, "is not one of sh, fish"},
	} {
		code, _, stderr := try(t, "", test.args...)
		assert.Equal(t, exitInput, code, "%v", test.args)
		assert.Contains(t, stderr, test.says, "%v", test.args)
	}
}

func TestNotReachable(t *testing.T) {
	code, stdout, stderr := try(t, "", "get", "clusters", "--address", "127.0.0.1:1")
	assert.Equal(t, exitUnreachable, code)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "is not reachable")
}

func TestNothingIsDestroyedUnasked(t *testing.T) {
	for _, verb := range []string{"decommission", "stop"} {
		code, _, stderr := try(t, "orders\n", verb, "orders", "--address", "127.0.0.1:1")
		assert.Equal(t, exitRefused, code, "%s without a terminal: %s", verb, stderr)
		assert.Contains(t, stderr, "--dry-run instead it shows")
	}
	a := &app{err: terminal.Plain(&bytes.Buffer{})}
	for typed, want := range map[string]int{"orders\n": exitDone, "order\n": exitRefused, "\n": exitRefused, "": exitRefused, "y\n": exitRefused} {
		a.in = strings.NewReader(typed)
		assert.Equal(t, want, exitCode(a.confirm(t.Context(), "orders", "orders")), "typed %q", typed)
	}
	for typed, want := range map[string]int{"y\n": exitDone, "YES\n": exitDone, "\n": exitRefused, "": exitRefused, "orders\n": exitRefused} {
		a.in = strings.NewReader(typed)
		assert.Equal(t, want, exitCode(a.agree(t.Context(), "orders", "Go on?")), "typed %q", typed)
	}
}

func TestEveryCommandShowsAnExample(t *testing.T) {
	a := &app{now: time.Now}
	var check func(*cobra.Command)
	check = func(cmd *cobra.Command) {
		if cmd.Name() != "help" && cmd.Name() != "completion" {
			assert.NotEmpty(t, cmd.Example, cmd.CommandPath())
			assert.NotEmpty(t, cmd.Short, cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			check(c)
		}
	}
	check(a.root())
	_, help, _ := try(t, "", "--help")
	assert.Contains(t, help, "130  interrupted")
}

func TestAMistakeOfOursIsNoPanic(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{out: terminal.Plain(&bytes.Buffer{}), err: terminal.Plain(&stderr)} // without a clock
	code := a.run(t.Context(), []string{"version", "-o", "table"})
	assert.Equal(t, exitDone, code)
	a.in = nil
	code = a.run(t.Context(), []string{"plan", "-f", "-"})
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr.String(), "made a mistake of its own")
}
