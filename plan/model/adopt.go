package model

import "github.com/flotilla-etcd/flotilla/fleet"

// importAuthority stores an authority that something else made. From then on its members
// can be asked; until then nobody knows better than that they serve.
func (w *World) importAuthority(op fleet.Operation) []func() {
	return effects(func() {
		w.authority = true
		for _, m := range op.Options.Adopt.Members {
			if w.members[m.Name] == nil {
				w.ids++
				w.members[m.Name] = &member{id: w.ids, peer: m.Endpoint.PeerURL(), named: true, foreign: op.Spec.Etcd.Version}
				w.stores[m.DiskID] = &store{member: m.Name, under: "as observed", id: w.ids}
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

// adoptMember has a member run under our manager instead of another one.
func (w *World) adoptMember(step fleet.Step) ([]func(), error) {
	all, err := w.restart(step)
	if entry := w.members[step.Member]; entry != nil && len(all) > 0 {
		all = append(effects(func() { entry.foreign = "" }), all...)
	}
	return all, err
}

// servesElsewhere says that something else runs a member, on its own host.
func (w *World) servesElsewhere(name string) bool {
	m := w.members[name]
	if m == nil || m.foreign == "" {
		return false
	}
	for id, h := range w.hosts {
		if h.Member() == name && h.State == fleet.HostRunning && !w.nodes[id].silent {
			return true
		}
	}
	return false
}
