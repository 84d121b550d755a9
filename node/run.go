package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
// minor may still have written while it ended is before MinorSince: the process has
// been replaced by now, and a raft snapshot that a fast clock dates later, puts
// MinorSince off to its own time.
func (n *Node) ranAsAsked(m member) error {
	last, err := n.lastRun(m)
	if err != nil {
		return err
	}
	now := run{MemberConfig: m.Start.config()}
	if last != nil && fleet.Minor(last.Version) == fleet.Minor(now.Version) {
		now.MinorSince = last.MinorSince
	} else {
		now.MinorSince = n.Now().UTC()
		if newest := n.newestRaftSnapshot(m); newest.After(now.MinorSince) {
			now.MinorSince = newest
		}
	}
	if last != nil && *last == now {
		return nil
	}
	return onHost("data of "+resourceOf(m.Member), durable.WriteJSON(m.runFile(n), now, 0o644))
}

func (r StartRequest) config() fleet.MemberConfig {
	return fleet.MemberConfig{Version: r.Version, Settings: r.Settings, Generation: r.Generation, AnyPeer: r.PeerCN == ""}
}

// newestRaftSnapshot gives when a member wrote its newest raft snapshot; zero if it
// has none.
func (n *Node) newestRaftSnapshot(m member) time.Time {
	var newest time.Time
	files, _ := filepath.Glob(filepath.Join(m.dataDir(n), "member/snap/*.snap"))
	for _, file := range files {
		// What etcd purges meanwhile is not the newest.
		if info, err := os.Stat(file); err == nil && info.ModTime().After(newest) {
			newest = info.ModTime().UTC()
		}
	}
	return newest
}

// begun says whether etcd has begun to keep a member's data: from its first log
// file on it takes its membership from there, and not from how it is started.
func (n *Node) begun(m member) bool {
	logs, _ := filepath.Glob(filepath.Join(m.dataDir(n), "member/wal/*.wal"))
	return len(logs) > 0
}
