package model

import (
	"cmp"
	"strings"
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
		n, err := w.node(step.HostID)
		if err != nil {
			return nil, err
		}
		return effects(
			func() { n.releases[cmp.Or(step.Version, op.Spec.Etcd.Version)] = true },
			func() {
				if n.members[step.Member] == nil {
					n.members[step.Member] = &fleet.MemberReport{Name: step.Member, UID: op.UID, State: fleet.MemberPrepared}
				}
			},
			func() { w.certify(n.members[step.Member], op) },
		), nil
	case fleet.AddLearner:
		if !w.quorum(w.answers) {
			return nil, noQuorum(op)
		}
		return effects(func() {
			if _, ok := w.members[step.Member]; !ok {
				w.members[step.Member] = &member{learner: true, peer: step.Endpoint.PeerURL(), behind: true, young: true}
			}
		}), nil
	case fleet.StartMember:
		return w.start(op, step)
	case fleet.AwaitHealthy:
		if w.starting {
			return effects(func() { w.starting = false }), nil
		}
		if !w.Serving() {
			return nil, fleet.Errorf(fleet.Unavailable, "cluster "+op.Cluster, "is not healthy")
		}
		return nil, nil
	case fleet.SaveFinalSnapshot:
		if !w.quorum(w.answers) {
			return nil, noQuorum(op)
		}
		// Storing it changes nothing that can be seen; verifying it does.
		taken := fleet.Snapshot{Operation: op.ID, Key: step.Token, Revision: w.revision, Taken: time.Unix(1, 0), Verified: time.Unix(1, 0)}
		return effects(func() {}, func() { w.snapshot = &taken }), nil
	case fleet.StopMember:
		n, err := w.node(step.HostID)
		if err != nil || n.members[step.Member] == nil {
			return nil, err
		}
		return effects(func() { n.members[step.Member].State = fleet.MemberStopped }), nil
	case fleet.CloseSnapshot:
		if w.snapshot == nil || w.snapshot.Operation != op.ID {
			return nil, fleet.Errorf(fleet.Lost, "final snapshot of "+op.Cluster, "is gone")
		}
		closed := *w.snapshot
		closed.Closed = time.Unix(2, 0)
		return effects(func() { w.snapshot = &closed }), nil
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
		}, func() { w.deleteDisk(step.DiskID) }), nil
	case fleet.DestroyAuthority:
		return effects(func() { w.authority = false }), nil
	}
	return w.changes(op, step)
}

// node gives the host side of a host, if it answers.
func (w *World) node(hostID string) (*node, error) {
	switch n := w.nodes[hostID]; {
	case n == nil:
		return nil, gone("host", hostID)
	case n.silent || w.hosts[hostID].State != fleet.HostRunning:
		return nil, fleet.Errorf(fleet.Unavailable, "host "+hostID, "does not answer")
	default:
		return n, nil
	}
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
	run := func(id string) func() {
		return func() {
			if h := w.hosts[id]; h != nil {
				h.State = fleet.HostRunning
			}
		}
	}
	bought, replay := w.tokens[step.Token]
	machine := cmp.Or(step.Type, op.Spec.Machine.Type)
	id, request := bought.id, hostRequest(step.Zone, machine)
	switch {
	case step.HostID != "":
		id = step.HostID
	case replay && bought.request != request:
		return nil, reused(step)
	case !replay && w.soldOut[step.Zone]:
		return nil, fleet.Errorf(fleet.OutOfCapacity, "zone "+step.Zone, "has no %s left", machine)
	case !replay:
		id = w.id("h")
		return effects(func() {
			w.tokens[step.Token] = purchase{id, request}
			w.hosts[id] = &fleet.Host{
				ID: id, Name: step.Member, Zone: step.Zone, Type: machine, State: fleet.HostPending,
				Address: id, Ports: fleet.PortRange{First: 2379, Count: 100}, Tags: tags(op, step),
			}
			w.nodes[id] = newNode()
		}, run(id)), nil
	}
	if h := w.hosts[id]; h == nil || h.State == fleet.HostTerminating {
		return nil, gone("host", id)
	}
	return effects(run(id)), nil
}

func (w *World) attach(op fleet.Operation, step fleet.Step) ([]func(), error) {
	if w.hosts[step.HostID] == nil {
		return nil, gone("host", step.HostID)
	}
	bought, replay := w.tokens[step.Token]
	id, request := step.DiskID, diskRequest(step.Zone, op.Spec.Machine.Disk.Size)
	buy := func() {}
	switch {
	case id != "":
	case replay && bought.request != request:
		return nil, reused(step)
	case replay:
		id = bought.id
	default:
		id = w.id("d")
		buy = func() {
			w.tokens[step.Token] = purchase{id, request}
			w.disks[id] = &fleet.Disk{
				ID: id, Name: step.Member, Zone: step.Zone, Size: op.Spec.Machine.Disk.Size,
				Category: op.Spec.Machine.Disk.Category, State: fleet.DiskAvailable, Tags: tags(op, step),
			}
		}
	}
	d := w.disks[id]
	switch {
	case d == nil && (replay || step.DiskID != ""):
		return nil, gone("disk", id)
	case d != nil && d.HostID != "" && d.HostID != step.HostID:
		return nil, fleet.Errorf(fleet.Conflict, "disk "+id, "is attached to host %s", d.HostID)
	}
	return effects(buy, func() {
		if d := w.disks[id]; d != nil {
			d.HostID, d.State = step.HostID, fleet.DiskInUse
		}
	}), nil
}

func (w *World) start(op fleet.Operation, step fleet.Step) ([]func(), error) {
	n, err := w.node(step.HostID)
	d := w.disks[step.DiskID]
	switch {
	case err != nil:
		return nil, err
	case n.members[step.Member] == nil:
		return nil, fleet.Errorf(fleet.Conflict, "member "+step.Member, "is not prepared")
	case d == nil || d.HostID != step.HostID:
		return nil, fleet.Errorf(fleet.Conflict, "disk "+step.DiskID, "is not attached to host %s", step.HostID)
	}
	return effects(func() {
		w.configure(n.members[step.Member], op, step)
		n.members[step.Member].State = fleet.MemberRunning
		if m := w.members[step.Member]; m != nil {
			m.named, m.young = true, true
			m.behind = m.behind || step.Existing && w.data[step.DiskID] == ""
		}
		if w.data[step.DiskID] == "" {
			w.data[step.DiskID] = Membership(step)
		}
		if !step.Existing {
			w.form(step.Initial)
		}
		w.starting = w.slow && (op.Kind == fleet.CreateCluster || op.Kind == fleet.StartCluster)
	}), nil
}

// configure sets how a member runs, and what is written down with it.
func (w *World) configure(m *fleet.MemberReport, op fleet.Operation, step fleet.Step) {
	run := fleet.MemberConfig{Version: op.Spec.Etcd.Version, Settings: op.Spec.Etcd.EtcdSettings}
	if step.Run != nil {
		run = *step.Run
	}
	if m.Configured == nil || fleet.Minor(m.Configured.Version) != fleet.Minor(run.Version) {
		m.MinorSince = w.now()
	}
	m.Configured, m.TrustIsOld = &run, false
}

// now is another time at each call.
func (w *World) now() time.Time {
	w.clock++
	return time.Unix(w.clock, 0)
}

// form makes the first membership once a quorum of it runs. A second one cannot
// form beside it.
func (w *World) form(initial []fleet.Endpoint) {
	up := 0
	for _, e := range initial {
		if w.up(e.Member) {
			up++
		}
	}
	if up <= len(initial)/2 || w.Formed() {
		return
	}
	for _, e := range initial {
		w.members[e.Member] = &member{peer: e.PeerURL(), named: true, young: true}
	}
}

// Membership names the membership that a step starts a member under: two members
// that were started under different ones can never be in one cluster, and data
// from one must not be used under another.
func Membership(step fleet.Step) string {
	var text strings.Builder
	if step.Existing {
		return step.Member // what it joins is in etcd, not in its configuration
	}
	for _, e := range step.Initial {
		text.WriteString(e.Member + "=" + e.PeerURL() + " ")
	}
	return text.String()
}

func tags(op fleet.Operation, step fleet.Step) map[string]string {
	return map[string]string{
		fleet.TagCluster: op.Cluster, fleet.TagUID: op.UID, fleet.TagMember: step.Member, fleet.TagToken: step.Token,
	}
}

func gone(what, id string) error {
	return fleet.Errorf(fleet.Lost, what+" "+id, "is gone")
}

func reused(step fleet.Step) error {
	return fleet.Errorf(fleet.Invalid, step.String(), "the token was used for another request")
}

func noQuorum(op fleet.Operation) error {
	return fleet.Errorf(fleet.Unavailable, "cluster "+op.Cluster, "has no quorum")
}

func effects(all ...func()) []func() { return all }
