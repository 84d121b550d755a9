package datadir

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/snap/snappb"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// logContent is what the write-ahead log holds.
type logContent struct {
	clusterID, memberID uint64
	first               uint64 // the index of the first entry that is there
	last                fleet.LogPosition
	state               raftpb.HardState
	snapshots           []fleet.LogPosition // that the log says were taken, in order
	changes             []change            // of the membership, in order
	torn                string
}

// change is an entry that changes the membership.
type change struct {
	index uint64
	*raftpb.ConfChange
}

// readLog reads all files of a log. Of an entry that another one took the place of, as
// after a change of leader, the later counts, and what followed the earlier is gone.
func readLog(ctx context.Context, dir string) (*logContent, error) {
	names, err := logFiles(dir)
	if err != nil {
		return nil, err
	}
	c := new(logContent)
	crc := uint32(0)
	for i, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		crc, err = c.readFile(filepath.Join(dir, name), crc, i == len(names)-1)
		if err != nil {
			return nil, err
		}
	}
	if c.last.Index == 0 && len(c.snapshots) == 0 {
		return nil, damaged("there is nothing in it")
	}
	// A log that was begun at a snapshot that a leader sent has no entry before it.
	if n := len(c.snapshots); n > 0 && c.last.Index < c.snapshots[n-1].Index {
		c.last = c.snapshots[n-1]
	}
	return c, nil
}

// logFiles lists a log's files in their order.
func logFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	next := uint64(0)
	for _, e := range entries { // sorted, as their numbers are
		var number, index uint64
		if n, _ := fmt.Sscanf(e.Name(), "%016x-%016x.wal", &number, &index); n != 2 || !strings.HasSuffix(e.Name(), ".wal") {
			continue // prepared and not used yet, or set aside
		}
		if len(names) > 0 && number != next {
			return nil, damaged("file %d of it is missing", next)
		}
		names, next = append(names, e.Name()), number+1
	}
	if len(names) == 0 {
		return nil, damaged("it has no file")
	}
	return names, nil
}

// Unread gives the names of the files of a data directory's log (member/wal) that no start
// from it would read: they end before the raft snapshot of the report, or are prepared for
// what is written next. etcd keeps some hundred MB of them.
func Unread(dir string, r *fleet.DataReport) (files []string, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, "member", "wal"))
	if err != nil {
		return nil, err
	}
	before := ""
	for _, e := range entries { // sorted, as their numbers are
		var number, first uint64
		switch n, _ := fmt.Sscanf(e.Name(), "%016x-%016x.wal", &number, &first); {
		case strings.HasSuffix(e.Name(), ".tmp"):
			files = append(files, e.Name())
		case n != 2 || !strings.HasSuffix(e.Name(), ".wal") || first > r.RaftSnapshot.Index:
		default: // it begins at the snapshot's entry or before, so that the one before it is not read
			if before != "" {
				files = append(files, before)
			}
			before = e.Name()
		}
	}
	return files, nil
}

// readFile reads one file, which goes on from one whose checksum was crc, and gives its own.
func (c *logContent) readFile(path string, crc uint32, isLast bool) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	decoder := wal.NewDecoder(fileutil.NewFileReader(f))
	name := filepath.Base(path)
	for record := new(walpb.Record); ; {
		switch err := decoder.Decode(record); {
		case errors.Is(err, io.EOF):
			if err := c.behind(f, decoder.LastOffset(), isLast); err != nil {
				return 0, err
			}
			return decoder.LastCRC(), nil
		case errors.Is(err, io.ErrUnexpectedEOF) && isLast:
			c.torn = fmt.Sprintf("%s ends within a record, at byte %d", name, decoder.LastOffset())
			return decoder.LastCRC(), nil
		case err != nil && isFileError(err):
			return 0, err
		case err != nil:
			return 0, damaged("%s, after byte %d: %v", name, decoder.LastOffset(), err)
		}
		if record.GetType() == wal.CrcType {
			// The first says how the file before ended.
			if so := decoder.LastCRC(); so != 0 && record.GetCrc() != so || so == 0 && crc != 0 && record.GetCrc() != crc {
				return 0, damaged("%s does not go on where the file before it ends", name)
			}
			decoder.UpdateCRC(record.GetCrc())
			continue
		}
		if err := c.take(record); err != nil {
			return 0, damaged("%s, before byte %d: %v", name, decoder.LastOffset(), err)
		}
	}
}

// behind looks at what follows the last record: nothing, or space that was allocated
// beforehand. A write that was cut off may have left the end of a record there, without
// its beginning.
func (c *logContent) behind(f *os.File, end int64, isLast bool) error {
	if _, err := f.Seek(end, io.SeekStart); err != nil {
		return err
	}
	page := make([]byte, 64<<10)
	for at := end; ; {
		n, err := f.Read(page)
		if bytes.Count(page[:n], []byte{0}) < n {
			if !isLast {
				return damaged("%s has no record at byte %d, and something behind", filepath.Base(f.Name()), end)
			}
			c.torn = fmt.Sprintf("%s has no record at byte %d, and something behind", filepath.Base(f.Name()), end)
			return nil
		}
		if at += int64(n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func isFileError(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// take notes what one record says.
func (c *logContent) take(record *walpb.Record) error {
	switch record.GetType() {
	case wal.MetadataType:
		var m etcdserverpb.Metadata
		if err := proto.Unmarshal(record.GetData(), &m); err != nil {
			return err
		}
		if c.memberID != 0 && (c.clusterID != m.GetClusterID() || c.memberID != m.GetNodeID()) {
			return fmt.Errorf("it is of member %x of cluster %x, and what is before of member %x of cluster %x",
				m.GetNodeID(), m.GetClusterID(), c.memberID, c.clusterID)
		}
		c.clusterID, c.memberID = m.GetClusterID(), m.GetNodeID()
	case wal.StateType:
		c.state.Reset()
		return proto.Unmarshal(record.GetData(), &c.state)
	case wal.SnapshotType:
		var s walpb.Snapshot
		if err := proto.Unmarshal(record.GetData(), &s); err != nil {
			return err
		}
		c.snapshots = append(c.snapshots, fleet.LogPosition{Term: s.GetTerm(), Index: s.GetIndex()})
	case wal.EntryType:
		e, err := entryOf(record.GetData())
		if err != nil {
			return err
		}
		return c.entry(e)
	default:
		return fmt.Errorf("there is no record of type %d", record.GetType())
	}
	return nil
}

// entryOf decodes an entry in place: what it carries is most of the log, and decoding would
// copy it.
func entryOf(stored []byte) (*raftpb.Entry, error) {
	const kindField, termField, indexField, dataField = 1, 2, 3, 4 // of raft.proto
	e := new(raftpb.Entry)
	for len(stored) > 0 {
		field, kind, n := protowire.ConsumeTag(stored)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		value := stored[n:]
		if n = protowire.ConsumeFieldValue(field, kind, value); n < 0 {
			return nil, protowire.ParseError(n)
		}
		number, _ := protowire.ConsumeVarint(value)
		switch {
		case field == kindField && kind == protowire.VarintType:
			e.Type = raftpb.EntryType(number).Enum()
		case field == termField && kind == protowire.VarintType:
			e.Term = &number
		case field == indexField && kind == protowire.VarintType:
			e.Index = &number
		case field == dataField && kind == protowire.BytesType:
			e.Data, _ = protowire.ConsumeBytes(value)
		}
		stored = value[n:]
	}
	return e, nil
}

func (c *logContent) entry(e *raftpb.Entry) error {
	received := slices.ContainsFunc(c.snapshots, func(s fleet.LogPosition) bool { return e.GetIndex() == s.Index+1 })
	switch {
	case c.first == 0:
		c.first = e.GetIndex()
	case e.GetIndex() > c.last.Index+1 && received:
		c.first = e.GetIndex() // after a snapshot that the leader sent, which it jumped to
	case e.GetIndex() > c.last.Index+1:
		return fmt.Errorf("entry %d follows entry %d", e.GetIndex(), c.last.Index)
	}
	c.last = fleet.LogPosition{Term: e.GetTerm(), Index: e.GetIndex()}
	c.changes = slices.DeleteFunc(c.changes, func(old change) bool { return old.index >= e.GetIndex() })
	if e.GetType() != raftpb.EntryConfChange {
		return nil
	}
	next := change{index: e.GetIndex(), ConfChange: new(raftpb.ConfChange)}
	if err := proto.Unmarshal(e.GetData(), next.ConfChange); err != nil {
		return fmt.Errorf("entry %d: %w", e.GetIndex(), err)
	}
	c.changes = append(c.changes, next)
	return nil
}

func (c *logContent) report(r *fleet.DataReport) {
	r.ClusterID, r.MemberID = types.ID(c.clusterID).String(), types.ID(c.memberID).String()
	r.Last, r.Torn = c.last, c.torn
	r.Commit, r.HardTerm = c.state.GetCommit(), c.state.GetTerm()
}

// membership gives the members at the end of the log, from those that the store had
// after entry applied.
func (c *logContent) membership(members []fleet.DataMember, applied uint64) []fleet.DataMember {
	for _, change := range c.changes {
		if change.index <= applied {
			continue
		}
		id := types.ID(change.GetNodeId()).String()
		at := slices.IndexFunc(members, func(m fleet.DataMember) bool { return m.ID == id })
		now := fleet.DataMember{ID: id}
		if at >= 0 {
			now = members[at]
			members = slices.Delete(members, at, at+1)
		}
		var said storedMember
		_ = json.Unmarshal(change.GetContext(), &said) // etcd's own; without it, the type says enough
		switch change.GetType() {
		case raftpb.ConfChangeRemoveNode:
			continue
		case raftpb.ConfChangeAddLearnerNode:
			now.Learner = true
		case raftpb.ConfChangeAddNode:
			now.Learner = false
		}
		if len(said.PeerURLs) > 0 {
			now.Peers = said.PeerURLs
		}
		if said.Name != "" {
			now.Name = said.Name
		}
		members = append(members, now)
	}
	slices.SortFunc(members, func(a, b fleet.DataMember) int { return strings.Compare(a.ID, b.ID) })
	return members
}

// startingPoint gives the raft snapshot that a start would take: the newest that the log
// says was taken and that its own commit covers. Until 3.6, etcd reads it from a file
// beside the store too, and takes an older one where that is damaged.
func startingPoint(c *logContent, snapDir, storageVersion string) (fleet.LogPosition, error) {
	from := fleet.LogPosition{}
	for _, s := range slices.Backward(c.snapshots) {
		if s.Index > c.state.GetCommit() {
			continue
		}
		if s.Index > 0 && !atLeast37(storageVersion) {
			whole, err := wholeSnapshot(filepath.Join(snapDir, fmt.Sprintf("%016x-%016x.snap", s.Term, s.Index)))
			if err != nil {
				return from, err
			}
			if !whole {
				continue
			}
		}
		from = s
		break
	}
	if c.first > from.Index+1 {
		return from, damaged("its log begins with entry %d, and the newest whole raft snapshot is of entry %d", c.first, from.Index)
	}
	return from, nil
}

func atLeast37(storageVersion string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(storageVersion, "%d.%d", &major, &minor)
	return n == 2 && (major > 3 || minor >= 7)
}

// wholeSnapshot says whether a raft snapshot's file is there and whole. Its content is
// small: the membership, and what etcd 2 kept.
func wholeSnapshot(path string) (bool, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var s snappb.Snapshot
	if err := proto.Unmarshal(content, &s); err != nil {
		return false, nil
	}
	return len(s.GetData()) > 0 && crc32.Checksum(s.GetData(), crc32.MakeTable(crc32.Castagnoli)) == s.GetCrc(), nil
}
