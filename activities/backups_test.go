package activities

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// snapshotOf gives a small store that etcd's own code wrote, as a member streams it.
func snapshotOf(t *testing.T) []byte {
	t.Helper()
	be := backend.NewDefaultBackend(zap.NewNop(), filepath.Join(t.TempDir(), "db"))
	store := mvcc.NewStore(zap.NewNop(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})
	for i := range 100 {
		store.Put(fmt.Appendf(nil, "k/%d", i), sha256.New().Sum(fmt.Append(nil, i)), lease.NoLease)
	}
	store.Commit()
	var db bytes.Buffer
	copied := be.Snapshot()
	_, err := copied.WriteTo(&db)
	require.NoError(t, err)
	require.NoError(t, copied.Close())
	require.NoError(t, store.Close())
	require.NoError(t, be.Close())
	sum := sha256.Sum256(db.Bytes())
	return append(db.Bytes(), sum[:]...)
}

// slowly is a store whose data comes in pieces, each after another beat of the heart.
type slowly struct {
	objectstore.Store
	heard *listening
	waits int // for so many pieces
}

func (s *slowly) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	r, err := s.Store.Get(ctx, key)
	if err != nil || path.Ext(key) == ".json" {
		return r, err
	}
	return &slowReader{r, s}, nil
}

type slowReader struct {
	io.ReadCloser
	of *slowly
}

func (r *slowReader) Read(p []byte) (int, error) {
	const patience = 30 * time.Second // it beats within a second
	if r.of.waits > 0 {
		r.of.waits--
		for heard, began := r.of.heard.beats(), time.Now(); r.of.heard.beats() == heard; {
			if time.Since(began) > patience {
				return 0, errors.New("the heart stands still")
			}
			time.Sleep(time.Millisecond)
		}
	}
	return r.ReadCloser.Read(p[:min(len(p), 64)])
}

// However long a backup takes to read, the heart beats: else Temporal would take the worker
// for dead, and another one would begin anew, and never get further.
func TestCheckOfABackupBeats(t *testing.T) {
	r := region(t)
	_, err := r.vault().Save(t.Context(), backup.Manifest{
		Cluster: "orders", UID: "uid", ID: "b1", History: "1f", Taken: time.Now().UTC(), Member: "orders-1", Etcd: "3.7.3", AskedBy: "a test",
	}, bytes.NewReader(snapshotOf(t)), t.TempDir(), nil)
	require.NoError(t, err)

	heard := &listening{}
	slow := &slowly{Store: r.Store, heard: heard, waits: 10}
	r.Store = slow
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{heard}})
	env.RegisterActivity((&Backups{r}).CheckBackup)
	value, err := env.ExecuteActivity((&Backups{r}).CheckBackup, fleet.BackupRequest{Cluster: "orders", UID: "uid"})
	require.NoError(t, err)
	var checked fleet.Backup
	require.NoError(t, value.Get(&checked))
	require.Equal(t, 100, checked.Keys)
	require.Zero(t, slow.waits, "all pieces came")
}

// That there is no such backup is the answer: who asked would else wait for as long as the
// reading of a large one may take.
func TestCheckOfNoBackupAnswersAtOnce(t *testing.T) {
	r := region(t)
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivity((&Backups{r}).CheckBackup)
	check := func(named string) (b fleet.Backup, err error) {
		value, err := env.ExecuteActivity((&Backups{r}).CheckBackup, fleet.BackupRequest{Cluster: "orders", UID: "uid", ID: named})
		if err == nil {
			err = value.Get(&b)
		}
		return b, err
	}
	_, err := check("")
	require.Equal(t, "not found, final", kindAndFinality(t, err))
	require.ErrorContains(t, err, "flotilla backup orders takes one")

	for _, id := range []string{"20260314t021500z-1", "20260314t021500z-2"} {
		_, err := r.vault().Save(t.Context(), backup.Manifest{
			Cluster: "orders", UID: "uid", ID: id, Operation: "of" + id, History: "1f", Taken: time.Now().UTC(), Member: "orders-1", Etcd: "3.7.3", AskedBy: "a test",
		}, bytes.NewReader(snapshotOf(t)), t.TempDir(), nil)
		require.NoError(t, err)
	}
	for named, want := range map[string]string{"": "20260314t021500z-2", "of20260314t021500z-1": "20260314t021500z-1", "20260314t021500z-2": "20260314t021500z-2"} {
		b, err := check(named)
		require.NoError(t, err)
		require.Equal(t, want, b.ID)
	}
	for named, want := range map[string]string{"2027": "not found, final", "2026": "invalid, final"} {
		_, err := check(named)
		require.Equal(t, want, kindAndFinality(t, err), named)
	}
}
