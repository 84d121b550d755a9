package model

import (
	"fmt"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// changes gives the effects of the steps that change a running cluster.
func (w *World) changes(op fleet.Operation, step fleet.Step) ([]func(), error) {
	switch step.Kind {
	case fleet.AwaitInSync:
		if !w.answers(step.Member) || w.members[step.Member] == nil {
			return nil, away(step.Member)
		}
		return effects(func() { w.starting = false }, func() { w.members[step.Member].behind = false }), nil
	case fleet.AwaitSettled:
		for name := range w.members {
			if !w.answers(name) {
				return nil, away(name)
			}
		}
		return effects(func() {
			w.starting = false
			for _, m := range w.members {
				m.young, m.behind = false, false
			}
		}), nil
	case fleet.Promote, fleet.RemoveMember, fleet.UpdateMember, fleet.MoveLeader:
		return w.reconfigure(op, step)
	case fleet.RestartMember, fleet.RollBackMember:
		return w.restart(op, step)
	case fleet.StopHost, fleet.StartHost, fleet.ResizeHost:
		return w.power(step)
	case fleet.GrowDisk:
		d := w.disks[step.DiskID]
		if d == nil {
			return nil, gone("disk", step.DiskID)
		}
		return effects(func() { d.Size = max(d.Size, step.Size) }, func() {
			if n := w.nodes[d.HostID]; n != nil && n.members[step.Member] != nil {
				n.members[step.Member].DiskSize = d.Size
			}
		}), nil
	case fleet.RenewCertificates:
		n, err := w.node(step.HostID)
		if err != nil {
			return nil, err
		}
		return effects(func() { w.certify(n.members[step.Member], op) }), nil
	case fleet.TakeRaftSnapshot:
		if !w.Serving() {
			return nil, noQuorum(op)
		}
		return effects(func() {
			for _, n := range w.nodes {
				for _, m := range n.members {
					m.RaftSnapshot = w.now()
				}
			}
		}), nil
	case fleet.EnableDowngrade:
		return effects(func() { w.downgrade = fleet.Minor(step.Version) }), nil
	case fleet.CancelDowngrade:
		return effects(func() { w.downgrade = "" }), nil
	case fleet.ExtendAuthority:
		return effects(func() { w.trust.Other = w.trust.Signer + "+" }), nil
	case fleet.SwitchAuthority:
		return effects(func() {
			if !w.trust.Switched {
				w.trust = fleet.Trust{Signer: w.trust.Other, Other: w.trust.Signer, Switched: true}
			}
		}), nil
	case fleet.RetireAuthority:
		return effects(func() { w.trust = fleet.Trust{Signer: w.trust.Signer} }), nil
	case fleet.ImportAuthority:
		return w.importAuthority(op), nil
	case fleet.AdoptHost:
		return w.adoptHost(op, step)
	case fleet.AdoptMember:
		all, err := w.restart(op, step)
		if entry := w.members[step.Member]; entry != nil && len(all) > 0 {
			all = append(effects(func() { entry.foreign = "" }), all...)
		}
		return all, err
	case fleet.ReopenSnapshot:
		return effects(func() {
			if w.snapshot != nil {
				open := *w.snapshot
				open.Closed = time.Time{}
				w.snapshot = &open
			}
		}), nil
	}
	return nil, fmt.Errorf("model: no effects for step %q", step.Kind)
}

// importAuthority stores an authority that something else made. From then on its members
// can be asked; until then nobody knows better than that they serve.
func (w *World) importAuthority(op fleet.Operation) []func() {
	return effects(func() {
		w.authority = true
		for _, m := range op.Options.Adopt.Members {
			if w.members[m.Name] == nil {
				w.members[m.Name] = &member{peer: m.Endpoint.PeerURL(), named: true, foreign: op.Spec.Etcd.Version}
				w.data[m.DiskID] = "as observed"
			}
		}
	})
}

// adoptHost tags a host and a disk that something else bought.
func (w *World) adoptHost(op fleet.Operation, step fleet.Step) ([]func(), error) {
	h, d := w.hosts[step.HostID], w.disks[step.DiskID]
	if h == nil || d == nil {
		return nil, gone("host", step.HostID)
	}
	return effects(func() { h.Tags = tags(op, step) }, func() { d.Tags = tags(op, step) }), nil
}

func away(member string) error {
	return fleet.Errorf(fleet.Unavailable, "member "+member, "does not answer")
}

// certify brings a member the certificates and the bundle that are in force. Its
// process trusts the bundle that it began with.
func (w *World) certify(m *fleet.MemberReport, op fleet.Operation) {
	trusts := []string{w.trust.Signer}
	if w.trust.Other != "" {
		trusts = append(trusts, w.trust.Other)
	}
	if m.State == fleet.MemberRunning && len(m.Trusts) > 0 && fmt.Sprint(m.Trusts) != fmt.Sprint(trusts) {
		m.TrustIsOld = true
	}
	m.Trusts, m.Issuer, m.Certified, m.CertifiedUntil = trusts, w.trust.Signer, op.Generation, w.now().AddDate(1000, 0, 0)
}

// reconfigure changes etcd's membership or its leader; a quorum has to agree.
func (w *World) reconfigure(op fleet.Operation, step fleet.Step) ([]func(), error) {
	m := w.members[step.Member]
	switch {
	case !w.quorum(w.answers):
		return nil, noQuorum(op)
	case step.Kind == fleet.RemoveMember:
		return effects(func() {
			delete(w.members, step.Member)
			for _, n := range w.nodes { // a member that is removed ends by itself
				if r := n.members[step.Member]; r != nil {
					r.State = fleet.MemberStopped
				}
			}
		}), nil
	case m == nil:
		return nil, fleet.Errorf(fleet.NotFound, "member "+step.Member, "is not in the membership")
	case step.Kind == fleet.UpdateMember:
		return effects(func() { m.peer = step.Endpoint.PeerURL() }), nil
	case step.Kind == fleet.MoveLeader:
		if to := w.members[step.To]; to == nil || to.learner || to.behind || !w.answers(step.To) {
			return nil, fleet.Errorf(fleet.Conflict, "member "+step.To, "cannot lead")
		}
		return effects(func() { w.leader = step.To }), nil
	case m.behind || !w.answers(step.Member):
		return nil, fleet.Errorf(fleet.Conflict, "member "+step.Member, "is not in sync")
	}
	return effects(func() { m.learner = false }), nil
}

// restart ends a member's process and starts it otherwise. One of a bad release runs
// and never serves.
func (w *World) restart(op fleet.Operation, step fleet.Step) ([]func(), error) {
	n, err := w.node(step.HostID)
	if err != nil {
		return nil, err
	}
	m := n.members[step.Member]
	if m == nil {
		return nil, fleet.Errorf(fleet.NotFound, "member "+step.Member, "is not known on host %s", step.HostID)
	}
	all := effects(func() {
		w.configure(m, op, step)
		m.State = fleet.MemberRestarting
	}, func() {
		m.State = fleet.MemberRunning
		if entry := w.members[step.Member]; entry != nil {
			entry.young = true
		}
		w.endDowngrade()
	})
	if step.Run != nil && w.bad[step.Run.Version] {
		all[0]() // it was restarted, and that is what is wrong with it
		return nil, fleet.Errorf(fleet.Lost, "member "+step.Member, "did not become ready")
	}
	return all, nil
}

// endDowngrade ends a downgrade as etcd does: when all members run the older minor.
func (w *World) endDowngrade() {
	for name := range w.members {
		if fleet.Minor(w.configured(name).Version) != w.downgrade {
			return
		}
	}
	w.downgrade = ""
}

// power stops, starts and resizes hosts.
func (w *World) power(step fleet.Step) ([]func(), error) {
	h := w.hosts[step.HostID]
	switch {
	case h == nil:
		return nil, gone("host", step.HostID)
	case step.Kind == fleet.ResizeHost && h.State != fleet.HostStopped:
		return nil, fleet.Errorf(fleet.Conflict, "host "+h.ID, "is not stopped")
	case step.Kind == fleet.ResizeHost:
		return effects(func() { h.Type = step.Type }), nil
	case step.Kind == fleet.StopHost:
		return effects(func() { h.State = fleet.HostStopped }), nil
	}
	return effects(func() { h.State = fleet.HostRunning }), nil
}
