package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// Whoever adds a step says what it does in words.
func TestEveryStepHasWords(t *testing.T) {
	source, err := os.ReadFile("../../fleet/step.go")
	require.NoError(t, err)
	kinds := regexp.MustCompile(`(?m)^\s+\w+\s+StepKind = "(\w+)"`).FindAllStringSubmatch(string(source), -1)
	require.NotEmpty(t, kinds)
	for _, m := range kinds {
		kind := fleet.StepKind(m[1])
		for _, spec := range []fleet.Spec{ordersSpec, {}} { // an approver has no spec at hand
			text := words(fleet.Step{Kind: kind}, fleet.Operation{Spec: spec})
			assert.NotEmpty(t, text, "%s", kind)
			assert.Equal(t, strings.TrimSpace(text), text, "%s", kind)
			assert.NotContains(t, text, "  ", "%s", kind)
			assert.NotContains(t, text, "0B", "%s", kind)
		}
	}
	assert.Len(t, stepWords, len(kinds), "words of steps that there are not")
}

func TestWordsSayWhatTheStepSays(t *testing.T) {
	operation := fleet.Operation{Kind: fleet.UpgradeCluster, Spec: ordersSpec}
	upscale, roll := operation, operation
	upscale.Kind, roll.Kind = fleet.UpscaleCluster, fleet.RollCluster
	restart := fleet.Step{Kind: fleet.RestartMember}
	assert.Equal(t, "restart it with the new quota", words(restart, upscale))
	assert.Equal(t, "restart it", words(restart, roll))
	for _, test := range []struct {
		step fleet.Step
		want string
	}{
		{fleet.Step{Kind: fleet.LaunchHost, Type: "medium"}, "buy a medium"},
		{fleet.Step{Kind: fleet.LaunchHost, HostID: "h-1"}, "wait until its host runs"},
		{fleet.Step{Kind: fleet.AttachDisk}, "buy a disk, 20GiB ssd"},
		{fleet.Step{Kind: fleet.AttachDisk, DiskID: "d-1"}, "attach the disk that is there"},
		{fleet.Step{Kind: fleet.PrepareHost, Version: "3.6.16"}, "install etcd 3.6.16"},
		{fleet.Step{Kind: fleet.StartMember, Existing: true}, "start etcd; it joins the others"},
		{fleet.Step{Kind: fleet.MoveLeader, To: "orders-3"}, "have orders-3 lead"},
		{fleet.Step{Kind: fleet.RestartMember, Run: &fleet.MemberConfig{Version: "3.6.16"}}, "restart it with etcd 3.6.16"},
		{fleet.Step{Kind: fleet.RollBackMember, Run: &fleet.MemberConfig{Version: "3.6.16"}}, "restart it as before, with etcd 3.6.16"},
		{fleet.Step{Kind: fleet.ResizeHost, Type: "medium"}, "make its host a medium"},
		{fleet.Step{Kind: fleet.GrowDisk, Size: 40 * fleet.GiB}, "grow its disk to 40GiB"},
		{fleet.Step{Kind: fleet.RetypeDisk, Category: "hdd"}, "make its disk hdd where it is"},
		{fleet.Step{Kind: fleet.EnableDowngrade, Version: "3.6.16"}, "let etcd go back to 3.6"},
		{fleet.Step{Kind: "Later"}, ""},
	} {
		assert.Equal(t, test.want, words(test.step, operation), "%+v", test.step)
	}
}

// replaced are the waves that put one member in another one's place.
func replaced(comes, leaves string, before ...fleet.Step) [][]fleet.Step {
	var waves [][]fleet.Step
	for _, kind := range []fleet.StepKind{fleet.LaunchHost, fleet.AttachDisk, fleet.PrepareHost, fleet.AddLearner, fleet.StartMember,
		fleet.AwaitInSync, fleet.Promote} {
		s := fleet.Step{Kind: kind, Member: comes, Existing: true}
		if kind == fleet.LaunchHost {
			s.Zone, s.Type = "b", "medium"
		}
		waves = append(waves, []fleet.Step{s})
	}
	for _, s := range before {
		waves = append(waves, []fleet.Step{s})
	}
	for _, kind := range []fleet.StepKind{fleet.StopMember, fleet.RemoveMember, fleet.ReleaseHost, fleet.DeleteDisk} {
		waves = append(waves, []fleet.Step{{Kind: kind, Member: leaves}})
	}
	return waves
}

func restarted(member string, before ...fleet.Step) [][]fleet.Step {
	var waves [][]fleet.Step
	for _, s := range before {
		waves = append(waves, []fleet.Step{s})
	}
	return append(waves, []fleet.Step{{Kind: fleet.RestartMember, Member: member}})
}

func concat(parts ...[][]fleet.Step) [][]fleet.Step {
	var all [][]fleet.Step
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

func TestPlansOfChangesFitOnAScreen(t *testing.T) {
	settled := fleet.Step{Kind: fleet.AwaitSettled}
	show := func(name string, kind fleet.OperationKind, change func(*fleet.Operation), waves [][]fleet.Step, reply workflows.PlanReply) {
		t.Helper()
		before := ordersSpec.Clone()
		op := fleet.Operation{Kind: kind, Cluster: "orders", Before: &before, Spec: ordersSpec.Clone()}
		change(&op)
		reply.Waves = waves
		text := planText(plain, forecast{operation: op, reply: reply, options: op.Options, changes: []fleet.Change{{Kind: kind, Spec: op.Spec}}}, clock.Now)
		assert.LessOrEqual(t, strings.Count(text, "\n"), 24, name)
		golden(t, name, text)
	}
	show("plan-upscale", fleet.UpscaleCluster, func(o *fleet.Operation) { o.Spec.Machine.Type = "medium" }, concat(
		replaced("orders-4", "orders-3", settled),
		replaced("orders-5", "orders-2", settled),
		replaced("orders-6", "orders-1", settled, fleet.Step{Kind: fleet.MoveLeader, Member: "orders-1", To: "orders-4"}),
	), workflows.PlanReply{Buys: []string{"3 × medium"}, Destroys: []string{"host orders-1", "host orders-2", "host orders-3"}})
	show("plan-upgrade", fleet.UpgradeCluster, func(o *fleet.Operation) { o.Spec.Etcd.Version = "3.7.4" }, concat(
		restarted("orders-2"),
		restarted("orders-3", settled),
		restarted("orders-1", settled, fleet.Step{Kind: fleet.MoveLeader, Member: "orders-1", To: "orders-2"}),
	), workflows.PlanReply{})
	show("plan-certificates", fleet.RollCluster, func(o *fleet.Operation) { o.Options.Certificates = fleet.RenewLeaves }, [][]fleet.Step{
		{{Kind: fleet.RenewCertificates, Member: "orders-2"}}, {{Kind: fleet.RenewCertificates, Member: "orders-1"}}, {{Kind: fleet.RenewCertificates, Member: "orders-3"}},
	}, workflows.PlanReply{})
	show("plan-waits", fleet.MigrateByLearner, func(o *fleet.Operation) {
		o.Spec.Policy = fleet.Policy{Approval: fleet.ApprovalDestructive, Windows: []string{"Sat,Sun 01:00-05:00"}}
		before := o.Spec.Clone()
		o.Before = &before
	}, [][]fleet.Step{{{Kind: fleet.LaunchHost, Member: "orders-4"}}, {{Kind: fleet.ReleaseHost, Member: "orders-1"}}}, workflows.PlanReply{})
	show("plan-leader", fleet.ChangeLeader, func(*fleet.Operation) {}, [][]fleet.Step{
		{settled}, {{Kind: fleet.MoveLeader, Member: "orders-1", To: "orders-2"}},
	}, workflows.PlanReply{})
}

func TestFoldKeepsWhatDiffers(t *testing.T) {
	kinds := func(waves [][]fleet.Step) (n int) {
		for _, b := range fold(waves) {
			n += len(b.turns)
		}
		return n
	}
	one := [][]fleet.Step{{step(fleet.StopMember, "a")}, {step(fleet.StopHost, "a")}}
	other := [][]fleet.Step{{step(fleet.StopMember, "b")}, {step(fleet.StopHost, "a")}}
	assert.Len(t, fold(concat(one, one)), 1)
	assert.Len(t, fold(concat(one, other)), 4, "one host is stopped for two members: that is not the same again")
	assert.Empty(t, fold(nil))
	assert.Equal(t, 1, kinds([][]fleet.Step{{step(fleet.AwaitSettled, "")}, {step(fleet.AwaitSettled, "")}}))
	// All waves are told of, whatever comes when.
	waves := concat(restarted("a"), one, restarted("b", step(fleet.AwaitSettled, "")), one, one, [][]fleet.Step{{step(fleet.AwaitSettled, "")}})
	next := 1
	for _, b := range fold(waves) {
		for _, turn := range b.turns {
			assert.Equal(t, next, turn.first)
			next = turn.last() + 1
		}
	}
	assert.Equal(t, len(waves)+1, next)
}

func TestWaitingText(t *testing.T) {
	var b strings.Builder
	for _, w := range []fleet.Waiting{
		*toApprove.Waiting,
		{For: fleet.WaitWindow, Why: "waits for its maintenance window (daily 01:00-05:00, UTC)", Since: begun0, Until: begun0.Add(16 * time.Hour)},
		{For: fleet.WaitPaused, Why: "paused by eva: traffic is high", Since: begun0},
		{For: fleet.WaitPerson, Why: "LaunchHost orders-4 failed: sold out", Since: begun0},
	} {
		p := fleet.Progress{Operation: "7f3a", Kind: fleet.MigrateByLearner, Cluster: "orders", State: fleet.OperationRunning, Wave: 2, WavesAhead: 10, Waiting: &w}
		p.Steps = []fleet.StepProgress{{Wave: 1, Step: step(fleet.AwaitSettled, ""), State: fleet.StepDone, Started: begun0, Ended: begun0.Add(time.Second)},
			{Wave: 2, Step: step(fleet.AwaitSettled, ""), State: fleet.StepDone, Started: begun0, Ended: begun0.Add(time.Second)}}
		b.WriteString(progressText(plain, p, nil, clock.Now))
	}
	golden(t, "progress-waiting", b.String())
}

func TestTheLogTellsOfWaiting(t *testing.T) {
	var out strings.Builder
	log := &progressLog{out: terminal.Plain(&out), now: func() time.Time { return clock.Now }, utc: true}
	p := toApprove
	log.show(p)
	log.show(p)
	p.Waiting = nil
	log.show(p)
	golden(t, "progress-log-waiting", out.String())
}

func TestDescribeTellsWhatIsHalfDone(t *testing.T) {
	target := ordersSpec.Clone()
	target.Machine.Type, target.Voters = "medium", 5
	view := workflows.ClusterView{
		Summary: orders, Spec: ordersSpec.Clone(),
		Unfinished: &fleet.Operation{ID: "7f3a", Kind: fleet.UpscaleCluster, Spec: target},
		Operations: []workflows.OperationRecord{{ID: "7f3a", Kind: fleet.UpscaleCluster, State: fleet.OperationFailed, By: "eva",
			Started: begun0, Ended: begun0.Add(6 * time.Second), Error: "host orders-4: is gone",
			Left:    []string{"orders-4 is a learner, and was to get a vote", "host h-4 is there"},
			Marks:   []fleet.Mark{{Kind: fleet.MarkApproved, By: "ada", Why: "agreed", At: begun0}},
			Dropped: []workflows.OperationRef{{Operation: "1a2b", Kind: fleet.ScaleCluster}}}},
	}
	view.Spec.Policy = fleet.Policy{Approval: fleet.ApprovalAlways, Windows: []string{"daily 01:00-05:00"}}
	golden(t, "describe-unfinished", describeText(plain, described{ClusterView: view}, clock))

	view.Unfinished, view.Summary.Operation = nil, "7f3a"
	view.Operations[0] = workflows.OperationRecord{ID: "7f3a", Kind: fleet.MigrateByLearner, State: fleet.OperationRunning, By: "eva", Started: begun0}
	view.Queue = []workflows.QueuedOperation{{OperationRef: workflows.OperationRef{Operation: "1a2b", Kind: fleet.ScaleCluster}}}
	p := toApprove
	p.Marks = []fleet.Mark{{Kind: fleet.MarkPaused, By: "eva", At: begun0}, {Kind: fleet.MarkResumed, By: "eva", Why: "calm", At: begun0.Add(time.Minute)}}
	golden(t, "describe-waiting", describeText(plain, described{ClusterView: view, Progress: &p}, clock))
}

func TestOperationsTellOfPeople(t *testing.T) {
	golden(t, "operations", operationsText(plain, []starter.OperationEntry{
		{Cluster: "orders", Waiting: toApprove.Waiting, OperationRecord: workflows.OperationRecord{ID: "7f3b", Kind: fleet.StopCluster,
			State: fleet.OperationRunning, By: "eva", Started: begun0}},
		{Cluster: "orders", OperationRecord: workflows.OperationRecord{ID: "7f3a", Kind: fleet.MigrateByLearner, State: fleet.OperationDone, By: "eva",
			Started: begun0, Ended: begun0.Add(time.Minute), Marks: []fleet.Mark{{Kind: fleet.MarkApproved, By: "ada", Why: "agreed", At: begun0}}}},
		{Cluster: "orders", OperationRecord: workflows.OperationRecord{ID: "7f39", Kind: fleet.ScaleCluster, State: fleet.OperationFailed, By: "eva",
			Started: begun0, Ended: begun0.Add(time.Minute), Error: "sold out", Left: []string{"a", "b"}, Dropped: []workflows.OperationRef{{}}}},
	}, clock))
}

func TestResultsOfChanges(t *testing.T) {
	progress := fleet.Progress{Started: begun0, Ended: begun0.Add(90 * time.Second)}
	endpoints := []fleet.Endpoint{{Address: "127.0.0.1", ClientPort: 2379}}
	var b strings.Builder
	for _, kind := range []fleet.OperationKind{fleet.MigrateByLearner, fleet.StopCluster, fleet.StartCluster} {
		r := workflows.OperationResult{Progress: progress, Summary: orders, Endpoints: endpoints}
		if kind == fleet.StopCluster {
			r.FinalSnapshot = &fleet.Snapshot{Key: "snapshots/orders/x.db.age", Revision: 7, Keys: 1, Size: 20 * fleet.KiB, Verified: begun0}
		}
		if kind == fleet.MigrateByLearner {
			r.Left = []string{"host h-1 of orders-1 is there, and orders-1 is no member"}
		}
		b.WriteString(resultText(plain, starter.Ref{Cluster: "orders", Kind: kind}, r))
	}
	golden(t, "result-changes", b.String())
}
