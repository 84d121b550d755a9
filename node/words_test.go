package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLastWords(t *testing.T) {
	for name, c := range map[string]struct{ output, want string }{
		"nothing": {"", ""},
		"the severest, and the last of these": {
			`{"level":"fatal","msg":"first"}
{"level":"fatal","ts":"x","msg":"discovery failed","error":"listen tcp: address already in use","stacktrace":"…"}
{"level":"info","msg":"closed etcd server"}`,
			"discovery failed: listen tcp: address already in use",
		},
		"a panic": {"{\"level\":\"warn\",\"msg\":\"x\"}\npanic: removed all voters\n\ngoroutine 1 [running]:\nmain.main()\n\t/x.go:1", "panic: removed all voters"},
		"text from before the log": {
			"{\"level\":\"info\",\"msg\":\"Running: \"}\nerror verifying flags, unknown flag: --x. See 'etcd --help'.",
			"error verifying flags, unknown flag: --x. See 'etcd --help'.",
		},
		"half a line": {`{"level":"fatal","ms`, ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, lastWords(c.output)) })
	}
}
