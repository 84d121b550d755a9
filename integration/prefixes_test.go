package integration

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// TestRestorePrefixes puts the keys below a prefix back into a running cluster, while a
// client writes beside them and the worker is killed with -9 half way: afterwards they are
// what they were, key by key, and nothing else has changed. A damaged backup changes nothing,
// and neither does it in a restore in place: no member is even stopped. Of the backup another
// cluster begins, when the one that it is of is gone.
func TestRestorePrefixes(t *testing.T) {
	e := harness.Start(t)
	worker := e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 3, "3.7.3").WithDefaults()
	e.Create(spec)
	a, err := e.Connect(t.Context(), spec.Name)
	require.NoError(t, err)
	defer a.Close()
	many := func(n int, op func(i int) clientv3.Op) {
		t.Helper()
		for i := 0; i < n; i += 100 {
			var ops []clientv3.Op
			for j := range 100 {
				ops = append(ops, op(i+j))
			}
			_, err := a.Txn(t.Context()).Then(ops...).Commit()
			require.NoError(t, err)
		}
	}
	shop := func(i int) string { return fmt.Sprintf("shop/%06d", i) }
	lease, err := a.Grant(t.Context(), 36000)
	require.NoError(t, err)
	// So many that it takes longer to put them back, 100 at a time with rests between, than
	// to kill a worker, start another and say pause.
	const all, deleted, altered = 60000, 36000, 6000
	many(all, func(i int) clientv3.Op {
		return clientv3.OpPut(shop(i), strings.Repeat(fmt.Sprintf("%05d", i), 100))
	})
	many(100, func(i int) clientv3.Op {
		return clientv3.OpPut(fmt.Sprintf("held/%d", i), "x", clientv3.WithLease(lease.ID))
	})
	_, err = a.Put(t.Context(), "beside", "before")
	require.NoError(t, err)
	require.Zero(t, e.CLI("backup", spec.Name).Code)
	was := below(t, a, "shop/")

	many(deleted, func(i int) clientv3.Op { return clientv3.OpDelete(shop(i)) })
	many(altered, func(i int) clientv3.Op { return clientv3.OpPut(shop(deleted+i), "spoiled") })
	many(100, func(i int) clientv3.Op { return clientv3.OpPut(fmt.Sprintf("shop/new/%d", i), "new") })
	_, err = a.Put(t.Context(), "beside", "after")
	require.NoError(t, err)
	spoiled := below(t, a, "shop/")
	w := startWriter(t, e, spec.Name)

	answer := e.CLI("restore", spec.Name, "--prefix", "shop/", "--dry-run")
	require.Zero(t, answer.Code, answer.Err)
	require.Contains(t, answer.Out, fmt.Sprintf("%d keys are created, %d keys are put back to what they were, 0 keys are deleted; 100 that the backup does not have stay", deleted, altered))
	answer = e.CLI("restore", spec.Name, "--prefix", "shop/", "--exact", "--yes")
	require.Equal(t, 5, answer.Code, "it waits for approval: %s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Err+answer.Out, fmt.Sprintf("%d keys are created, %d keys are put back to what they were, 100 keys are deleted", deleted, altered))
	require.Equal(t, spoiled, below(t, a, "shop/"), "nothing was done yet")
	require.Zero(t, e.CLI("approve", spec.Name).Code)
	running := described(t, e, spec.Name).Summary.Operation
	ref := starter.Ref{Cluster: spec.Name, Kind: fleet.RestorePrefixes, ID: running,
		WorkflowID: workflows.OperationID(spec.Name, fleet.RestorePrefixes, running)}
	halfway := func(what string, percent int) {
		t.Helper()
		harness.Eventually(t, what, func(ctx context.Context) error {
			p, err := e.Client.Progress(ctx, ref)
			if err != nil {
				return err
			}
			for _, s := range p.Steps {
				if s.Step.Kind == fleet.RestoreKeys && s.State == fleet.StepRunning && s.Percent != nil && *s.Percent >= percent {
					return nil
				}
			}
			return fmt.Errorf("not yet: %s", p.Doing)
		})
	}
	halfway("keys are being put back", 5)
	worker.Kill()
	e.StartWorker("flotilla-worker")
	halfway("another worker goes on", 15)
	require.Zero(t, e.CLI("pause", spec.Name).Code)
	harness.Eventually(t, "it is paused", func(ctx context.Context) error {
		p, err := e.Client.Progress(ctx, ref)
		if err == nil && (p.Waiting == nil || p.Waiting.For != fleet.WaitPaused) {
			err = fmt.Errorf("not yet: %s", p.Doing)
		}
		return err
	})
	require.NotEqual(t, was, below(t, a, "shop/"), "it stopped half way")
	require.Zero(t, e.CLI("resume", spec.Name).Code)
	answer = e.CLI("watch", spec.Name)
	require.Zero(t, answer.Code, answer.Err)
	require.Equal(t, was, below(t, a, "shop/"))
	require.Equal(t, map[string]string{"beside": "after"}, below(t, a, "beside"), "what is beside it is as it was")
	require.Len(t, below(t, a, "held/"), 100)

	// A damaged backup is found out before anything is done.
	spoilBackup(t, e, spec.Name)
	many(100, func(i int) clientv3.Op { return clientv3.OpPut(shop(i), "again") })
	spoiled = below(t, a, "shop/")
	pids := memberPIDs(t, e, spec.Name)
	for _, flags := range [][]string{{"--prefix", "shop/"}, {"--in-place"}} {
		answer = e.CLI(append([]string{"restore", spec.Name, "--yes", "--accept-loss"}, flags...)...)
		require.Equal(t, 1, answer.Code, answer.Out)
		require.Contains(t, answer.Err, "damaged")
	}
	require.Equal(t, spoiled, below(t, a, "shop/"))
	require.Equal(t, pids, memberPIDs(t, e, spec.Name), "no member was stopped")
	w.stop(t) // which fails if a single write did

	// Another cluster begins with a backup of one that is gone.
	require.Zero(t, e.CLI("backup", spec.Name).Code)
	require.NoError(t, a.Close())
	e.Decommission(spec.Name, fleet.Options{SkipFinalSnapshot: true})
	file := filepath.Join(e.Dir, "again.json")
	require.NoError(t, os.WriteFile(file, []byte(`{name: again, provider: local, region: local-1, zones: [a], voters: 1, etcd: {version: 3.7.3}, `+
		`machine: {type: small, disk: {size: 20GiB, category: ssd}}}`), 0o600))
	answer = e.CLI("create", "-f", file, "--from-backup", spec.Name)
	require.Zero(t, answer.Code, answer.Err)
	again, err := e.Connect(t.Context(), "again")
	require.NoError(t, err)
	defer again.Close()
	require.Equal(t, spoiled, below(t, again, "shop/"))

	// And gets keys of it, while it runs.
	_, err = again.Delete(t.Context(), "shop/", clientv3.WithPrefix())
	require.NoError(t, err)
	answer = e.CLI("restore", "again", "--prefix", "shop/00000", "--from", spec.Name, "--yes")
	require.Zero(t, answer.Code, "nothing is lost, so nobody is asked: %s", answer.Err)
	maps.DeleteFunc(spoiled, func(key, _ string) bool { return !strings.HasPrefix(key, "shop/00000") })
	require.Equal(t, spoiled, below(t, again, "shop/"))
}

// below gives keys and values below a prefix.
func below(t *testing.T, a *harness.Access, prefix string) map[string]string {
	t.Helper()
	all, err := a.Get(t.Context(), prefix, clientv3.WithPrefix())
	require.NoError(t, err)
	found := map[string]string{}
	for _, kv := range all.Kvs {
		found[string(kv.Key)] = string(kv.Value)
	}
	return found
}

// memberPIDs gives the processes of a cluster's members.
func memberPIDs(t *testing.T, e *harness.Env, cluster string) []int {
	t.Helper()
	var all []int
	for i := range described(t, e, cluster).Spec.Voters {
		pid, err := e.AwaitMember(cluster, fleet.MemberName(cluster, i+1))
		require.NoError(t, err)
		all = append(all, pid)
	}
	return all
}
