package model

import (
	"cmp"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// restore makes a stopped member's data from a backup. When all have it, they are another
// cluster than the one that was.
func (w *World) restore(op fleet.Operation, step fleet.Step) ([]func(), error) {
	n, err := w.node(step.HostID)
	if err != nil {
		return nil, err
	}
	m, d := n.members[step.Member], w.diskOn(step.HostID, step.Member)
	switch {
	case m == nil:
		return nil, unknown(step)
	case m.Restored != nil && m.Restored.Token == step.Token:
		return nil, nil
	case m.State != fleet.MemberStopped && m.State != fleet.MemberPrepared:
		return nil, fleet.Errorf(fleet.Conflict, "member "+step.Member, "runs")
	case d == nil || step.Restore == nil && op.Kind == fleet.RestoreCluster && w.stores[d.ID] == nil:
		return nil, fleet.Errorf(fleet.NotFound, "disk of "+step.Member, "is not there")
	}
	return effects(func() {}, func() {
		from := cmp.Or(step.Restore, op.Options.Restore)
		done := &fleet.Restored{Token: step.Token, From: from.String(), Backup: from.ID}
		for _, e := range step.Initial {
			done.Members = append(done.Members, e.Member)
		}
		m.Restored = done
		if w.stores[d.ID] != nil {
			m.SetAside += putAside
		}
		if op.Kind == fleet.CreateCluster {
			return // it never formed; its start makes it a member
		}
		w.beginAnew(step, done.Members)
		if w.stores[d.ID] == nil {
			w.stores[d.ID] = &store{member: step.Member, under: Membership(step), size: d.Size}
		}
		s := w.stores[d.ID]
		s.id, s.spoiled, s.fresh = w.members[step.Member].id, false, true
	}), nil
}

// putAside is what data takes that was put aside.
const putAside = fleet.GiB

// discard deletes what was put aside.
func (w *World) discard(step fleet.Step) ([]func(), error) {
	n, err := w.node(step.HostID)
	if err != nil {
		return nil, err
	}
	m := n.members[step.Member]
	if m == nil {
		return nil, unknown(step)
	}
	return effects(func() { m.SetAside = 0 }), nil
}

// beginAnew has those that were restored alike be the members, and nobody else.
func (w *World) beginAnew(step fleet.Step, all []string) {
	for name, other := range w.members {
		if other.epoch != step.Token {
			delete(w.members, name)
		}
	}
	for _, name := range all {
		if w.members[name] != nil {
			continue
		}
		w.ids++
		entry := &member{id: w.ids, named: true, young: true, epoch: step.Token}
		for _, e := range step.Initial {
			if e.Member == name {
				entry.peer = e.PeerURL()
			}
		}
		w.members[name] = entry
	}
	w.leader, w.downgrade, w.seen = "", "", nil
}

// HasRestored says that a member's data was made by a step, and that it is a member since.
func (w *World) HasRestored(step fleet.Step) bool {
	_, _, m := w.process(step.Member)
	return m != nil && m.Restored != nil && m.Restored.Token == step.Token
}

// HalfMade says that of the members which are to be made from one backup some were not yet.
func (w *World) HalfMade() bool {
	for name, entry := range w.members {
		_, _, m := w.process(name)
		if entry.epoch != "" && m != nil && (m.Restored == nil || m.Restored.Token != entry.epoch) {
			return true
		}
	}
	return false
}
