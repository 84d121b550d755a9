package datadir

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap"
	"go.etcd.io/etcd/server/v3/etcdserver/cindex"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/protobuf/proto"
)

// NewCluster says whose first data a snapshot becomes.
type NewCluster struct {
	Member  string // whose data directory it is; it is in Initial
	URL     string // its peer URL
	Initial string // as of etcd's --initial-cluster
	Token   string // as of --initial-cluster-token
	// Bump moves the revision on by so much, and marks history up to there as compacted; zero leaves both.
	Bump int64
}

// StorePath is where the store is in a data directory.
func StorePath(dir string) string { return filepath.Join(dir, "member", "snap", "db") }

// Restore makes the data directory of a member of a new cluster around a snapshot, which is at
// StorePath in it, without the sum behind it. It does what `etcdutl snapshot restore` of 3.7 does
// (etcdutl/snapshot, v3Manager.Restore), step by step and by the same functions of etcd, whose
// data 3.5 and 3.6 serve alike; but on the file itself, which etcdutl copies and sums first, and
// in one transaction, where etcdutl opens the store four times: each of that reads all of it.
//
// It gives the revision and the last compaction of the snapshot, for ExamineFrom. Nothing of what
// it writes into the store is synced. What it leaves after an error is to be removed. Errors:
// ErrDamaged when etcd cannot read the store; as of the file system.
func Restore(dir string, c NewCluster) (was State, err error) {
	// bbolt and etcd panic at a file that does not hang together, and a mapped page that
	// cannot be read is a fault that ends the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = damaged("etcd cannot restore it: %v", p)
		}
	}()
	log := zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))
	cluster, err := c.cluster(log)
	if err != nil {
		return was, err
	}
	store := backend.DefaultBackendConfig(log)
	store.Path, store.MmapSize = StorePath(dir), 0 // as large as the file is
	store.UnsafeNoFsync = true
	store.BatchInterval = time.Hour // all at once, at its end
	b := backend.New(store)
	was, err = c.rewrite(log, b, cluster)
	if err == nil {
		err = writeLog(log, dir, cluster, c.Member)
	}
	if closed := b.Close(); err == nil {
		err = closed
	}
	return was, err
}

func (c NewCluster) cluster(log *zap.Logger) (*membership.RaftCluster, error) {
	urls, err := types.NewURLs([]string{c.URL})
	if err != nil {
		return nil, err
	}
	initial, err := types.NewURLsMap(c.Initial)
	if err != nil {
		return nil, err
	}
	as := config.ServerConfig{Logger: log, Name: c.Member, PeerURLs: urls, InitialPeerURLsMap: initial, InitialClusterToken: c.Token}
	if err := as.VerifyBootstrap(); err != nil {
		return nil, err
	}
	return membership.NewClusterFromURLsMap(log, c.Token, initial)
}

// rewrite has the store be the new cluster's, which has applied the entries that add its members.
func (c NewCluster) rewrite(log *zap.Logger, b backend.Backend, cluster *membership.RaftCluster) (was State, err error) {
	members := schema.NewMembershipBackend(log, b)
	if err := members.TrimMembershipFromBackend(); err != nil {
		return was, err
	}
	if was, err = c.bump(b.BatchTx()); err != nil {
		return was, err
	}
	cluster.SetBackend(members)
	for _, m := range cluster.Members() {
		cluster.AddMember(m, true)
	}
	cindex.UpdateConsistentIndexForce(b.BatchTx(), uint64(len(cluster.MemberIDs())), firstTerm)
	return was, nil
}

// bump moves the revision on.
func (c NewCluster) bump(tx backend.BatchTx) (was State, err error) {
	tx.LockOutsideApply()
	defer tx.Unlock()
	finished, _ := mvcc.UnsafeReadFinishedCompact(tx)
	scheduled, _ := mvcc.UnsafeReadScheduledCompact(tx)
	var latest mvcc.Revision
	err = tx.UnsafeForEach(schema.Key, func(at, _ []byte) error {
		if r := mvcc.BytesToRev(at); r.GreaterThan(latest) {
			latest = r
		}
		return nil
	})
	was = State{Compacted: max(finished, scheduled)}
	was.Revision = max(latest.Main, was.Compacted, 1) // as readKeys
	if err != nil || c.Bump == 0 {
		return was, err
	}
	to := mvcc.Revision{Main: latest.Main + c.Bump}
	tx.UnsafePut(schema.Key, mvcc.RevToBytes(to, mvcc.NewRevBytes()), []byte{})
	mvcc.UnsafeSetScheduledCompact(tx, to.Main)
	return was, nil
}

// firstTerm is that of the entries that add the members.
const firstTerm = 1

// writeLog writes the log of a cluster that has its members and nothing else, and a raft snapshot.
func writeLog(log *zap.Logger, dir string, cluster *membership.RaftCluster, member string) error {
	own := cluster.MemberByName(member)
	metadata, err := proto.Marshal(&etcdserverpb.Metadata{NodeID: new(uint64(own.ID)), ClusterID: new(uint64(cluster.ID()))})
	if err != nil {
		return err
	}
	var voters []uint64
	var entries []*raftpb.Entry
	for i, id := range cluster.MemberIDs() {
		said, err := json.Marshal(cluster.Member(id))
		if err != nil {
			return err
		}
		change, err := proto.Marshal(&raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(uint64(id)), Context: said})
		if err != nil {
			return err
		}
		voters = append(voters, uint64(id))
		entries = append(entries, &raftpb.Entry{
			Type: raftpb.EntryConfChange.Enum(), Term: new(uint64(firstTerm)), Index: new(uint64(i + 1)), Data: change,
		})
	}
	at, state := uint64(len(entries)), &raftpb.ConfState{Voters: voters}
	logDir := filepath.Join(dir, "member", "wal")
	if err := fileutil.CreateDirAll(log, logDir); err != nil {
		return err
	}
	w, err := wal.Create(log, logDir, metadata)
	if err != nil {
		return err
	}
	defer w.Close() // what it holds is saved below, or is to be removed
	if err := w.Save(&raftpb.HardState{Term: new(uint64(firstTerm)), Vote: new(voters[0]), Commit: new(at)}, entries); err != nil {
		return err
	}
	raftSnapshot := &raftpb.Snapshot{
		Data:     etcdserver.GetMembershipInfoInV2Format(log, cluster),
		Metadata: &raftpb.SnapshotMetadata{Index: new(at), Term: new(uint64(firstTerm)), ConfState: state},
	}
	if err := snap.New(log, filepath.Dir(StorePath(dir))).SaveSnap(raftSnapshot); err != nil {
		return fmt.Errorf("raft snapshot: %w", err)
	}
	return w.SaveSnapshot(&walpb.Snapshot{Index: new(at), Term: new(uint64(firstTerm)), ConfState: state})
}
