package model

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Observe gives what a look at the world would see.
func (w *World) Observe() fleet.Observation {
	obs := fleet.Observation{Authority: w.authority, Secrets: w.authority, FinalSnapshot: w.snapshot, Backup: w.backup, ExpiredBackups: w.expired, Trust: w.trust, Downgrade: w.downgrade}
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
	obs.DiskSnapshots = slices.Clone(w.copies)
	if obs.Quorum = !w.starting && w.quorum(w.answers); !obs.Quorum {
		obs.Downgrade, obs.Unanswered = "", fleet.Unanswered{Looks: 5, Over: fleet.Duration(old)}
		w.look(&obs)
		return obs // membership is read from a quorum
	}
	obs.Revision, obs.Leader = w.revision, w.Leader()
	for _, name := range w.Names() {
		m := w.members[name]
		seen := fleet.ObservedMember{
			ID: m.id, Learner: m.learner, Answers: w.answers(name), PeerURLs: []string{m.peer}, Leader: name == obs.Leader,
		}
		if m.named {
			seen.Name = name
		}
		if seen.Answers {
			w.status(name, &seen)
		} else {
			obs.Evidence = append(obs.Evidence, w.evidence(name))
		}
		obs.Members = append(obs.Members, seen)
	}
	return obs
}

// index is what members have applied that are in sync.
const index = 100 * fleet.SyncLag

// status is what a member answers about itself.
func (w *World) status(name string, seen *fleet.ObservedMember) {
	run, _ := w.Configured(name)
	seen.Version, seen.Applied = cmp.Or(w.members[name].foreign, run.Version), index
	if s := w.storeOf(name); s != nil && s.schema != "" && fleet.Minor(run.Version) != "3.5" {
		seen.Storage = s.schema + ".0"
	}
	if w.members[name].behind {
		seen.Applied = 0
	}
}

// evidence is what witnesses say of a member that does not answer, for long enough.
func (w *World) evidence(name string) fleet.Evidence {
	e := fleet.Evidence{
		Member: name, Cloud: fleet.SaysDead, Host: fleet.SaysUnknown, Peers: fleet.SaysDead, Client: fleet.SaysDead,
		Looks: 5, Over: fleet.Duration(old), DiskLost: true, Words: "by all witnesses of the model",
	}
	if w.up(name) {
		e.Peers = fleet.SaysAlive
	}
	for _, d := range w.disks {
		e.DiskLost = e.DiskLost && (d.Member() != name || w.down[d.Zone])
	}
	for id, h := range w.hosts {
		n := w.nodes[id]
		if h.Member() != name || n == nil {
			continue
		}
		switch h.State {
		case fleet.HostStopped, fleet.HostTerminating, fleet.HostTerminated:
			continue
		case fleet.HostUnknown:
			if e.Cloud == fleet.SaysDead {
				e.Cloud = fleet.SaysUnknown
			}
			continue
		}
		e.Cloud = fleet.SaysAlive
		switch m := n.members[name]; {
		case n.silent || h.State != fleet.HostRunning:
		case m != nil && m.State == fleet.MemberRunning:
			e.Host = fleet.SaysAlive
		default:
			e.Host = fleet.SaysDead
		}
	}
	return e
}

// old is for how long a process has run that has been waited for.
const old = time.Hour

func (w *World) report(hostID string) *fleet.HostReport {
	n := w.nodes[hostID]
	r := &fleet.HostReport{Releases: slices.Sorted(maps.Keys(n.releases))}
	for _, name := range slices.Sorted(maps.Keys(n.members)) {
		m := *n.members[name]
		m.Ready = w.up(name) && (!w.candid || w.quorum(w.up))
		if entry := w.members[name]; m.State == fleet.MemberRunning {
			m.Up = fleet.Duration(old)
			if entry != nil && entry.young {
				m.Up = 0
			}
		}
		if d := w.diskOn(hostID, name); d != nil && w.stores[d.ID] != nil {
			m.DiskSize = w.stores[d.ID].size
		}
		r.Members = append(r.Members, m)
	}
	return r
}
