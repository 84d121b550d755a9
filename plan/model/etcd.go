package model

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// process gives where a member's process is, if its host knows it: on the host that
// runs, where there are two.
func (w *World) process(name string) (*fleet.Host, *node, *fleet.MemberReport) {
	var host *fleet.Host
	var on *node
	for id, n := range w.nodes {
		h := w.hosts[id]
		if n.members[name] == nil || h == nil {
			continue
		}
		if host == nil || h.State == fleet.HostRunning && host.State != fleet.HostRunning ||
			(h.State == fleet.HostRunning) == (host.State == fleet.HostRunning) && id > host.ID {
			host, on = h, n
		}
	}
	if host == nil {
		return nil, nil, nil
	}
	return host, on, on.members[name]
}

// diskOn gives the disk of a member that is attached to a host, or nil.
func (w *World) diskOn(hostID, member string) *fleet.Disk {
	for _, d := range w.disks {
		if d.HostID == hostID && d.Member() == member {
			return d
		}
	}
	return nil
}

// storeOf gives the data directory that a member's process has or would have, or nil.
func (w *World) storeOf(name string) *store {
	h, _, _ := w.process(name)
	if h == nil {
		return nil
	}
	if d := w.diskOn(h.ID, name); d != nil {
		return w.stores[d.ID]
	}
	return nil
}

// runs says that a member's process runs.
func (w *World) runs(name string) bool {
	h, _, m := w.process(name)
	return m != nil && m.State == fleet.MemberRunning && h.State == fleet.HostRunning && !w.down[h.Zone]
}

// fits says whether a release can serve with a data directory in this cluster: it is
// not older than what the cluster works at, and can read what is on the disk.
func (w *World) fits(version string, s *store) bool {
	minor := fleet.Minor(version)
	switch {
	case w.bad[version]:
		return false
	case minor == "" || w.minor == "": // not seen
		return true
	case number(minor) < number(w.minor), number(minor) > number(w.minor)+1:
		return false
	case s == nil:
		return true
	case number(s.schema) > number(minor):
		return false
	}
	return minor != "3.7" || s.oldest != "3.5" // 3.7 panics for ever on what 3.5 wrote into the log
}

// Fits says whether a member could serve with a release where it is, or where it comes in.
func (w *World) Fits(member, version string) bool {
	s := w.storeOf(member)
	if s == nil {
		s = &store{oldest: w.oldest()}
	}
	return w.fits(version, s)
}

// number gives 7 of 3.7; zero of what is no minor.
func number(minor string) int {
	_, n, _ := strings.Cut(minor, ".")
	i, _ := strconv.Atoi(n)
	return i
}

// trusting says whether two processes accept each other's certificates.
func (w *World) trusting(a, b string) bool {
	_, from, mine := w.process(a)
	_, to, theirs := w.process(b)
	if mine == nil || theirs == nil || from.trusts == nil || to.trusts == nil {
		return true
	}
	return slices.Contains(from.trusts, theirs.Issuer) && slices.Contains(to.trusts, mine.Issuer)
}

// Distrust gives two members whose processes run and do not accept each other, if
// there are such.
func (w *World) Distrust() (a, b string, found bool) {
	names := w.Names()
	for i, a := range names {
		for _, b := range names[:i] {
			if w.runs(a) && w.runs(b) && !w.trusting(a, b) {
				return b, a, true
			}
		}
	}
	return "", "", false
}

// connected says that a member and most of the voters that run accept each other.
func (w *World) connected(name string) bool {
	if !w.extended { // there never was more than one authority
		return true
	}
	running, trusting := 0, 0
	for other, m := range w.members {
		if m.learner || !w.runs(other) {
			continue
		}
		running++
		if other == name || w.trusting(name, other) {
			trusting++
		}
	}
	return running == 0 || trusting > running/2
}

// up says that a member serves where the membership says it is, whether we hear of
// it or not.
func (w *World) up(name string) bool {
	if w.servesElsewhere(name) {
		return true
	}
	h, n, m := w.process(name)
	entry := w.members[name]
	if m == nil || entry == nil || m.State != fleet.MemberRunning || h.State != fleet.HostRunning || w.down[h.Zone] ||
		n.cut || entry.peer != peerURL(*h) {
		return false
	}
	version := ""
	if m.Configured != nil {
		version = m.Configured.Version
	}
	var s *store
	if d := w.diskOn(h.ID, name); d != nil {
		s = w.stores[d.ID]
	}
	return w.fits(version, s) && w.connected(name)
}

// answers says that a member serves and that its host is not silent.
func (w *World) answers(name string) bool {
	if w.servesElsewhere(name) {
		return true
	}
	_, n, _ := w.process(name)
	return n != nil && !n.silent && w.up(name)
}

func (w *World) quorum(of func(member string) bool) bool {
	up, voters := 0, 0
	for name, m := range w.members {
		if m.learner {
			continue
		}
		voters++
		if of(name) {
			up++
		}
	}
	return up > voters/2
}

// anyUp says that some member runs, to tell others that they were removed.
func (w *World) anyUp() bool {
	for name := range w.members {
		if w.up(name) {
			return true
		}
	}
	return false
}

// connectedFully says that every voter serves: etcd adds nobody before that.
func (w *World) connectedFully() bool {
	for name, m := range w.members {
		if !m.learner && !w.up(name) {
			return false
		}
	}
	return true
}

// Leader gives the member that leads: the one that did as long as it can, then the
// first that can.
func (w *World) Leader() string {
	if !w.quorum(w.up) {
		return ""
	}
	if !w.fit(w.leader) {
		w.leader = ""
		for _, name := range w.Names() {
			if w.fit(name) && (w.leader == "" || w.members[w.leader].behind && !w.members[name].behind) {
				w.leader = name
			}
		}
		if m := w.members[w.leader]; m != nil { // what it does not have, nobody has
			m.behind, m.stuck = false, false
		}
	}
	return w.leader
}

func (w *World) fit(name string) bool { return w.Voter(name) && w.up(name) }

// Elect has another member lead, as elections do that nobody asked for.
func (w *World) Elect(name string) {
	if w.Leader() != "" && w.fit(name) && !w.members[name].behind {
		w.leader = name
	}
}

// agree is what members do by themselves as soon as they can: settle on a version,
// end a downgrade that is complete, and end if they were removed.
func (w *World) agree() {
	if !w.Formed() {
		return
	}
	lowest, all := "", true
	for name := range w.members {
		if !w.up(name) {
			all = false
			continue
		}
		run, _ := w.Configured(name)
		if minor := fleet.Minor(cmp.Or(w.members[name].foreign, run.Version)); lowest == "" || number(minor) < number(lowest) {
			lowest = minor
		}
	}
	switch {
	case w.minor == "":
		w.minor = lowest
	case !all || lowest == "":
	case w.downgrade == "" && number(lowest) > number(w.minor):
		w.minor = lowest
	case w.downgrade != "" && w.allRun(w.downgrade):
		w.downgrade = ""
	}
	for name, m := range w.members {
		s := w.storeOf(name)
		if s == nil || !w.up(name) {
			continue
		}
		s.id = m.id
		s.fresh = s.fresh && !w.quorum(w.up)
		if w.downgrade == "" {
			s.schema = w.minor
		}
		if s.oldest == "" {
			s.oldest = w.minor
		}
	}
	w.endRemoved()
}

func (w *World) allRun(minor string) bool {
	for name := range w.members {
		if run, _ := w.Configured(name); fleet.Minor(run.Version) != minor {
			return false
		}
	}
	return true
}

// endRemoved ends the processes of members that were removed, once they hear of it.
func (w *World) endRemoved() {
	if !w.quorum(w.up) {
		return
	}
	for id, n := range w.nodes {
		if n.cut || w.hosts[id] == nil || w.hosts[id].State != fleet.HostRunning {
			continue
		}
		for name, m := range n.members {
			d := w.diskOn(id, name)
			if d == nil || w.stores[d.ID] == nil || w.stores[d.ID].id == 0 || w.stores[d.ID].id == w.MemberID(name) {
				continue
			}
			if m.State == fleet.MemberRunning || m.State == fleet.MemberRestarting {
				m.State = fleet.MemberStopped
			}
		}
	}
}

// lower brings the data of all who serve to the form of the minor that a downgrade
// goes to.
func (w *World) lower() {
	for name := range w.members {
		if s := w.storeOf(name); s != nil && w.up(name) && w.downgrade != "" {
			s.schema = w.downgrade
		}
	}
}

// form makes the first membership once a quorum of it runs. A second one cannot
// form beside it.
func (w *World) form(initial []fleet.Endpoint) {
	up := 0
	for _, e := range initial {
		if w.runs(e.Member) {
			up++
		}
	}
	if up <= len(initial)/2 || w.Formed() {
		return
	}
	for _, e := range initial {
		w.ids++
		w.members[e.Member] = &member{id: w.ids, peer: e.PeerURL(), named: true, young: true}
	}
}
