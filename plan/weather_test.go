package plan_test

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// wound is a fault that lasts until it is mended.
type wound struct {
	name   string
	healed func() bool
}

// hurt has a fault happen, unless there are as many already as there may be.
func (w *walk) hurt(name string, fault func(), healed func() bool) {
	w.wounds = slices.DeleteFunc(w.wounds, func(o wound) bool { return o.healed() })
	if w.limit > 0 && len(w.wounds) >= w.limit {
		return
	}
	w.say("    fault: %s", name)
	fault()
	w.wounds = append(w.wounds, wound{name, healed})
}

// memberHeals says when what happened to a member is mended: it serves, or it is not a
// member any more and nothing of it is there.
func (w *walk) memberHeals(name string) func() bool {
	return func() bool {
		return w.world.Healthy(name) || !w.world.Member(name) && len(w.world.HostsOf(name)) == 0
	}
}

// disturb does what a cloud, a network, a hand and a client do at any time.
func (w *walk) disturb() {
	switch w.choose(14, "weather") {
	case 0, 1, 2:
		w.world.Settle()
	case 3:
		if !making(w.doing) { // what is written during a decommission is lost, and it says so
			w.world.Write()
		}
	case 4:
		if names := w.world.Names(); len(names) > 0 {
			w.world.Elect(names[w.choose(len(names), "elected")])
		}
	case 5:
		w.heal()
	case 6:
		w.harmHost()
	case 7:
		w.harmMember()
	case 8:
		w.harmZone()
	}
}

// heal ends something that lasts: silence, want of stock, a hand's stop.
func (w *walk) heal() {
	obs := w.world.Observe()
	switch zone := w.spec.Zones[w.choose(len(w.spec.Zones), "zone")]; w.choose(4, "healed") {
	case 0:
		w.world.SoldOut(zone, false)
	case 1:
		w.world.ZoneBack(zone)
	case 2:
		if len(obs.Hosts) > 0 {
			w.world.Silence(obs.Hosts[w.choose(len(obs.Hosts), "host heard again")].ID, false)
		}
	case 3:
		for _, name := range w.world.Names() {
			w.world.StartProcess(name)
			w.world.Stick(name, false)
		}
	}
}

// harmHost breaks a host, or the way to it.
func (w *walk) harmHost() {
	hosts := w.world.Observe().Hosts
	if len(hosts) == 0 {
		return
	}
	h := hosts[w.choose(len(hosts), "which host")]
	id, name := h.ID, h.Member()
	answers := func() bool { return !slices.Contains(w.world.HostsOf(name), id) || !w.silent(id) }
	switch fault := w.choose(5, "host's fault"); {
	case w.mild && fault != 1:
	case fault == 0:
		w.hurt("host "+id+" of "+name+" is lost", func() { w.world.LoseHost(id); w.lost++ }, w.memberHeals(name))
	case fault == 1:
		w.hurt("host "+id+" of "+name+" is silent", func() { w.world.Silence(id, true) }, answers)
	case fault == 2:
		w.hurt("host "+id+" of "+name+" is cut off", func() { w.world.Cut(id) }, answers)
	case fault == 3 && w.changing():
		w.hurt("host "+id+" of "+name+" is halted", func() { w.world.HaltHost(id) }, w.memberHeals(name))
	case fault == 4:
		w.world.Silence(id, false)
	}
}

func (w *walk) silent(hostID string) bool {
	for _, h := range w.world.Observe().Hosts {
		if h.ID == hostID {
			return h.State == fleet.HostRunning && h.Report == nil
		}
	}
	return false
}

// changing says that the cluster is past its making: what a create does not mend does
// not happen before.
func (w *walk) changing() bool { return w.phase != fleet.PhaseIncomplete }

// harmMember breaks a member: its process, its disk, or its way to what the others have.
func (w *walk) harmMember() {
	names := w.world.Names()
	if len(names) == 0 || !w.changing() || w.mild {
		return
	}
	name := names[w.choose(len(names), "which member")]
	disks := w.world.DisksOf(name)
	switch w.choose(4, "member's fault") {
	case 0:
		w.hurt("process of "+name+" is stopped", func() { w.world.StopProcess(name) }, w.memberHeals(name))
	case 1:
		if len(disks) > 0 {
			w.hurt("disk of "+name+" is lost", func() { w.world.LoseDisk(disks[0]) }, w.memberHeals(name))
		}
	case 2:
		if len(disks) > 0 {
			w.hurt("data of "+name+" is spoiled", func() { w.world.SpoilData(disks[0]) }, w.memberHeals(name))
		}
	case 3:
		if w.world.Learner(name) || w.once(3, "a voter") {
			w.hurt(name+" stays behind", func() { w.world.Stick(name, true) }, w.memberHeals(name))
		}
	}
}

// harmZone sells a zone out, or takes it away.
func (w *walk) harmZone() {
	zone := w.spec.Zones[w.choose(len(w.spec.Zones), "which zone")]
	switch {
	case w.choose(3, "zone's fault") > 0 || !w.changing():
		w.hurt("zone "+zone+" is sold out", func() { w.world.SoldOut(zone, true) }, func() bool { return w.world.Sells(zone) })
	case len(w.spec.Zones) > 1 && !w.mild:
		known := w.once(2, "the cloud knows")
		w.hurt("zone "+zone+" is gone", func() { w.world.LoseZone(zone, known) }, func() bool { return !w.world.Down(zone) })
	}
}

// calm ends what breaks and can be mended without the planner: stock and zones are
// there again, hosts answer, learners get on.
func (w *walk) calm() {
	for _, zone := range []string{"a", "b", "c", "d"} {
		w.world.SoldOut(zone, false)
		w.world.ZoneBack(zone)
	}
	for _, h := range w.world.Observe().Hosts {
		w.world.Silence(h.ID, false)
	}
	for _, name := range w.world.Names() {
		w.world.Stick(name, false)
	}
	for _, version := range releases {
		w.world.Fix(version)
	}
	w.world.Settle()
}

// observe looks at the world. In rough weather lists may lag behind what members say,
// and a host, a member or the leader may not be heard this time. A list that may be
// incomplete is an error of whoever lists, and leads to no decision.
func (w *walk) observe(op fleet.Operation, rough bool) fleet.Observation {
	obs := w.world.Observe()
	if op.Kind != fleet.FailoverMember {
		obs.Evidence = nil // only a failover gathers it
	}
	w.seen = append(w.seen, obs)
	if !rough {
		return obs
	}
	switch w.choose(14, "kind of look") {
	case 13:
		if making(op.Kind) { // decided long ago, acted on only now
			w.say("    an old look")
			return w.seen[w.choose(len(w.seen), "old look")]
		}
	case 12, 11: // eventual consistency
		was := w.old(op)
		obs.Hosts, obs.Disks = relist(was.Hosts, obs.Hosts), was.Disks
		w.say("    old lists")
	case 10:
		obs.Unknowns = append(slices.Clone(obs.Unknowns), "something could not be seen")
	case 9:
		if !making(op.Kind) {
			w.mishear(&obs)
		}
	}
	return obs
}

// making says that an operation makes or ends a cluster as a whole.
func making(kind fleet.OperationKind) bool {
	return kind == fleet.CreateCluster || kind == fleet.DecommissionCluster
}

// lag is how many looks a list may be late.
const lag = 12

// old gives an observation whose lists are seen now. A create may meet lists from
// before an earlier create ended, unless that one had a purchase refused: which zone
// it went to in the end, only lists tell. A decommission does not begin within seconds of
// what was bought last.
func (w *walk) old(op fleet.Operation) fleet.Observation {
	old := slices.Concat(w.earlier, w.seen)
	if op.Kind == fleet.CreateCluster && w.refuse > 0 || op.Kind == fleet.DecommissionCluster {
		old = w.seen
	}
	old = old[max(0, len(old)-lag):]
	return old[w.choose(len(old), "old lists")]
}

// mishear has one look miss what another one would hear.
func (w *walk) mishear(obs *fleet.Observation) {
	switch w.choose(3, "not heard") {
	case 0:
		w.say("    the leader is not heard of")
		obs.Leader = ""
		obs.Members = slices.Clone(obs.Members)
		for i := range obs.Members {
			obs.Members[i].Leader = false
		}
	case 1:
		if len(obs.Hosts) > 0 {
			obs.Hosts = slices.Clone(obs.Hosts)
			h := &obs.Hosts[w.choose(len(obs.Hosts), "host not heard")]
			w.say("    host %s is not heard", h.ID)
			h.Report, h.Silent = nil, "no answer"
		}
	case 2:
		if len(obs.Members) > 0 {
			obs.Members = slices.Clone(obs.Members)
			m := &obs.Members[w.choose(len(obs.Members), "member not heard")]
			w.say("    member %s is not heard", m.Name)
			if m.Answers {
				m.Answers, m.Applied, m.Version, m.Storage = false, 0, "", ""
			}
		}
	}
}

// relist is an old list of hosts, with what the hosts on it say now.
func relist(old, now []fleet.ObservedHost) []fleet.ObservedHost {
	var list []fleet.ObservedHost
	for _, h := range old {
		h.Report, h.Silent = nil, "no answer"
		for _, n := range now {
			if n.ID == h.ID {
				h.Report, h.Silent = n.Report, n.Silent
			}
		}
		list = append(list, h)
	}
	return list
}
