package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/objectstore/objectstoretest"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// TestBackup backs a cluster up into a real S3 server while a client writes, and kills
// the worker with -9 while it stores. What counts afterwards is one whole backup, with
// every write that was acknowledged before it was taken, and nothing altered is taken
// for one.
func TestBackup(t *testing.T) {
	server := objectstoretest.Start(t)
	server.Setenv(t)
	server.Bucket(t, "flotilla")
	e := harness.Start(t, harness.WithObjectStore(server.Location("flotilla/fleet")))
	worker := e.StartWorker("flotilla-worker")
	spec := harness.Spec("orders", 1, "3.7.3")
	spec.Learners = 1
	e.Create(spec.WithDefaults())
	view := described(t, e, spec.Name)
	w := startWriter(t, e, spec.Name)
	w.fill(t, 120<<20)

	r, err := e.Begin(spec.Name, fleet.BackupCluster, nil)
	require.NoError(t, err)
	harness.Eventually(t, "the worker stores", func(ctx context.Context) error {
		p, err := e.Client.Progress(ctx, r.Ref)
		for _, s := range p.Steps {
			for _, doing := range []string{"storing", "looking into it", "reading back"} {
				if strings.HasPrefix(s.Note, doing) {
					return nil
				}
			}
		}
		if r.Ended() {
			t.Fatal("the backup was over before the worker could be killed: fill in more")
		}
		return fmt.Errorf("not yet: %+v, %w", p.Steps, err)
	})
	worker.Kill()
	vault, err := e.Vault(t.Context())
	require.NoError(t, err)
	entries, err := vault.List(t.Context(), spec.Name, view.Summary.UID)
	require.NoError(t, err)
	require.Empty(t, entries, "a backup whose worker was killed counts")

	acknowledged := w.acknowledged()
	e.StartWorker("flotilla-worker")
	result, err := r.Await()
	require.NoError(t, err)
	w.stop(t)
	require.NotNil(t, result.Backup)
	require.True(t, result.Backup.Learner, "taken from %s, though there is a learner", result.Backup.Member)
	require.Equal(t, e.CLI("verify", spec.Name).Code, 0)
	list := e.CLI("backups", spec.Name, "-o", "json")
	require.Equal(t, 0, list.Code, list.Err)
	var listed struct{ Backups []fleet.Backup }
	require.NoError(t, json.Unmarshal([]byte(list.Out), &listed))
	require.Len(t, listed.Backups, 1)
	require.Equal(t, result.Backup.Revision, listed.Backups[0].Revision)

	entries, err = vault.List(t.Context(), spec.Name, view.Summary.UID)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.NoError(t, entries[0].Err)
	m := entries[0].Manifest
	dir := t.TempDir()
	file := filepath.Join(dir, "snapshot.db")
	require.NoError(t, vault.Fetch(t.Context(), m, file, nil))
	values, err := harness.ReadSnapshot(t.Context(), file, dir)
	require.NoError(t, err)
	require.Len(t, values, m.Keys)
	for key, value := range acknowledged {
		require.Equal(t, value, values[key], "key %s was acknowledged before the backup was taken", key)
	}
	damage(t, e, vault, m)
}

// damage alters a bit in the middle of a backup, and then takes the object away.
func damage(t *testing.T, e *harness.Env, vault backup.Vault, m backup.Manifest) {
	t.Helper()
	object := m.Objects[0]
	stored, err := vault.Store.Get(t.Context(), object.Key)
	require.NoError(t, err)
	data, err := io.ReadAll(stored)
	require.NoError(t, err)
	require.NoError(t, stored.Close())
	data[len(data)/2] ^= 1
	require.NoError(t, vault.Store.Put(t.Context(), object.Key, bytes.NewReader(data), int64(len(data))))
	answer := e.CLI("verify", m.Cluster, m.ID)
	require.Equal(t, 1, answer.Code)
	require.Contains(t, answer.Err, "it is damaged and does not count")

	require.NoError(t, vault.Store.Delete(t.Context(), object.Key))
	answer = e.CLI("backups", m.Cluster)
	require.Contains(t, answer.Out, "DOES NOT COUNT")
}

// writer writes to a cluster and keeps what was acknowledged.
type writer struct {
	mu     sync.Mutex
	values map[string]string
	access *harness.Access
	ended  chan error
	cancel context.CancelFunc
}

func startWriter(t *testing.T, e *harness.Env, cluster string) *writer {
	t.Helper()
	access, err := e.Connect(t.Context(), cluster)
	require.NoError(t, err)
	t.Cleanup(func() { _ = access.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{values: map[string]string{}, access: access, ended: make(chan error, 1), cancel: cancel}
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := w.put(ctx, fmt.Sprintf("small-%d", i%500), fmt.Sprint(i)); err != nil && ctx.Err() == nil {
				w.ended <- err
				return
			}
			time.Sleep(2 * time.Millisecond) // a client that writes at its pace, not a benchmark
		}
		w.ended <- nil
	}()
	return w
}

func (w *writer) put(ctx context.Context, key, value string) error {
	if _, err := w.access.Put(ctx, key, value); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.values[key] = value
	return nil
}

// fill writes so many bytes that cannot be compressed.
func (w *writer) fill(t *testing.T, size int) {
	t.Helper()
	const piece = 1 << 20
	var group sync.WaitGroup
	failed := make(chan error, 4)
	for part := range 4 {
		group.Go(func() {
			data := make([]byte, piece)
			for i := range size / piece / 4 {
				_, _ = rand.Read(data)
				if err := w.put(t.Context(), fmt.Sprintf("large-%d-%d", part, i), string(data)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failed)
	require.NoError(t, <-failed)
}

// acknowledged is what was written for sure, of the keys that are written once: the
// others may have changed since.
func (w *writer) acknowledged() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]string{}
	for key, value := range w.values {
		if strings.HasPrefix(key, "large-") {
			all[key] = value
		}
	}
	return all
}

func (w *writer) stop(t *testing.T) {
	t.Helper()
	w.cancel()
	require.NoError(t, <-w.ended)
}

func described(t *testing.T, e *harness.Env, cluster string) (view workflows.ClusterView) {
	t.Helper()
	harness.Eventually(t, cluster+" is described", func(ctx context.Context) (err error) {
		view, err = e.Client.Describe(ctx, cluster)
		return err
	})
	return view
}
