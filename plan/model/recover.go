package model

import (
	"fmt"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Where the logs of members end in the model: who has all that was acknowledged, who is
// behind, and who was removed.
const (
	wholeLog   = 300
	behindLog  = 200
	removedLog = 100
)

// data is what the disk of a stopped member holds.
func (w *World) data(hostID, name string) fleet.DataReport {
	for _, seen := range w.seen { // a forecast goes by what was looked at
		if seen.Member == name {
			return seen
		}
	}
	r := fleet.DataReport{Member: name, ClusterID: "c1"}
	var s *store
	if d := w.diskOn(hostID, name); d != nil {
		s = w.stores[d.ID]
	}
	if s == nil || s.spoiled {
		r.Damage = []string{"its data cannot be read"}
		return r
	}
	id := s.id
	m := w.members[name]
	if m != nil && (id == 0 || id == m.id) {
		id = m.id
	}
	r.MemberID = fmt.Sprint(id)
	for _, other := range w.Names() {
		r.Members = append(r.Members, fleet.DataMember{
			ID: fmt.Sprint(w.members[other].id), Name: other, Learner: w.members[other].learner,
		})
	}
	r.Last = fleet.LogPosition{Term: 2, Index: wholeLog}
	if s.fresh {
		r.Last.Term = 1
	}
	switch {
	case m == nil || m.id != id:
		r.Last.Index = removedLog
		r.Members = append(r.Members, fleet.DataMember{ID: r.MemberID, Name: name, Learner: s.learner})
	case m.behind:
		r.Last.Index = behindLog
	}
	return r
}

// look adds what stopped members have on their disks, once none runs where that is seen.
func (w *World) look(obs *fleet.Observation) {
	obs.Stored = w.stored
	for _, h := range obs.Hosts {
		m := h.Report.Find(h.Member())
		if m != nil && (m.State == fleet.MemberRunning || m.State == fleet.MemberRestarting) {
			return
		}
	}
	for _, h := range obs.Hosts {
		if m := h.Report.Find(h.Member()); m != nil && m.Configured != nil {
			obs.Data = append(obs.Data, w.data(h.ID, m.Name))
		}
	}
}

// recover makes a stopped member a cluster of its own.
func (w *World) recover(step fleet.Step) ([]func(), error) {
	n, err := w.node(step.HostID)
	if err != nil {
		return nil, err
	}
	m := n.members[step.Member]
	d := w.diskOn(step.HostID, step.Member)
	switch {
	case m == nil:
		return nil, unknown(step)
	case m.Recovered == step.Token:
		return nil, nil
	case m.State != fleet.MemberStopped && m.State != fleet.MemberPrepared:
		return nil, fleet.Errorf(fleet.Conflict, "member "+step.Member, "runs")
	case d == nil || w.stores[d.ID] == nil || w.stores[d.ID].spoiled:
		return nil, fleet.Errorf(fleet.Blocked, "data of "+step.Member, "is damaged")
	}
	return effects(func() {}, func() {
		entry := w.members[step.Member]
		if id := w.stores[d.ID].id; entry == nil && id != 0 { // it was left behind by another recovery
			entry = &member{id: id, behind: true}
		}
		if entry == nil { // as in a forecast, where nobody said who is a member
			w.ids++
			entry = &member{id: w.ids}
		}
		if entry.behind {
			w.lost = true
		}
		if host := w.hosts[step.HostID]; host != nil {
			entry.peer = peerURL(*host)
		}
		entry.learner, entry.named, entry.behind, entry.stuck, entry.young = false, true, false, false, true
		clear(w.members)
		w.members[step.Member] = entry
		w.stores[d.ID].id = entry.id
		m.SetAside += putAside
		m.Recovered, w.leader, w.downgrade, w.seen = step.Token, "", "", nil
	}), nil
}

// Record has all that was written stored: a backup, and the changes since.
func (w *World) Record() {
	if w.stored == nil {
		w.stored = &fleet.Stored{Backup: fleet.Backup{ID: "b1", Cluster: "orders", UID: "uid-of-orders", Revision: w.revision}, History: "c1"}
		return
	}
	stored := *w.stored
	stored.Backup.Reach = &fleet.Reach{Revision: w.revision}
	w.stored = &stored
}

// bring makes a backup of the newest one and the changes recorded since.
func (w *World) bring(step fleet.Step) []func() {
	return effects(func() {}, func() {
		made := fleet.Stored{Backup: fleet.Backup{
			ID: fmt.Sprintf("%s-at-%d", step.Restore.ID, step.At.Revision), Cluster: step.Restore.Cluster, UID: step.Restore.UID, Revision: step.At.Revision,
		}, History: "c1"}
		if w.stored == nil || w.stored.Backup.Revision < made.Backup.Revision {
			w.stored = &made
		}
	})
}

// Lost says that a recovery lost what was acknowledged.
func (w *World) Lost() bool { return w.lost }

// Fresh says that a member's data was made from a backup and never served.
func (w *World) Fresh(name string) bool { s := w.storeOf(name); return s != nil && s.fresh }

// HasData says that a member's disk can be read, and is the member's.
func (w *World) HasData(name string) bool {
	s, m := w.storeOf(name), w.members[name]
	return s != nil && m != nil && !s.spoiled && (s.id == 0 || s.id == m.id)
}

// Furthest says that a member's disk can be read and has all that was acknowledged.
func (w *World) Furthest(name string) bool {
	return w.HasData(name) && !w.members[name].behind
}
