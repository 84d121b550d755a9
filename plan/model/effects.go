package model

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Effects gives the effects of a step, one by one, in the order in which they
// happen. A crash leaves the first few of them done; doing all of them again must
// then lead to the same end. A step that fails gives its error and does nothing.
func (w *World) Effects(op fleet.Operation, step fleet.Step) ([]func(), error) {
	all, err := w.effects(op, step)
	for i, effect := range all {
		all[i] = func() {
			effect()
			w.agree()
		}
	}
	return all, err
}

// Apply does a step whole.
func (w *World) Apply(op fleet.Operation, step fleet.Step) error {
	all, err := w.Effects(op, step)
	for _, effect := range all {
		effect()
	}
	return err
}

func (w *World) effects(op fleet.Operation, step fleet.Step) ([]func(), error) {
	switch step.Kind {
	case fleet.CreateAuthority:
		return effects(func() { w.authority = true }), nil
	case fleet.LaunchHost:
		return w.launch(op, step)
	case fleet.AttachDisk:
		return w.attach(op, step)
	case fleet.PrepareHost:
		return w.prepare(op, step)
	case fleet.StartMember:
		return w.start(op, step)
	case fleet.AwaitHealthy:
		if !w.Serving() {
			w.starting = w.starting && !w.quorum(w.answers) // that it was waited for is not undone
			return nil, fleet.Errorf(fleet.Unavailable, "cluster "+op.Cluster, "is not healthy")
		}
		return effects(func() {
			w.starting = false
			for _, m := range w.members {
				m.behind = m.stuck
			}
		}), nil
	case fleet.SaveBackup:
		if step.At != nil {
			return w.bring(step), nil
		}
		if !w.quorum(w.answers) {
			return nil, noQuorum(op)
		}
		// What an attempt stores before its manifest cannot be seen.
		taken := fleet.Backup{Cluster: op.Cluster, UID: op.UID, Operation: op.ID, Revision: w.revision}
		return effects(func() {}, func() { w.backup = &taken }), nil
	case fleet.ExpireBackups:
		return effects(func() { w.expired = nil }), nil
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
	case fleet.CloseSnapshot, fleet.ReopenSnapshot:
		return w.seal(op, step)
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
	case n.silent || w.hosts[hostID].State != fleet.HostRunning || w.down[w.hosts[hostID].Zone]:
		return nil, fleet.Errorf(fleet.Unavailable, "host "+hostID, "does not answer")
	default:
		return n, nil
	}
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
	machine := cmp.Or(step.Type, op.Spec.MachineIn(step.Zone).Type)
	id, request := bought.id, hostRequest(step.Zone, machine)
	switch {
	case step.HostID != "":
		id = step.HostID
	case replay && bought.request != request:
		return nil, reused(step)
	case !replay && (w.soldOut[step.Zone] || w.down[step.Zone]):
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
	switch h := w.hosts[id]; {
	case h == nil || h.State == fleet.HostTerminating:
		return nil, gone("host", id)
	case h.State == fleet.HostStopped || w.down[h.Zone]:
		return nil, fleet.Errorf(fleet.Unavailable, "host "+id, "does not begin: it is %s", h.State)
	}
	return effects(run(id)), nil
}

func (w *World) attach(op fleet.Operation, step fleet.Step) ([]func(), error) {
	h := w.hosts[step.HostID]
	if h == nil {
		return nil, gone("host", step.HostID)
	}
	bought, replay := w.tokens[step.Token]
	id, request := step.DiskID, diskRequest(step.Zone, op.Spec.MachineIn(step.Zone).Disk.Size)
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
				ID: id, Name: step.Member, Zone: step.Zone, Size: op.Spec.MachineIn(step.Zone).Disk.Size,
				Category: op.Spec.MachineIn(step.Zone).Disk.Category, State: fleet.DiskAvailable, Tags: tags(op, step),
				Retypes: slices.DeleteFunc(slices.Clone(w.retypes), func(c string) bool { return c == op.Spec.MachineIn(step.Zone).Disk.Category }),
			}
		}
	}
	d := w.disks[id]
	switch {
	case d == nil && (replay || step.DiskID != ""):
		return nil, gone("disk", id)
	case w.down[h.Zone]:
		return nil, fleet.Errorf(fleet.Unavailable, "zone "+h.Zone, "does not answer")
	case d != nil && d.Zone != h.Zone:
		return nil, fleet.Errorf(fleet.Invalid, "disk "+id, "is in zone %s, and host %s in %s", d.Zone, h.ID, h.Zone)
	case d != nil && d.HostID != "" && d.HostID != step.HostID:
		return nil, fleet.Errorf(fleet.Conflict, "disk "+id, "is attached to host %s", d.HostID)
	}
	return effects(buy, func() {
		if d := w.disks[id]; d != nil {
			d.HostID, d.State = step.HostID, fleet.DiskInUse
		}
	}), nil
}

// prepare installs a release and brings certificates; a member that runs is not
// disturbed by it.
func (w *World) prepare(op fleet.Operation, step fleet.Step) ([]func(), error) {
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
}

func (w *World) start(op fleet.Operation, step fleet.Step) ([]func(), error) {
	n, err := w.node(step.HostID)
	d := w.disks[step.DiskID]
	run := fleet.MemberConfig{Version: op.Spec.Etcd.Version, Settings: op.Spec.Etcd.EtcdSettings}
	if step.Run != nil {
		run = *step.Run
	}
	switch {
	case err != nil:
		return nil, err
	case n.members[step.Member] == nil:
		return nil, fleet.Errorf(fleet.Conflict, "member "+step.Member, "is not prepared")
	case len(n.releases) > 0 && !n.releases[run.Version]:
		return nil, fleet.Errorf(fleet.Conflict, "etcd "+run.Version, "is not installed on host %s", step.HostID)
	case d == nil:
		return nil, gone("disk", step.DiskID)
	case d.HostID != step.HostID:
		return nil, fleet.Errorf(fleet.Conflict, "disk "+step.DiskID, "is not attached to host %s", step.HostID)
	}
	if s := w.stores[d.ID]; s != nil && s.spoiled {
		return nil, fleet.Errorf(fleet.Unavailable, "member "+step.Member, "ended at once: its data cannot be read")
	}
	if s := w.stores[d.ID]; s != nil && s.id != 0 && s.id != w.MemberID(step.Member) && w.anyUp() {
		return nil, fleet.Errorf(fleet.Unavailable, "member "+step.Member, "ended at once: it was removed from the cluster")
	}
	return effects(func() {
		m := w.members[step.Member]
		if w.stores[d.ID] == nil {
			w.stores[d.ID] = &store{member: step.Member, under: Membership(step), size: d.Size}
			if m != nil && step.Existing {
				m.behind, w.stores[d.ID].id, w.stores[d.ID].oldest = true, m.id, w.oldest()
			}
		}
		if m != nil && step.Existing && w.slow {
			m.behind = true // what was written while it was away, it does not have at once
		}
		w.configure(n.members[step.Member], run)
		n.members[step.Member].State = fleet.MemberRestarting
		w.begin(step.HostID, step.Member)
		if !step.Existing {
			w.form(step.Initial)
		}
		w.starting = w.slow && (op.Kind == fleet.CreateCluster || op.Kind == fleet.StartCluster)
	}), nil
}

// oldest is the oldest minor whose entries are in the log of some member that
// serves: a newcomer may get them from there.
func (w *World) oldest() string {
	oldest := w.minor
	for name := range w.members {
		if s := w.storeOf(name); s != nil && w.up(name) && s.oldest != "" && number(s.oldest) < number(oldest) {
			oldest = s.oldest
		}
	}
	return oldest
}

// configure sets how a member runs, and what is written down with it.
func (w *World) configure(m *fleet.MemberReport, run fleet.MemberConfig) {
	if m.Configured == nil || fleet.Minor(m.Configured.Version) != fleet.Minor(run.Version) {
		m.MinorSince, m.MinorSnapshot = w.now(), 0
	}
	m.Configured = &run
}

// seal closes or reopens the final snapshot.
func (w *World) seal(op fleet.Operation, step fleet.Step) ([]func(), error) {
	s := w.snapshot
	switch {
	case step.Kind == fleet.ReopenSnapshot && s == nil:
		return nil, nil
	case step.Kind == fleet.CloseSnapshot && (s == nil || s.Operation != op.ID):
		return nil, fleet.Errorf(fleet.Lost, "final snapshot of "+op.Cluster, "is gone")
	}
	sealed := *s
	sealed.Closed = time.Time{}
	if step.Kind == fleet.CloseSnapshot {
		sealed.Closed = time.Unix(2, 0)
	}
	return effects(func() { w.snapshot = &sealed }), nil
}

// deleteDisk ends a disk; with the last data goes the membership that was in it.
func (w *World) deleteDisk(id string) {
	delete(w.disks, id)
	delete(w.stores, id)
	if len(w.stores) == 0 {
		clear(w.members)
		w.minor, w.leader, w.downgrade = "", "", ""
	}
}

// Membership names the membership that a step starts a member under: two members
// that were started under different ones can never be in one cluster, and data
// from one must not be used under another.
func Membership(step fleet.Step) string {
	if step.Existing {
		return "whatever etcd says" // what it joins is not in its configuration
	}
	var text strings.Builder
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

func effects(all ...func()) []func() { return slices.Clip(all) }
