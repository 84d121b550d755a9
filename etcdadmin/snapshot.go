package etcdadmin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// SnapshotFacts is what a snapshot holds, as found in what was restored from it.
type SnapshotFacts struct {
	// Revision is the store's last.
	Revision int64
	// Compacted is the revision below which history is gone; zero when none is.
	Compacted int64
	// Keys is the number of keys that exist at Revision.
	Keys int
	// Hash is etcd's hash of the key space at Revision: what the HashKV call of
	// a member answers for that revision, and etcdutl hashkv for a file.
	Hash uint32
	// Size is that of the file, with its checksum.
	Size fleet.Bytes

	// bump is 1 in a store that was restored with its revision moved on: etcdutl leaves an
	// empty record there, of a key without a name, which no client can write or read.
	bump int
}

// pageSize is the smallest page of a bbolt file. The checksum makes a snapshot
// that much longer than a multiple of it.
const pageSize = 512

// VerifySnapshot shows that a snapshot can be restored, by restoring it: it
// compares the checksum at its end, restores a one-member data directory of its
// own name and token below scratch, opens that as etcd does, and compares
// revision and number of keys with those of the file. Everything it makes in
// scratch is removed; it takes about the size of the snapshot there and 64 MiB.
//
// Snapshots of 3.5, 3.6 and 3.7 are restored alike, by the library of 3.7.
// Errors: fleet.Invalid when the snapshot is damaged, cut off or empty;
// fleet.NotFound when there is none; fleet.Unavailable or fleet.Denied when
// scratch cannot be used.
func VerifySnapshot(ctx context.Context, path, scratch string) (SnapshotFacts, error) {
	resource := "snapshot " + filepath.Base(path)
	size, err := checkSum(ctx, path, resource)
	if err != nil {
		return SnapshotFacts{}, err
	}
	dir, err := os.MkdirTemp(scratch, "verify-")
	if err != nil {
		return SnapshotFacts{}, explainDisk("scratch directory of "+resource, err)
	}
	facts, err := restore(ctx, path, filepath.Join(dir, "data"), resource)
	if left := os.RemoveAll(dir); left != nil && err == nil {
		err = explainDisk("scratch directory of "+resource, left)
	}
	if err != nil {
		return SnapshotFacts{}, err
	}
	facts.Size = fleet.Bytes(size)
	return facts, nil
}

// checkSum compares the SHA-256 that a member put at the end.
func checkSum(ctx context.Context, path, resource string) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fleet.Errorf(fleet.NotFound, resource, "there is no such file: %w", err)
	} else if err != nil {
		return 0, explainDisk(resource, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return 0, explainDisk(resource, err)
	}
	size := info.Size()
	switch {
	case size == 0:
		return 0, damaged(resource, "it is empty")
	case size%pageSize != sha256.Size:
		return 0, damaged(resource, "it does not end with a checksum: it was cut off, or is a copy of a member's file and no snapshot")
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, &interruptible{ctx, io.LimitReader(f, size-sha256.Size)}); err != nil {
		if ctx.Err() != nil {
			return 0, explain(resource, ctx.Err())
		}
		return 0, explainDisk(resource, err)
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, want); err != nil {
		return 0, explainDisk(resource, err)
	}
	if !bytes.Equal(want, hash.Sum(nil)) {
		return 0, damaged(resource, fmt.Sprintf("its checksum is %x and should be %x", hash.Sum(nil), want))
	}
	return size, nil
}

// restore makes a data directory from the snapshot and reads it back.
func restore(ctx context.Context, path, dir, resource string) (facts SnapshotFacts, err error) {
	// bbolt and etcd panic at a file that does not hang together, and reading a
	// mapped page that is not there is a fault that ends the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			facts, err = SnapshotFacts{}, damaged(resource, fmt.Sprintf("etcd cannot read it: %v", r))
		}
	}()
	const name, peer = "flotilla-verify", "http://127.0.0.1:1" // nobody ever listens there: it is not started
	manager := snapshot.NewV3(zap.NewNop())
	if err := walk(ctx, path); err != nil {
		if ctx.Err() != nil {
			return SnapshotFacts{}, explain(resource, ctx.Err())
		}
		return SnapshotFacts{}, damaged(resource, err.Error())
	}
	source, err := manager.Status(path)
	if err != nil {
		return SnapshotFacts{}, damaged(resource, err.Error())
	}
	if err := ctx.Err(); err != nil {
		return SnapshotFacts{}, explain(resource, err)
	}
	err = manager.Restore(snapshot.RestoreConfig{
		SnapshotPath: path, OutputDataDir: dir,
		Name: name, PeerURLs: []string{peer}, InitialCluster: name + "=" + peer,
		InitialClusterToken: filepath.Base(filepath.Dir(dir)),
	})
	var disk *fs.PathError
	switch {
	case errors.As(err, &disk):
		return SnapshotFacts{}, explainDisk("scratch directory of "+resource, err)
	case err != nil:
		return SnapshotFacts{}, damaged(resource, "etcd cannot restore it: "+err.Error())
	}
	if err := ctx.Err(); err != nil {
		return SnapshotFacts{}, explain(resource, err)
	}
	facts, err = read(ctx, filepath.Join(dir, "member", "snap", "db"))
	switch {
	case err != nil:
		return SnapshotFacts{}, damaged(resource, "what was restored cannot be read: "+err.Error())
	// The revision of an empty store is 1, though nothing in the file has it.
	case facts.Revision != max(source.Revision, 1) || facts.Keys+facts.bump != source.TotalKey:
		return SnapshotFacts{}, damaged(resource, fmt.Sprintf("it holds %d keys at revision %d, but %d keys at revision %d were restored",
			source.TotalKey, source.Revision, facts.Keys, facts.Revision))
	}
	return facts, nil
}

// walk visits every page of the file. A member whose own file is damaged sends
// it with a checksum that is right, and bbolt's check of such a file panics in a
// goroutine that nobody can recover; here it panics in ours.
func walk(ctx context.Context, path string) error {
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	return db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return ctx.Err() })
		})
	})
}

// read opens a store the way a member does when it starts. It is thrown away afterwards,
// so nothing waits until it is on a disk.
func read(ctx context.Context, db string) (SnapshotFacts, error) {
	config := backend.DefaultBackendConfig(panicking())
	config.Path, config.UnsafeNoFsync = db, true
	be := backend.New(config)
	store := mvcc.NewStore(panicking(), be, &lease.FakeLessor{}, mvcc.StoreConfig{})
	defer func() {
		_ = store.Close() // both are thrown away with what they hold
		_ = be.Close()
	}()
	return factsOf(ctx, store)
}

func factsOf(ctx context.Context, store mvcc.KV) (SnapshotFacts, error) {
	hash, revision, err := store.HashStorage().HashByRev(0)
	if err != nil {
		return SnapshotFacts{}, fmt.Errorf("no hash: %w", err)
	}
	tx := store.Read(mvcc.ConcurrentReadTxMode, traceutil.TODO())
	defer tx.End()
	all, err := tx.Range(ctx, []byte{0}, []byte{}, mvcc.RangeOptions{CountOnly: true})
	if err != nil {
		return SnapshotFacts{}, fmt.Errorf("no keys: %w", err)
	}
	unnamed, err := tx.Range(ctx, []byte{}, nil, mvcc.RangeOptions{CountOnly: true})
	if err != nil {
		return SnapshotFacts{}, fmt.Errorf("no keys: %w", err)
	}
	return SnapshotFacts{
		Revision: revision, Compacted: max(0, hash.CompactRevision), Keys: all.Count, Hash: hash.Hash, bump: unnamed.Count,
	}, nil
}

func damaged(resource, why string) error {
	return fleet.Errorf(fleet.Invalid, resource, "it is damaged and cannot be restored: %s", why).
		WithRemedy("take another snapshot, or use an older one")
}

// explainDisk is for errors of the file system beside the snapshot.
func explainDisk(resource string, err error) error {
	kind := fleet.Unavailable
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || full(err) {
		kind = fleet.Denied
	}
	return fleet.Errorf(kind, resource, "%w", err).WithRemedy("let the worker have a scratch directory with room for the whole snapshot")
}

// interruptible is a reader that ends with a context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
