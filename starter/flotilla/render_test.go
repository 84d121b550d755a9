package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
	"github.com/flotilla-etcd/flotilla/workflows"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/<name>.txt; go test ./starter/flotilla -update writes them.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), got, "see %s", path)
}

var (
	begun0 = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	plain  = terminal.Plain(nil)
	clock  = terminal.Clock{Now: begun0.Add(2 * time.Minute)}
)

func step(kind fleet.StepKind, member string) fleet.Step {
	s := fleet.Step{Kind: kind, Member: member}
	if member != "" {
		s.Zone = map[string]string{"orders-1": "a", "orders-2": "b", "orders-3": "c"}[member]
	}
	return s
}

func wave(kind fleet.StepKind) []fleet.Step {
	return []fleet.Step{step(kind, "orders-1"), step(kind, "orders-2"), step(kind, "orders-3")}
}

var createWaves = [][]fleet.Step{
	append([]fleet.Step{step(fleet.CreateAuthority, "")}, wave(fleet.LaunchHost)...),
	wave(fleet.PrepareHost), wave(fleet.StartMember), {step(fleet.AwaitHealthy, "")},
}

func forecastOf(kind fleet.OperationKind, reply workflows.PlanReply) forecast {
	return forecast{operation: fleet.Operation{Kind: kind, Cluster: "orders", Spec: ordersSpec}, reply: reply}
}

func TestPlanText(t *testing.T) {
	show := func(name string, f forecast) {
		t.Helper()
		golden(t, name, planText(plain, f, clock.Now))
	}
	show("plan-create", forecastOf(fleet.CreateCluster, workflows.PlanReply{Waves: createWaves, Buys: []string{"3 × small", "3 × 20 GiB ssd"}}))
	show("plan-resume", forecastOf(fleet.CreateCluster, workflows.PlanReply{Exists: true, Waves: createWaves[2:]}))
	show("plan-nothing", forecastOf(fleet.CreateCluster, workflows.PlanReply{Exists: true}))
	show("plan-decommission", forecastOf(fleet.DecommissionCluster, workflows.PlanReply{
		Waves:    [][]fleet.Step{{step(fleet.SaveFinalSnapshot, "")}, wave(fleet.StopMember), wave(fleet.ReleaseHost)},
		Destroys: []string{"host orders-1", "host orders-2", "host orders-3", "data up to revision 2"},
	}))
}

func TestProgressText(t *testing.T) {
	at := func(seconds float64) time.Time { return begun0.Add(time.Duration(seconds * float64(time.Second))) }
	p := fleet.Progress{Operation: "7f3a", Kind: fleet.CreateCluster, Cluster: "orders", State: fleet.OperationRunning,
		Wave: 3, WavesAhead: 1, Doing: "StartMember", Started: begun0}
	for i, w := range createWaves[:2] {
		for _, s := range w {
			p.Steps = append(p.Steps, fleet.StepProgress{Wave: i + 1, Step: s, State: fleet.StepDone,
				Started: at(float64(i)), Ended: at(float64(i) + 1.1)})
		}
	}
	done := fleet.StepProgress{Wave: 3, Step: step(fleet.StartMember, "orders-1"), State: fleet.StepDone, Started: at(3), Ended: at(4)}
	starting := fleet.StepProgress{Wave: 3, Step: step(fleet.StartMember, "orders-3"), State: fleet.StepRunning,
		Note: "waiting for its first raft leader", Started: at(3)}
	second := done
	second.Step = step(fleet.StartMember, "orders-2")
	p.Steps = append(p.Steps, done, second, starting)
	golden(t, "progress-running", progressText(plain, p, createWaves, at(3.8)))

	retried := &p.Steps[len(p.Steps)-1]
	retried.Attempt, retried.Error = 2, "host orders-3: does not answer; next try in 2s"
	golden(t, "progress-retried", progressText(plain, p, createWaves, at(9)))

	retried.State, retried.Error, retried.Ended = fleet.StepFailed, "host orders-3: its disk is full", at(12)
	p.State = fleet.OperationFailed
	golden(t, "progress-failed", progressText(plain, p, createWaves, at(20)))
	assert.Contains(t, progressText(terminal.Output{Colour: true}, p, nil, at(20)), "\x1b[31mfailed\x1b[0m")
}

func TestProgressIsAlsoALog(t *testing.T) {
	var out bytes.Buffer
	now := begun0
	log := &progressLog{out: terminal.Plain(&out), now: func() time.Time { return now }, utc: true}
	p := fleet.Progress{Operation: "7f3a", Kind: fleet.CreateCluster, Cluster: "orders", State: fleet.OperationRunning, Started: begun0}
	show := func(after time.Duration, change func()) {
		now = begun0.Add(after)
		change()
		log.show(p)
		log.show(p) // the same again says nothing
	}
	running := fleet.StepProgress{Wave: 1, Step: step(fleet.LaunchHost, "orders-1"), State: fleet.StepRunning, Started: begun0}
	show(0, func() { p.Steps = []fleet.StepProgress{running} })
	show(time.Second, func() { p.Steps[0].Note = "too soon to tell" })
	show(6*time.Second, func() { p.Steps[0].Note = "waiting for its address" })
	show(7*time.Second, func() { p.Steps[0].Attempt, p.Steps[0].Error = 2, "cloud: asked too often; next try in 3s" })
	show(8*time.Second, func() { p.Steps[0].Error = "cloud: asked too often; next try in 2s" })
	show(9*time.Second, func() { p.Steps[0].State, p.Steps[0].Ended = fleet.StepDone, now })
	show(10*time.Second, func() { p.Doing = "looking" })
	show(16*time.Second, func() { p.Doing = "no worker answers; it goes on as soon as one does" })
	show(17*time.Second, func() { p.State, p.Ended = fleet.OperationDone, now })
	golden(t, "progress-log", out.String())
}

var orders = fleet.Summary{
	Name: "orders", Phase: fleet.PhaseRunning, UID: "01a2", Provider: "local", Region: "local-1", Etcd: "3.7.3", Class: fleet.Burstable,
	Voters: 3, Healthy: 3, Members: 3, Leader: "orders-2", DBSize: 25 * fleet.MiB, Revision: 7, At: clock.Now, Created: begun0,
}

var ordersSpec = fleet.Spec{Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"},
	Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}}, Etcd: fleet.EtcdSpec{Version: "3.7.3"}}.WithDefaults()

func TestClustersText(t *testing.T) {
	old := orders
	old.Name, old.At, old.Healthy, old.Operation = "payments", clock.Now.Add(-5*time.Minute), 2, "7f3a"
	fresh := fleet.Summary{Name: "new", Phase: fleet.PhaseCreating, Voters: 3, Etcd: "3.7.3", Class: fleet.Burstable, Created: clock.Now}
	golden(t, "clusters", clustersText(plain, []fleet.Summary{fresh, orders, old}, clock))
	golden(t, "clusters-utc", clustersText(plain, []fleet.Summary{orders}, terminal.Clock{Now: clock.Now, UTC: true}))
}

func TestDescribeText(t *testing.T) {
	copies := &copiesGlance{
		Snapshots: []fleet.Resource{
			{Kind: fleet.DiskSnapshotResource, ID: "snap-1", Member: "orders-1", Of: "vol-1", Size: 20 * fleet.GiB, Written: 2 * fleet.GiB, State: "completed",
				Created: clock.Now.Add(-49 * time.Hour), Monthly: &fleet.Cost{Amount: 0.1, Currency: "USD", AtMost: true}},
			{Kind: fleet.DiskSnapshotResource, ID: "snap-2", Member: "orders-2", Of: "vol-2", Size: 20 * fleet.GiB, State: "pending", Created: clock.Now.Add(-time.Minute)},
		},
		Notes: []string{"cost of gp9: it is not known\nhere"},
	}
	golden(t, "describe", describeText(plain, described{DiskSnapshots: copies, ClusterView: workflows.ClusterView{
		Summary: orders, Spec: ordersSpec,
		Endpoints: []fleet.Endpoint{{Member: "orders-1", Address: "127.0.0.1", ClientPort: 2379}, {Member: "orders-2", Address: "::1", ClientPort: 2379}},
		Operations: []workflows.OperationRecord{{ID: "7f3a", Kind: fleet.CreateCluster, State: fleet.OperationCancelled, By: "eva",
			Started: begun0, Ended: begun0.Add(6 * time.Second), Cancelled: "by eva: wrong zone"}},
	}}, clock))
}

func TestDescribeLooksForCopiesOfDisks(t *testing.T) {
	view := workflows.ClusterView{Summary: orders, Spec: ordersSpec}
	f := &fake{views: map[string]workflows.ClusterView{"orders": view}}
	got := do(t, f, false, "", "describe", "orders")
	assert.Equal(t, exitDone, got.code, got.err)
	assert.NotContains(t, got.out, "disk copies")
	f.copies.Resources = []fleet.Resource{{Kind: fleet.DiskSnapshotResource, ID: "snap-1", Of: "vol-1", Size: fleet.GiB}}
	assert.Contains(t, do(t, f, false, "", "describe", "orders", "-o", "json").out, `"id": "snap-1"`)
	assert.Contains(t, do(t, f, false, "", "describe", "orders", "-o", "yaml").out, "id: snap-1")
	f.noCopies = &fleet.Error{Kind: fleet.Unavailable, Message: "no worker"}
	assert.Contains(t, do(t, f, false, "", "describe", "orders").out, "disk copies   cannot be listed now: no worker")
	view.Summary.Phase = fleet.PhaseGone
	f.views["orders"] = view
	assert.NotContains(t, do(t, f, false, "", "describe", "orders").out, "disk copies", "of one that is gone")
}

func TestResultText(t *testing.T) {
	ref := starter.Ref{Cluster: "orders", ID: "7f3a", Kind: fleet.CreateCluster}
	progress := fleet.Progress{Started: begun0, Ended: begun0.Add(6200 * time.Millisecond)}
	endpoints := []fleet.Endpoint{{Address: "127.0.0.1", ClientPort: 2379}}
	golden(t, "result-create", resultText(plain, ref, workflows.OperationResult{Progress: progress, Summary: orders, Endpoints: endpoints}))
	ref.Kind = fleet.DecommissionCluster
	golden(t, "result-decommission", resultText(plain, ref, workflows.OperationResult{Progress: progress, Lost: "3 revisions",
		FinalSnapshot: &fleet.Snapshot{Key: "snapshots/orders/x.db.age", Revision: 7, Keys: 1, Size: 20 * fleet.KiB, Verified: begun0}}))
}

func TestYAMLHasTheNamesOfJSON(t *testing.T) {
	text, err := toYAML(clusterList{Clusters: []fleet.Summary{orders}})
	require.NoError(t, err)
	golden(t, "clusters-yaml", text)
}
