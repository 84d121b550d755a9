package model

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Silence sets whether a host and what runs on it give us no answer. Its peers still
// reach its member.
func (w *World) Silence(hostID string, silent bool) {
	if n := w.nodes[hostID]; n != nil {
		n.silent = silent
		n.cut = n.cut && silent
	}
}

// Cut has a host reach nobody and nobody reach it. What runs on it goes on running.
func (w *World) Cut(hostID string) {
	if n := w.nodes[hostID]; n != nil {
		n.silent, n.cut = true, true
	}
}

// SoldOut sets whether a zone has no host left to sell.
func (w *World) SoldOut(zone string, soldOut bool) { w.soldOut[zone] = soldOut }

// Sells says whether a zone has hosts left.
func (w *World) Sells(zone string) bool { return !w.soldOut[zone] && !w.down[zone] }

// LoseZone takes a zone's hosts and disks away. The cloud either knows that its hosts
// do not run, or does not know.
func (w *World) LoseZone(zone string, known bool) {
	w.down[zone] = true
	state := fleet.HostUnknown
	if known {
		state = fleet.HostStopped
	}
	for _, h := range w.hosts {
		if h.Zone == zone && (h.State == fleet.HostRunning || h.State == fleet.HostPending) {
			h.State = state
		}
	}
	for _, d := range w.disks {
		if d.Zone == zone {
			d.State = fleet.DiskUnknown
		}
	}
}

// ZoneBack brings a zone back. Hosts of which the cloud did not know go on.
func (w *World) ZoneBack(zone string) {
	if !w.down[zone] {
		return
	}
	delete(w.down, zone)
	for _, h := range w.hosts {
		if h.Zone == zone && h.State == fleet.HostUnknown {
			h.State = fleet.HostRunning
			w.reboot(h)
		}
	}
	for _, d := range w.disks {
		if d.Zone == zone && d.State == fleet.DiskUnknown {
			d.State = fleet.DiskAvailable
			if d.HostID != "" {
				d.State = fleet.DiskInUse
			}
		}
	}
}

// Down says whether a zone is gone.
func (w *World) Down(zone string) bool { return w.down[zone] }

// LoseHost ends a host with all that is on it, as a cloud does now and then. Its
// disks stay.
func (w *World) LoseHost(id string) {
	delete(w.hosts, id)
	delete(w.nodes, id)
	for _, d := range w.disks {
		if d.HostID == id {
			d.HostID = ""
			if d.State != fleet.DiskUnknown {
				d.State = fleet.DiskAvailable
			}
		}
	}
}

// HaltHost has the cloud stop a host, for maintenance say. What ran on it runs again
// when it is started.
func (w *World) HaltHost(id string) {
	if h := w.hosts[id]; h != nil && h.State == fleet.HostRunning {
		h.State = fleet.HostStopped
	}
}

// LoseDisk ends a disk with the data on it. The process that had it crashes.
func (w *World) LoseDisk(id string) {
	d := w.disks[id]
	if d == nil {
		return
	}
	delete(w.disks, id)
	delete(w.stores, id)
	w.crash(d.HostID, d.Member())
}

// SpoilData makes the data on a disk unreadable. The process that had it crashes.
func (w *World) SpoilData(diskID string) {
	if s := w.stores[diskID]; s != nil {
		s.spoiled = true
		w.crash(w.disks[diskID].HostID, s.member)
	}
}

func (w *World) crash(hostID, member string) {
	if n := w.nodes[hostID]; n != nil && n.members[member] != nil && n.members[member].State == fleet.MemberRunning {
		n.members[member].State = fleet.MemberRestarting
	}
}

// StopProcess has a member's process stop, as an operator's hand might.
func (w *World) StopProcess(name string) {
	if _, _, m := w.process(name); m != nil && m.State != fleet.MemberPrepared {
		m.State = fleet.MemberStopped
	}
}

// StartProcess has the hand start it again.
func (w *World) StartProcess(name string) {
	if _, _, m := w.process(name); m != nil && m.State == fleet.MemberStopped {
		m.State = fleet.MemberRestarting
	}
}

// Stick sets whether a member stays behind, whatever the leader sends it.
func (w *World) Stick(name string, stuck bool) {
	if m := w.members[name]; m != nil && (!stuck || w.Leader() != name) {
		m.stuck = stuck
		m.behind = m.behind || stuck
	}
}

// Bad makes members of a release never serve.
func (w *World) Bad(version string) { w.bad[version] = true }

// IsBad says whether members of a release never serve.
func (w *World) IsBad(version string) bool { return w.bad[version] }

// Fix has the release serve after all.
func (w *World) Fix(version string) { delete(w.bad, version) }

// Settle has all that is under way come to its end: in the cloud first, then on
// hosts, then among members.
func (w *World) Settle() {
	for id, h := range w.hosts {
		switch {
		case h.State == fleet.HostPending && !w.down[h.Zone]:
			h.State = fleet.HostRunning
		case h.State == fleet.HostTerminating:
			w.LoseHost(id)
		}
	}
	for _, h := range w.hosts {
		if h.State == fleet.HostRunning {
			w.wake(h)
		}
	}
	w.dismiss()
	w.lower()
	w.agree()
	for name, m := range w.members {
		if w.up(name) {
			m.young, m.behind = false, m.stuck
		}
	}
}

// dismiss ends the processes of who has left: whichever member runs tells them so, with
// a quorum or without one, and their hosts start them again and again.
func (w *World) dismiss() {
	heard := slices.ContainsFunc(w.Names(), w.runs)
	for _, n := range w.nodes {
		for name, m := range n.members {
			if heard && m.State == fleet.MemberRunning && w.members[name] == nil && w.Formed() {
				m.State = fleet.MemberRestarting
			}
		}
	}
}

// reboot has the processes on a host begin again.
func (w *World) reboot(h *fleet.Host) {
	for name, m := range w.nodes[h.ID].members {
		if m.State == fleet.MemberRunning || m.State == fleet.MemberRestarting {
			m.State = fleet.MemberRestarting
			w.begin(h.ID, name)
		}
	}
}

// wake has processes that are to run begin, if they can.
func (w *World) wake(h *fleet.Host) {
	for name, m := range w.nodes[h.ID].members {
		if m.State == fleet.MemberRestarting {
			w.begin(h.ID, name)
		}
	}
}

// begin has a process begin, if its data can be opened. It reads its bundle, and is
// young.
func (w *World) begin(hostID, name string) {
	n, d := w.nodes[hostID], w.diskOn(hostID, name)
	m := n.members[name]
	if d == nil || w.stores[d.ID] == nil || w.stores[d.ID].spoiled {
		m.State = fleet.MemberRestarting
		return
	}
	m.State, m.TrustIsOld = fleet.MemberRunning, false
	n.trusts = slices.Clone(m.Trusts)
	if entry := w.members[name]; entry != nil {
		entry.named, entry.young = true, true
	}
}
