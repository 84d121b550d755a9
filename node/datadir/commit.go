package datadir

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// CommitAll has a log say that all of its entries are committed, so that a member that is
// made a cluster of one (etcd's --force-new-cluster) keeps them: it drops what is not
// committed, and a member that followed learns late of what its leader has acknowledged.
// An entry that was never committed becomes so. That is allowed: its client was told
// neither that it was nor that it was not.
//
// It writes into the directory, so it is for copies. The report is of that directory; a
// log that ends within a record is cut off there, as etcd does at a start. It may be done
// again. Memory: the entries since the last raft snapshot, as in etcd itself.
func CommitAll(dir string, r *fleet.DataReport) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("its log cannot be opened: %v", p)
		}
	}()
	log := filepath.Join(dir, "member", "wal")
	from := &walpb.Snapshot{Index: proto.Uint64(r.RaftSnapshot.Index), Term: proto.Uint64(r.RaftSnapshot.Term)}
	w, state, last, err := openLog(log, from)
	if errors.Is(err, io.ErrUnexpectedEOF) && wal.Repair(zap.NewNop(), log) {
		w, state, last, err = openLog(log, from)
	}
	if err != nil {
		return err
	}
	if last < r.Last.Index {
		return errors.Join(fmt.Errorf("its log ends at entry %d, and ended at %d", last, r.Last.Index), w.Close())
	}
	if state.GetCommit() < last {
		state.Commit = proto.Uint64(last)
		err = w.Save(state, nil)
	}
	return errors.Join(err, w.Close()) // closing it syncs
}

// openLog opens a log for writing, behind its last entry.
func openLog(dir string, from *walpb.Snapshot) (w *wal.WAL, state *raftpb.HardState, last uint64, err error) {
	w, err = wal.Open(zap.NewNop(), dir, from)
	if err != nil {
		return nil, nil, 0, err
	}
	_, state, entries, err := w.ReadAll()
	if err != nil {
		_ = w.Close() // nothing was written
		return nil, nil, 0, err
	}
	last = from.GetIndex()
	if n := len(entries); n > 0 {
		last = entries[n-1].GetIndex()
	}
	return w, state, last, nil
}
