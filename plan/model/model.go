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
	tokens    map[string]string      // token → ID of what was bought with it
	nodes     map[string]*node       // by host ID
	authority bool
	// members are in etcd's membership: name → learner.
	members  map[string]bool
	data     map[string]bool // disk ID → a member was started on it
	snapshot *fleet.Snapshot
	bought   int
}

// node is what the host side knows.
type node struct {
	releases map[string]bool
	members  map[string]*fleet.MemberReport
}

// New gives an empty world.
func New() *World {
	return &World{
		hosts: map[string]*fleet.Host{}, disks: map[string]*fleet.Disk{}, tokens: map[string]string{},
		nodes: map[string]*node{}, members: map[string]bool{}, data: map[string]bool{},
	}
}

// From gives the world that an observation shows. What it could not see is taken
// to be as the planner must take it: a disk with an unknown content holds data.
func From(obs fleet.Observation) *World {
	w := New()
	w.authority = obs.Authority || obs.Secrets
	w.snapshot = obs.FinalSnapshot
	for _, h := range obs.Hosts {
		host := h.Host
		w.hosts[host.ID] = &host
		w.tokens[host.Tags[fleet.TagToken]] = host.ID
		n := newNode()
		if h.Report != nil {
			for _, version := range h.Report.Releases {
				n.releases[version] = true
			}
			for _, m := range h.Report.Members {
				n.members[m.Name] = &m
			}
		}
		w.nodes[host.ID] = n
	}
	for _, d := range obs.Disks {
		w.disks[d.ID] = &d
		w.tokens[d.Tags[fleet.TagToken]] = d.ID
		w.data[d.ID] = len(obs.Members) > 0
	}
	for _, m := range obs.Members {
		w.members[m.Name] = m.Learner
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
		if h.State == fleet.HostRunning {
			seen.Report = w.report(id)
		} else {
			seen.Silent = "it is " + string(h.State)
		}
		obs.Hosts = append(obs.Hosts, seen)
	}
	for _, id := range slices.Sorted(maps.Keys(w.disks)) {
		obs.Disks = append(obs.Disks, *w.disks[id])
	}
	up, voters := 0, 0
	for _, name := range slices.Sorted(maps.Keys(w.members)) {
		learner, answers := w.members[name], w.up(name)
		if !learner {
			voters++
			if answers {
				up++
			}
		}
		obs.Members = append(obs.Members, fleet.ObservedMember{Name: name, Learner: learner, Answers: answers})
	}
	obs.Quorum = voters > 0 && up > voters/2
	if !obs.Quorum {
		obs.Members = nil // membership is read from a quorum
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

func (w *World) up(member string) bool {
	for id, n := range w.nodes {
		if m := n.members[member]; m != nil && m.State == fleet.MemberRunning {
			return w.hosts[id] != nil && w.hosts[id].State == fleet.HostRunning
		}
	}
	return false
}

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

// HostsOf counts the hosts that were bought for a member and are there.
func (w *World) HostsOf(member string) int {
	n := 0
	for _, h := range w.hosts {
		if h.Member() == member {
			n++
		}
	}
	return n
}

// DisksOf counts the disks that were bought for a member and are there.
func (w *World) DisksOf(member string) int {
	n := 0
	for _, d := range w.disks {
		if d.Member() == member {
			n++
		}
	}
	return n
}

// HoldsData says whether a disk was ever written by a member.
func (w *World) HoldsData(diskID string) bool { return w.data[diskID] }

// Empty says that nothing is left.
func (w *World) Empty() bool { return len(w.hosts)+len(w.disks) == 0 && !w.authority }

func (w *World) id(prefix string) string {
	w.bought++
	return fmt.Sprintf("%s-%03d", prefix, w.bought)
}
