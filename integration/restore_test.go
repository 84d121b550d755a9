package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// TestRestore backs a cluster up, writes more, and restores the backup: into a new cluster,
// and in place, while the worker is killed with -9 half way. Both have every key, value and
// lease of the backup and nothing else, at a revision beyond all that was seen, and a watch
// from before is told that it missed something.
func TestRestore(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "flotilla")
	e := harness.Start(t, harness.WithObjectStore(server.Location("flotilla/fleet")))
	worker := e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 3, "3.7.3").WithDefaults()
	e.Create(spec)
	written := putSome(t, e, spec.Name)
	require.Zero(t, e.CLI("backup", spec.Name).Code)
	late := putLater(t, e, spec.Name)

	answer := e.CLI("restore", spec.Name, "--to", "copy", "--yes")
	require.Zero(t, answer.Code, answer.Err)
	require.Equal(t, written, contentsOf(t, e, "copy"))
	toldOfGap(t, e, "copy", late)

	answer = e.CLI("restore", spec.Name, "--in-place", "--yes")
	require.Equal(t, 5, answer.Code, "it waits for approval: %s %s", answer.Out, answer.Err)
	require.Contains(t, answer.Err+answer.Out, "lost: whatever was written since then")
	require.Contains(t, contentsOf(t, e, spec.Name), "late", "nothing was done yet")
	require.Zero(t, e.CLI("approve", spec.Name).Code)
	running := described(t, e, spec.Name).Summary.Operation
	ref := starter.Ref{Cluster: spec.Name, Kind: fleet.RestoreCluster, ID: running,
		WorkflowID: workflows.OperationID(spec.Name, fleet.RestoreCluster, running)}
	harness.Eventually(t, "members are being restored", func(ctx context.Context) error {
		p, err := e.Client.Progress(ctx, ref)
		if err == nil && !slices.ContainsFunc(p.Steps, func(s fleet.StepProgress) bool { return s.Step.Kind == fleet.RestoreMember }) {
			err = fmt.Errorf("not yet: %s", p.Doing)
		}
		return err
	})
	worker.Kill()
	e.StartWorker("flotilla-worker")
	answer = e.CLI("watch", spec.Name)
	require.Zero(t, answer.Code, answer.Err)
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	require.Equal(t, written, contentsOf(t, e, spec.Name))
	toldOfGap(t, e, spec.Name, late)

	aside := func() []string {
		found, err := filepath.Glob(filepath.Join(e.Dir, "local/hosts/*/fs/disks/*/*/before-restore-*"))
		require.NoError(t, err)
		return found
	}
	require.Len(t, aside(), spec.Voters, "what was there before is kept")
	written = contentsOf(t, e, spec.Name)
	answer = e.CLI("discard", spec.Name, "--yes")
	require.Zero(t, answer.Code, answer.Err)
	require.Empty(t, aside())
	require.NoError(t, e.Stands(t.Context(), spec.Name))
	require.Equal(t, written, contentsOf(t, e, spec.Name))
	e.Decommission(spec.Name, fleet.Options{}) // with a final snapshot, of what was restored
}

// putSome writes keys of all kinds, and gives what is there then.
func putSome(t *testing.T, e *harness.Env, cluster string) map[string]string {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	lease, err := a.Grant(t.Context(), 36000)
	require.NoError(t, err)
	for i := range 200 {
		_, err := a.Put(t.Context(), fmt.Sprintf("k/%d", i%150), strings.Repeat(fmt.Sprint(i), 100), clientv3.WithLease(lease.ID))
		require.NoError(t, err)
	}
	_, err = a.Delete(t.Context(), "k/7")
	require.NoError(t, err)
	return contentsOf(t, e, cluster)
}

// putLater writes what the backup does not have, and gives the revision.
func putLater(t *testing.T, e *harness.Env, cluster string) int64 {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	_, err = a.Put(t.Context(), "k/7", "back")
	require.NoError(t, err)
	_, err = a.Delete(t.Context(), "k/8")
	require.NoError(t, err)
	put, err := a.Put(t.Context(), "late", "lost")
	require.NoError(t, err)
	return put.Header.Revision
}

// contentsOf gives all keys of a cluster with their values, versions and leases, but for
// those by which the harness sees whether a cluster serves.
func contentsOf(t *testing.T, e *harness.Env, cluster string) map[string]string {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	return contentsAt(t, a, 0)
}

// contentsAt gives what contentsOf does, at a revision; 0 is the latest.
func contentsAt(t *testing.T, a *harness.Access, revision int64) map[string]string {
	t.Helper()
	all, err := a.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithRev(revision))
	require.NoError(t, err)
	found := map[string]string{}
	for _, kv := range all.Kvs {
		if strings.HasPrefix(string(kv.Key), "/") {
			continue
		}
		found[string(kv.Key)] = fmt.Sprintf("%s v%d lease %x", kv.Value, kv.Version, kv.Lease)
	}
	return found
}

// toldOfGap expects that who watches from a revision of before is told that history is gone,
// and that new revisions are beyond all of it.
func toldOfGap(t *testing.T, e *harness.Env, cluster string, revision int64) {
	t.Helper()
	a, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	defer a.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answer := <-a.Watch(ctx, "k/", clientv3.WithPrefix(), clientv3.WithRev(revision))
	require.True(t, answer.Canceled)
	require.Greater(t, answer.CompactRevision, revision)
	put, err := a.Put(t.Context(), "again", "1")
	require.NoError(t, err)
	require.Greater(t, put.Header.Revision, revision+fleet.RevisionBump/2)
	_, err = a.Delete(t.Context(), "again")
	require.NoError(t, err)
}

// spoilBackup alters a bit in the middle of the only backup.
func spoilBackup(t *testing.T, e *harness.Env, cluster string) {
	t.Helper()
	vault, err := e.Vault(t.Context())
	require.NoError(t, err)
	entries, err := vault.List(t.Context(), cluster, described(t, e, cluster).Summary.UID)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	object := entries[0].Manifest.Objects[0]
	stored, err := vault.Store.Get(t.Context(), object.Key)
	require.NoError(t, err)
	data, err := io.ReadAll(stored)
	require.NoError(t, err)
	require.NoError(t, stored.Close())
	data[len(data)/2] ^= 1
	require.NoError(t, vault.Store.Put(t.Context(), object.Key, bytes.NewReader(data), int64(len(data))))
}

// TestRehearsal restores a backup on a host that is bought for it, and shows what became of
// it beside the backup. Nothing of that is left, and no list has it.
func TestRehearsal(t *testing.T) {
	e := harness.Start(t)
	e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3").WithDefaults()
	e.Create(spec)
	putSome(t, e, spec.Name)
	require.Zero(t, e.CLI("backup", spec.Name).Code)
	putLater(t, e, spec.Name)
	require.Contains(t, e.CLI("backups", spec.Name).Out, "never")

	answer := e.CLI("rehearse", spec.Name)
	require.Zero(t, answer.Code, answer.Err)
	require.Contains(t, answer.Out, "was restored in")
	require.Contains(t, e.CLI("backups", spec.Name).Out, ", took ")
	hosts, err := e.Provider.ListHosts(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, hosts, 1, "what the rehearsal bought is released")
	require.NotContains(t, e.CLI("get", "clusters").Out, "rehearsal-")

	spoilBackup(t, e, spec.Name)
	answer = e.CLI("rehearse", spec.Name)
	require.Equal(t, 1, answer.Code, answer.Out)
	require.Contains(t, answer.Err, "damaged")
	require.Contains(t, e.CLI("backups", spec.Name).Out, "FAILED")
	hosts, err = e.Provider.ListHosts(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, hosts, 1, "what a rehearsal that failed bought is released")
}
