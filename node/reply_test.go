package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestScriptCarriesTheRequestAsItIs(t *testing.T) {
	req := CertifyRequest{Member: "a'b\"c $HOME `id` \\ %s", CA: "line\nFLOTILLA_REQUEST\nline", ServerCert: "ü"}
	script, err := Script(VerbCertify, req)
	require.NoError(t, err)
	require.Contains(t, script, "exec flotilla-node certify <<")
	// A shell, with a cat in the place of flotilla-node.
	cmd := exec.Command("/bin/sh")
	cmd.Stdin = strings.NewReader(strings.Replace(script, "exec flotilla-node certify", "exec cat", 1))
	out, err := cmd.Output()
	require.NoError(t, err)
	var got CertifyRequest
	require.NoError(t, json.Unmarshal(out, &got))
	require.Equal(t, req, got)

	script, err = Script(VerbReport, nil)
	require.NoError(t, err)
	require.Contains(t, script, "\n{}\n")
	_, err = Script(VerbCertify, CertifyRequest{CA: strings.Repeat("x", MaxScript)})
	require.Equal(t, fleet.Invalid, fleet.KindOf(err))
}

func TestReplies(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, WriteReply(&out, &InstallResult{Version: "3.7.3"}, nil))
	result, err := ParseReply[InstallResult]("Welcome to this host!\n\n"+out.String()+"\n", "h-1")
	require.NoError(t, err)
	require.Equal(t, "3.7.3", result.Version)

	out.Reset()
	require.NoError(t, WriteReply[struct{}](&out, nil, nil))
	require.Equal(t, `{"result":{}}`+"\n", out.String())
	_, err = ParseReply[struct{}](out.String(), "h-1")
	require.NoError(t, err)

	out.Reset()
	want := fleet.Errorf(fleet.Blocked, "member a", "it is not ours").WithRemedy("leave it")
	require.NoError(t, WriteReply[struct{}](&out, nil, errors.Join(want)))
	_, err = ParseReply[struct{}](out.String(), "h-1")
	require.Equal(t, want, err)

	for name, stdout := range map[string]string{
		"nothing":   "\n",
		"cut short": out.String()[:20],
		"neither":   "{}",
		"both":      `{"result":{},"error":{"kind":"invalid"}}`,
		"other":     "sh: flotilla-node: not found",
	} {
		_, err := ParseReply[struct{}](stdout, "h-1")
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err), "%s: %v", name, err)
		require.ErrorContains(t, err, "host h-1: flotilla-node")
	}
}
