package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

var toApprove = fleet.Progress{
	Operation: "7f3a", Kind: fleet.MigrateByLearner, Cluster: "orders", State: fleet.OperationRunning, Started: begun0,
	Waiting: &fleet.Waiting{For: fleet.WaitApproval, Why: "needs approval (policy: destructive)", Since: begun0, Until: begun0.Add(24 * time.Hour),
		Plan: [][]fleet.Step{{step(fleet.LaunchHost, "orders-4")}, {step(fleet.ReleaseHost, "orders-1")}}},
}

func TestWaitingForApprovalIsAnExitCode(t *testing.T) {
	f := running()
	f.progress = []fleet.Progress{toApprove}
	got := do(t, f, false, "", "migrate", "orders")
	assert.Equal(t, exitApproval, got.code, got.err)
	golden(t, "approval", got.out)

	got = do(t, f, false, "", "migrate", "orders", "-o", "json")
	assert.Equal(t, exitApproval, got.code)
	assert.Contains(t, got.out, `"for": "approval"`)
	assert.Contains(t, got.out, `"kind": "ReleaseHost"`)

	// A plan that was just shown is not shown again.
	f.reply.Waves = toApprove.Waiting.Plan
	got = do(t, f, false, "", "migrate", "orders")
	assert.Contains(t, got.err, "ReleaseHost")
	assert.NotContains(t, got.out, "ReleaseHost")
	assert.Contains(t, got.out, "flotilla approve orders --operation 7f3a")

	// --wait-approval watches on, and the operation ends well.
	got = do(t, f, false, "", "migrate", "orders", "--wait-approval")
	assert.Equal(t, exitDone, got.code, got.err)
	assert.Contains(t, got.err, "needs approval (policy: destructive), for 2m now")
	assert.Contains(t, got.out, "orders runs")

	f = busy(toApprove)
	assert.Equal(t, exitApproval, do(t, f, false, "", "watch", "orders").code)
	assert.Equal(t, exitDone, do(t, f, false, "", "watch", "orders", "--wait-approval").code)
	assert.Equal(t, exitApproval, do(t, f, false, "", "resume", "orders").code)
	assert.Empty(t, f.marked, "an approval is not a resumption")
}

func TestSteering(t *testing.T) {
	for args, want := range map[string]string{
		"approve orders": "approve 7f3a: ",
		"approve orders --operation 7f3a --why good": "approve 7f3a: good",
		"reject orders --why bad":                    "reject 7f3a: bad",
		"pause orders --why traffic":                 "pause 7f3a: traffic",
	} {
		f := busy(toApprove)
		got := do(t, f, false, "", strings.Fields(args)...)
		assert.Equal(t, exitDone, got.code, got.err)
		assert.Equal(t, []string{want}, f.marked, args)
		assert.Contains(t, got.out, "MigrateByLearner 7f3a of orders")
		if strings.HasPrefix(args, "approve") {
			assert.Contains(t, got.err, "ReleaseHost", "the plan that is approved is shown")
		}
	}
	f := busy(toApprove)
	got := do(t, f, false, "", "approve", "orders", "--operation", "0000")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "0000 is not running; MigrateByLearner 7f3a is")
	for _, args := range []string{"approve orders", "reject orders --why x", "pause orders"} {
		got = do(t, running(), false, "", strings.Fields(args)...)
		assert.Equal(t, exitFailed, got.code, args)
		assert.Contains(t, got.err, "no operation is running", args)
	}
	assert.Empty(t, f.marked)
}

func TestResumeIsOneCommandForThreeThings(t *testing.T) {
	for _, kind := range []fleet.WaitKind{fleet.WaitPaused, fleet.WaitPerson} {
		f := busy(fleet.Progress{Waiting: &fleet.Waiting{For: kind, Why: "paused by eva", Since: begun0}})
		got := do(t, f, false, "", "resume", "orders", "--why", "calm again")
		assert.Equal(t, exitDone, got.code, got.err)
		assert.Equal(t, []string{"resume 7f3a: calm again"}, f.marked)
		assert.Equal(t, []string{"7f3a"}, f.watched)
		assert.Empty(t, f.resumed)
	}
	for _, waiting := range []*fleet.Waiting{nil, {For: fleet.WaitWindow}} { // goes on by itself
		f := busy(fleet.Progress{Waiting: waiting})
		assert.Equal(t, exitDone, do(t, f, false, "", "resume", "orders").code)
		assert.Equal(t, []string{"7f3a"}, f.watched)
		assert.Empty(t, f.marked)
	}

	f := running()
	got := do(t, f, false, "", "resume", "orders")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "there is nothing to go on with")
	left := func(kind fleet.OperationKind) *fake {
		f := running()
		view := f.views["orders"]
		view.Unfinished = &fleet.Operation{ID: "old", Kind: kind, Spec: ordersSpec}
		f.views["orders"] = view
		return f
	}
	f = left(fleet.UpscaleCluster)
	require.Equal(t, exitDone, do(t, f, false, "", "resume", "orders").code)
	assert.Equal(t, []string{"orders"}, f.resumed)
	assert.Equal(t, []string{"7f3b"}, f.watched)
	got = do(t, f, false, "", "resume", "orders", "--skip-final-snapshot")
	assert.Equal(t, exitInput, got.code)

	f = left(fleet.DecommissionCluster)
	require.Equal(t, exitDone, do(t, f, false, "", "resume", "orders", "--skip-final-snapshot").code)
	require.Len(t, f.changed, 1)
	assert.Equal(t, fleet.DecommissionCluster, f.changed[0].kind)
	assert.True(t, f.changed[0].request.Options.SkipFinalSnapshot)
}

func TestWhatIsQueuedIsFollowed(t *testing.T) {
	f := busy(fleet.Progress{})
	view := f.views["orders"]
	view.Queue = []workflows.QueuedOperation{{OperationRef: workflows.OperationRef{Operation: "next", Kind: fleet.ScaleCluster}}}
	f.views["orders"] = view
	require.Equal(t, exitDone, do(t, f, false, "", "watch", "orders").code)
	assert.Equal(t, []string{"7f3a", "next"}, f.watched)

	f.watched, f.dropped = nil, true
	got := do(t, f, false, "", "watch", "orders")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.err, "ScaleCluster of orders was dropped")
	assert.Equal(t, []string{"7f3a"}, f.watched)
}

func TestWhatFailsSaysWhatItLeft(t *testing.T) {
	f := running()
	f.err = fleet.Errorf(fleet.Lost, "host orders-4", "is gone")
	f.result.Left = []string{"orders-4 is a learner, and was to get a vote"}
	got := do(t, f, false, "", "scale", "orders", "--learners", "2")
	assert.Equal(t, exitFailed, got.code)
	_, end, _ := strings.Cut(got.err, "learners  0 → 2\n") // after the plan
	golden(t, "failed", end)
	assert.Equal(t, []string{"7f3a"}, f.watched, "what was to follow is dropped")
	got = do(t, f, false, "", "scale", "orders", "--voters", "5", "-o", "json")
	assert.Equal(t, exitFailed, got.code)
	assert.Contains(t, got.out, `"left": [`)

	f.err = fleet.Errorf(fleet.Blocked, "orders", "would lose quorum")
	assert.Equal(t, exitRefused, do(t, f, false, "", "scale", "orders", "--voters", "5").code)
	f.err = context.Canceled
	got = do(t, f, false, "", "scale", "orders", "--voters", "5")
	assert.Equal(t, exitInterrupted, got.code)
	assert.Contains(t, got.err, "ScaleCluster 7f3a of orders goes on")
}

func TestNotWaiting(t *testing.T) {
	for _, flag := range []string{"--no-wait", "--wait=false"} {
		f := running()
		got := do(t, f, false, "", "scale", "orders", "--learners", "2", flag)
		assert.Equal(t, exitDone, got.code, got.err)
		assert.Contains(t, got.out, "RollCluster 7f3a has begun on orders")
		assert.Contains(t, got.err, "ScaleCluster then-1 of orders follows")
		assert.Empty(t, f.watched)
	}
}

func TestEndpointsAreALine(t *testing.T) {
	f := running()
	got := do(t, f, false, "", "endpoints", "orders")
	assert.Equal(t, exitDone, got.code)
	assert.Equal(t, "https://127.0.0.1:2379,https://127.0.0.2:2379,https://127.0.0.3:2379\n", got.out)
	assert.Contains(t, do(t, f, false, "", "endpoints", "orders", "-o", "json").out, `"clientPort": 2379`)
	f.views["orders"] = workflows.ClusterView{Summary: orders}
	assert.Equal(t, exitFailed, do(t, f, false, "", "endpoints", "orders").code)
}

func TestEndpointsAreWatchedUntilTheClusterIsGone(t *testing.T) {
	f := running()
	view := f.views["orders"]
	f.describe = func(n int) {
		switch now := view; n {
		case 1, 2: // the same again is not printed
			now.Endpoints = view.Endpoints[1:]
			f.views["orders"] = now
		case 3:
			now.Summary.Phase = fleet.PhaseGone
			f.views["orders"] = now
		}
	}
	a := &app{out: plain, err: plain}
	var out, said strings.Builder
	a.out.Writer, a.err.Writer = &out, &said
	ticks := make(chan time.Time, 3)
	for range 3 {
		ticks <- begun0
	}
	require.NoError(t, a.watchEndpoints(t.Context(), f, asTable, "orders", view.Endpoints, ticks))
	assert.Equal(t, "https://127.0.0.2:2379,https://127.0.0.3:2379\n", out.String())
	assert.Equal(t, "orders is gone\n", said.String())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, a.watchEndpoints(ctx, f, asTable, "orders", nil, nil), "Ctrl-C is no failure")
}

func TestCompletion(t *testing.T) {
	f := running()
	f.lists.Clusters = append(f.lists.Clusters, fleet.Summary{Name: "payments", Phase: fleet.PhaseStopped})
	for args, want := range map[string]string{
		"scale ":                        "orders\tRunning\npayments\tStopped\n",
		"scale pay":                     "payments\tStopped\n",
		"scale orders ":                 "",
		"plan failover orders ":         "orders-1\norders-2\tleader\norders-3\n",
		"failover orders orders-1 ":     "orders-2\tleader\norders-3\n",
		"move-leader orders ":           "orders-1\norders-2\tleader\norders-3\n",
		"move-leader orders orders-1 ":  "",
		"migrate orders --member ":      "orders-1\norders-2\tleader\norders-3\n",
		"roll orders --member orders-3": "orders-3\n",
		"start orders --approval ":      "never\nalways\ndestructive\n",
		"migrate orders --class ":       "Guaranteed\nBurstable\nBestEffort\n",
		"watch ":                        "orders\tRunning\npayments\tStopped\n",
	} {
		words := strings.Split(args, " ")
		got := do(t, f, false, "", append([]string{"__complete"}, words...)...)
		assert.Equal(t, want, strings.TrimSuffix(got.out, ":4\n"), "%q: %s", args, got.err)
	}
}

var _ plane = (*starter.Client)(nil)
