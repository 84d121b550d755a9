package model

import (
	"fmt"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Effects gives the effects of a step, one by one, in the order in which they
// happen. A crash leaves the first few of them done; doing all of them again must
// then lead to the same end. A step that fails gives its error and does nothing.
func (w *World) Effects(op fleet.Operation, step fleet.Step) ([]func(), error) {
	switch step.Kind {
	case fleet.CreateAuthority:
		return effects(func() { w.authority = true }), nil
	case fleet.LaunchHost:
		return w.launch(op, step)
	case fleet.AttachDisk:
		return w.attach(op, step)
	case fleet.PrepareHost:
		n := w.nodes[step.HostID]
		if n == nil {
			return nil, gone("host", step.HostID)
		}
		return effects(
			func() { n.releases[op.Spec.Etcd.Version] = true },
			func() {
				if n.members[step.Member] == nil {
					n.members[step.Member] = &fleet.MemberReport{Name: step.Member, UID: op.UID, State: fleet.MemberPrepared}
				}
			},
			func() { n.members[step.Member].CertifiedUntil = time.Unix(1<<40, 0) },
		), nil
	case fleet.AddLearner:
		return effects(func() {
			if _, ok := w.members[step.Member]; !ok {
				w.members[step.Member] = true
			}
		}), nil
	case fleet.StartMember:
		return w.start(step)
	case fleet.AwaitHealthy:
		return nil, nil
	case fleet.SaveFinalSnapshot:
		return effects(func() {
			w.snapshot = &fleet.Snapshot{Operation: op.ID, Key: step.Token}
		}, func() { w.snapshot.Verified = time.Unix(1, 0) }), nil
	case fleet.StopMember:
		n := w.nodes[step.HostID]
		if n == nil || n.members[step.Member] == nil {
			return nil, nil
		}
		return effects(func() { n.members[step.Member].State = fleet.MemberStopped }), nil
	case fleet.ReleaseHost:
		return effects(func() {
			if h := w.hosts[step.HostID]; h != nil {
				h.State = fleet.HostTerminating
			}
		}, func() { w.LoseHost(step.HostID) }), nil
	case fleet.DeleteDisk:
		return effects(func() {
			if d := w.disks[step.DiskID]; d != nil {
				d.HostID, d.State = "", fleet.DiskAvailable
			}
		}, func() { delete(w.disks, step.DiskID) }), nil
	case fleet.DestroyAuthority:
		return effects(func() { w.authority = false }), nil
	}
	return nil, fmt.Errorf("model: no effects for step %q", step.Kind)
}

// Apply does a step whole.
func (w *World) Apply(op fleet.Operation, step fleet.Step) error {
	all, err := w.Effects(op, step)
	for _, effect := range all {
		effect()
	}
	return err
}

func (w *World) launch(op fleet.Operation, step fleet.Step) ([]func(), error) {
	run := func(id string) {
		if h := w.hosts[id]; h != nil {
			h.State = fleet.HostRunning
		}
	}
	if step.HostID != "" {
		return effects(func() { run(step.HostID) }), nil
	}
	id, replay := w.tokens[step.Token]
	if replay && w.hosts[id] == nil {
		return nil, gone("host", id)
	}
	return effects(func() {
		if replay {
			return
		}
		id = w.id("h")
		w.tokens[step.Token] = id
		w.hosts[id] = &fleet.Host{
			ID: id, Name: step.Member, Zone: step.Zone, Type: op.Spec.Machine.Type, State: fleet.HostPending,
			Address: "host-of-" + step.Member, Ports: fleet.PortRange{First: 2379, Count: 100}, Tags: tags(op, step),
		}
		w.nodes[id] = newNode()
	}, func() { run(id) }), nil
}

func (w *World) attach(op fleet.Operation, step fleet.Step) ([]func(), error) {
	if w.hosts[step.HostID] == nil {
		return nil, gone("host", step.HostID)
	}
	id := step.DiskID
	return effects(func() {
		if id != "" {
			return
		}
		if known, replay := w.tokens[step.Token]; replay {
			id = known
			return
		}
		id = w.id("d")
		w.tokens[step.Token] = id
		w.disks[id] = &fleet.Disk{
			ID: id, Name: step.Member, Zone: step.Zone, Size: op.Spec.Machine.Disk.Size, State: fleet.DiskAvailable, Tags: tags(op, step),
		}
	}, func() {
		if d := w.disks[id]; d != nil {
			d.HostID, d.State = step.HostID, fleet.DiskInUse
		}
	}), nil
}

func (w *World) start(step fleet.Step) ([]func(), error) {
	n := w.nodes[step.HostID]
	if n == nil || n.members[step.Member] == nil {
		return nil, gone("member", step.Member)
	}
	return effects(func() {
		n.members[step.Member].State = fleet.MemberRunning
		w.data[step.DiskID] = true
	}, func() {
		if !step.Existing {
			w.form(step.Initial)
		}
	}), nil
}

// form makes the first membership once a quorum of it runs.
func (w *World) form(initial []fleet.Endpoint) {
	up := 0
	for _, e := range initial {
		if w.up(e.Member) {
			up++
		}
	}
	if up <= len(initial)/2 {
		return
	}
	for _, e := range initial {
		if _, ok := w.members[e.Member]; !ok {
			w.members[e.Member] = false
		}
	}
}

func tags(op fleet.Operation, step fleet.Step) map[string]string {
	return map[string]string{
		fleet.TagCluster: op.Cluster, fleet.TagUID: op.UID, fleet.TagMember: step.Member, fleet.TagToken: step.Token,
	}
}

func gone(what, id string) error {
	return fleet.Errorf(fleet.Lost, what+" "+id, "is gone")
}

func effects(all ...func()) []func() { return all }
