package workflows_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// with gives a request with other options.
func with(r workflows.SubmitRequest, edit func(*fleet.Options)) workflows.SubmitRequest {
	edit(&r.Options)
	return r
}

func then(r workflows.SubmitRequest, changes ...fleet.Change) workflows.SubmitRequest {
	r.Then = changes
	return r
}

func adoption(edit func(*fleet.Adoption)) workflows.SubmitRequest {
	r := adopt("r")
	edit(r.Options.Adopt)
	return r
}

// refusal is what a request is answered that makes no sense.
type refusal struct {
	state   workflows.ClusterState
	request workflows.SubmitRequest
	kind    fleet.Kind
	says    string
}

func (r refusal) check(t *testing.T) {
	e := newEntity(t, nil)
	asked := e.submitAt(0, r.request)
	e.at(time.Second, e.env.CancelWorkflow) // it would sleep for ever
	e.run(r.state)
	kind, said := asked.refusal(t)
	require.False(t, asked.accepted, "a refusal costs no history")
	require.Equal(t, r.kind, kind, said)
	require.Contains(t, said, r.says)
}

func TestPhasesThatRefuse(t *testing.T) {
	incomplete, halfAdopted := in(fleet.PhaseIncomplete), in(fleet.PhaseIncomplete)
	incomplete.Unfinished = &fleet.Operation{ID: "c1", Kind: fleet.CreateCluster, Spec: *incomplete.Spec}
	halfAdopted.Unfinished = &fleet.Operation{ID: "a1", Kind: fleet.AdoptCluster, Spec: *halfAdopted.Spec}
	for name, test := range map[string]refusal{
		"change of nothing":           {fresh(), change("r", fleet.ScaleCluster, five), fleet.NotFound, "does not exist"},
		"change of a stopped one":     {in(fleet.PhaseStopped), change("r", fleet.ScaleCluster, five), fleet.Conflict, "flotilla start orders"},
		"change of an incomplete one": {incomplete, ask("r", fleet.FailoverMember), fleet.Conflict, "flotilla resume orders"},
		"change of a half stopped":    {in(fleet.PhaseStopping), ask("r", fleet.RollCluster), fleet.Conflict, "needs it to be Running"},
		"change of an ending one":     {in(fleet.PhaseDecommissioning), ask("r", fleet.ChangeLeader), fleet.Conflict, "is Decommissioning"},
		"stop of a stopped one":       {in(fleet.PhaseStopped), ask("r", fleet.StopCluster), fleet.Conflict, "is Stopped"},
		"start of a running one":      {running(), ask("r", fleet.StartCluster), fleet.Conflict, "is Running"},
		"adoption of a taken name":    {running(), adopt("r"), fleet.Conflict, "exists already"},
		"adoption of a half created":  {incomplete, adopt("r"), fleet.Conflict, "half made by CreateCluster c1"},
		"creation of a half adopted":  {halfAdopted, create("r"), fleet.Conflict, "half made by AdoptCluster a1"},
		"resume of nothing":           {fresh(), resume("r"), fleet.NotFound, "does not exist"},
		"resume of what is done":      {running(), resume("r"), fleet.Conflict, "no operation to go on with"},
		"resume as something else": {incomplete, with(resume("r"), func(o *fleet.Options) { o.AnyTime = true }),
			fleet.Invalid, "goes on as it was asked for"},
	} {
		t.Run(name, test.check)
	}
}

func TestSpecsThatAreRefused(t *testing.T) {
	wrong := func(s *fleet.Spec) { s.Voters = 4 }
	elsewhere := func(s *fleet.Spec) { s.Region = "local-2" }
	labelled := func(s *fleet.Spec) { s.Labels = map[string]string{"team": "payments"} }
	unprotected := running()
	unprotected.Spec.DeletionProtection = true
	specless := ask("r", fleet.UpscaleCluster)
	named := change("r", fleet.ChangeLeader)
	upgrade := fleet.Change{Kind: fleet.UpgradeCluster, Spec: *change("", "", newer).Spec}
	for name, test := range map[string]refusal{
		"wrong":        {running(), change("r", fleet.ScaleCluster, wrong), fleet.Invalid, "voters: 4"},
		"none":         {running(), specless, fleet.Invalid, "spec is missing"},
		"one too many": {running(), named, fleet.Invalid, "takes no spec"},
		"some to another region": {running(), with(change("r", fleet.MigrateByLearner, elsewhere), func(o *fleet.Options) { o.Members = []string{"orders-1"} }),
			fleet.Invalid, "with all of its members"},
		"in another region":       {running(), change("r", fleet.ScaleCluster, five, elsewhere), fleet.Conflict, "MigrateByLearner"},
		"more than was asked for": {running(), change("r", fleet.ScaleCluster, five, newer), fleet.Conflict, "needs UpgradeCluster too"},
		"something else":          {running(), change("r", fleet.ScaleCluster, larger), fleet.Conflict, "UpscaleCluster"},
		"machines of some": {running(), with(change("r", fleet.MigrateByLearner, larger), func(o *fleet.Options) { o.Members = []string{"orders-1"} }),
			fleet.Invalid, "options.members"},
		"other labels":            {running(), change("r", fleet.ScaleCluster, five, labelled), fleet.Conflict, "labels"},
		"protection meanwhile":    {unprotected, change("r", fleet.ScaleCluster, five), fleet.Conflict, "protection"},
		"then of nothing changed": {running(), then(ask("r", fleet.ChangeLeader), upgrade), fleet.Invalid, "nothing can follow"},
		"then of another sort":    {running(), then(change("r", fleet.RollCluster), fleet.Change{Kind: fleet.StopCluster, Spec: spec()}), fleet.Invalid, "then[0]"},
		"then that goes back":     {running(), then(change("r", fleet.ScaleCluster, five), upgrade), fleet.Conflict, "ScaleCluster"},
		"then without end":        {running(), then(change("r", fleet.RollCluster), make([]fleet.Change, 11)...), fleet.Invalid, "more than 10"},
		"then that is wrong":      {running(), then(change("r", fleet.RollCluster), fleet.Change{Kind: fleet.ScaleCluster, Spec: *change("", "", wrong).Spec}), fleet.Invalid, "voters: 4"},
		"resume of protected":     {protectedHalf(), resume("r"), fleet.Blocked, "protected"},
	} {
		t.Run(name, test.check)
	}
}

func protectedHalf() workflows.ClusterState {
	state := in(fleet.PhaseDecommissioning)
	state.Spec.DeletionProtection = true
	state.Unfinished = &fleet.Operation{ID: "d1", Kind: fleet.DecommissionCluster, Spec: *state.Spec}
	return state
}

func TestOptionsThatAreRefused(t *testing.T) {
	type options = fleet.Options
	roll := func(edit func(*options)) workflows.SubmitRequest { return with(ask("r", fleet.RollCluster), edit) }
	for name, test := range map[string]refusal{
		"final snapshot":  {running(), roll(func(o *options) { o.SkipFinalSnapshot = true }), fleet.Invalid, "skipFinalSnapshot"},
		"members of all":  {running(), with(change("r", fleet.ScaleCluster, five), func(o *options) { o.Members = []string{"orders-1"} }), fleet.Invalid, "options.members"},
		"members of none": {running(), with(ask("r", fleet.FailoverMember), func(o *options) { o.Members = []string{"orders-9"} }), fleet.Invalid, "options.members[0]: there never was"},
		"leave":           {running(), roll(func(o *options) { o.Leave = "orders-1" }), fleet.Invalid, "options.leave"},
		"leave and to": {running(), with(ask("r", fleet.ChangeLeader), func(o *options) { o.Leave, o.Members = "orders-1", []string{"orders-2"} }),
			fleet.Invalid, "options.leave"},
		"downtime":              {running(), with(ask("r", fleet.FailoverMember), func(o *options) { o.AllowDowntime = true }), fleet.Invalid, "allowDowntime"},
		"certificates":          {running(), with(ask("r", fleet.MigrateByLearner), func(o *options) { o.Certificates = fleet.RenewLeaves }), fleet.Invalid, "certificates"},
		"unknown certificates":  {running(), roll(func(o *options) { o.Certificates = "shuffle" }), fleet.Invalid, "shuffle"},
		"an authority for some": {running(), roll(func(o *options) { o.Certificates, o.Members = fleet.TrustNewCA, []string{"orders-1"} }), fleet.Invalid, "all members"},
		"certificates and more": {running(), with(change("r", fleet.RollCluster, patient), func(o *options) { o.Certificates = fleet.RenewLeaves }),
			fleet.Invalid, "one after the other"},
		"policy":                  {running(), roll(func(o *options) { o.Policy.Soak = fleet.Duration(48 * time.Hour) }), fleet.Invalid, "options.policy.soak"},
		"adopt":                   {running(), roll(func(o *options) { o.Adopt = &fleet.Adoption{} }), fleet.Invalid, "options.adopt"},
		"no adoption":             {fresh(), with(adopt("r"), func(o *options) { o.Adopt = nil }), fleet.Invalid, "options.adopt is missing"},
		"adoption of too few":     {fresh(), adoption(func(a *fleet.Adoption) { a.Members = a.Members[:2] }), fleet.Invalid, "2 are named, and the spec has 3 voters"},
		"adoption without a key":  {fresh(), adoption(func(a *fleet.Adoption) { a.Authority = nil }), fleet.Invalid, "authority"},
		"adoption without a host": {fresh(), adoption(func(a *fleet.Adoption) { a.Members[1].HostID = "" }), fleet.Invalid, "members[1].hostId"},
		"adoption without a port": {fresh(), adoption(func(a *fleet.Adoption) { a.Members[2].Endpoint.PeerPort = 0 }), fleet.Invalid, "members[2].endpoint"},
		"adoption of one twice":   {fresh(), adoption(func(a *fleet.Adoption) { a.Members[1].Name = a.Members[0].Name }), fleet.Invalid, "named twice"},
	} {
		t.Run(name, test.check)
	}
}

// What changes nothing is no mistake: it is done at once, or wanted for its own sake.
func TestNothingToChange(t *testing.T) {
	for _, kind := range []fleet.OperationKind{
		fleet.UpscaleCluster, fleet.ScaleCluster, fleet.UpgradeCluster, fleet.RollCluster, fleet.MigrateByLearner,
	} {
		e := newEntity(t, map[fleet.OperationKind]child{kind: well(workflows.OperationResult{})})
		asked := e.submitAt(0, change("r", kind))
		e.run(running())
		asked.reply(t)
	}
}

// A migration makes all members anew, of whatever machine.
func TestMigrationToOtherMachines(t *testing.T) {
	e := newEntity(t, map[fleet.OperationKind]child{fleet.MigrateByLearner: well(workflows.OperationResult{})})
	asked := e.submitAt(0, change("r", fleet.MigrateByLearner, larger))
	e.run(running())
	asked.reply(t)
}
