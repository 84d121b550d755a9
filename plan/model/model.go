// Package model is a small world of hosts, disks and members: what each step of
// an operation does to it, effect by effect. The planner plays forecasts on it,
// and the property tests crash it between and inside steps.
//
// It models what decisions depend on and nothing else: no time, no bytes.
package model

import (
	"fmt"
	"maps"
	"slices"

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
	slow      bool // members take their time to serve
	starting  bool // some member is taking it
}

// purchase is what a token stands for: the cloud gives it again, also when it has
// ended since, and refuses the token for anything else.
type purchase struct{ id, request string }

// member is an entry of etcd's membership.
type member struct {
	peer    string // its peer URL
	learner bool
	named   bool // it was started: etcd lists no name before that
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
	}
}

// From gives the world that an observation shows. What it could not see is taken
// to be absent: a forecast says what happens if the observation is right.
func From(obs fleet.Observation) *World {
	w := New()
	w.authority = obs.Authority || obs.Secrets
	w.snapshot, w.revision = obs.FinalSnapshot, obs.Revision
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
			}
		} else if m := obs.Member(host.Member()); m != nil && m.Answers {
			n.members[m.Name] = &fleet.MemberReport{Name: m.Name, State: fleet.MemberRunning}
		} else {
			n.silent = host.State == fleet.HostRunning
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
		entry := &member{learner: m.Learner, named: m.Name != ""}
		if len(m.PeerURLs) > 0 {
			entry.peer = m.PeerURLs[0]
		}
		w.members[name] = entry
	}
	return w
}

func newNode() *node {
	return &node{releases: map[string]bool{}, members: map[string]*fleet.MemberReport{}}
}

// Observe gives what a look at the world would see.
func (w *World) Observe() fleet.Observation {
	obs := fleet.Observation{Authority: w.authority, Secrets: w.authority, FinalSnapshot: w.snapshot}
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
	obs.Revision = w.revision
	for _, name := range slices.Sorted(maps.Keys(w.members)) {
		m := w.members[name]
		seen := fleet.ObservedMember{Learner: m.learner, Answers: w.answers(name), PeerURLs: []string{m.peer}}
		if m.named {
			seen.Name = name
		}
		obs.Members = append(obs.Members, seen)
	}
	return obs
}

func (w *World) report(hostID string) *fleet.HostReport {
	n := w.nodes[hostID]
	r := &fleet.HostReport{Releases: slices.Sorted(maps.Keys(n.releases))}
	for _, name := range slices.Sorted(maps.Keys(n.members)) {
		r.Members = append(r.Members, *n.members[name])
	}
	return r
}

// up says that a member runs where the membership says it is.
func (w *World) up(name string) bool {
	for id, n := range w.nodes {
		m, h := n.members[name], w.hosts[id]
		if m != nil && m.State == fleet.MemberRunning && h != nil && h.State == fleet.HostRunning {
			entry := w.members[name]
			return entry == nil || entry.peer == peerURL(*h)
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
