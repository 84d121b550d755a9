package etcdadmin

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime/debug"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ReadSnapshot opens the database of a snapshot the way a member does when it starts,
// and says what it holds. The file is the database alone, without the checksum behind
// it, and is used up: etcd writes into it. Memory: etcd's index of the keys, about 100
// bytes and the key for each of them. Errors: fleet.Invalid when etcd cannot read it.
func ReadSnapshot(ctx context.Context, path string) (facts SnapshotFacts, err error) {
	resource := "snapshot " + filepath.Base(path)
	// As in restore: what does not hang together is found by panics and faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			facts, err = SnapshotFacts{}, damaged(resource, fmt.Sprintf("etcd cannot read it: %v", r))
		}
	}()
	if err := walk(ctx, path); err != nil {
		if ctx.Err() != nil {
			return SnapshotFacts{}, explain(resource, ctx.Err())
		}
		return SnapshotFacts{}, damaged(resource, err.Error())
	}
	facts, err = read(ctx, path)
	switch {
	case ctx.Err() != nil:
		return SnapshotFacts{}, explain(resource, ctx.Err())
	case err != nil:
		return SnapshotFacts{}, damaged(resource, err.Error())
	}
	return facts, nil
}

// panicking is a logger for etcd's own code, which ends the process by it when it
// cannot go on: ours must not.
func panicking() *zap.Logger {
	return zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))
}
