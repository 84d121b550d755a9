package workflows_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// under gives looks of a policy.
func under(p fleet.Policy, looks ...fleet.Look) []fleet.Look {
	for i := range looks {
		looks[i].Policy = p
	}
	return looks
}

// at sends an update to the operation when it is that old.
func (l *loop) at(age time.Duration, name string, r workflows.MarkRequest) *answer {
	a := &answer{}
	l.env.RegisterDelayedCallback(func() { a.await(l.env, name, r) }, age)
	return a
}

// during does something while the first step of a kind runs.
func (l *loop) during(kind fleet.StepKind, do func()) {
	var once sync.Once
	l.env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == string(kind) {
			once.Do(do)
		}
	})
}

// stoodAt gives the progress when the operation was that old.
func (l *loop) stoodAt(age time.Duration) *fleet.Progress {
	var p fleet.Progress
	l.env.RegisterDelayedCallback(func() { p = l.progress() }, age)
	return &p
}

func (a *answer) granted(t *testing.T) {
	t.Helper()
	require.NoError(t, a.refused)
	require.True(t, a.ended)
	require.NoError(t, a.err)
}

func denied(t *testing.T, err error) string {
	t.Helper()
	var said *temporal.ApplicationError
	require.ErrorAs(t, err, &said)
	require.Equal(t, string(fleet.Denied), said.Type())
	return said.Message()
}

var (
	ada     = workflows.MarkRequest{By: "ada"}
	bob     = workflows.MarkRequest{By: "bob", Why: "not on a Friday"}
	restart = fleet.Step{Kind: fleet.RestartMember, Member: "orders-2"}
	always  = fleet.Policy{Approval: fleet.ApprovalAlways}
)

func restarts(looks ...fleet.Look) []fleet.Look {
	return append([]fleet.Look{sees(3, act(restart))}, looks...)
}

func TestApproved(t *testing.T) {
	looks := under(always, sees(3, act(restart)), sees(3, act(restart)), sees(3, act(restart)), sees(3, finished))
	looks[0].Plan = [][]fleet.Step{{restart}, {{Kind: fleet.AwaitSettled}}}
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, looks...)
	var rows []fleet.Progress
	l.env.OnUpsertMemo(mock.Anything).Return(nil).Run(func(args mock.Arguments) {
		rows = append(rows, args.Get(0).(map[string]any)[workflows.MemoProgress].(fleet.Progress))
	})
	waiting := l.stoodAt(time.Minute)
	approved := l.at(time.Hour, workflows.UpdateApprove, ada)
	result, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	approved.granted(t)
	require.Equal(t, fleet.OperationRunning, waiting.State)
	require.Equal(t, fleet.WaitApproval, waiting.Waiting.For)
	require.Equal(t, looks[0].Plan, waiting.Waiting.Plan, "the approver sees what is approved")
	require.Equal(t, noon.Add(24*time.Hour), waiting.Waiting.Until.UTC())
	require.Contains(t, waiting.Doing, "approval")
	require.Equal(t, fleet.WaitApproval, rows[0].Waiting.For, "lists show that somebody is waited for")
	require.Empty(t, rows[0].Waiting.Plan, "a list does not need it, and a memo is small")
	require.Nil(t, rows[1].Waiting, "and that it goes on")
	require.Zero(t, waiting.Wave)
	require.Equal(t, []fleet.Mark{{Kind: fleet.MarkApproved, By: "ada", At: noon.Add(time.Hour)}}, utc(result.Progress.Marks))
	require.Nil(t, result.Progress.Waiting)
	require.Len(t, l.looks, 4, "it looks again after the wait, and asks once only")
	require.Equal(t, []string{"1/RestartMember/orders-2", "2/RestartMember/orders-2"}, l.steps)
}

func utc(marks []fleet.Mark) []fleet.Mark {
	for i := range marks {
		marks[i].At = marks[i].At.UTC()
	}
	return marks
}

func TestRejected(t *testing.T) {
	l := newLoop(t, nil, under(always, restarts()...)...)
	rejected := l.at(time.Hour, workflows.UpdateReject, bob)
	result, err := l.run(fleet.RollCluster)
	rejected.granted(t)
	said := denied(t, err)
	require.Contains(t, said, "was rejected by bob: not on a Friday")
	require.Equal(t, fleet.OperationFailed, result.Progress.State)
	require.Equal(t, fleet.MarkRejected, result.Progress.Marks[0].Kind)
	require.Empty(t, result.Progress.Steps)
}

func TestNobodyApproves(t *testing.T) {
	policy := fleet.Policy{Approval: fleet.ApprovalAlways, ApprovalWithin: fleet.Duration(2 * time.Hour)}
	l := newLoop(t, nil, under(policy, restarts()...)...)
	waiting := l.stoodAt(119 * time.Minute)
	result, err := l.run(fleet.RollCluster)
	require.Contains(t, denied(t, err), "nobody approved of RollCluster op within 2h0m0s")
	require.Equal(t, fleet.WaitApproval, waiting.Waiting.For)
	require.Equal(t, noon.Add(2*time.Hour), result.Progress.Ended.UTC())
}

func TestWhatNeedsApproval(t *testing.T) {
	release := fleet.Step{Kind: fleet.ReleaseHost, Member: "orders-1"}
	destructive := fleet.Policy{Approval: fleet.ApprovalDestructive}
	for name, test := range map[string]struct {
		kind   fleet.OperationKind
		policy fleet.Policy
		plan   [][]fleet.Step
		asks   bool
	}{
		"no policy":                      {fleet.RollCluster, fleet.Policy{}, nil, false},
		"never":                          {fleet.DecommissionCluster, fleet.Policy{Approval: fleet.ApprovalNever}, [][]fleet.Step{{release}}, false},
		"always":                         {fleet.ChangeLeader, always, nil, true},
		"destructive, nothing destroyed": {fleet.RollCluster, destructive, [][]fleet.Step{{restart}}, false},
		"destructive, a host":            {fleet.MigrateByLearner, destructive, [][]fleet.Step{{restart}, {release}}, true},
		"destructive, a disk":            {fleet.FailoverMember, destructive, [][]fleet.Step{{{Kind: fleet.DeleteDisk}}}, true},
		"destructive, a stop":            {fleet.StopCluster, destructive, nil, true},
		"destructive, a decommission":    {fleet.DecommissionCluster, destructive, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			looks := under(test.policy, restarts(sees(3, finished))...)
			looks[0].Plan = test.plan
			l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, looks...)
			l.at(time.Hour, workflows.UpdateReject, bob)
			_, err := l.run(test.kind)
			if test.asks {
				denied(t, err)
				require.Empty(t, l.steps)
				return
			}
			require.NoError(t, err)
			require.Len(t, l.steps, 1)
		})
	}
}

// What turns out to destroy something only later is asked for then.
func TestApprovalIsAskedWhenItIsNeeded(t *testing.T) {
	release := fleet.Step{Kind: fleet.ReleaseHost, Member: "orders-2"}
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds, fleet.ReleaseHost: succeeds},
		under(fleet.Policy{Approval: fleet.ApprovalDestructive}, restarts(sees(3, act(release)))...)...)
	waiting := l.stoodAt(time.Minute)
	l.at(time.Hour, workflows.UpdateReject, bob)
	_, err := l.run(fleet.FailoverMember)
	denied(t, err)
	require.Equal(t, [][]fleet.Step{{release}}, waiting.Waiting.Plan)
	require.Equal(t, []string{"1/RestartMember/orders-2"}, l.steps)
	require.True(t, l.looks[0].First, "what cannot be done is refused before anything is")
	require.False(t, l.looks[1].First)
}

func TestDecisionsThatAreRefused(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds},
		under(always, sees(3, act(restart)), sees(3, act(restart)), sees(3, finished))...)
	idle := l.at(time.Minute, workflows.UpdateResume, ada)
	nameless := l.at(2*time.Minute, workflows.UpdateApprove, workflows.MarkRequest{Why: "it is fine"})
	pause := l.at(3*time.Minute, workflows.UpdatePause, ada) // so that it does not end at once
	first := l.at(time.Hour, workflows.UpdateApprove, ada)
	again := l.at(2*time.Hour, workflows.UpdateApprove, bob)
	late := l.at(2*time.Hour, workflows.UpdateReject, bob)
	l.at(3*time.Hour, workflows.UpdateResume, ada)
	result, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	kind, said := idle.refusal(t)
	require.Equal(t, fleet.Conflict, kind)
	require.Contains(t, said, "is not paused")
	kind, said = nameless.refusal(t)
	require.Equal(t, fleet.Invalid, kind)
	require.Contains(t, said, "by is missing")
	pause.granted(t)
	first.granted(t)
	again.granted(t)
	kind, said = late.refusal(t)
	require.Equal(t, fleet.Conflict, kind)
	require.Contains(t, said, "was approved by ada")
	require.Contains(t, said, "flotilla cancel orders")
	require.Len(t, result.Progress.Marks, 3, "approved twice is approved once: %v", result.Progress.Marks)
}

func TestNothingToApprove(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, restarts(sees(3, finished))...)
	approve, reject := &answer{}, &answer{}
	l.during(fleet.RestartMember, func() {
		approve.await(l.env, workflows.UpdateApprove, ada)
		reject.await(l.env, workflows.UpdateReject, bob)
	})
	_, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	for _, a := range []*answer{approve, reject} {
		kind, said := a.refusal(t)
		require.Equal(t, fleet.Conflict, kind)
		require.Contains(t, said, "does not wait for an approval")
	}
}

func TestPaused(t *testing.T) {
	settled := fleet.Step{Kind: fleet.AwaitSettled}
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds, fleet.AwaitSettled: succeeds},
		restarts(sees(3, act(settled)), sees(3, act(settled)), sees(3, finished))...)
	var during fleet.Progress
	pause, twice := &answer{}, &answer{then: func() { during = l.progress() }}
	l.during(fleet.RestartMember, func() {
		pause.await(l.env, workflows.UpdatePause, bob)
		twice.await(l.env, workflows.UpdatePause, ada)
	})
	paused := l.stoodAt(time.Hour)
	resumed := l.at(2*time.Hour, workflows.UpdateResume, ada)
	result, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	pause.granted(t)
	twice.granted(t)
	resumed.granted(t)
	require.Nil(t, during.Waiting, "the steps in hand go on")
	require.Equal(t, "RestartMember orders-2; it pauses after that", during.Doing)
	require.Equal(t, fleet.WaitPaused, paused.Waiting.For)
	require.Equal(t, "paused by bob: not on a Friday", paused.Waiting.Why)
	require.True(t, paused.Waiting.Until.IsZero())
	require.Equal(t, 1, paused.Wave)
	require.Equal(t, fleet.StepDone, paused.Steps[0].State)
	require.Equal(t, []string{"1/RestartMember/orders-2", "2/AwaitSettled/"}, l.steps)
	require.Len(t, l.looks, 4, "it looks again after the pause")
	var kinds []fleet.MarkKind
	for _, m := range result.Progress.Marks {
		kinds = append(kinds, m.Kind)
	}
	require.Equal(t, []fleet.MarkKind{fleet.MarkPaused, fleet.MarkResumed}, kinds)
	require.Equal(t, noon.Add(2*time.Hour), result.Progress.Steps[1].Started.UTC())
}

// Done is done, also while it is paused.
func TestPausedAtTheEnd(t *testing.T) {
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, restarts(sees(3, finished))...)
	l.during(fleet.RestartMember, func() { (&answer{}).await(l.env, workflows.UpdatePause, bob) })
	result, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	require.Equal(t, fleet.OperationDone, result.Progress.State)
}

func TestCancelledWhileItWaits(t *testing.T) {
	closed := fleet.Policy{Windows: []string{"daily 01:00-05:00"}}
	asks := fleet.Policy{OnFailure: fleet.FailureAsks}
	blocked := fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Lost, Reason: "orders-2 did not come back"}
	for name, test := range map[string]struct {
		looks []fleet.Look
		pause bool
		waits fleet.WaitKind
		steps int
	}{
		"for approval": {under(always, restarts()...), false, fleet.WaitApproval, 0},
		"for a window": {under(closed, restarts()...), false, fleet.WaitWindow, 0},
		"paused":       {restarts(), true, fleet.WaitPaused, 1},
		"for a person": {under(asks, restarts(sees(3, blocked))...), false, fleet.WaitPerson, 1},
	} {
		t.Run(name, func(t *testing.T) {
			run := succeeds
			if test.waits == fleet.WaitPerson {
				run = fails(fleet.Lost)
			}
			l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: run}, test.looks...)
			if test.pause {
				l.during(fleet.RestartMember, func() { (&answer{}).await(l.env, workflows.UpdatePause, bob) })
			}
			waiting := l.stoodAt(time.Minute)
			l.env.RegisterDelayedCallback(l.env.CancelWorkflow, 2*time.Minute)
			result, err := l.run(fleet.RollCluster)
			var cancelled *temporal.CanceledError
			require.ErrorAs(t, err, &cancelled)
			require.NotNil(t, waiting.Waiting)
			require.Equal(t, test.waits, waiting.Waiting.For)
			require.Equal(t, fleet.OperationCancelled, result.Progress.State)
			require.Nil(t, result.Progress.Waiting)
			require.Len(t, l.steps, test.steps)
			require.Equal(t, noon.Add(2*time.Minute), result.Progress.Ended.UTC())
		})
	}
}

func TestWindows(t *testing.T) {
	night := fleet.Policy{Windows: []string{"daily 01:00-05:00"}} // it begins at noon
	opens := time.Date(2026, 1, 3, 1, 0, 0, 0, time.UTC)
	whole := func(l fleet.Look) fleet.Look { l.Whole = true; return l }
	for name, test := range map[string]struct {
		kind    fleet.OperationKind
		options fleet.Options
		policy  fleet.Policy
		takes   time.Duration // by each step
		looks   []fleet.Look
		starts  []time.Time
	}{
		"closed":               {fleet.RollCluster, fleet.Options{}, night, 0, restarts(sees(3, act(restart)), sees(3, finished)), []time.Time{opens}},
		"any time":             {fleet.RollCluster, fleet.Options{AnyTime: true}, night, 0, restarts(sees(3, finished)), []time.Time{noon}},
		"what does not wait":   {fleet.FailoverMember, fleet.Options{}, night, 0, restarts(sees(3, finished)), []time.Time{noon}},
		"open":                 {fleet.RollCluster, fleet.Options{}, fleet.Policy{Windows: []string{"daily 11:00-13:00"}}, 0, restarts(sees(3, finished)), []time.Time{noon}},
		"closes half way":      {fleet.RollCluster, fleet.Options{}, fleet.Policy{Windows: []string{"daily 11:00-13:00"}}, 2 * time.Hour, restarts(sees(3, act(restart)), sees(3, finished)), []time.Time{noon, noon.Add(2 * time.Hour)}},
		"closes between units": {fleet.RollCluster, fleet.Options{}, fleet.Policy{Windows: []string{"daily 11:00-13:00"}}, 2 * time.Hour, restarts(whole(sees(3, act(restart))), whole(sees(3, act(restart))), sees(3, finished)), []time.Time{noon, noon.Add(23 * time.Hour)}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, under(test.policy, test.looks...)...)
			l.env.OnActivity(string(fleet.RestartMember), mock.Anything, mock.Anything).After(test.takes).Return(fleet.StepReply{}, nil)
			l.op.Options = test.options
			waiting := l.stoodAt(time.Minute)
			result, err := l.run(test.kind)
			require.NoError(t, err)
			var starts []time.Time
			for _, s := range result.Progress.Steps {
				starts = append(starts, s.Started.UTC())
			}
			require.Equal(t, test.starts, starts)
			if test.starts[0].Equal(opens) {
				require.Equal(t, fleet.WaitWindow, waiting.Waiting.For)
				require.Equal(t, opens, waiting.Waiting.Until.UTC())
				require.Contains(t, waiting.Waiting.Why, "daily 01:00-05:00")
			}
		})
	}
}

// Nobody is woken at night to approve.
func TestApprovalBeforeTheWindow(t *testing.T) {
	policy := fleet.Policy{Approval: fleet.ApprovalAlways, Windows: []string{"daily 01:00-05:00"}}
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: succeeds}, under(policy, sees(3, act(restart)), sees(3, act(restart)), sees(3, act(restart)), sees(3, finished))...)
	asks, waits := l.stoodAt(time.Minute), l.stoodAt(2*time.Hour)
	l.at(time.Hour, workflows.UpdateApprove, ada)
	_, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	require.Equal(t, fleet.WaitApproval, asks.Waiting.For)
	require.Equal(t, fleet.WaitWindow, waits.Waiting.For)
	require.Len(t, l.steps, 1)
}

func TestAPersonSaysWhetherItGoesOn(t *testing.T) {
	asks := fleet.Policy{OnFailure: fleet.FailureAsks}
	blocked := fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Lost, Reason: "orders-2 did not come back"}
	tries := 0
	l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: func(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
		if tries++; tries == 1 {
			return fails(fleet.Lost)(ctx, r)
		}
		return succeeds(ctx, r)
	}}, under(asks, sees(3, act(restart)), sees(3, blocked), sees(3, act(restart)), sees(3, finished))...)
	waiting := l.stoodAt(time.Minute)
	resumed := l.at(time.Hour, workflows.UpdateResume, workflows.MarkRequest{By: "ada", Why: "the disk is back"})
	result, err := l.run(fleet.RollCluster)
	require.NoError(t, err)
	resumed.granted(t)
	require.Equal(t, fleet.WaitPerson, waiting.Waiting.For)
	require.Equal(t, "orders-2 did not come back", waiting.Waiting.Why)
	require.Len(t, l.looks[1].Failures, 1)
	require.Empty(t, l.looks[2].Failures, "it is tried again from the start")
	require.Len(t, l.steps, 2)
	require.Equal(t, fleet.MarkResumed, result.Progress.Marks[0].Kind)
}

func TestWhatNobodyIsAskedAbout(t *testing.T) {
	blocked := fleet.Decision{Verdict: fleet.VerdictBlocked, Kind: fleet.Blocked, Reason: "no quorum"}
	for name, test := range map[string]struct {
		policy fleet.Policy
		looks  []fleet.Look
	}{
		"the policy stops":  {fleet.Policy{OnFailure: fleet.FailureStops}, restarts(sees(3, blocked))},
		"no policy":         {fleet.Policy{}, restarts(sees(3, blocked))},
		"nothing failed":    {fleet.Policy{OnFailure: fleet.FailureAsks}, []fleet.Look{sees(3, blocked)}},
		"it is not a block": {fleet.Policy{OnFailure: fleet.FailureAsks}, restarts(sees(3, fleet.Decision{Verdict: "ponder"}))},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLoop(t, map[fleet.StepKind]step{fleet.RestartMember: fails(fleet.Lost)}, under(test.policy, test.looks...)...)
			_, err := l.run(fleet.RollCluster)
			var said *temporal.ApplicationError
			require.ErrorAs(t, err, &said)
			require.Equal(t, string(fleet.Blocked), said.Type())
		})
	}
}
