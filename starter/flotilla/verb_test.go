package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// asks are command lines with what they have to come to.
var asks = []struct {
	args    string
	kind    fleet.OperationKind
	differs []string // paths of the spec, as "voters 5"
	amends  bool
	options fleet.Options
	then    []fleet.OperationKind
}{
	{args: "upscale orders --type medium", kind: fleet.UpscaleCluster, differs: []string{"machine.type medium"}},
	{args: "upscale orders --disk 40GiB", kind: fleet.UpscaleCluster, differs: []string{"etcd.quota 4GiB", "machine.disk.size 40GiB"}},
	{args: "upscale orders --disk 40GiB --quota 3GiB", kind: fleet.UpscaleCluster, differs: []string{"etcd.quota 3GiB", "machine.disk.size 40GiB"}},
	{args: "upscale orders --category essd --type big --in-place", kind: fleet.UpscaleCluster, amends: true,
		differs: []string{"machine.type big", "machine.change inPlace", "machine.disk.category essd"}},
	{args: "upscale orders --type big --replace", kind: fleet.UpscaleCluster, amends: true, differs: []string{"machine.type big", "machine.change replace"}},
	{args: "scale orders --voters 5", kind: fleet.ScaleCluster, differs: []string{"voters 5"}},
	{args: "scale orders --learners 2", kind: fleet.RollCluster, differs: []string{"etcd.maxLearners 3"}, then: []fleet.OperationKind{fleet.ScaleCluster}},
	{args: "failover orders", kind: fleet.FailoverMember},
	{args: "failover orders orders-1 orders-3", kind: fleet.FailoverMember, options: fleet.Options{Members: []string{"orders-1", "orders-3"}}},
	{args: "migrate orders", kind: fleet.MigrateByLearner},
	{args: "migrate orders --member orders-1 --member orders-2", kind: fleet.MigrateByLearner, options: fleet.Options{Members: []string{"orders-1", "orders-2"}}},
	{args: "migrate orders --zones b,c --class BestEffort", kind: fleet.MigrateByLearner, differs: []string{"zones b, c", "class BestEffort"}},
	{args: "migrate orders --type medium", kind: fleet.MigrateByLearner, differs: []string{"machine.type medium"}},
	{args: "upgrade orders --to 3.6.16", kind: fleet.UpgradeCluster, differs: []string{"etcd.version 3.6.16"}},
	{args: "roll orders", kind: fleet.RollCluster},
	{args: "roll orders --member orders-2", kind: fleet.RollCluster, options: fleet.Options{Members: []string{"orders-2"}}},
	{args: "roll orders --set etcd.heartbeatInterval=200ms --set etcd.electionTimeout=2s --set etcd.maxTxnOps=256 --set etcd.maxRequest=2MiB",
		kind:    fleet.RollCluster,
		differs: []string{"etcd.heartbeatInterval 200ms", "etcd.electionTimeout 2s", "etcd.maxRequest 2MiB", "etcd.maxTxnOps 256"}},
	{args: "roll orders --set etcd.autoCompaction.mode=periodic --set etcd.autoCompaction.retention=1h", kind: fleet.RollCluster,
		differs: []string{"etcd.autoCompaction.mode periodic", "etcd.autoCompaction.retention 1h0m0s"}},
	{args: "roll orders --certificates", kind: fleet.RollCluster, options: fleet.Options{Certificates: fleet.RenewLeaves}},
	{args: "roll orders --trust-new-ca", kind: fleet.RollCluster, options: fleet.Options{Certificates: fleet.TrustNewCA}},
	{args: "roll orders --use-new-ca", kind: fleet.RollCluster, options: fleet.Options{Certificates: fleet.UseNewCA}},
	{args: "roll orders --drop-old-ca", kind: fleet.RollCluster, options: fleet.Options{Certificates: fleet.DropOldCA}},
	{args: "move-leader orders orders-3", kind: fleet.ChangeLeader, options: fleet.Options{Members: []string{"orders-3"}}},
	{args: "move-leader orders", kind: fleet.ChangeLeader, options: fleet.Options{Leave: "orders-2"}},
	{args: "backup orders", kind: fleet.BackupCluster},
	{args: "stop orders", kind: fleet.StopCluster},
	{args: "stop orders --skip-final-snapshot", kind: fleet.StopCluster, options: fleet.Options{SkipFinalSnapshot: true}},
	{args: "start orders", kind: fleet.StartCluster},
	{args: "recover orders --without orders-2,orders-3 --survivor orders-1 --accept-loss", kind: fleet.RecoverQuorum,
		options: fleet.Options{Without: []string{"orders-2", "orders-3"}, Survivor: "orders-1", AcceptLoss: true}},
	{args: "restore orders --in-place --without orders-2 --accept-loss", kind: fleet.RestoreCluster,
		options: fleet.Options{Without: []string{"orders-2"}, AcceptLoss: true, Restore: &fleet.Restore{Cluster: "orders", UID: "u1", ID: "b2"}}},
	{args: "restore orders --in-place --backup b1", kind: fleet.RestoreCluster,
		options: fleet.Options{Restore: &fleet.Restore{Cluster: "orders", UID: "u1", ID: "b1"}}},
	{args: "restore orders --prefix /b/ --prefix /a/ --prefix /a/x --exact --accept-loss", kind: fleet.RestorePrefixes,
		options: fleet.Options{AcceptLoss: true, Restore: &fleet.Restore{Cluster: "orders", UID: "u1", ID: "b2", Prefixes: []string{"/a/", "/b/"}, Exact: true}}},
	{args: "restore orders --prefix /a/ --from old --uid u1 --backup b1", kind: fleet.RestorePrefixes,
		options: fleet.Options{Restore: &fleet.Restore{Cluster: "orders", UID: "u1", ID: "b1", Prefixes: []string{"/a/"}}}},
	{args: "restore orders --in-place --revision 100", kind: fleet.RestoreCluster, // which a backup is of already
		options: fleet.Options{Restore: &fleet.Restore{Cluster: "orders", UID: "u1", ID: "b1"}}},
	{args: "discard orders orders-2", kind: fleet.DiscardSetAside, options: fleet.Options{Members: []string{"orders-2"}}},
	{args: "discard orders", kind: fleet.DiscardSetAside},
	{args: "decommission orders --skip-final-snapshot", kind: fleet.DecommissionCluster, options: fleet.Options{SkipFinalSnapshot: true}},
	{args: "migrate orders --any-time --soak 30s --approval always --on-failure ask --allow-downtime", kind: fleet.MigrateByLearner,
		options: fleet.Options{AnyTime: true, AllowDowntime: true, Policy: fleet.Policy{
			Soak: fleet.Duration(30 * time.Second), Approval: fleet.ApprovalAlways, OnFailure: fleet.FailureAsks}}},
}

// differences gives the fields of a spec that are not as the cluster's, as "voters 5".
func differences(spec fleet.Spec) []string {
	var all []string
	for _, d := range starter.Differences(ordersSpec, spec) {
		all = append(all, d.Path+" "+d.After)
	}
	return all
}

func TestFlagsBecomeRequests(t *testing.T) {
	seen := map[fleet.OperationKind]bool{}
	for _, ask := range asks {
		t.Run(ask.args, func(t *testing.T) {
			f := running()
			args := append(strings.Fields(ask.args), "--request-id", "r1")
			if ask.kind == fleet.StopCluster || ask.kind == fleet.RecoverQuorum || ask.kind == fleet.RestoreCluster || ask.kind == fleet.RestorePrefixes || ask.kind == fleet.DiscardSetAside || ask.kind == fleet.DecommissionCluster {
				args = append(args, "--yes")
			}
			got := do(t, f, false, "", args...)
			require.Equal(t, exitDone, got.code, got.err)
			require.Len(t, f.changed, 1)
			asked := f.changed[0]
			assert.Equal(t, ask.kind, asked.kind)
			assert.Equal(t, "r1", asked.request.ID)
			assert.True(t, ask.options.Equal(asked.request.Options), "options are %+v", asked.request.Options)
			assert.Equal(t, ask.amends, len(f.amended) == 1)
			var then []fleet.OperationKind
			for _, next := range asked.request.Then {
				then = append(then, next.Kind)
			}
			assert.Equal(t, ask.then, then)
			if asked.spec != nil {
				assert.Equal(t, ask.differs, differences(*asked.spec))
			} else {
				assert.Empty(t, ask.differs)
			}
			assert.Len(t, f.watched, 1+len(then), "all of them are followed")
			seen[ask.kind] = true
		})
	}
	for _, kind := range fleet.OperationKinds {
		if kind != fleet.CreateCluster && kind != fleet.AdoptCluster {
			assert.True(t, seen[kind], "%s is asked for by no command line here", kind)
		}
	}
}

// A forecast is of what would be asked for, whichever command shows it.
func TestPlansAreOfWhatWouldBeAskedFor(t *testing.T) {
	for _, ask := range asks {
		t.Run(ask.args, func(t *testing.T) {
			plan, dry, done := running(), running(), running()
			args := strings.Fields(ask.args)
			require.Equal(t, exitDone, do(t, plan, false, "", append([]string{"plan"}, args...)...).code)
			require.Equal(t, exitDone, do(t, dry, false, "", append(args, "--dry-run")...).code)
			if ask.kind == fleet.StopCluster || ask.kind == fleet.RecoverQuorum || ask.kind == fleet.RestoreCluster || ask.kind == fleet.RestorePrefixes || ask.kind == fleet.DiscardSetAside || ask.kind == fleet.DecommissionCluster {
				args = append(args, "--yes")
			}
			require.Equal(t, exitDone, do(t, done, false, "", args...).code)
			require.Len(t, plan.planned, 1)
			assert.Equal(t, ask.kind, plan.planned[0].Kind)
			assert.Equal(t, done.planned, plan.planned)
			assert.Equal(t, done.planned, dry.planned)
			assert.Empty(t, append(plan.changed, dry.changed...), "a plan changes nothing")
			assert.Empty(t, append(plan.amended, dry.amended...), "a plan changes nothing")
			if asked := done.changed[0]; asked.spec != nil {
				assert.Equal(t, *asked.spec, plan.planned[0].Spec)
			}
			assert.True(t, done.changed[0].request.Options.Equal(plan.planned[0].Options))
		})
	}
}

func TestMistakesAreSaidBeforeAnythingIsAsked(t *testing.T) {
	for args, says := range map[string]string{
		"upscale":                   "needs the name of a cluster",
		"upscale orders":            "it is not said what is to change: give --type, --disk, --category, --quota",
		"upscale orders --in-place": "it is not said what is to change",
		"upscale orders --type a --in-place --replace":              "--in-place and --replace exclude each other",
		"upscale orders --disk 40":                                  "40 needs a unit, as in 20GiB",
		"upscale orders --quota 1KiB":                               "--quota: 1KiB must be between 16MiB and 16GiB",
		"upscale orders payments --type a":                          "needs one argument, the name of a cluster, but got 2",
		"recover orders --from-backup 2026":                         "got 2; if 2026 belongs to --from-backup, write --from-backup=2026",
		"scale orders":                                              "give --voters, --learners",
		"scale orders --voters 4":                                   "--voters: 4 must be odd (1, 3, 5, 7)",
		"scale orders --voters 9":                                   "--voters: 9 must be 1, 3, 5 or 7",
		"scale orders --voters three":                               "it is not a whole number",
		"scale orders --learners -1":                                "--learners: -1 is negative",
		"scale orders --learners 40":                                "--learners: 41 must be between 1 and 16",
		"migrate orders --zones a,a":                                `--zones: "a" is named twice`,
		"migrate orders --zones A!":                                 `--zones: "A!" is not a name of a place`,
		"migrate orders --class Fast":                               `--class: "Fast" is not one of Guaranteed, Burstable, BestEffort`,
		"migrate orders --type b --member orders-1":                 "are for all members: leave --member out",
		"upgrade orders":                                            "give --to",
		"upgrade orders --to latest":                                `--to: "latest" is not a version such as 3.7.3`,
		"upgrade orders --to 3.4.23":                                "--to: 3.4.23 is not supported: the minors are 3.5, 3.6, 3.7",
		"roll orders --set":                                         "flag needs an argument",
		"roll orders --set etcd.maxTxnOps":                          "is not of the form etcd.FIELD=VALUE",
		"roll orders --set etcd.maxTxnOps=many":                     `etcd.maxTxnOps: "many" is not a whole number`,
		"roll orders --set etcd.heartbeat=1s":                       "etcd.heartbeat: there is no such field (there are autoCompaction, electionTimeout",
		"roll orders --set etcd.heartbeatInterval=200":              "etcd.heartbeatInterval: 200 needs a unit",
		"roll orders --set etcd.autoCompaction=off":                 "it has fields of its own (mode, retention, revisions)",
		"roll orders --set etcd.maxTxnOps.x=1":                      "maxTxnOps has no fields",
		"roll orders --set etcd.version=3.7.3":                      "etcd.version is changed by flotilla upgrade --to",
		"roll orders --set machine.type=x":                          "machine.type is changed by flotilla upscale --type",
		"roll orders --set labels.team=shop":                        "labels.team is no setting of etcd",
		"roll orders --set etcd.maxTxnOps=1 --set etcd.maxTxnOps=2": "etcd.maxTxnOps is set twice",
		"roll orders --set etcd.maxTxnOps=1 --certificates":         "--set changes all members, and nothing else at the same time",
		"roll orders --certificates --drop-old-ca":                  "--certificates and --drop-old-ca exclude each other",
		"roll orders --trust-new-ca --member orders-1":              "an authority is replaced on all members",
		"move-leader orders orders-1 orders-2":                      "takes a cluster and at most one member, but got 3 arguments",
		"start orders --soak soon":                                  "soon needs a unit, as in 500ms or 1h",
		"start orders --soak 0s":                                    "leave it out for the cluster's own",
		"start orders --soak 48h":                                   "--soak: 48h0m0s must be between 0s and 24h0m0s",
		"start orders --approval maybe":                             `--approval: "maybe" is not one of never, always, destructive`,
		"start orders --on-failure hope":                            `--on-failure: "hope" is not one of stop, ask`,
		"start orders --allow-downtime":                             "unknown flag: --allow-downtime",
		"failover orders orders-1 orders-1":                         "member orders-1 is named twice",
		"reject orders":                                             "a rejection needs --why",
		"apply":                                                     "no spec is given",
		"restore orders":                                            "say where to: --to NEW, --in-place, or --prefix PREFIX",
		"restore orders --to a --prefix /b/":                        "say where to",
		"restore orders --in-place --exact":                         "--exact, --from and --uid are for --prefix",
		"restore orders --prefix /a/ --uid u1":                      "--uid is for --from",
		"restore orders --prefix= --from b":                         "an empty --prefix means all keys",
		"restore orders --prefix /a/ --without orders-1":            "--without is for --in-place",
		"restore orders --to a --backup b1 --revision 7":            "give one of them",
		"restore orders --to a --time yesterday":                    "write it as 2026-03-14T02:15:00Z",
	} {
		for _, prefix := range []string{"", "plan "} {
			if prefix != "" && (strings.HasPrefix(args, "reject") || args == "apply") {
				continue
			}
			got := do(t, nil, false, "", strings.Fields(prefix+args)...)
			assert.Equal(t, exitInput, got.code, "%s%s: %s", prefix, args, got.err)
			assert.Contains(t, got.err, says, "%s%s", prefix, args)
		}
	}
}

func TestMistakesThatTheClusterShows(t *testing.T) {
	for _, test := range []struct {
		args, says string
		code       int
	}{
		{"failover orders orders-9", "orders: has no member orders-9\nIts members are orders-1, orders-2, orders-3", exitInput},
		{"migrate orders --member orders-x", "has no member orders-x", exitInput},
		{"move-leader orders orders-0", "has no member orders-0", exitInput},
		{"upscale orders --disk 3GiB --quota 2GiB", "--disk: 3GiB is too small for a quota of 2GiB", exitInput},
		{"roll orders --set etcd.electionTimeout=200ms", "etcd.electionTimeout: 200ms must be at least five heartbeat intervals", exitInput},
		{"start payments", "payments does not exist", exitFailed},
	} {
		f := running()
		got := do(t, f, false, "", strings.Fields(test.args)...)
		assert.Equal(t, test.code, got.code, "%s: %s", test.args, got.err)
		assert.Contains(t, got.err, test.says, test.args)
		assert.Empty(t, f.changed)
	}
}

func TestLearnersOfAnOlderEtcd(t *testing.T) {
	f := running()
	view := f.views["orders"]
	view.Spec.Etcd.Version = "3.5.35"
	f.views["orders"] = view
	require.Equal(t, exitDone, do(t, f, false, "", "scale", "orders", "--learners", "1").code)
	assert.Equal(t, fleet.ScaleCluster, f.changed[0].kind)
	got := do(t, f, false, "", "scale", "orders", "--learners", "2")
	assert.Equal(t, exitInput, got.code)
	assert.Contains(t, got.err, "etcd 3.5 allows one learner at a time")
}

func TestAPlanIsShownBeforeItRuns(t *testing.T) {
	f := running()
	got := do(t, f, false, "", "upscale", "orders", "--type", "medium")
	assert.Contains(t, got.err, "machine.type  small → medium")
	assert.Contains(t, got.err, "1  AwaitSettled  orders  wait until all are healthy and in sync")
	assert.Contains(t, got.out, "orders runs: 3/3 members")

	f.reply = workflows.PlanReply{Kind: fleet.Blocked, Blocked: "orders-1 is alive"}
	got = do(t, f, false, "", "failover", "orders", "orders-1")
	assert.Equal(t, exitRefused, got.code)
	assert.Equal(t, "orders-1 is alive\n", got.err)
	assert.Len(t, f.changed, 1, "what is refused is not asked for")

	// What one look cannot tell may be told by several.
	f.reply = workflows.PlanReply{Blocked: "the membership of orders is not known"}
	got = do(t, f, false, "", "failover", "orders")
	assert.Equal(t, exitDone, got.code)
	assert.Contains(t, got.err, "not clear yet, so it looks again for a while: the membership of orders is not known")
	assert.Len(t, f.changed, 2)

	f.reply = workflows.PlanReply{Problems: fleet.Problems{{Path: "machine.type", Message: `the region has no "huge"`}}}
	got = do(t, f, false, "", "upscale", "orders", "--type", "huge")
	assert.Equal(t, exitInput, got.code)
	assert.Contains(t, got.err, `--type: the region has no "huge"`)
}

func TestNothingToDoIsNothingAsked(t *testing.T) {
	for _, args := range []string{"scale orders --voters 3", "failover orders", "start orders", "upgrade orders --to 3.7.3"} {
		f := running()
		f.reply.Waves = nil
		got := do(t, f, false, "", strings.Fields(args)...)
		assert.Equal(t, exitDone, got.code, args)
		assert.Contains(t, got.out, ": there is nothing to do\n", args)
		assert.Empty(t, f.changed, args)
	}
	// What is half done is recorded as done by another operation, even if nothing is left.
	f := running()
	f.reply.Waves = nil
	view := f.views["orders"]
	view.Unfinished = &fleet.Operation{ID: "old", Kind: fleet.ScaleCluster, Spec: ordersSpec}
	f.views["orders"] = view
	require.Equal(t, exitDone, do(t, f, false, "", "scale", "orders", "--voters", "3").code)
	assert.Len(t, f.changed, 1)
}

func TestStopAndDecommissionWantTheName(t *testing.T) {
	for _, verb := range []string{"stop", "decommission"} {
		f := running()
		got := do(t, f, true, "no\n", verb, "orders")
		assert.Equal(t, exitRefused, got.code)
		assert.Empty(t, f.changed)
		assert.Contains(t, got.err, "Type orders to go on: ")
		assert.Contains(t, got.err, "AwaitSettled", "the plan is shown first")
		got = do(t, f, true, "orders\n", verb, "orders")
		assert.Equal(t, exitDone, got.code, got.err)
		assert.Len(t, f.changed, 1)

		// Who says --yes has no need of a preview; who is asked has.
		f.blind = fleet.Errorf(fleet.Unavailable, "plan of orders", "no worker answered")
		assert.Equal(t, exitUnreachable, do(t, f, true, "orders\n", verb, "orders").code)
		assert.Len(t, f.changed, 1)
		assert.Equal(t, exitDone, do(t, f, false, "", verb, "orders", "--yes").code)
		assert.Len(t, f.changed, 2)
	}
	f := running()
	view := f.views["orders"]
	view.Spec.DeletionProtection = true
	f.views["orders"] = view
	got := do(t, f, true, "orders\n", "decommission", "orders")
	assert.Equal(t, exitRefused, got.code)
	assert.Contains(t, got.err, "flotilla protect orders --off")
	view.Summary.Phase = fleet.PhaseGone
	f.views["orders"] = view
	got = do(t, f, false, "", "decommission", "orders", "--yes")
	assert.Equal(t, exitDone, got.code)
	assert.Equal(t, exitFailed, do(t, f, false, "", "scale", "orders", "--voters", "5").code)
	assert.Empty(t, f.changed)
}

// A mistyped member would else be given up in silence, once it is bought.
func TestRecoveryWithoutAMemberThatNeverWas(t *testing.T) {
	for _, args := range []string{"recover orders --without orders-2,orders-9 --yes", "recover orders --survivor orders-9 --yes",
		"restore orders --in-place --without orders-9 --yes"} {
		f := running()
		got := do(t, f, false, "", strings.Fields(args)...)
		require.Equal(t, exitInput, got.code, args)
		require.Contains(t, got.err, "has no member orders-9")
		require.Empty(t, f.changed)
	}
}

// A beginning is made the whole ID before a recovery is begun: a newer backup may begin so too.
func TestRecoveryFromANamedBackup(t *testing.T) {
	f := running()
	got := do(t, f, false, "", "recover", "orders", "--from-backup=b1", "--yes")
	require.Equal(t, exitDone, got.code, got.err)
	require.Equal(t, "b1", f.changed[0].request.Options.FromBackup)
	for named, want := range map[string]string{"b": "several begin so: b1 and b2", "b9": "there is none", "b3": "it does not count: it is cut short"} {
		f := running()
		require.Contains(t, do(t, f, false, "", "recover", "orders", "--from-backup="+named, "--yes").err, want)
		require.Empty(t, f.changed)
	}
}

// Who says --yes and gets no preview has not been told that there is nothing to do.
func TestNothingSeenIsNotNothingToDo(t *testing.T) {
	f := running()
	f.reply.Waves, f.blind = nil, fleet.Errorf(fleet.Unavailable, "plan of orders", "no answer")
	got := do(t, f, false, "", "restore", "orders", "--in-place", "--backup", "b2", "--yes")
	require.Equal(t, exitDone, got.code, got.err)
	require.NotContains(t, got.out+got.err, "nothing to do")
	require.Len(t, f.changed, 1)
}
