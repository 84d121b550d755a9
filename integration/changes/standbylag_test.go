package changes

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestStandbyIsWatched has a standby hang, and expects that lists and metrics say so, and
// say when it has caught up.
func TestStandbyIsWatched(t *testing.T) {
	abreast(t)
	e := harness.Start(t)
	e.Flags = append(e.Flags, "--zones", "a,b,c,d")
	w := e.StartWorker("flotilla-worker")
	spec := small("orders", 1, newer)
	spec.Learners, spec.Standby.Zones = 1, []string{"d"}
	e.Create(spec)
	shows := func(value string) {
		t.Helper()
		line := fmt.Sprintf("flotilla_standby_behind{cluster=%q} %s", spec.Name, value)
		require.NoError(t, e.Within(harness.Patience, func() error {
			answer, err := http.Get(w.Metrics)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err == nil && !strings.Contains(string(text), line) {
				err = fmt.Errorf("the worker does not show %s", line)
			}
			return err
		}))
	}
	shows("0")
	answer := e.CLI("get", "clusters")
	require.Zero(t, answer.Code, answer.Err)
	require.NotContains(t, answer.Out, "behind")
	answer = e.CLI("describe", spec.Name)
	require.Contains(t, answer.Out, "1, at most 0 entries behind")

	hosts, err := e.HostsOf(t.Context(), spec.Name)
	require.NoError(t, err)
	pid := 0
	for _, h := range hosts {
		if h.Zone != "d" {
			continue
		}
		for _, p := range e.HostProcesses(h.ID) {
			if p.Member() == h.Member() {
				pid = p.PID
			}
		}
	}
	require.NotZero(t, pid)
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	answer = e.CLI("get", "clusters")
	require.Contains(t, answer.Out, "standby is behind", answer.Err)
	answer = e.CLI("describe", spec.Name)
	require.Contains(t, answer.Out, "and for 2s or longer")
	shows("1")
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	shows("0")
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
}
