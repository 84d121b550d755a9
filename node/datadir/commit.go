package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/types"
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
// A learner's log gets one entry more, which gives it its vote: etcd makes no cluster of
// who has none, and panics ("removed all voters", 3.5 to 3.7), because it only removes all
// others. The entry is what a promotion by etcd's own call leaves in a log.
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
	var more []*raftpb.Entry
	if r.Learns() {
		vote, err := promotion(r, last+1)
		if err != nil {
			return errors.Join(err, w.Close())
		}
		more, last = append(more, vote), last+1
	}
	if state.GetCommit() < last {
		state.Commit = proto.Uint64(last)
		err = w.Save(state, more)
	}
	return errors.Join(err, w.Close()) // closing it syncs
}

// promotion is the entry that gives the log's own member its vote, as etcd writes it for
// MemberPromote (membership.ConfigChangeContext with IsPromote).
func promotion(r *fleet.DataReport, index uint64) (*raftpb.Entry, error) {
	id, err := types.IDFromString(r.MemberID)
	if err != nil {
		return nil, err
	}
	said, err := json.Marshal(struct {
		ID        types.ID `json:"id"`
		IsPromote bool     `json:"isPromote"`
	}{id, true})
	if err != nil {
		return nil, err
	}
	change, err := proto.Marshal(&raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: proto.Uint64(uint64(id)), Context: said})
	if err != nil {
		return nil, err
	}
	return &raftpb.Entry{Type: raftpb.EntryConfChange.Enum(), Term: proto.Uint64(r.Last.Term), Index: proto.Uint64(index), Data: change}, nil
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
