package plan

import (
	"cmp"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// comesIn says that a member, or what is to become one, was bought for by this
// operation or one that it resumes, and is not a voter yet.
func (r roster) comesIn(s seat) bool {
	return !s.voter() && s.number > 0 && s.number >= r.in.Operation.Since
}

// bought gives the step that bought the host of a new member, as long as it is
// remembered.
func (r roster) bought(member string) *fleet.Step { return r.purchased(member, false) }

// purchased gives the step that bought a host for a new member, or for one that comes
// back on its disk, which is in the step.
func (r roster) purchased(member string, back bool) *fleet.Step {
	for i, p := range r.in.Purchases {
		if p.Member == member && (p.DiskID != "") == back {
			return &r.in.Purchases[i]
		}
	}
	return nil
}

// givenUp says that nothing becomes of who was to come in, and that its name is not
// used again: what was bought for it was lost, or it was a member and left.
func (r roster) givenUp(s seat) bool {
	lost := slices.ContainsFunc(r.in.Failures, func(f fleet.Failure) bool {
		return f.Step.Member == s.name && f.Kind == fleet.Lost
	})
	ends := s.host == nil || s.host.State == fleet.HostTerminating || s.host.State == fleet.HostTerminated
	switch {
	case lost && ends:
		return true
	case s.member():
		return false
	}
	p := r.bought(s.name)
	switch {
	case p == nil && (s.host != nil || s.disk != nil):
		return true // it was released, and a list that lags behind shows it still
	case p != nil && p.MemberID != 0:
		return true // it was removed again, whatever is seen of its host
	}
	return started(s.report()) || s.host != nil && s.disk != nil && !r.in.boughtFor(*s.disk, s.host.Host)
}

// newcomers are who comes in and was not given up, in the order in which they were
// named: whatever was bought is finished before more is bought.
func (r roster) newcomers() []seat {
	var all []seat
	for _, s := range r.seats {
		if r.comesIn(s) && !r.givenUp(s) {
			all = append(all, s)
		}
	}
	for _, p := range r.in.Purchases { // a list that lags behind does not show it yet
		s, seen := r.find(p.Member)
		if !seen && !r.givenUp(s) {
			all = append(all, s)
		}
	}
	return all
}

// needs says how many newcomers have to become voters and learners.
func (r roster) needs(g goal) (voters, learners int) {
	voters = g.voters
	for _, s := range r.voters() {
		if !g.replaces(s) && !g.isDead(s) {
			voters--
		}
	}
	learners = g.learners
	for _, s := range r.learners() {
		if !g.replaces(s) && !g.isDead(s) && !r.comesIn(s) && !s.nameless() {
			learners--
		}
	}
	return max(0, voters), max(0, learners)
}

// active are the newcomers that the goal has a place for: the first becomes a voter
// where one is missing, the others learners. One comes in at a time.
func (r roster) active(g goal) (comers []seat, promote bool) {
	voters, learners := r.needs(g)
	all := r.newcomers()
	room := learners
	if voters > 0 {
		room++
	}
	return all[:min(room, len(all))], voters > 0
}

// welcome is the next step of who comes in.
func (r roster) welcome(g goal) *fleet.Decision {
	comers, promote := r.active(g)
	for i, s := range comers {
		vote := promote && i == 0
		if d := r.comeIn(g, s, vote); d != nil {
			return d
		}
	}
	return nil
}

// comeIn is the next step towards a member that serves; nil when it does.
func (r roster) comeIn(g goal, s seat, vote bool) *fleet.Decision {
	answer := func(d fleet.Decision) *fleet.Decision { return &d }
	obs := r.in.Observation
	switch h := s.host; {
	case h == nil && s.member():
		// Its host is not seen. Asking for it again by the same token says whether it is lost.
		if step := r.bought(s.name); step != nil {
			return answer(act(*step))
		}
		if s.etcd.Answers {
			return answer(wait("%s answers, and no host of it is seen", s.name))
		}
		return answer(act(r.step(fleet.RemoveMember, s)))
	case h == nil:
		return answer(r.buy(g, s.name))
	case h.State == fleet.HostUnknown:
		return answer(wait("the state of host %s is unknown", h.Name))
	case h.State == fleet.HostTerminating || h.State == fleet.HostTerminated:
		return answer(wait("host %s (%s) is being released", h.Name, h.ID))
	case h.State == fleet.HostStopped:
		return answer(act(r.step(fleet.StartHost, s)))
	case h.State != fleet.HostRunning:
		return answer(act(r.step(fleet.LaunchHost, s)))
	case s.disk == nil && s.member() && s.etcd.Answers:
		return answer(wait("%s answers, and no disk of it is seen", s.name))
	case s.disk == nil && s.member() && (s.etcd.Name != "" || started(s.report())):
		return answer(act(r.step(fleet.RemoveMember, s))) // who began once never begins on an empty disk
	case s.disk == nil:
		step := r.in.purchase(fleet.AttachDisk, s.name, h.ID)
		step.Zone, step.HostID = h.Zone, h.ID
		return answer(act(step))
	case s.disk.HostID != h.ID || s.disk.State != fleet.DiskInUse:
		return answer(act(r.step(fleet.AttachDisk, s)))
	case !prepared(obs, r.release(), s.name):
		return answer(act(r.prepareStep(s)))
	case !s.member():
		return answer(r.addLearner(g, s))
	case !running(obs, s.name):
		step := r.startStep(fleet.StartMember, s)
		step.Run = r.run()
		return answer(act(step))
	case !s.inSync():
		return answer(act(r.step(fleet.AwaitInSync, s)))
	case vote && s.learner():
		return answer(act(r.step(fleet.Promote, s)))
	}
	return nil
}

// release is the one that a newcomer runs: the oldest that a member runs. The cluster as
// a whole works at its minor, takes nobody who is older, and has in its log what a newer
// one may not be able to read; an upgrade changes the newcomer after it came in.
func (r roster) release() string {
	oldest := ""
	for _, s := range r.members() {
		version := s.etcd.Version
		if run, known := s.configured(); known && version == "" {
			version = run.Version
		}
		if version != "" && !r.comesIn(s) && (oldest == "" || fleet.CompareVersions(version, oldest) < 0) {
			oldest = version
		}
	}
	return cmp.Or(oldest, r.in.Operation.Spec.Etcd.Version)
}

// run is how a newcomer runs, or nil when that is as the spec says.
func (r roster) run() *fleet.MemberConfig {
	etcd := r.in.Operation.Spec.Etcd
	if r.release() == etcd.Version {
		return nil
	}
	return &fleet.MemberConfig{Version: r.release(), Settings: etcd.EtcdSettings}
}

// prepareStep brings a host what its member needs to run.
func (r roster) prepareStep(s seat) fleet.Step {
	step := r.step(fleet.PrepareHost, s)
	release := r.release()
	if run, known := s.configured(); known {
		release = run.Version
	}
	if release != r.in.Operation.Spec.Etcd.Version {
		step.Version = release
	}
	return step
}

// addLearner adds a newcomer to the membership once etcd would take it: all voters
// healthy, and fewer learners than every member allows.
func (r roster) addLearner(g goal, s seat) fleet.Decision {
	for _, m := range r.members() {
		if m.voter() && !m.inSync() && !g.isDead(m) {
			return wait("%s is not healthy, and etcd adds no member while a voter is away", m.name)
		}
	}
	if r.hasRoom() {
		return act(r.step(fleet.AddLearner, s))
	}
	for _, old := range r.learners() {
		if g.replaces(old) { // no room for both: the successor is ready, so the old one goes first
			return r.touch(old, is(old, s), nil, r.step(fleet.RemoveMember, old))
		}
	}
	return r.full()
}

// hasRoom says that every member allows one learner more.
func (r roster) hasRoom() bool { return len(r.learners()) < r.limit() }

// limit is how many learners every member allows.
func (r roster) limit() int {
	limit := r.in.Operation.Spec.Etcd.MaxLearners
	for _, m := range r.members() {
		if run, known := m.configured(); known {
			limit = min(limit, run.Settings.MaxLearners)
		}
	}
	return max(1, limit)
}

// full says that a newcomer cannot join to catch up.
func (r roster) full() fleet.Decision {
	cluster, n := r.in.Operation.Cluster, len(r.learners())
	if fleet.Minor(r.release()) == "3.5" {
		return blocked(fleet.Blocked, "%s has a learner, and etcd 3.5 allows one at a time, so no new member can join to catch up; "+
			"scale its learners down first (flotilla scale %s --learners 0)", cluster, cluster)
	}
	return blocked(fleet.Blocked, "%s has %d learners and etcd.maxLearners is %d, so no new member can join to catch up; "+
		"raise etcd.maxLearners (flotilla roll %s --set etcd.maxLearners=%d), or scale its learners down first",
		cluster, n, r.limit(), cluster, n+1)
}

// buy gives the purchase of a newcomer's host: the same one again as long as it is
// remembered, and else in the zone that has the fewest of the members that stay.
func (r roster) buy(g goal, name string) fleet.Decision {
	if step := r.bought(name); step != nil {
		return act(*step)
	}
	spec := r.in.Operation.Spec
	zone := r.zoneFor(g, name)
	if zone == "" {
		zones := r.zonesOf(g, name)
		return blocked(fleet.OutOfCapacity, "no zone of %s has a %s left; try again later, or change machine.type or zones",
			sentence(zones), spec.MachineIn(zones[0]).Type)
	}
	machine := spec.MachineIn(zone).Type
	step := r.in.purchase(fleet.LaunchHost, name, machine+"/"+zone)
	step.Zone, step.Type = zone, machine
	return act(step)
}

// zonesOf gives the zones that a newcomer may go to: those of voters if it is the one that
// will be a voter.
func (r roster) zonesOf(g goal, name string) []string {
	comers, promote := r.active(g)
	if promote && (len(comers) == 0 || comers[0].name == name) {
		return r.in.Operation.Spec.Zones
	}
	return r.in.Operation.Spec.LearnerZones()
}

// zoneFor chooses where a newcomer goes: of its zones that did not refuse it and are not
// down, the one with the fewest members that stay, in the spec's order.
func (r roster) zoneFor(g goal, name string) string {
	leaving, _ := r.successorOf(g)
	best, fewest := "", 0
	zones := r.zonesOf(g, name)
	for _, zone := range zones {
		refused := slices.ContainsFunc(r.in.Failures, func(f fleet.Failure) bool {
			return f.Step.Kind == fleet.LaunchHost && f.Kind == fleet.OutOfCapacity && f.Step.Member == name && f.Step.Zone == zone
		})
		if refused || r.zoneIsDown(zone, zones, g) {
			continue
		}
		there := 0
		for _, s := range r.members() {
			if s.host != nil && s.host.Zone == zone && s.name != leaving.name && !g.isDead(s) {
				there++
			}
		}
		if best == "" || there < fewest {
			best, fewest = zone, there
		}
	}
	return best
}

// zoneIsDown says that members are dead in a zone and none lives there. Where every
// one of these zones is so, none counts as down. Only a failover judges by that: whom a
// recovery or a restore went on without says nothing of whether its zone sells again.
func (r roster) zoneIsDown(zone string, zones []string, g goal) bool {
	down := func(zone string) bool {
		dead, alive := 0, 0
		for _, s := range r.seats {
			switch {
			case s.host == nil || s.host.Zone != zone:
			case s.etcd != nil && s.etcd.Answers:
				alive++
			case g.isDead(s), r.in.Operation.Kind == fleet.FailoverMember && s.host.State == fleet.HostStopped && !s.member():
				dead++
			}
		}
		return dead > 0 && alive == 0
	}
	return down(zone) && slices.ContainsFunc(zones, func(z string) bool { return !down(z) })
}

// succeed buys a host for whoever is missing or has to be replaced. A learner is
// added before another leaves where there is room for both, and after it otherwise.
func (r roster) succeed(g goal) *fleet.Decision {
	voters, learners := r.needs(g)
	comers := len(r.newcomers())
	if voters == 0 && learners <= comers {
		return nil
	}
	if comers >= voters && voters > 0 || voters == 0 && comers >= learners {
		return nil // they are coming
	}
	if lost := r.lostPurchases(); lost > maxLaunches {
		d := blocked(fleet.Lost, "%d hosts were lost while they were being made; see why, and submit the operation again", lost)
		return &d
	}
	d := r.buy(g, r.nextName())
	if !r.hasRoom() && !slices.ContainsFunc(r.learners(), g.replaces) {
		d = r.full()
	}
	return &d
}

// nextName is the name of the next new member: one whose host was refused everywhere
// so far, so that it was never used, or a new one.
func (r roster) nextName() string {
	for _, f := range slices.Backward(r.in.Failures) {
		if f.Step.Kind != fleet.LaunchHost || f.Kind != fleet.OutOfCapacity {
			continue
		}
		if s, seen := r.find(f.Step.Member); !seen && !r.givenUp(s) {
			return s.name
		}
	}
	return fleet.MemberName(r.in.Operation.Cluster, r.nextNumber())
}

// lostPurchases counts the hosts that were lost before they became members.
func (r roster) lostPurchases() int {
	n := 0
	for _, f := range r.in.Failures {
		if f.Step.Kind == fleet.LaunchHost && f.Kind == fleet.Lost {
			n++
		}
	}
	return n
}

// nextNumber is the number of the next new member: above all that ever were.
func (r roster) nextNumber() int {
	cluster := r.in.Operation.Cluster
	n := max(r.in.Operation.Since-1, r.in.Highest)
	for _, s := range r.seats {
		n = max(n, s.number)
	}
	for _, p := range r.in.Purchases {
		n = max(n, fleet.MemberNumber(cluster, p.Member))
	}
	for _, f := range r.in.Failures {
		n = max(n, fleet.MemberNumber(cluster, f.Step.Member))
	}
	return n + 1
}
