package etcdadmin

import (
	"context"
	"errors"
	"io/fs"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/flotilla-etcd/flotilla/etcdadmin/keyspace"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// SnapshotScanner finds out what a snapshot holds while it comes by, by the rules by which a
// member opens it, and reads every page of it that is in use.
type SnapshotScanner struct{ scan *keyspace.Scanner }

// ScanSnapshot begins to look at a snapshot. scratch is a directory with room for some 40
// bytes of each revision, which are gone when the process is. Memory: keyspace.MaxMemory,
// whatever the size. Errors: as of scratch.
func ScanSnapshot(scratch string) (*SnapshotScanner, error) {
	scan, err := keyspace.NewScanner(scratch)
	if err != nil {
		return nil, explainScratch(err)
	}
	return &SnapshotScanner{scan}, nil
}

// Write takes the next bytes of the snapshot; the checksum behind the database is passed over.
// Errors: as of scratch. What is wrong with the snapshot is told by Facts.
func (s *SnapshotScanner) Write(p []byte) (int, error) {
	n, err := s.scan.Write(p)
	if err != nil {
		err = explainScratch(err)
	}
	return n, err
}

// Facts says what the snapshot holds, when all of it was written. Errors: fleet.Invalid when
// etcd could not read it; as of scratch.
func (s *SnapshotScanner) Facts(ctx context.Context) (SnapshotFacts, error) {
	f, err := s.scan.Facts(ctx)
	var disk *fs.PathError
	switch {
	case ctx.Err() != nil:
		return SnapshotFacts{}, explain("snapshot", ctx.Err())
	case errors.As(err, &disk):
		return SnapshotFacts{}, explainScratch(err)
	case err != nil:
		return SnapshotFacts{}, damaged("snapshot", err.Error())
	}
	return SnapshotFacts{Revision: f.Revision, Compacted: f.Compacted, Keys: f.Keys, Hash: f.Hash}, nil
}

// Close lets go of scratch.
func (s *SnapshotScanner) Close() error { return s.scan.Close() }

func explainScratch(err error) error {
	return fleet.Errorf(fleet.Unavailable, "scratch directory of the worker", "%w", err).
		WithRemedy("let it have more room, or give the worker another one by --scratch")
}

// panicking is a logger for etcd's own code, which ends the process by it when it
// cannot go on: ours must not.
func panicking() *zap.Logger {
	return zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))
}
