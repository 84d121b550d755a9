// Package model is a small world of hosts, disks and members: what each step of
// an operation does to it, effect by effect. The planner plays forecasts on it,
// and the property tests crash it between and inside steps, break it, and judge
// the planner by what is true in it.
//
// It models what decisions depend on and nothing else: no time but what is young
// and what is not, no bytes but sizes.
package model

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// World is the state that steps change.
type World struct {
	hosts     map[string]*fleet.Host // by ID
	disks     map[string]*fleet.Disk // by ID
	tokens    map[string]purchase    // by token
	nodes     map[string]*node       // by host ID
	authority bool
	members   map[string]*member // etcd's membership, by name; empty before it formed
	stores    map[string]*store  // by the ID of the disk that it is on
	snapshot  *fleet.Snapshot    // the last one that was verified
	backup    *fleet.Backup      // the one of the operation that runs
	expired   []string           // older ones that no rule keeps
	revision  int64
	soldOut   map[string]bool // by zone
	down      map[string]bool // by zone
	bought    int
	ids       uint64 // of members; etcd gives none twice
	slow      bool   // members take their time to serve
	starting  bool   // some member is taking it
	clock     int64  // goes up with all that is written down with its time
	leader    string
	minor     string // that the cluster as a whole works at: the lowest of its members
	downgrade string // the minor that etcd lowers its storage for
	trust     fleet.Trust
	extended  bool            // there was a second authority once
	bad       map[string]bool // releases whose members never serve
	candid    bool            // hosts say that members are ready only where a quorum serves
	lost      bool            // a recovery lost what was acknowledged
	// retypes are the categories that disks become where they are.
	retypes []string
	// copies are copies of disks, and copied is how many were ever taken.
	copies []fleet.DiskSnapshot
	copied int
	// seen is what was looked at on disks, in a forecast.
	seen []fleet.DataReport
	// stored is what there is to recover from beside the disks.
	stored *fleet.Stored
}

// Retyping has disks that are bought from now on become any of these categories where they are.
func (w *World) Retyping(categories ...string) *World {
	w.retypes = categories
	return w
}

// purchase is what a token stands for: the cloud gives it again, also when it has
// ended since, and refuses the token for anything else.
type purchase struct{ id, request string }

// member is an entry of etcd's membership.
type member struct {
	id      uint64
	peer    string // its peer URL
	learner bool
	named   bool // it was started: etcd lists no name before that
	behind  bool // it does not have yet what the others have
	stuck   bool // and will not get it
	young   bool // it has not been healthy for as long as a policy asks
	// foreign is the release of it that something else runs; empty when nothing does.
	foreign string
	// epoch is the token of the restore that made it; empty for a member of before.
	epoch string
}

// store is a member's data directory.
type store struct {
	member string // whose it is
	under  string // the membership that it was first started under
	id     uint64 // that member in etcd's membership; zero before there was one
	size   fleet.Bytes
	// oldest is the oldest minor whose entries are in its log, and schema the minor
	// that its data has the form of.
	oldest, schema string
	spoiled        bool // no process can open it
	learner        bool // its member was one when it was removed
	fresh          bool // it was made from a backup, and never served
}

// node is what the host side knows.
type node struct {
	releases map[string]bool
	members  map[string]*fleet.MemberReport
	trusts   []string // what the process on it trusts; nil when that was not seen
	silent   bool     // neither it nor what runs on it answers us; it may well run
	cut      bool     // nor does what runs on it reach its peers
}

// Slow makes members serve only once they were waited for, as they do where
// there is a clock. Without it they serve at once.
func (w *World) Slow() *World {
	w.slow = true
	return w
}

// Candid has hosts say of a member that it is ready only where a quorum serves, as etcd's
// readyz does.
func (w *World) Candid() { w.candid = true }

// New gives an empty world.
func New() *World {
	return &World{
		hosts: map[string]*fleet.Host{}, disks: map[string]*fleet.Disk{}, tokens: map[string]purchase{},
		nodes: map[string]*node{}, members: map[string]*member{}, stores: map[string]*store{}, soldOut: map[string]bool{},
		down: map[string]bool{}, trust: fleet.Trust{Signer: "ca-1"}, bad: map[string]bool{},
	}
}

func newNode() *node {
	return &node{releases: map[string]bool{}, members: map[string]*fleet.MemberReport{}}
}

// Serving says that all members answer.
func (w *World) Serving() bool {
	for name := range w.members {
		if !w.answers(name) {
			return false
		}
	}
	return len(w.members) > 0
}

// Names are the members in etcd's membership.
func (w *World) Names() []string { return slices.Sorted(maps.Keys(w.members)) }

// Members counts them.
func (w *World) Members() int { return len(w.members) }

// Member says whether there is one of a name, and Voter and Learner whether it votes.
func (w *World) Member(name string) bool { return w.members[name] != nil }

// Voter says whether a member has a vote.
func (w *World) Voter(name string) bool { m := w.members[name]; return m != nil && !m.learner }

// Learner says whether a member has none.
func (w *World) Learner(name string) bool { m := w.members[name]; return m != nil && m.learner }

// MemberID is etcd's ID of a member, and zero when it is none.
func (w *World) MemberID(name string) uint64 {
	if m := w.members[name]; m != nil {
		return m.id
	}
	return 0
}

// Up says that a member serves: its process runs and reaches its peers.
func (w *World) Up(name string) bool { return w.up(name) }

// Healthy says that it serves and has what the others have, and Settled that it has
// done so for as long as a policy asks.
func (w *World) Healthy(name string) bool {
	m := w.members[name]
	return m != nil && w.up(name) && !m.behind
}

// Settled says that a member has been healthy for as long as a policy asks.
func (w *World) Settled(name string) bool { return w.Healthy(name) && !w.members[name].young }

// Behind says that a member lacks what the others have.
func (w *World) Behind(name string) bool { m := w.members[name]; return m != nil && m.behind }

// Counts gives the voters, those of them that are healthy, and the learners.
func (w *World) Counts() (voters, healthy, learners int) {
	for name, m := range w.members {
		switch {
		case m.learner:
			learners++
		case w.Healthy(name):
			healthy++
			voters++
		default:
			voters++
		}
	}
	return voters, healthy, learners
}

// Quorum says that so many voters serve that the cluster does.
func (w *World) Quorum() bool { return w.quorum(w.up) }

// Running says that a member's process runs, whether it serves or not.
func (w *World) Running(name string) bool {
	_, _, report := w.process(name)
	return report != nil && w.runs(name)
}

// CanServe says that a member has all that it needs to serve again, once its host and
// process are started: its host, where its peers look for it, and its data on a disk
// that is attached there.
func (w *World) CanServe(name string) bool {
	h, _, _ := w.process(name)
	s, m := w.storeOf(name), w.members[name]
	return m != nil && s != nil && !s.spoiled && s.id == m.id && m.peer == peerURL(*h)
}

// Configured is how a member is to run, as its host has it.
func (w *World) Configured(name string) (fleet.MemberConfig, bool) {
	if _, _, report := w.process(name); report != nil && report.Configured != nil {
		return *report.Configured, true
	}
	return fleet.MemberConfig{}, false
}

// Write has a client write something; it needs a quorum. Who is away lacks it.
func (w *World) Write() {
	if !w.quorum(w.up) {
		return
	}
	w.revision++
	for name, m := range w.members {
		m.behind = m.behind || m.stuck || !w.up(name)
	}
}

// Saved says that the last verified snapshot holds all that was written.
func (w *World) Saved() bool { return w.snapshot != nil && w.snapshot.Revision == w.revision }

// Snapshot is the last one that was verified, or nil.
func (w *World) Snapshot() *fleet.Snapshot { return w.snapshot }

// Trust are the cluster's authorities.
func (w *World) Trust() fleet.Trust { return w.trust }

// Minor is the version that the cluster as a whole works at.
func (w *World) Minor() string { return w.minor }

// HostsOf gives the IDs of the hosts that were bought for a member and are not
// ending.
func (w *World) HostsOf(member string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(w.hosts)) {
		if h := w.hosts[id]; h.Member() == member && h.State != fleet.HostTerminating {
			ids = append(ids, id)
		}
	}
	return ids
}

// DisksOf gives the IDs of the disks that were bought for a member and are there.
func (w *World) DisksOf(member string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(w.disks)) {
		if w.disks[id].Member() == member {
			ids = append(ids, id)
		}
	}
	return ids
}

// HoldsData gives the membership that a member was started under on a disk, or
// "" when none was.
func (w *World) HoldsData(diskID string) string {
	if s := w.stores[diskID]; s != nil {
		return s.under
	}
	return ""
}

// Owner gives whose data is on a disk: a member, and its ID in etcd's membership,
// which is zero before there was one.
func (w *World) Owner(diskID string) (member string, id uint64) {
	if s := w.stores[diskID]; s != nil {
		return s.member, s.id
	}
	return "", 0
}

// Formed says that a quorum of the voters was started once: something may have
// been written.
func (w *World) Formed() bool { return len(w.members) > 0 }

// Empty says that nothing is left.
func (w *World) Empty() bool { return len(w.hosts)+len(w.disks)+len(w.copies) == 0 && !w.authority }

// now is another time at each call.
func (w *World) now() time.Time {
	w.clock++
	return time.Unix(w.clock, 0)
}

func (w *World) id(prefix string) string {
	for {
		w.bought++
		id := fmt.Sprintf("%s-%03d", prefix, w.bought)
		if w.hosts[id] == nil && w.disks[id] == nil { // an observed world has IDs of its own
			return id
		}
	}
}

func peerURL(h fleet.Host) string {
	return fleet.Endpoint{Address: h.Address, PeerPort: h.Ports.First + 1}.PeerURL()
}

func hostRequest(zone, machine string) string { return zone + " " + machine }

func diskRequest(zone string, size fleet.Bytes) string { return zone + " " + size.String() }
