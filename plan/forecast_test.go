package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// What a forecast says is what happens, step by step, when nothing breaks,
// wherever it is asked for.
func TestForecastIsWhatHappens(t *testing.T) {
	whole := 0
	for seed := range uint64(200) {
		choose := dice(seed)
		w := newWalk(choose, plan.Next, newTally())
		w.run(w.operation(fleet.CreateCluster, w.spec, fleet.Options{}), choose(20, "waves"), choose(2, "rough") == 0)
		w.calm()
		if w.lost > 0 {
			continue // a token may give a host that is gone, which nothing observed tells
		}
		whole++
		w.world.Slow()
		for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.DecommissionCluster} {
			w.asForecast(t, w.operation(kind, w.spec, fleet.Options{}))
		}
	}
	require.Greater(t, whole, 100, "too few lives without a lost host to say anything")
}

// The same of what changes a running cluster, from wherever operations before it
// stopped.
func TestForecastOfChangesIsWhatHappens(t *testing.T) {
	kinds := map[fleet.OperationKind]int{}
	for seed := range uint64(250) {
		w := newWalk(dice(seed), plan.Next, newTally())
		w.limit, w.mild = 2, true
		w.run(w.operation(fleet.CreateCluster, w.spec, fleet.Options{}), enough, false)
		for range 1 + w.choose(3, "operations") {
			w.run(w.request(), 1+w.choose(20, "waves"), true)
		}
		w.calm()
		w.world.Slow()
		op := w.request()
		kinds[op.Kind]++
		w.asForecast(t, op)
	}
	for kind := range map[fleet.OperationKind]bool{
		fleet.UpscaleCluster: true, fleet.ScaleCluster: true, fleet.MigrateByLearner: true, fleet.FailoverMember: true, fleet.UpgradeCluster: true,
		fleet.RollCluster: true, fleet.ChangeLeader: true, fleet.StopCluster: true, fleet.StartCluster: true,
	} {
		require.Greater(t, kinds[kind], 3, "too few forecasts of %s to say anything", kind)
	}
}

// asForecast does an operation, wave by wave as it is forecast.
func (w *walk) asForecast(t *testing.T, op fleet.Operation) {
	t.Helper()
	in := input(op)
	in.Observation = w.world.Observe()
	met(&in, in.Observation)
	waves, last := plan.Forecast(in)
	w.begin(op)
	for i, wave := range waves {
		in.Observation = w.world.Observe()
		met(&in, in.Observation)
		d := plan.Next(in)
		require.Equal(t, plan.Words(wave), plan.Words(d.Wave), "wave %d of %s is not as forecast\n%s", i+1, op.Kind, w.log.String())
		w.say("    %s", plan.Words(wave))
		w.wave(&in, d.Wave, false)
		// Who left before a stop is found out when it is started.
		if last.Verdict == fleet.VerdictDone && op.Kind != fleet.StartCluster {
			require.Empty(t, in.Failures, "wave %d of %s fails, unlike forecast\n%s", i+1, op.Kind, w.log.String())
		}
	}
	in.Observation = w.world.Observe()
	d := plan.Next(in)
	if len(in.Failures) == 0 {
		require.Equal(t, last.Verdict, d.Verdict, "%s ends otherwise than forecast (%s): %s\n%s", op.Kind, last.Reason, d.Reason, w.log.String())
	}
}
