package plan_test

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

var hashing = maphash.MakeSeed()

// state names the world's state without the names and numbers of what was bought.
func (w *walk) state() uint64 {
	var h maphash.Hash
	h.SetSeed(hashing)
	obs := w.world.Observe()
	say := func(parts ...string) {
		for _, part := range parts {
			h.WriteString(part)
			h.WriteByte('|')
		}
	}
	flag := func(bits ...bool) {
		for _, b := range bits {
			if b {
				h.WriteByte('1')
			} else {
				h.WriteByte('0')
			}
		}
	}
	flag(obs.Authority, obs.Quorum, w.world.Saved(), obs.Trust.Other != "", obs.Trust.Switched)
	say(w.world.Minor(), obs.Downgrade)
	seats := map[string]bool{}
	for _, host := range obs.Hosts {
		seats[host.Member()] = true
	}
	for _, d := range obs.Disks {
		seats[d.Member()] = true
	}
	for _, name := range w.world.Names() {
		seats[name] = true
	}
	names := make([]string, 0, len(seats))
	for name := range seats {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return fleet.MemberNumber(w.spec.Name, a) - fleet.MemberNumber(w.spec.Name, b) })
	for _, name := range names {
		say("member")
		if host := obs.Host(name); host != nil {
			say(host.Zone, string(host.State), host.Type)
			if m := host.Report.Find(name); m != nil {
				flag(m.CertifiedUntil.IsZero(), m.TrustIsOld, m.MinorSnapshot > 0)
				say(string(m.State), fmt.Sprint(len(m.Trusts)))
				if m.Configured != nil {
					say(m.Configured.Version, m.Configured.Settings.Quota.String())
				}
			}
			flag(host.Report == nil)
		}
		if d := obs.Disk(name); d != nil {
			say(d.Zone, string(d.State), d.Size.String(), d.Category)
			flag(w.world.HoldsData(d.ID) != "", d.HostID != "")
		}
		flag(w.world.Member(name), w.world.Voter(name), w.world.Up(name), w.world.Behind(name), w.world.Settled(name), obs.Leader == name)
	}
	return h.Sum64()
}

// visit counts a step that led from one state to another.
func (w *walk) visit(kind fleet.OperationKind, was uint64, s fleet.Step) {
	is := w.state()
	var h maphash.Hash
	h.SetSeed(hashing)
	fmt.Fprint(&h, was, s.Kind, is)
	transition := h.Sum64()
	t := w.tally.of(kind)
	w.tally.states[is], w.tally.transitions[transition] = true, true
	t.states[is], t.transitions[transition] = true, true
}
