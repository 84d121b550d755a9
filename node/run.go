package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

// A disk may come to another host, which knows nothing of the member whose data is
// on it. So what belongs to the data lies beside it: whose it is (owner.json), and
// how it was run last and since when under that minor (run.json). What belongs to
// the host stays there and is made anew: keys and certificates, and the request that
// the member was started with, whose addresses are the host's.

// run is how a member was last told to run, once that had been carried out: the
// content of run.json on its disk. A start that is killed before leaves the one
// before, so that whoever looks sends it again.
type run struct {
	fleet.MemberConfig
	// MinorSince is when it was first started under this minor.
	MinorSince time.Time `json:"minorSince"`
	// Before are the names of the raft snapshots that were there then, with spaces between
	// them. Whatever is there besides was written under this minor, by whatever clock. nil in
	// the records of releases that did not note them.
	Before *string `json:"snapshotsBefore,omitempty"`
}

func (m member) runFile(n *Node) string { return filepath.Join(m.onDisk(n), "run.json") }

// lastRun gives how a member was run last; nil if it never was.
func (n *Node) lastRun(m member) (*run, error) {
	r := new(run)
	err := durable.ReadJSON(m.runFile(n), r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, onHost("data of "+resourceOf(m.Member), err)
	}
	return r, nil
}

// ranAsAsked notes that a member is now run as its request says. What an older
// minor may still have written while it ended is among the raft snapshots of before: the
// process has been replaced by now.
func (n *Node) ranAsAsked(m member) error {
	last, err := n.lastRun(m)
	if err != nil {
		return err
	}
	now := run{MemberConfig: m.Start.config()}
	if last != nil && fleet.Minor(last.Version) == fleet.Minor(now.Version) {
		now.MinorSince, now.Before = last.MinorSince, last.Before
	} else {
		var names []string
		for _, s := range n.raftSnapshots(m) {
			names = append(names, s.name)
		}
		before := strings.Join(names, " ")
		now.MinorSince, now.Before = n.Now().UTC(), &before
	}
	if last != nil && *last == now {
		return nil
	}
	return onHost("data of "+resourceOf(m.Member), durable.WriteJSON(m.runFile(n), now, 0o644))
}

func (r StartRequest) config() fleet.MemberConfig {
	return fleet.MemberConfig{Version: r.Version, Settings: r.Settings, Generation: r.Generation, AnyPeer: r.PeerCN == ""}
}

// raftSnapshot is a file that says where a start begins to read the log.
type raftSnapshot struct {
	name    string
	index   uint64 // of the last entry that it stands for
	written time.Time
}

// raftSnapshots gives those of a member, in the order of their entries.
func (n *Node) raftSnapshots(m member) (all []raftSnapshot) {
	files, _ := filepath.Glob(filepath.Join(m.dataDir(n), "member/snap/*.snap"))
	for _, file := range files {
		s := raftSnapshot{name: filepath.Base(file)}
		var term uint64
		if k, _ := fmt.Sscanf(s.name, "%016x-%016x.snap", &term, &s.index); k != 2 {
			continue
		}
		if info, err := os.Stat(file); err == nil { // etcd may have purged it meanwhile
			s.written = info.ModTime()
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b raftSnapshot) int { return cmp.Compare(a.index, b.index) })
	return all
}

// since says whether a raft snapshot was written since the member runs this minor. Where
// the record does not say which were there before, the host's own clock has dated both.
func (r *run) since(s raftSnapshot) bool {
	if r.Before == nil {
		return !r.MinorSince.IsZero() && s.written.After(r.MinorSince)
	}
	return !slices.Contains(strings.Fields(*r.Before), s.name)
}

// begun says whether etcd has begun to keep a member's data: from its first log
// file on it takes its membership from there, and not from how it is started.
func (n *Node) begun(m member) bool {
	logs, _ := filepath.Glob(filepath.Join(m.dataDir(n), "member/wal/*.wal"))
	return len(logs) > 0
}
