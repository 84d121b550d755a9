package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
)

func call(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	c := command()
	c.SetArgs(args)
	c.SetIn(strings.NewReader(stdin))
	c.SetOut(&out)
	err := c.ExecuteContext(t.Context())
	return out.String(), err
}

func TestReport(t *testing.T) {
	out, err := call(t, "", "report", "--root", t.TempDir())
	require.NoError(t, err)
	report, err := node.ParseReply[fleet.HostReport](out, "h-1")
	require.NoError(t, err)
	require.Equal(t, node.Platform(), report.Platform)
	require.NotEmpty(t, report.NodeVersion)
}

func TestRequestsThatAreNone(t *testing.T) {
	for name, stdin := range map[string]string{
		"unknown field": `{"member": "a", "colour": "red"}`,
		"not JSON":      `member: a`,
		"two requests":  `{"member": "a"} {"member": "b"}`,
		"bad member":    `{"member": "../a"}`,
	} {
		out, err := call(t, stdin, "stop", "--root", t.TempDir())
		require.ErrorIs(t, err, errReplied, name)
		_, err = node.ParseReply[fleet.MemberReport](out, "h-1")
		require.Equal(t, fleet.Invalid, fleet.KindOf(err), "%s: %v", name, err)
	}
	out, err := call(t, `{}`, "report", "--root", "/does/not/exist")
	require.ErrorIs(t, err, errReplied)
	_, err = node.ParseReply[fleet.HostReport](out, "h-1")
	require.ErrorContains(t, err, "is not a directory")
}

func TestEachVerbSaysHowToTryIt(t *testing.T) {
	for _, verb := range []string{
		node.VerbInstall, node.VerbPrepare, node.VerbCertify, node.VerbStart, node.VerbAdopt,
		node.VerbStop, node.VerbRestart, node.VerbGrow, node.VerbReport, node.VerbWipe,
	} {
		out, err := call(t, "", verb, "--help")
		require.NoError(t, err)
		require.Contains(t, out, "flotilla-node "+verb+" <<< '{", verb)
	}
}
