package etcdadmin

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"google.golang.org/protobuf/proto"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Store is the database of a snapshot, opened as a member opens it and driven by etcd's
// own code, while no member runs on it: changes can be made to it revision by revision.
//
// On a running member the same would not come out the same: leases would expire while
// they are replayed and use revisions of their own, a transaction has at most
// --max-txn-ops, and no request can ask for all orders of changes that etcd makes.
// Here no lease expires, because nobody is the leader, and a revision is what was told.
type Store struct {
	path     string
	resource string
	be       backend.Backend
	lessor   lease.Lessor
	kv       mvcc.KV
}

// OpenStore opens the database of a snapshot, without the checksum behind it, to change
// it. Memory: etcd's index of the keys, about 100 bytes and the key for each of them, and up to
// 10,000 values while it is made. Errors: fleet.Invalid when etcd cannot read it.
func OpenStore(ctx context.Context, path string) (s *Store, err error) {
	s = &Store{path: path, resource: "database " + path}
	defer s.guard(&err)()
	if err := walk(ctx, path); err != nil {
		if ctx.Err() != nil {
			return nil, explain(s.resource, ctx.Err())
		}
		return nil, damaged(s.resource, err.Error())
	}
	config := backend.DefaultBackendConfig(panicking())
	// What breaks half way is thrown away; Close sees to it that the whole is on the disk.
	config.Path, config.UnsafeNoFsync = path, true
	s.be = backend.New(config)
	s.lessor = lease.NewLessor(panicking(), s.be, nil, lease.LessorConfig{})
	s.kv = mvcc.NewStore(panicking(), s.be, s.lessor, mvcc.StoreConfig{})
	return s, nil
}

// guard turns what etcd's code does with a file that does not hang together, panics and
// faults, into an error.
func (s *Store) guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			*err = damaged(s.resource, fmt.Sprintf("etcd cannot go on with it: %v", r))
		}
	}
}

// Revision is the store's last.
func (s *Store) Revision() int64 { return s.kv.Rev() }

// Apply makes the changes of one revision, which must be the next, and compares what
// came of each with what it was: create revision, version, lease. granted gives the time
// that a lease was granted for, which a key is put with. Errors: fleet.Conflict when
// it does not come out the same; then the store must not be used.
func (s *Store) Apply(revision int64, events []*mvccpb.Event, granted func(lease int64) time.Duration) (err error) {
	if next := s.Revision() + 1; revision != next {
		return fleet.Errorf(fleet.Conflict, s.resource, "revision %d cannot follow: the next is %d", revision, next)
	}
	defer s.guard(&err)()
	for _, e := range events {
		if id := e.GetKv().GetLease(); id != 0 {
			if err := s.grant(lease.LeaseID(id), granted(id)); err != nil {
				return err
			}
		}
	}
	txn := s.kv.Write(traceutil.TODO())
	defer txn.End()
	for i, e := range events {
		kv := e.GetKv()
		want := kv
		if e.GetType() == mvccpb.Event_DELETE {
			want = &mvccpb.KeyValue{Key: kv.GetKey()}
			txn.DeleteRange(kv.GetKey(), nil)
		} else {
			txn.Put(kv.GetKey(), kv.GetValue(), lease.LeaseID(kv.GetLease()))
		}
		changes := txn.Changes()
		if len(changes) != i+1 || !same(changes[i], want) {
			return fleet.Errorf(fleet.Conflict, s.resource, "revision %d does not come out as it was: the change of key %q is another one", revision, kv.GetKey())
		}
	}
	if len(events) == 0 {
		return fleet.Errorf(fleet.Conflict, s.resource, "revision %d changes nothing, which none does", revision)
	}
	return nil
}

func same(got, want *mvccpb.KeyValue) bool {
	return bytes.Equal(got.GetKey(), want.GetKey()) && bytes.Equal(got.GetValue(), want.GetValue()) &&
		got.GetCreateRevision() == want.GetCreateRevision() && got.GetModRevision() == want.GetModRevision() &&
		got.GetVersion() == want.GetVersion() && got.GetLease() == want.GetLease() && proto.Size(got) == proto.Size(want)
}

// grant sees to it that there is a lease. One of the same ID that holds no key any more
// and was granted for another time is the one before it.
func (s *Store) grant(id lease.LeaseID, ttl time.Duration) error {
	seconds := int64(ttl / time.Second)
	if old := s.lessor.Lookup(id); old != nil {
		if seconds == 0 || old.TTL() == seconds || len(old.Keys()) > 0 {
			return nil
		}
		if err := s.lessor.Revoke(id); err != nil {
			return fleet.Errorf(fleet.Conflict, s.resource, "lease %x: %w", int64(id), err)
		}
	}
	if _, err := s.lessor.Grant(id, seconds); err != nil {
		return fleet.Errorf(fleet.Conflict, s.resource, "lease %x: %w", int64(id), err)
	}
	return nil
}

// Keys gives the keys of a range from one key up to another one, at most so many, in
// order; where there are as many, there may be more. Errors: fleet.Invalid when etcd cannot read them.
func (s *Store) Keys(ctx context.Context, from, end []byte, limit int64) (page Page, err error) {
	defer s.guard(&err)()
	txn := s.kv.Read(mvcc.ConcurrentReadTxMode, traceutil.TODO())
	defer txn.End()
	found, err := txn.Range(ctx, from, end, mvcc.RangeOptions{Limit: limit})
	if err != nil {
		return page, damaged(s.resource, err.Error())
	}
	return Page{Keys: found.KVs, More: int64(len(found.KVs)) == limit, Revision: found.Rev}, nil
}

// LeaseTTL gives the time that a lease was granted for; zero when there is none.
func (s *Store) LeaseTTL(id int64) time.Duration {
	if l := s.lessor.Lookup(lease.LeaseID(id)); l != nil {
		return time.Duration(l.TTL()) * time.Second
	}
	return 0
}

// Compact removes history as a compaction of the cluster does, and waits until it is gone.
func (s *Store) Compact(ctx context.Context, revision int64) (err error) {
	defer s.guard(&err)()
	done, err := s.kv.Compact(traceutil.TODO(), revision)
	if err != nil {
		return fleet.Errorf(fleet.Conflict, s.resource, "cannot be compacted at revision %d: %w", revision, err)
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return explain(s.resource, ctx.Err())
	}
}

// Facts says what it holds.
func (s *Store) Facts(ctx context.Context) (facts SnapshotFacts, err error) {
	defer s.guard(&err)()
	facts, err = factsOf(ctx, s.kv)
	if err != nil {
		return facts, damaged(s.resource, err.Error())
	}
	return facts, nil
}

// Close writes what is left to be written, and has all of it on the disk.
func (s *Store) Close() (err error) {
	defer s.guard(&err)()
	s.kv.Commit()
	s.lessor.Stop()
	if err := s.kv.Close(); err != nil {
		return explainDisk(s.resource, err)
	}
	if err := s.be.Close(); err != nil {
		return explainDisk(s.resource, err)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return explainDisk(s.resource, err)
	}
	err = f.Sync()
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return explainDisk(s.resource, err)
	}
	return nil
}
