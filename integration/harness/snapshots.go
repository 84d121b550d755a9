package harness

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// KeepObjectsIn makes workers that are started from now on use another object store.
func (e *Env) KeepObjectsIn(location string) { e.objects = location }

// Store opens the object store that workers use.
func (e *Env) Store(ctx context.Context) (objectstore.Store, error) {
	return objectstore.Open(ctx, e.objects, objectstore.Options{})
}

// Vault opens the backups that workers keep.
func (e *Env) Vault(ctx context.Context) (backup.Vault, error) {
	key, err := pki.LoadFleetKey(e.key)
	if err != nil {
		return backup.Vault{}, err
	}
	store, err := e.Store(ctx)
	return backup.Vault{Store: store, Key: key}, err
}

// Restored does what a person does who needs a snapshot: it fetches it, opens it with
// the fleet's key, restores it with etcd's own library and reads the values of keys.
// A key that is not there has none.
func (e *Env) Restored(ctx context.Context, object string, keys ...string) (map[string]string, error) {
	dir, err := os.MkdirTemp(e.Dir, "restored-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "snapshot.db")
	if err := e.open(ctx, object, file); err != nil {
		return nil, err
	}
	return ReadSnapshot(ctx, file, dir, keys...)
}

// ReadSnapshot restores a snapshot with etcd's own library, in a directory, and reads
// the values of keys, or of all when none is named. A key that is not there has none.
func ReadSnapshot(ctx context.Context, file, dir string, keys ...string) (map[string]string, error) {
	data := filepath.Join(dir, "data")
	err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, OutputDataDir: data, Name: "restored", PeerURLs: []string{"http://127.0.0.1:1"},
		InitialCluster: "restored=http://127.0.0.1:1", InitialClusterToken: "restored",
	})
	if err != nil {
		return nil, err
	}
	be := backend.NewDefaultBackend(zap.NewNop(), filepath.Join(data, "member", "snap", "db"))
	defer be.Close()
	store := mvcc.NewStore(zap.NewNop(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})
	defer store.Close()
	tx := store.Read(mvcc.ConcurrentReadTxMode, traceutil.TODO())
	defer tx.End()
	values := map[string]string{}
	if len(keys) == 0 {
		found, err := tx.Range(ctx, []byte{0}, []byte{}, mvcc.RangeOptions{})
		if err != nil {
			return nil, err
		}
		for _, kv := range found.KVs {
			values[string(kv.Key)] = string(kv.Value)
		}
	}
	for _, key := range keys {
		found, err := tx.Range(ctx, []byte(key), nil, mvcc.RangeOptions{})
		if err != nil {
			return nil, err
		}
		for _, kv := range found.KVs {
			values[key] = string(kv.Value)
		}
	}
	return values, nil
}

// open writes an object, unsealed, to a file.
func (e *Env) open(ctx context.Context, object, file string) error {
	key, err := pki.LoadFleetKey(e.key)
	if err != nil {
		return err
	}
	store, err := e.Store(ctx)
	if err != nil {
		return err
	}
	sealed, err := store.Get(ctx, object)
	if err != nil {
		return err
	}
	defer sealed.Close()
	plain, err := key.Open(sealed)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = io.Copy(out, plain)
	return err
}
