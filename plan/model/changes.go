package model

import (
	"fmt"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// changes gives the effects of the steps that change a running cluster.
func (w *World) changes(op fleet.Operation, step fleet.Step) ([]func(), error) {
	switch step.Kind {
	case fleet.AddLearner:
		return w.addLearner(op, step)
	case fleet.AwaitInSync:
		m := w.members[step.Member]
		switch {
		case m == nil || !w.answers(step.Member):
			return nil, away(step.Member)
		case m.stuck:
			return nil, fleet.Errorf(fleet.Unavailable, "member "+step.Member, "stays behind the leader")
		}
		return effects(func() { w.starting = false }, func() { m.behind = false }), nil
	case fleet.AwaitSettled:
		return w.awaitSettled()
	case fleet.Promote, fleet.RemoveMember, fleet.UpdateMember, fleet.MoveLeader:
		return w.reconfigure(op, step)
	case fleet.RestartMember, fleet.RollBackMember:
		return w.restart(step)
	case fleet.AdoptMember:
		return w.adoptMember(step)
	case fleet.StopHost, fleet.StartHost, fleet.ResizeHost:
		return w.power(step)
	case fleet.GrowDisk:
		return w.grow(step)
	case fleet.RetypeDisk:
		return w.retype(step)
	case fleet.RenewCertificates:
		n, err := w.node(step.HostID)
		if err != nil {
			return nil, err
		}
		m := n.members[step.Member]
		if m == nil {
			return nil, unknown(step)
		}
		return effects(func() { w.certify(m, op) }), nil
	case fleet.TakeRaftSnapshot:
		if !w.Serving() {
			return nil, noQuorum(op)
		}
		return w.takeRaftSnapshot(), nil
	case fleet.EnableDowngrade, fleet.CancelDowngrade:
		return w.setDowngrade(op, step)
	case fleet.ExtendAuthority:
		return effects(func() {
			w.extended = true
			if w.trust.Other == "" {
				w.trust.Other = fmt.Sprintf("ca-%d", w.now().Unix()+1)
			}
		}), nil
	case fleet.SwitchAuthority:
		if w.trust.Other == "" {
			return nil, fleet.Errorf(fleet.Conflict, "authority of "+op.Cluster, "there is no second one")
		}
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
	case fleet.RecoverMember:
		return w.recover(step)
	case fleet.RestoreMember:
		return w.restore(op, step)
	case fleet.SnapshotDisk:
		return w.copyDisk(op, step)
	case fleet.DeleteDiskSnapshot:
		return w.dropCopy(step), nil
	case fleet.DiscardData:
		return w.discard(step)
	case fleet.VerifyBackup:
		return nil, nil // nothing of the cluster is looked at
	case fleet.CompareKeys, fleet.RestoreKeys:
		if !w.quorum(w.answers) {
			return nil, noQuorum(op)
		}
		return nil, nil // keys are not in the model
	}
	return nil, fmt.Errorf("model: no effects for step %q", step.Kind)
}

func away(member string) error {
	return fleet.Errorf(fleet.Unavailable, "member "+member, "does not answer")
}

func unknown(step fleet.Step) error {
	return fleet.Errorf(fleet.NotFound, "member "+step.Member, "is not known on host %s", step.HostID)
}

// addLearner adds a member at an address, as etcd does: only while all voters are
// connected, and only as many learners as it allows.
func (w *World) addLearner(op fleet.Operation, step fleet.Step) ([]func(), error) {
	at := step.Endpoint.PeerURL()
	for _, m := range w.members {
		if m.peer == at {
			return nil, nil
		}
	}
	_, _, learners := w.Counts()
	switch {
	case !w.quorum(w.answers):
		return nil, noQuorum(op)
	case !w.connectedFully():
		return nil, fleet.Errorf(fleet.Unavailable, "learner "+step.Member, "etcd refuses it: unhealthy cluster")
	case learners >= w.LearnersAllowed():
		return nil, fleet.Errorf(fleet.Conflict, "learner "+step.Member, "etcd refuses it: too many learner members in cluster")
	}
	return effects(func() {
		w.ids++
		w.members[step.Member] = &member{id: w.ids, learner: true, peer: at, behind: true, young: true}
	}), nil
}

// LearnersAllowed is the lowest limit that a member runs with.
func (w *World) LearnersAllowed() int {
	limit := 0
	for name := range w.members {
		if run, known := w.Configured(name); known && run.Settings.MaxLearners > 0 && (limit == 0 || run.Settings.MaxLearners < limit) {
			limit = run.Settings.MaxLearners
		}
	}
	return max(1, limit)
}

func (w *World) awaitSettled() ([]func(), error) {
	for name, m := range w.members {
		switch {
		case !w.answers(name):
			return nil, away(name)
		case m.stuck:
			return nil, fleet.Errorf(fleet.Unavailable, "member "+name, "stays behind the leader")
		}
	}
	return effects(func() {
		w.starting = false
		for _, m := range w.members {
			m.young, m.behind = false, m.stuck
		}
	}), nil
}

// certify brings a member the certificates and the bundle that are in force. Its
// process trusts the bundle that it began with.
func (w *World) certify(m *fleet.MemberReport, op fleet.Operation) {
	trusts := []string{w.trust.Signer}
	if w.trust.Other != "" {
		trusts = append(trusts, w.trust.Other)
	}
	if m.State != fleet.MemberPrepared && len(m.Trusts) > 0 && fmt.Sprint(m.Trusts) != fmt.Sprint(trusts) {
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
		return w.remove(step)
	case m == nil:
		return nil, fleet.Errorf(fleet.NotFound, "member "+step.Member, "is not in the membership")
	case step.Kind == fleet.UpdateMember:
		return effects(func() { m.peer = step.Endpoint.PeerURL() }), nil
	case step.Kind == fleet.MoveLeader:
		if to := w.members[step.To]; to == nil || to.learner || to.behind || !w.answers(step.To) {
			return nil, fleet.Errorf(fleet.Conflict, "member "+step.To, "cannot lead")
		}
		return effects(func() {
			if w.Leader() == step.Member {
				w.Elect(step.To)
			}
		}), nil
	case m.learner && (m.behind || !w.answers(step.Member)):
		return nil, fleet.Errorf(fleet.Conflict, "member "+step.Member, "is not in sync")
	}
	return effects(func() { m.learner = false }), nil
}

// remove takes a member out, unless too few of the others would serve.
func (w *World) remove(step fleet.Step) ([]func(), error) {
	leaver := step.Member
	for name, m := range w.members { // etcd knows no name of one that never ran
		if m.id == step.MemberID && !m.named {
			leaver = name
		}
	}
	m := w.members[leaver]
	if m == nil || m.id != step.MemberID {
		return nil, nil // it left already
	}
	voters, up := 0, 0
	for name, other := range w.members {
		if !other.learner && name != leaver {
			voters++
			if w.up(name) {
				up++
			}
		}
	}
	if !m.learner && up <= voters/2 {
		return nil, fleet.Errorf(fleet.Conflict, "member "+leaver, "etcd refuses to remove it: not enough started members")
	}
	return effects(func() {
		if s := w.storeOf(leaver); s != nil {
			s.learner = m.learner
		}
		delete(w.members, leaver)
	}), nil
}

// restart ends a member's process and starts it otherwise. One that cannot serve so
// runs and never answers.
func (w *World) restart(step fleet.Step) ([]func(), error) {
	n, err := w.node(step.HostID)
	if err != nil {
		return nil, err
	}
	m := n.members[step.Member]
	switch {
	case m == nil:
		return nil, unknown(step)
	case len(n.releases) > 0 && !n.releases[step.Run.Version]:
		return nil, fleet.Errorf(fleet.Conflict, "etcd "+step.Run.Version, "is not installed on host %s", step.HostID)
	}
	all := effects(func() {
		w.configure(m, *step.Run)
		m.State = fleet.MemberRestarting
	}, func() { w.begin(step.HostID, step.Member) })
	why := w.failsToServe(step)
	if why == "" {
		return all, nil
	}
	for _, effect := range all { // it was restarted, and that is what is wrong with it
		effect()
	}
	return nil, fleet.Errorf(fleet.Lost, "member "+step.Member, "did not become ready: %s", why)
}

// failsToServe says why a member that is restarted would not come back, or "".
func (w *World) failsToServe(step fleet.Step) string {
	s, m := w.storeOf(step.Member), w.members[step.Member]
	switch {
	case s == nil || s.spoiled:
		return "its data cannot be read"
	case !w.fits(step.Run.Version, s):
		return "its release does not serve here"
	case m == nil || m.id != s.id:
		return "it was removed from the cluster"
	case m.stuck:
		return "it stays behind the leader"
	case !w.quorum(func(name string) bool { return name == step.Member || w.up(name) }):
		return "there is no quorum"
	}
	return ""
}

// takeRaftSnapshot has every member write a raft snapshot: its log then holds nothing
// of an older minor.
func (w *World) takeRaftSnapshot() []func() {
	return effects(func() {
		entry := uint64(w.now().Unix())
		for name := range w.members {
			if s := w.storeOf(name); s != nil {
				s.oldest = w.minor
			}
			if _, _, m := w.process(name); m != nil {
				m.RaftSnapshot = entry
				if m.MinorSnapshot == 0 {
					m.MinorSnapshot = entry
				}
			}
		}
	})
}

// setDowngrade enables or cancels a downgrade. etcd goes down from the minor above
// only.
func (w *World) setDowngrade(op fleet.Operation, step fleet.Step) ([]func(), error) {
	minor := fleet.Minor(step.Version)
	switch {
	case !w.quorum(w.answers):
		return nil, noQuorum(op)
	case step.Kind == fleet.CancelDowngrade:
		return effects(func() { w.downgrade = "" }), nil
	case w.downgrade == minor || w.allRun(minor):
	case w.minor != "" && number(w.minor) != number(minor)+1:
		return nil, fleet.Errorf(fleet.Invalid, "downgrade to "+minor, "etcd refuses it: the cluster is at %s", w.minor)
	}
	return effects(func() { w.downgrade, w.minor = minor, minor }, w.lower), nil
}

// reachable gives a disk whose zone answers.
func (w *World) reachable(id string) (*fleet.Disk, error) {
	d := w.disks[id]
	switch {
	case d == nil:
		return nil, gone("disk", id)
	case w.down[d.Zone]:
		return nil, fleet.Errorf(fleet.Unavailable, "zone "+d.Zone, "does not answer")
	}
	return d, nil
}

// grow makes a disk larger, and then the file system on it.
func (w *World) grow(step fleet.Step) ([]func(), error) {
	d, err := w.reachable(step.DiskID)
	if err != nil {
		return nil, err
	}
	if _, err := w.node(d.HostID); err != nil {
		return nil, err
	}
	return effects(func() { d.Size = max(d.Size, step.Size) }, func() {
		if s := w.stores[d.ID]; s != nil {
			s.size = d.Size
		}
	}), nil
}

// retype makes a disk one of another category, and its old one what it can become.
func (w *World) retype(step fleet.Step) ([]func(), error) {
	d, err := w.reachable(step.DiskID)
	switch {
	case err != nil:
		return nil, err
	case !d.Becomes(step.Category):
		return nil, fleet.Errorf(fleet.Invalid, "disk "+d.ID, "is %s and does not become %s where it is", d.Category, step.Category)
	}
	return effects(func() {
		d.Size = max(d.Size, step.Size)
		if d.Category != step.Category {
			others := slices.DeleteFunc(slices.Clone(d.Retypes), func(c string) bool { return c == step.Category })
			d.Retypes, d.Category = slices.Concat(others, []string{d.Category}), step.Category
		}
	}), nil
}

// power stops, starts and resizes hosts. What is to run on a host begins with it.
func (w *World) power(step fleet.Step) ([]func(), error) {
	h := w.hosts[step.HostID]
	switch {
	case h == nil:
		return nil, gone("host", step.HostID)
	case w.down[h.Zone]:
		return nil, fleet.Errorf(fleet.Unavailable, "zone "+h.Zone, "does not answer")
	case step.Kind == fleet.ResizeHost && h.State != fleet.HostStopped:
		return nil, fleet.Errorf(fleet.Conflict, "host "+h.ID, "is not stopped")
	case step.Kind == fleet.ResizeHost:
		return effects(func() { h.Type = step.Type }), nil
	case step.Kind == fleet.StopHost:
		return effects(func() { h.State = fleet.HostStopped }), nil
	}
	return effects(func() {
		if h.State != fleet.HostRunning {
			h.State = fleet.HostRunning
			w.reboot(h)
		}
	}), nil
}
