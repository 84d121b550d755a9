package model

import (
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// From gives the world that an observation shows. What it could not see is taken
// to be absent: a forecast says what happens if the observation is right.
func From(obs fleet.Observation) *World {
	w := New()
	w.bought = observedIDs
	w.authority = obs.Authority || obs.Secrets
	w.snapshot, w.backup, w.revision = obs.FinalSnapshot, obs.Backup, obs.Revision
	w.expired = obs.ExpiredBackups
	w.copies, w.copied = slices.Clone(obs.DiskSnapshots), observedIDs
	w.leader, w.downgrade, w.seen, w.stored = obs.Leader, obs.Downgrade, obs.Data, obs.Stored
	if obs.Trust.Signer != "" {
		w.trust = obs.Trust
	}
	stopped := slices.ContainsFunc(obs.Hosts, func(h fleet.ObservedHost) bool {
		m := h.Report.Find(h.Member())
		return h.State == fleet.HostStopped || m != nil && m.State == fleet.MemberStopped
	})
	for _, h := range obs.Hosts {
		w.seeHost(h, obs)
		if stopped && len(obs.Members) == 0 { // nobody says who is a member, but they were started once
			w.seeStopped(h)
		}
	}
	for _, d := range obs.Disks {
		w.disks[d.ID] = &d
		w.tokens[d.Tags[fleet.TagToken]] = purchase{d.ID, diskRequest(d.Zone, d.Size)}
		if _, _, m := w.process(d.Member()); len(obs.Members) > 0 || m != nil && m.State != fleet.MemberPrepared {
			w.stores[d.ID] = &store{member: d.Member(), under: "as observed", size: d.Size}
			if m != nil && m.DiskSize > 0 {
				w.stores[d.ID].size = m.DiskSize
			}
		}
	}
	w.seeMembers(obs)
	w.seeZones(obs)
	return w
}

// observedIDs keeps what is bought in a forecast from having the ID, and so the
// address, of something that is gone.
const observedIDs = 500

func (w *World) seeHost(h fleet.ObservedHost, obs fleet.Observation) {
	host, name := h.Host, h.Member()
	w.hosts[host.ID] = &host
	w.tokens[host.Tags[fleet.TagToken]] = purchase{host.ID, hostRequest(host.Zone, host.Type)}
	n := newNode()
	w.nodes[host.ID] = n
	m := obs.Member(name)
	switch {
	case h.Report != nil:
		for _, version := range h.Report.Releases {
			n.releases[version] = true
		}
		for _, m := range h.Report.Members {
			n.members[m.Name] = &m
			w.clock = max(w.clock, m.MinorSince.Unix(), int64(m.RaftSnapshot))
		}
	case m != nil && m.Answers:
		n.members[name] = &fleet.MemberReport{Name: name, State: fleet.MemberRunning}
	case host.State == fleet.HostStopped: // as it was stopped, and as others are
		n.members[name] = &fleet.MemberReport{Name: name}
		for _, other := range obs.Hosts {
			if m := other.Report.Find(other.Member()); m != nil && m.Configured != nil {
				*n.members[name] = *m
				for _, version := range other.Report.Releases {
					n.releases[version] = true
				}
				break
			}
		}
		n.members[name].Name, n.members[name].State = name, fleet.MemberStopped
	default:
		n.silent = host.State == fleet.HostRunning
	}
}

// seeStopped takes whoever was started on a host for a member.
func (w *World) seeStopped(h fleet.ObservedHost) {
	name := h.Member()
	if m := w.nodes[h.ID].members[name]; m != nil && m.State != fleet.MemberPrepared {
		w.ids++
		w.members[name] = &member{id: w.ids, peer: peerURL(h.Host), named: true}
	}
}

// seeZones takes a zone for gone when the disks in it are, and nobody answers there.
func (w *World) seeZones(obs fleet.Observation) {
	for _, d := range obs.Disks {
		lost := d.State == fleet.DiskUnknown || slices.ContainsFunc(obs.Evidence, func(e fleet.Evidence) bool {
			return e.DiskLost && e.Member == d.Member()
		})
		alive := slices.ContainsFunc(obs.Hosts, func(h fleet.ObservedHost) bool { return h.Zone == d.Zone && h.State == fleet.HostRunning })
		if lost && !alive {
			w.down[d.Zone] = true
		}
	}
}

// seeMembers takes over what etcd said of its members. Who is not seen to lack
// anything can be told only where there is something to compare with.
func (w *World) seeMembers(obs fleet.Observation) {
	peers := map[string]string{} // peer URL → member
	for _, h := range obs.Hosts {
		peers[peerURL(h.Host)] = h.Member()
	}
	var ahead uint64
	for _, m := range obs.Members {
		ahead = max(ahead, m.Applied)
	}
	for _, m := range obs.Members {
		name := m.Name
		for _, url := range m.PeerURLs {
			if name == "" {
				name = peers[url]
			}
		}
		entry := &member{id: m.ID, learner: m.Learner, named: m.Name != "", behind: m.Applied+fleet.SyncLag < ahead}
		w.ids = max(w.ids, m.ID)
		if h := obs.Host(name); h != nil {
			report := h.Report.Find(name)
			if m.Answers && h.Report != nil && (report == nil || report.State == fleet.MemberPrepared) {
				entry.foreign = m.Version
			}
			entry.young = report != nil && report.State == fleet.MemberRunning && time.Duration(report.Up) < old
		}
		if len(m.PeerURLs) > 0 {
			entry.peer = m.PeerURLs[0]
		}
		w.members[name] = entry
		if minor := fleet.Minor(m.Version); minor != "" && (w.minor == "" || number(minor) < number(w.minor)) {
			w.minor = minor
		}
		if s := w.storeOf(name); s != nil {
			s.id, s.schema = m.ID, fleet.Minor(m.Storage)
		}
	}
}
