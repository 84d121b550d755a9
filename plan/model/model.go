// Package model is a small world of hosts, disks and members: what each step of
// an operation does to it, effect by effect. The planner plays forecasts on it,
// and the property tests crash it between and inside steps.
//
// It models what decisions depend on and nothing else: no time, no bytes.
package model

import (
	"cmp"
	"fmt"
	"hash/fnv"
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
	data      map[string]string  // disk ID → the membership that a member was started under on it
	snapshot  *fleet.Snapshot    // the last one that was verified
	revision  int64
	soldOut   map[string]bool // by zone
	bought    int
	slow      bool  // members take their time to serve
	starting  bool  // some member is taking it
	clock     int64 // goes up with all that is written down with its time
	leader    string
	downgrade string // the minor that etcd lowers its storage for
	trust     fleet.Trust
	bad       map[string]bool // releases whose members never serve
}

// purchase is what a token stands for: the cloud gives it again, also when it has
// ended since, and refuses the token for anything else.
type purchase struct{ id, request string }

// member is an entry of etcd's membership.
type member struct {
	peer    string // its peer URL
	learner bool
	named   bool // it was started: etcd lists no name before that
	behind  bool // it does not have yet what the others have
	young   bool // it has not been healthy for as long as a policy asks
	// foreign is the release of it that something else runs; empty when nothing does.
	foreign string
}

// node is what the host side knows.
type node struct {
	releases map[string]bool
	members  map[string]*fleet.MemberReport
	silent   bool // neither it nor what runs on it answers; it may well run
}

// Slow makes members serve only once they were waited for, as they do where
// there is a clock. Without it they serve at once.
func (w *World) Slow() *World {
	w.slow = true
	return w
}

// New gives an empty world.
func New() *World {
	return &World{
		hosts: map[string]*fleet.Host{}, disks: map[string]*fleet.Disk{}, tokens: map[string]purchase{},
		nodes: map[string]*node{}, members: map[string]*member{}, data: map[string]string{}, soldOut: map[string]bool{},
		trust: fleet.Trust{Signer: "ca-1"}, bad: map[string]bool{},
	}
}

// From gives the world that an observation shows. What it could not see is taken
// to be absent: a forecast says what happens if the observation is right.
func From(obs fleet.Observation) *World {
	w := New()
	w.bought = observedIDs
	w.authority = obs.Authority || obs.Secrets
	w.snapshot, w.revision = obs.FinalSnapshot, obs.Revision
	w.leader, w.downgrade = obs.Leader, obs.Downgrade
	if obs.Trust.Signer != "" {
		w.trust = obs.Trust
	}
	peers := map[string]string{} // peer URL → member
	for _, h := range obs.Hosts {
		host := h.Host
		w.hosts[host.ID] = &host
		w.tokens[host.Tags[fleet.TagToken]] = purchase{host.ID, hostRequest(host.Zone, host.Type)}
		peers[peerURL(host)] = host.Member()
		n := newNode()
		if h.Report != nil {
			for _, version := range h.Report.Releases {
				n.releases[version] = true
			}
			for _, m := range h.Report.Members {
				n.members[m.Name] = &m
				w.clock = max(w.clock, m.MinorSince.Unix(), m.RaftSnapshot.Unix())
			}
		} else if m := obs.Member(host.Member()); m != nil && m.Answers {
			n.members[m.Name] = &fleet.MemberReport{Name: m.Name, State: fleet.MemberRunning}
		} else {
			n.silent = host.State == fleet.HostRunning
		}
		if host.State == fleet.HostStopped && len(obs.Members) == 0 { // a stopped cluster, as it was
			n.members[host.Member()] = &fleet.MemberReport{Name: host.Member(), State: fleet.MemberStopped}
			w.members[host.Member()] = &member{peer: peerURL(host), named: true}
		}
		w.nodes[host.ID] = n
	}
	for _, d := range obs.Disks {
		w.disks[d.ID] = &d
		w.tokens[d.Tags[fleet.TagToken]] = purchase{d.ID, diskRequest(d.Zone, d.Size)}
		if len(obs.Members) > 0 {
			w.data[d.ID] = "as observed"
		}
	}
	for _, m := range obs.Members {
		name := m.Name
		for _, url := range m.PeerURLs {
			if name == "" {
				name = peers[url]
			}
		}
		entry := &member{learner: m.Learner, named: m.Name != "", behind: m.Applied+fleet.SyncLag < ahead(obs)}
		if h := obs.Host(name); h != nil {
			report := h.Report.Find(name)
			entry.young = report != nil && report.State == fleet.MemberRunning && time.Duration(report.Up) < old
			if m.Answers && h.Report != nil && (report == nil || report.State == fleet.MemberPrepared) {
				entry.foreign = m.Version
			}
		}
		if len(m.PeerURLs) > 0 {
			entry.peer = m.PeerURLs[0]
		}
		w.members[name] = entry
	}
	return w
}

// observedIDs keeps what is bought in a forecast from having the ID, and so the
// address, of something that is gone.
const observedIDs = 500

func ahead(obs fleet.Observation) (index uint64) {
	for _, m := range obs.Members {
		index = max(index, m.Applied)
	}
	return index
}

// old is for how long a process has run that has been waited for.
const old = time.Hour

func newNode() *node {
	return &node{releases: map[string]bool{}, members: map[string]*fleet.MemberReport{}}
}

// Observe gives what a look at the world would see.
func (w *World) Observe() fleet.Observation {
	obs := fleet.Observation{Authority: w.authority, Secrets: w.authority, FinalSnapshot: w.snapshot, Trust: w.trust, Downgrade: w.downgrade}
	for _, id := range slices.Sorted(maps.Keys(w.hosts)) {
		h := w.hosts[id]
		seen := fleet.ObservedHost{Host: *h}
		switch {
		case h.State != fleet.HostRunning:
			seen.Silent = "it is " + string(h.State)
		case w.nodes[id].silent:
			seen.Silent = "no answer"
		default:
			seen.Report = w.report(id)
		}
		if seen.Report == nil {
			obs.Unknowns = append(obs.Unknowns, "host "+id+" does not answer: "+seen.Silent)
		}
		obs.Hosts = append(obs.Hosts, seen)
	}
	for _, id := range slices.Sorted(maps.Keys(w.disks)) {
		obs.Disks = append(obs.Disks, *w.disks[id])
	}
	if obs.Quorum = !w.starting && w.quorum(w.answers); !obs.Quorum {
		return obs // membership is read from a quorum
	}
	obs.Revision, obs.Leader = w.revision, w.Leader()
	for _, name := range slices.Sorted(maps.Keys(w.members)) {
		m := w.members[name]
		seen := fleet.ObservedMember{
			ID: memberID(name, m), Learner: m.learner, Answers: w.answers(name), PeerURLs: []string{m.peer}, Leader: name == obs.Leader,
		}
		if m.named {
			seen.Name = name
		}
		run := w.configured(name)
		run.Version = cmp.Or(m.foreign, run.Version)
		if seen.Answers {
			seen.Version, seen.Applied, seen.Storage = run.Version, index, w.storage(run.Version)
			if m.behind {
				seen.Applied = 0
			}
		}
		obs.Members = append(obs.Members, seen)
		if !seen.Answers {
			obs.Evidence = append(obs.Evidence, w.evidence(name))
		}
	}
	return obs
}

// index is what members have applied that are in sync.
const index = 100 * fleet.SyncLag

// memberID is as good as etcd's: another one for each time that a member is added.
func memberID(name string, m *member) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name + m.peer))
	return h.Sum64()
}

// Leader gives the member that leads: the one that did as long as it can, then the
// first that can.
func (w *World) Leader() string {
	fit := func(name string) bool { m := w.members[name]; return m != nil && !m.learner && w.up(name) }
	if !w.quorum(w.up) {
		return ""
	}
	if !fit(w.leader) {
		w.leader = ""
		for _, name := range slices.Sorted(maps.Keys(w.members)) {
			if fit(name) && w.leader == "" {
				w.leader = name
			}
		}
	}
	return w.leader
}

// evidence is what witnesses say of a member that does not answer, for long enough.
func (w *World) evidence(name string) fleet.Evidence {
	e := fleet.Evidence{
		Member: name, Cloud: fleet.SaysDead, Host: fleet.SaysUnknown, Peers: fleet.SaysDead, Client: fleet.SaysDead,
		Looks: 5, Over: fleet.Duration(old), Words: "by all witnesses of the model",
	}
	if w.up(name) {
		e.Peers = fleet.SaysAlive
	}
	for id, h := range w.hosts {
		n := w.nodes[id]
		if h.Member() != name || n == nil || h.State != fleet.HostRunning && h.State != fleet.HostPending {
			continue
		}
		e.Cloud = fleet.SaysAlive
		if m := n.members[name]; !n.silent && h.State == fleet.HostRunning && (m == nil || m.State != fleet.MemberRunning) {
			e.Host = fleet.SaysDead
		}
	}
	return e
}

func (w *World) report(hostID string) *fleet.HostReport {
	n := w.nodes[hostID]
	r := &fleet.HostReport{Releases: slices.Sorted(maps.Keys(n.releases))}
	for _, name := range slices.Sorted(maps.Keys(n.members)) {
		m := *n.members[name]
		if entry := w.members[name]; m.State == fleet.MemberRunning {
			m.Up = fleet.Duration(old)
			if entry != nil && entry.young {
				m.Up = 0
			}
		}
		for _, d := range w.disks {
			if d.Member() == name && m.DiskSize == 0 {
				m.DiskSize = d.Size
			}
		}
		r.Members = append(r.Members, m)
	}
	return r
}

// configured is how a member is to run.
func (w *World) configured(name string) fleet.MemberConfig {
	for _, n := range w.nodes {
		if m := n.members[name]; m != nil && m.Configured != nil {
			return *m.Configured
		}
	}
	return fleet.MemberConfig{}
}

// storage is the schema of a member's store: that of its minor, or of an older one
// while etcd has a downgrade enabled.
func (w *World) storage(version string) string {
	if w.downgrade != "" {
		return w.downgrade + ".0"
	}
	if fleet.Minor(version) == "3.5" || version == "" {
		return ""
	}
	return fleet.Minor(version) + ".0"
}

// up says that a member runs where the membership says it is.
func (w *World) up(name string) bool {
	entry := w.members[name]
	for id, n := range w.nodes {
		m, h := n.members[name], w.hosts[id]
		if m != nil && m.State == fleet.MemberRunning && h != nil && h.State == fleet.HostRunning &&
			(m.Configured == nil || !w.bad[m.Configured.Version]) {
			return entry == nil || entry.peer == peerURL(*h)
		}
		if h != nil && h.State == fleet.HostRunning && h.Member() == name && entry != nil && entry.foreign != "" {
			return true
		}
	}
	return false
}

// answers says that a member runs and that its host is not silent.
func (w *World) answers(name string) bool {
	for _, n := range w.nodes {
		if n.members[name] != nil && n.silent {
			return false
		}
	}
	return w.up(name)
}

func (w *World) quorum(of func(member string) bool) bool {
	up, voters := 0, 0
	for name, m := range w.members {
		if m.learner {
			continue
		}
		voters++
		if of(name) {
			up++
		}
	}
	return up > voters/2
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

// healthy says that a member answers and has what the others have.
func (w *World) healthy(name string) bool { return w.answers(name) && !w.members[name].behind }

// Healthy counts the voters, and those of them that run and have what the others have.
func (w *World) Healthy() (healthy, voters int) {
	for name, m := range w.members {
		if m.learner {
			continue
		}
		voters++
		if w.up(name) && !m.behind {
			healthy++
		}
	}
	return healthy, voters
}

// Voter says whether a member has a vote, and Member whether it is one at all.
func (w *World) Voter(name string) bool  { m := w.members[name]; return m != nil && !m.learner }
func (w *World) Member(name string) bool { return w.members[name] != nil }

// Up says that a member's process runs, and Behind that it lacks what the others have.
func (w *World) Up(name string) bool     { return w.up(name) }
func (w *World) Behind(name string) bool { m := w.members[name]; return m != nil && m.behind }

// Learners counts the members without a vote.
func (w *World) Learners() int {
	n := 0
	for _, m := range w.members {
		if m.learner {
			n++
		}
	}
	return n
}

// Bad makes members of a release never serve.
func (w *World) Bad(version string) { w.bad[version] = true }

// Silence sets whether a host and what runs on it give no answer.
func (w *World) Silence(hostID string, silent bool) {
	if n := w.nodes[hostID]; n != nil {
		n.silent = silent
	}
}

// Members counts the members in etcd's membership.
func (w *World) Members() int { return len(w.members) }

// Write has a client write something; it needs a quorum.
func (w *World) Write() {
	if w.quorum(w.up) {
		w.revision++
	}
}

// Saved says that the last verified snapshot holds all that was written.
func (w *World) Saved() bool { return w.snapshot != nil && w.snapshot.Revision == w.revision }

// SoldOut sets whether a zone has no host left to sell.
func (w *World) SoldOut(zone string, soldOut bool) { w.soldOut[zone] = soldOut }

// LoseHost ends a host with all that is on it, as a cloud does now and then. Its
// disks stay.
func (w *World) LoseHost(id string) {
	delete(w.hosts, id)
	delete(w.nodes, id)
	for _, d := range w.disks {
		if d.HostID == id {
			d.HostID, d.State = "", fleet.DiskAvailable
		}
	}
}

// deleteDisk ends a disk; with the last data goes the membership that was in it.
func (w *World) deleteDisk(id string) {
	delete(w.disks, id)
	for other := range w.disks {
		if w.data[other] != "" {
			return
		}
	}
	clear(w.members)
}

// StopProcess has a member's process stop, as an operator's hand might.
func (w *World) StopProcess(name string) {
	for _, n := range w.nodes {
		if m := n.members[name]; m != nil && m.State != fleet.MemberPrepared {
			m.State = fleet.MemberStopped
		}
	}
}

// Settle has all that is under way come to its end.
func (w *World) Settle() {
	for id, h := range w.hosts {
		switch h.State {
		case fleet.HostPending:
			h.State = fleet.HostRunning
		case fleet.HostTerminating:
			w.LoseHost(id)
		}
	}
}

// HostsOf gives the IDs of the hosts that were bought for a member and are not
// ending.
func (w *World) HostsOf(member string) []string {
	var ids []string
	for id, h := range w.hosts {
		if h.Member() == member && h.State != fleet.HostTerminating {
			ids = append(ids, id)
		}
	}
	return ids
}

// DisksOf gives the IDs of the disks that were bought for a member and are there.
func (w *World) DisksOf(member string) []string {
	var ids []string
	for id, d := range w.disks {
		if d.Member() == member {
			ids = append(ids, id)
		}
	}
	return ids
}

// HoldsData gives the membership that a member was started under on a disk, or
// "" when none was.
func (w *World) HoldsData(diskID string) string { return w.data[diskID] }

// Formed says that a quorum of the voters was started once: something may have
// been written.
func (w *World) Formed() bool { return len(w.members) > 0 }

// Empty says that nothing is left.
func (w *World) Empty() bool { return len(w.hosts)+len(w.disks) == 0 && !w.authority }

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
