package etcdadmin

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/flotilla-etcd/flotilla/etcdadmin/keyspace"
)

// ReadSnapshot says what the database of a snapshot holds, by the rules by which a member
// opens it, and reads every page of it that is in use. The file is the database alone,
// without the checksum behind it. Memory: keyspace.MaxMemory, whatever the size. Errors:
// fleet.Invalid when etcd could not read it.
func ReadSnapshot(ctx context.Context, path string) (facts SnapshotFacts, err error) {
	resource := "snapshot " + filepath.Base(path)
	// As in restore: what does not hang together is found by panics and faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			facts, err = SnapshotFacts{}, damaged(resource, fmt.Sprintf("etcd cannot read it: %v", r))
		}
	}()
	facts, err = factsIn(ctx, path)
	switch {
	case ctx.Err() != nil:
		return SnapshotFacts{}, explain(resource, ctx.Err())
	case err != nil:
		return SnapshotFacts{}, damaged(resource, err.Error())
	}
	return facts, nil
}

func factsIn(ctx context.Context, path string) (SnapshotFacts, error) {
	db, err := bolt.Open(path, 0, &bolt.Options{ReadOnly: true})
	if err != nil {
		return SnapshotFacts{}, err
	}
	defer func() { _ = db.Close() }() // it was only read
	if err := db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			if string(name) == keyspace.Bucket {
				return nil // is read below
			}
			return b.ForEach(func(_, _ []byte) error { return ctx.Err() })
		})
	}); err != nil {
		return SnapshotFacts{}, err
	}
	f, err := keyspace.Read(ctx, db)
	return SnapshotFacts{Revision: f.Revision, Compacted: f.Compacted, Keys: f.Keys, Hash: f.Hash}, err
}

// panicking is a logger for etcd's own code, which ends the process by it when it
// cannot go on: ours must not.
func panicking() *zap.Logger {
	return zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))
}
