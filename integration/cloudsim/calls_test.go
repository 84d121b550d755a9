package cloudsim_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

func TestAnswer(t *testing.T) {
	w := simtest.Bodiless(t, config())
	var done atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.Answer(rw, r, cloudsim.Call{Action: r.URL.Path[1:], ID: "x"}, func() (cloudsim.Reply, error) {
			done.Add(1)
			return cloudsim.Reply{Status: http.StatusOK, Body: []byte("done")}, nil
		}, func(refusal *cloudsim.Refusal) cloudsim.Reply {
			return cloudsim.Reply{Status: http.StatusBadRequest, Body: []byte(refusal.Code)}
		})
	}))
	t.Cleanup(s.Close)
	call := func(action string) string {
		t.Helper()
		answer, err := s.Client().Post(s.URL+"/"+action, "", nil)
		if err != nil {
			return "no answer"
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.Equal(t, "done", call("Buy"))
	w.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer, Target: cloudsim.Target{Action: "Buy"}, Times: 1})
	require.Equal(t, "done", call("Look"))
	require.Equal(t, "no answer", call("Buy"))
	require.EqualValues(t, 3, done.Load(), "a lost answer is of what was done")
	require.Equal(t, "done", call("Buy"))

	for kind, code := range map[cloudsim.FaultKind]cloudsim.Code{
		cloudsim.Throttle: cloudsim.Throttled, cloudsim.ServerError: cloudsim.Failing, cloudsim.Deny: cloudsim.NotAllowed,
	} {
		heal := w.Inject(cloudsim.Fault{Kind: kind})
		require.Equal(t, string(code), call("Buy"))
		require.Equal(t, 1, w.Struck(kind))
		heal()
	}
	require.EqualValues(t, 4, done.Load(), "refused calls do nothing")

	heal := w.Inject(cloudsim.Fault{Kind: cloudsim.Slow, Delay: 50 * time.Millisecond})
	began := time.Now()
	require.Equal(t, "done", call("Buy"))
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
	heal()

	w.SetRate("Buy", cloudsim.Rate{Burst: 2, PerSecond: 0.001})
	require.Equal(t, "done", call("Buy"))
	require.Equal(t, "done", call("Buy"))
	require.Equal(t, string(cloudsim.Throttled), call("Buy"))
	require.Equal(t, "done", call("Look"), "another action has its own rate")

	calls := w.Calls()
	require.Equal(t, w.Count(""), len(calls))
	require.True(t, calls[2].Lost)
	require.Equal(t, cloudsim.Throttled, calls[len(calls)-2].Refused)
}

func TestPage(t *testing.T) {
	all := []int64{1, 2, 3, 4, 5}
	key := func(n int64) int64 { return n }
	page, next, ok := cloudsim.Page(all, 2, "", key)
	require.True(t, ok)
	require.Equal(t, []int64{1, 2}, page)
	page, next, ok = cloudsim.Page([]int64{2, 3, 4, 5}, 2, next, key) // 1 has gone since
	require.True(t, ok)
	require.Equal(t, []int64{3, 4}, page)
	page, next, ok = cloudsim.Page(all, 2, next, key)
	require.True(t, ok)
	require.Equal(t, []int64{5}, page)
	require.Empty(t, next)
	for _, token := range []string{"x", "!", "cGFnZSAx"} {
		_, _, ok = cloudsim.Page(all, 2, token, key)
		require.False(t, ok, token)
	}
}
