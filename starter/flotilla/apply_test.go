package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// document writes a spec as a document and gives its path.
func document(t *testing.T, change func(*fleet.Spec)) string {
	t.Helper()
	spec := ordersSpec.Clone()
	change(&spec)
	data, err := yaml.Marshal(spec)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "orders.yaml")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

func TestApplyOfTheSameDoesNothing(t *testing.T) {
	f := running()
	file := document(t, func(*fleet.Spec) {})
	for range 2 {
		got := do(t, f, false, "", "apply", "-f", file)
		assert.Equal(t, exitDone, got.code, got.err)
		assert.Equal(t, "orders is as "+file+" says: there is nothing to do\n", got.err)
	}
	got := do(t, f, false, "", "apply", "-f", file, "--dry-run")
	assert.Equal(t, "orders is as asked for: there is nothing to do\n", got.out)
	assert.Empty(t, f.planned)
	assert.Empty(t, f.changed)
}

func TestApplyAmendsWhatNeedsNoOperation(t *testing.T) {
	f := running()
	file := document(t, func(s *fleet.Spec) {
		s.Labels = map[string]string{"team": "shop"}
		s.Policy.Approval = fleet.ApprovalDestructive
	})
	got := do(t, f, false, "", "apply", "-f", file, "--yes")
	assert.Equal(t, exitDone, got.code, got.err)
	assert.Contains(t, got.err, "policy.approval  – → destructive\n  labels.team      – → shop")
	assert.Contains(t, got.err, "orders is amended")
	require.Len(t, f.amended, 1)
	assert.Equal(t, "shop", f.amended[0].Labels["team"])
	assert.Empty(t, f.changed)
}

func TestApplyRunsTheOperationsInTheirOrder(t *testing.T) {
	change := func(s *fleet.Spec) {
		s.Etcd.Version, s.Machine.Type, s.Learners, s.Etcd.MaxLearners = "3.7.4", "medium", 2, 3
		s.Labels = map[string]string{"team": "shop"}
	}
	f := running()
	file := document(t, change)
	got := do(t, f, false, "", "apply", "-f", file)
	assert.Equal(t, exitRefused, got.code, "nobody can be asked")
	got = do(t, f, true, "n\n", "apply", "-f", file)
	assert.Equal(t, exitRefused, got.code)
	assert.Empty(t, f.amended)
	assert.Empty(t, f.changed)

	got = do(t, f, true, "y\n", "apply", "-f", file, "--soak", "10s", "--any-time")
	assert.Equal(t, exitDone, got.code, got.err)
	shown, _, _ := strings.Cut(got.err, "[y/N] ")
	golden(t, "apply", strings.ReplaceAll(shown, file, "orders.yaml"))
	require.Len(t, f.amended, 1)
	require.Len(t, f.changed, 1)
	asked := f.changed[0]
	assert.Equal(t, fleet.RollCluster, asked.kind)
	assert.Equal(t, []string{"etcd.maxLearners 3", "labels.team shop"}, differences(*asked.spec))
	var then []fleet.OperationKind
	for _, next := range asked.request.Then {
		then = append(then, next.Kind)
	}
	assert.Equal(t, []fleet.OperationKind{fleet.UpgradeCluster, fleet.UpscaleCluster, fleet.ScaleCluster}, then)
	assert.True(t, asked.request.Options.AnyTime)
	assert.NotZero(t, asked.request.Options.Policy.Soak)
	assert.Equal(t, []string{"7f3a", "then-1", "then-2", "then-3"}, f.watched)

	f = running()
	for _, args := range [][]string{{"apply", "-f", file, "--dry-run", "-o", "json"}, {"plan", "-f", file, "-o", "json"}} {
		got = do(t, f, false, "", args...)
		assert.Equal(t, exitDone, got.code, got.err)
		golden(t, "apply-json", got.out)
	}
	assert.Empty(t, f.changed)
}

func TestApplyCreatesWhatIsNotThere(t *testing.T) {
	for _, phase := range []fleet.Phase{"", fleet.PhaseIncomplete, fleet.PhaseGone} {
		f := running()
		view := f.views["orders"]
		view.Summary.Phase = phase
		f.views["orders"] = view
		if phase == "" {
			delete(f.views, "orders")
		}
		got := do(t, f, false, "", "apply", "-f", document(t, func(*fleet.Spec) {}), "--yes", "--allow-downtime")
		assert.Equal(t, exitDone, got.code, got.err)
		assert.Len(t, f.created, 1)
		assert.Empty(t, f.changed)
		assert.False(t, f.planned[0].Options.AllowDowntime, "it has no meaning for what does not run yet")
	}
}

func TestApplyMovesToAnotherRegion(t *testing.T) {
	f := running()
	got := do(t, f, false, "", "apply", "--yes", "-f", document(t, func(s *fleet.Spec) { s.Region = "local-2" }))
	assert.Equal(t, exitDone, got.code, got.err)
	require.Len(t, f.changed, 1)
	assert.Equal(t, fleet.MigrateByLearner, f.changed[0].kind)
	assert.Equal(t, "local-2", f.changed[0].spec.Region)
}

func TestApplyRefusesWhatIsBlocked(t *testing.T) {
	f := running()
	f.reply.Kind, f.reply.Blocked = fleet.Blocked, "no quorum of orders answers"
	got := do(t, f, false, "", "apply", "--yes", "-f", document(t, func(s *fleet.Spec) { s.Voters = 5 }))
	assert.Equal(t, exitRefused, got.code)
	assert.Contains(t, got.err, "no quorum of orders answers")
	assert.Empty(t, f.changed)
}
