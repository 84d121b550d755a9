package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func creating(after time.Duration) map[fleet.OperationKind]child {
	return map[fleet.OperationKind]child{
		fleet.CreateCluster: done(after, workflows.OperationResult{Summary: summary(3, 3)}),
	}
}

func TestSameRequestIsOneOperation(t *testing.T) {
	e := newEntity(t, creating(time.Minute))
	first := e.submitAt(0, create("r1"))
	again := e.submitAt(time.Second, create("r1"))
	next, _ := e.run(fresh())
	require.Len(t, e.started, 1)
	require.True(t, again.reply(t).Joined)
	require.Equal(t, first.reply(t).Operation, again.reply(t).Operation)

	// Also in the next run, where another operation has to be asked for to end it.
	e = newEntity(t, map[fleet.OperationKind]child{
		fleet.DecommissionCluster: done(time.Minute, workflows.OperationResult{Clean: true}),
	})
	later := e.submitAt(0, create("r1"))
	e.submitAt(time.Second, decommission("r2"))
	during := e.submitAt(2*time.Second, create("r1"))
	e.run(*next)
	require.Equal(t, first.reply(t).Operation, later.reply(t).Operation)
	require.True(t, later.reply(t).Joined)
	require.Equal(t, first.reply(t).Operation, during.reply(t).Operation, "its own operation, not the one that runs")
	require.Len(t, e.started, 1)
}

func TestSameCreateJoins(t *testing.T) {
	e := newEntity(t, creating(time.Minute))
	first := e.submitAt(0, create("r1"))
	with := create("r2")
	defaults := with.Spec.WithDefaults()
	with.Spec = &defaults
	joined := e.submitAt(time.Second, with)
	e.run(fresh())
	require.True(t, joined.reply(t).Joined)
	require.Equal(t, first.reply(t).Operation, joined.reply(t).Operation)
	require.Len(t, e.started, 1)
}

// Two that arrive together are one operation, and both wait until it has started.
func TestSameCreateJoinsBeforeTheStart(t *testing.T) {
	e := newEntity(t, creating(time.Minute))
	first, second, third := e.submitAt(0, create("r1")), e.submitAt(0, create("r2")), e.submitAt(0, create("r1"))
	e.run(fresh())
	require.Equal(t, first.reply(t).Operation, second.reply(t).Operation)
	require.Equal(t, first.reply(t).Operation, third.reply(t).Operation)
	require.Len(t, e.started, 1)
}

func TestProtectionIsNoOtherSpec(t *testing.T) {
	e := newEntity(t, creating(time.Minute))
	first := e.submitAt(0, create("r1"))
	var protected *answer
	e.at(time.Second, func() { protected = e.update(workflows.UpdateProtect, workflows.ProtectRequest{Protected: true}) })
	again := e.submitAt(2*time.Second, create("r2"))
	next, _ := e.run(fresh())
	require.NoError(t, protected.err)
	require.Equal(t, first.reply(t).Operation, again.reply(t).Operation)
	require.True(t, next.Spec.DeletionProtection)
}

func TestResumingKeepsWhatIsKnown(t *testing.T) {
	state := running()
	state.Summary.Phase, state.Summary.Created = fleet.PhaseIncomplete, time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	state.Spec.DeletionProtection = true
	e := newEntity(t, creating(time.Minute))
	e.submitAt(0, create("r1"))
	next, _ := e.run(state)
	require.Equal(t, fleet.PhaseRunning, next.Summary.Phase)
	require.Equal(t, state.Summary.Created, next.Summary.Created)
	require.Equal(t, state.UID, next.UID)
	require.True(t, next.Spec.DeletionProtection, "the protection has a request of its own")
}

func TestRefusals(t *testing.T) {
	wrong := create("r")
	wrong.Spec.Voters, wrong.Spec.Zones, wrong.Spec.Etcd.Version, wrong.Spec.Machine.Type = 4, nil, "3.4.1", ""
	other := create("r")
	other.Spec.Voters = 5
	foreign := create("r")
	foreign.Spec.Name = "invoices"
	specless := create("r")
	specless.Spec = nil
	nameless := create("")
	takes := decommission("r")
	takes.Spec = create("r").Spec
	unknown := workflows.SubmitRequest{RequestID: "r", Kind: "ShuffleCluster"}

	incomplete, protected, gone := running(), running(), running()
	incomplete.Summary.Phase = fleet.PhaseIncomplete
	protected.Spec.DeletionProtection = true
	gone.Summary.Phase = fleet.PhaseGone
	for name, test := range map[string]struct {
		state   workflows.ClusterState
		request workflows.SubmitRequest
		kind    fleet.Kind
		says    []string
	}{
		"every wrong field": {fresh(), wrong, fleet.Invalid, []string{
			"4 problems", "voters: 4", "zones: is missing", "etcd.version: 3.4.1", "machine.type: is missing"}},
		"another cluster's spec":     {fresh(), foreign, fleet.Invalid, []string{"invoices", "orders"}},
		"no spec":                    {fresh(), specless, fleet.Invalid, []string{"spec is missing"}},
		"no request ID":              {fresh(), nameless, fleet.Invalid, []string{"requestId"}},
		"no such operation":          {running(), unknown, fleet.Invalid, []string{"ShuffleCluster"}},
		"taken name":                 {running(), create("r"), fleet.Conflict, []string{"exists already", "Running"}},
		"other spec while half made": {incomplete, other, fleet.Conflict, []string{"another spec", "flotilla resume orders"}},
		"decommission of nothing":    {fresh(), decommission("r"), fleet.NotFound, []string{"does not exist"}},
		"decommission with a spec":   {running(), takes, fleet.Invalid, []string{"takes no spec"}},
		"decommission of protected":  {protected, decommission("r"), fleet.Blocked, []string{"protected", "flotilla protect orders --off"}},
		"create of what just went":   {gone, create("r"), fleet.Conflict, []string{"has just gone", "ask again"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEntity(t, nil)
			asked := e.submitAt(0, test.request)
			e.at(time.Second, e.env.CancelWorkflow) // it would sleep for ever
			e.run(test.state)
			kind, said := asked.refusal(t)
			require.False(t, asked.accepted, "a refusal costs no history")
			require.Equal(t, test.kind, kind)
			for _, words := range test.says {
				require.Contains(t, said, words)
			}
		})
	}
}

func TestBusy(t *testing.T) {
	e := newEntity(t, creating(time.Minute))
	e.submitAt(0, create("r1"))
	other := create("r2")
	other.Spec.Voters = 5
	another := e.submitAt(time.Second, other)
	down := e.submitAt(time.Second, decommission("r3"))
	e.run(fresh())
	for _, asked := range []*answer{another, down} {
		kind, said := asked.refusal(t)
		require.Equal(t, fleet.Conflict, kind)
		require.Contains(t, said, "is running")
		require.Contains(t, said, "flotilla cancel orders")
	}
}

func TestUnprotectedAfterAll(t *testing.T) {
	state := running()
	state.Spec.DeletionProtection = true
	e := newEntity(t, map[fleet.OperationKind]child{
		fleet.DecommissionCluster: done(time.Minute, workflows.OperationResult{Clean: true}),
	})
	refused := e.submitAt(0, decommission("r1"))
	e.at(time.Second, func() { e.update(workflows.UpdateProtect, workflows.ProtectRequest{Protected: false}) })
	taken := e.submitAt(2*time.Second, decommission("r1"))
	var late *answer
	e.at(3*time.Second, func() { late = e.update(workflows.UpdateProtect, workflows.ProtectRequest{Protected: true}) })
	next, _ := e.run(state)
	require.Nil(t, next)
	kind, _ := refused.refusal(t)
	require.Equal(t, fleet.Blocked, kind)
	taken.reply(t)
	require.False(t, e.started[0].Spec.DeletionProtection)
	kind, said := late.refusal(t)
	require.Equal(t, fleet.Conflict, kind)
	require.Contains(t, said, "is being decommissioned")
}
