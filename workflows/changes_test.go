package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// in gives the state of a cluster in a phase.
func in(phase fleet.Phase) workflows.ClusterState {
	state := running()
	state.Summary.Phase = phase
	return state
}

// change asks for an operation that makes the cluster of running another one.
func change(request string, kind fleet.OperationKind, edits ...func(*fleet.Spec)) workflows.SubmitRequest {
	s := spec().WithDefaults()
	for _, edit := range edits {
		edit(&s)
	}
	return workflows.SubmitRequest{RequestID: request, Kind: kind, Spec: &s, By: "ada"}
}

func ask(request string, kind fleet.OperationKind) workflows.SubmitRequest {
	return workflows.SubmitRequest{RequestID: request, Kind: kind}
}

func resume(request string) workflows.SubmitRequest {
	return workflows.SubmitRequest{RequestID: request, Resume: true}
}

func larger(s *fleet.Spec)  { s.Machine.Type = "large" }
func five(s *fleet.Spec)    { s.Voters = 5 }
func newer(s *fleet.Spec)   { s.Etcd.Version = "3.7.4" }
func patient(s *fleet.Spec) { s.Etcd.ElectionTimeout = fleet.Duration(3 * time.Second) }

// well is an operation that succeeds, and half one that fails after a step.
func well(result workflows.OperationResult) child { return done(time.Minute, result) }

func half(result workflows.OperationResult, steps ...fleet.StepKind) child {
	return failed(time.Minute, fleet.Lost, result, steps...)
}

func TestPhases(t *testing.T) {
	live := workflows.OperationResult{Summary: summary(3, 3)}
	for name, test := range map[string]struct {
		from          fleet.Phase
		kind          fleet.OperationKind
		run           child
		during, after fleet.Phase
	}{
		"stop":                 {fleet.PhaseRunning, fleet.StopCluster, well(live), fleet.PhaseStopping, fleet.PhaseStopped},
		"stop, half way":       {fleet.PhaseRunning, fleet.StopCluster, half(live, fleet.StopMember), fleet.PhaseStopping, fleet.PhaseStopping},
		"stop, untouched":      {fleet.PhaseRunning, fleet.StopCluster, half(live, fleet.SaveFinalSnapshot), fleet.PhaseStopping, fleet.PhaseRunning},
		"stop goes on":         {fleet.PhaseStopping, fleet.StopCluster, well(live), fleet.PhaseStopping, fleet.PhaseStopped},
		"stop of a half start": {fleet.PhaseStarting, fleet.StopCluster, half(live), fleet.PhaseStopping, fleet.PhaseStarting},
		"start":                {fleet.PhaseStopped, fleet.StartCluster, well(live), fleet.PhaseStarting, fleet.PhaseRunning},
		"start, half way":      {fleet.PhaseStopped, fleet.StartCluster, half(live, fleet.StartHost), fleet.PhaseStarting, fleet.PhaseStarting},
		"start, untouched":     {fleet.PhaseStopped, fleet.StartCluster, half(live), fleet.PhaseStarting, fleet.PhaseStopped},
		"start of a half stop": {fleet.PhaseStopping, fleet.StartCluster, well(live), fleet.PhaseStarting, fleet.PhaseRunning},
		"failover":             {fleet.PhaseRunning, fleet.FailoverMember, well(live), fleet.PhaseRunning, fleet.PhaseRunning},
		"failover, half way":   {fleet.PhaseRunning, fleet.FailoverMember, half(live, fleet.RemoveMember), fleet.PhaseRunning, fleet.PhaseRunning},
		"failover that sees nothing at all": {fleet.PhaseRunning, fleet.FailoverMember, half(workflows.OperationResult{Clean: true}),
			fleet.PhaseRunning, fleet.PhaseRunning},
		"change of leader":            {fleet.PhaseRunning, fleet.ChangeLeader, well(live), fleet.PhaseRunning, fleet.PhaseRunning},
		"roll":                        {fleet.PhaseRunning, fleet.RollCluster, well(live), fleet.PhaseRunning, fleet.PhaseRunning},
		"migrate":                     {fleet.PhaseRunning, fleet.MigrateByLearner, half(live, fleet.LaunchHost), fleet.PhaseRunning, fleet.PhaseRunning},
		"decommission of a stopped":   {fleet.PhaseStopped, fleet.DecommissionCluster, half(live), fleet.PhaseDecommissioning, fleet.PhaseStopped},
		"decommission of a half stop": {fleet.PhaseStopping, fleet.DecommissionCluster, half(live, fleet.ReleaseHost), fleet.PhaseDecommissioning, fleet.PhaseDecommissioning},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, map[fleet.OperationKind]child{test.kind: test.run})
			asked := e.submitAt(0, ask("r", test.kind))
			var during workflows.ClusterView
			e.at(time.Second, func() { during = e.view() })
			next, _ := e.run(in(test.from))
			require.NotNil(t, next)
			asked.reply(t)
			require.Equal(t, test.during, during.Summary.Phase)
			require.Equal(t, test.after, next.Summary.Phase)
		})
	}
}

func TestAdopted(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.AdoptCluster: well(workflows.OperationResult{Summary: summary(3, 3), HighestMember: 11}),
	})
	asked := e.submitAt(0, adopt("r"))
	var during workflows.ClusterView
	e.at(time.Second, func() { during = e.view() })
	next, _ := e.run(fresh())
	asked.reply(t)
	require.Equal(t, fleet.PhaseCreating, during.Summary.Phase)
	require.Equal(t, fleet.PhaseRunning, next.Summary.Phase)
	op := e.started[0]
	require.Nil(t, op.Before)
	require.Equal(t, 12, op.Since, "orders-11 exists already")
	require.Equal(t, 12, next.NextMember)
	require.Equal(t, []byte("sealed"), op.Options.Adopt.Authority)
}

func adopt(request string) workflows.SubmitRequest {
	r := create(request)
	r.Kind = fleet.AdoptCluster
	a := fleet.Adoption{Authority: []byte("sealed")}
	for _, name := range []string{"etcd-a", "etcd-b", "orders-11"} {
		a.Members = append(a.Members, fleet.AdoptedMember{
			Name: name, HostID: "h-" + name, DiskID: "d-" + name, DataDir: "/var/lib/etcd",
			Endpoint: fleet.Endpoint{Member: name, Address: "10.0.0.1", ClientPort: 2379, PeerPort: 2380},
		})
	}
	r.Options.Adopt = &a
	return r
}

// An operation is told what was, what is to be, and which members are the old ones.
func TestWhatAnOperationIsTold(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.UpscaleCluster: well(workflows.OperationResult{Summary: summary(3, 3), HighestMember: 6}),
	})
	asked := e.submitAt(0, change("r", fleet.UpscaleCluster, larger))
	var during workflows.ClusterView
	e.at(time.Second, func() { during = e.view() })
	next, _ := e.run(running())
	reply := asked.reply(t)
	op := e.started[0]
	require.Equal(t, "small", op.Before.Machine.Type)
	require.Equal(t, "large", op.Spec.Machine.Type)
	require.Equal(t, reply.Operation, op.Generation)
	require.Equal(t, 4, op.Since, "of an old state: three members were created")
	require.Equal(t, 4, op.NextMember)
	require.Equal(t, "small", during.Spec.Machine.Type, "it is not large yet")
	require.Equal(t, "large", next.Spec.Machine.Type)
	require.Equal(t, 7, next.NextMember)
	require.Nil(t, next.Unfinished)
}

func TestWithoutASpecItIsAsItIs(t *testing.T) {
	for _, kind := range []fleet.OperationKind{fleet.RollCluster, fleet.MigrateByLearner, fleet.FailoverMember, fleet.ChangeLeader} {
		e := newEntity(t, map[fleet.OperationKind]child{kind: well(workflows.OperationResult{Summary: summary(3, 3)})})
		e.submitAt(0, ask("r", kind))
		next, _ := e.run(running())
		require.Equal(t, *running().Spec, e.started[0].Spec, kind)
		require.Equal(t, *running().Spec, *next.Spec, kind)
	}
}

// What is amended while an operation runs is not undone by its end.
func TestAmendedMeanwhile(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.ScaleCluster: well(workflows.OperationResult{Summary: summary(5, 5)}),
	})
	e.submitAt(0, change("r", fleet.ScaleCluster, five))
	var amended *answer
	e.at(time.Second, func() {
		s := spec()
		s.Labels = map[string]string{"team": "payments"}
		s.Machine.Type = "huge" // needs an operation, so it is not taken
		amended = e.update(workflows.UpdateAmend, workflows.AmendRequest{Spec: s})
	})
	next, _ := e.run(running())
	require.NoError(t, amended.refused)
	require.NoError(t, amended.err)
	require.Equal(t, 5, next.Spec.Voters)
	require.Equal(t, "payments", next.Spec.Labels["team"])
	require.Equal(t, "small", next.Spec.Machine.Type)
}

func TestAmendIsRefused(t *testing.T) {
	wrong, foreign := spec(), spec()
	wrong.Policy.Approval = "perhaps"
	foreign.Name = "invoices"
	for name, test := range map[string]struct {
		state workflows.ClusterState
		spec  fleet.Spec
		kind  fleet.Kind
		says  string
	}{
		"wrong":             {running(), wrong, fleet.Invalid, "policy.approval"},
		"another cluster's": {running(), foreign, fleet.Invalid, "invoices"},
		"gone":              {in(fleet.PhaseGone), spec(), fleet.NotFound, "has just gone"},
		"nothing":           {fresh(), spec(), fleet.NotFound, "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, nil)
			var asked *answer
			e.at(0, func() { asked = e.update(workflows.UpdateAmend, workflows.AmendRequest{Spec: test.spec}) })
			e.at(time.Second, e.env.CancelWorkflow)
			e.run(test.state)
			kind, said := asked.refusal(t)
			require.Equal(t, test.kind, kind)
			require.Contains(t, said, test.says)
		})
	}
}

// The names of members are never given twice, whatever became of an operation.
func TestMemberNumbers(t *testing.T) {
	silent := func(workflow.Context, fleet.Operation) (workflows.OperationResult, error) { panic("no word") }
	for name, test := range map[string]struct {
		from workflows.ClusterState
		r    workflows.SubmitRequest
		run  child
		next int
	}{
		"create":                     {fresh(), create("r"), well(workflows.OperationResult{HighestMember: 4}), 5},
		"create by an early version": {fresh(), create("r"), well(workflows.OperationResult{}), 4},
		"create that gave no word":   {fresh(), create("r"), silent, 101},
		"upscale":                    {running(), change("r", fleet.UpscaleCluster, larger), well(workflows.OperationResult{HighestMember: 6}), 7},
		"upscale that failed":        {running(), change("r", fleet.UpscaleCluster, larger), half(workflows.OperationResult{HighestMember: 6}), 7},
		"upscale that gave no word":  {running(), change("r", fleet.UpscaleCluster, larger), silent, 104},
		"scale in keeps what was":    {running(), ask("r", fleet.RollCluster), well(workflows.OperationResult{HighestMember: 2}), 4},
	} {
		t.Run(name, func(t *testing.T) {
			kind := test.r.Kind
			e := newEntity(t, map[fleet.OperationKind]child{kind: test.run})
			e.submitAt(0, test.r)
			next, _ := e.run(test.from)
			require.Equal(t, test.next, next.NextMember)
		})
	}
}

func TestEndpointsNow(t *testing.T) {
	state := running()
	state.Endpoints = []fleet.Endpoint{{Member: "orders-1"}, {Member: "orders-2"}}
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.RollCluster: well(workflows.OperationResult{Summary: summary(3, 3), Endpoints: []fleet.Endpoint{{Member: "orders-3"}}}),
	})
	asked := e.submitAt(0, ask("r", fleet.RollCluster))
	now := func() []string {
		value, err := e.env.QueryWorkflow(workflows.QueryEndpoints)
		require.NoError(t, err)
		var endpoints []fleet.Endpoint
		require.NoError(t, value.Get(&endpoints))
		var members []string
		for _, at := range endpoints {
			members = append(members, at.Member)
		}
		return members
	}
	var before, during []string
	e.at(time.Second, func() {
		before = now()
		e.env.SignalWorkflow(workflows.SignalEndpoints, workflows.EndpointsSignal{
			Operation: asked.reply(t).Operation, Endpoints: []fleet.Endpoint{{Member: "orders-1"}},
		})
		e.env.SignalWorkflow(workflows.SignalEndpoints, workflows.EndpointsSignal{
			Operation: "an older one", Endpoints: []fleet.Endpoint{{Member: "orders-9"}},
		})
	})
	e.at(2*time.Second, func() { during = now() })
	next, _ := e.run(state)
	require.Equal(t, []string{"orders-1", "orders-2"}, before)
	require.Equal(t, []string{"orders-1"}, during)
	require.Equal(t, "orders-3", next.Endpoints[0].Member)
}
