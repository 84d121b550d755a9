package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// seat is all that there is of one member: what etcd lists, and what the cloud has.
type seat struct {
	name   string
	number int                   // zero for a member that is not named by us
	etcd   *fleet.ObservedMember // nil: not in the membership
	host   *fleet.ObservedHost   // nil: none
	disk   *fleet.Disk           // nil: none
	ahead  uint64                // the highest index that a member has applied
}

// roster is a cluster, seat by seat, for operations on one that runs.
type roster struct {
	in    Input
	seats []seat // by number, then name
}

func newRoster(in Input) roster {
	obs := in.Observation
	byName := map[string]*seat{}
	var names []string
	at := func(name string) *seat {
		if byName[name] == nil {
			byName[name] = &seat{name: name, number: fleet.MemberNumber(in.Operation.Cluster, name)}
			names = append(names, name)
		}
		return byName[name]
	}
	peers := map[string]string{}
	for i := range obs.Hosts {
		h := &obs.Hosts[i]
		at(h.Member()).host = h
		peers[EndpointOf(h.Host).PeerURL()] = h.Member()
	}
	for i := range obs.Disks {
		at(obs.Disks[i].Member()).disk = &obs.Disks[i]
	}
	var ahead uint64
	for i := range obs.Members {
		m := &obs.Members[i]
		name := m.Name
		for _, url := range m.PeerURLs {
			if name == "" { // etcd knows no name before its first start
				name = peers[url]
			}
		}
		at(cmp.Or(name, fmt.Sprintf("unstarted-%x", m.ID))).etcd = m
		ahead = max(ahead, m.Applied)
	}
	r := roster{in: in}
	for _, name := range names {
		byName[name].ahead = ahead
		r.seats = append(r.seats, *byName[name])
	}
	slices.SortFunc(r.seats, func(a, b seat) int {
		return cmp.Or(cmp.Compare(a.number, b.number), cmp.Compare(a.name, b.name))
	})
	return r
}

func (r roster) find(name string) (seat, bool) {
	for _, s := range r.seats {
		if s.name == name {
			return s, true
		}
	}
	return seat{name: name, number: fleet.MemberNumber(r.in.Operation.Cluster, name)}, false
}

func (r roster) which(is func(seat) bool) []seat {
	var all []seat
	for _, s := range r.seats {
		if is(s) {
			all = append(all, s)
		}
	}
	return all
}

func (r roster) members() []seat  { return r.which(seat.member) }
func (r roster) voters() []seat   { return r.which(seat.voter) }
func (r roster) learners() []seat { return r.which(seat.learner) }

func (s seat) member() bool  { return s.etcd != nil }
func (s seat) voter() bool   { return s.etcd != nil && !s.etcd.Learner }
func (s seat) learner() bool { return s.etcd != nil && s.etcd.Learner }

// nameless says that a member was added, never started, and has no host that is seen, so
// that it is not known whose it is.
func (s seat) nameless() bool { return s.etcd != nil && s.etcd.Name == "" && s.host == nil }

// is gives what says whether a seat is one of these.
func is(seats ...seat) func(seat) bool {
	return func(s seat) bool {
		return slices.ContainsFunc(seats, func(other seat) bool { return other.name == s.name })
	}
}

// report is what the host says of the member; nil when it does not answer or knows
// none of that name.
func (s seat) report() *fleet.MemberReport {
	if s.host == nil {
		return nil
	}
	return s.host.Report.Find(s.name)
}

// inSync says that the member answers and has what the others have.
func (s seat) inSync() bool {
	return s.etcd != nil && s.etcd.Answers && s.etcd.Applied+fleet.SyncLag >= s.ahead
}

// stopped says that the member's process is known not to run because it was asked to
// stop, was not started yet on this host, or its host does not run.
func (s seat) stopped() bool {
	if s.host == nil || s.etcd != nil && s.etcd.Answers {
		return false
	}
	if s.host.State == fleet.HostStopped {
		return true
	}
	m := s.report()
	return m != nil && (m.State == fleet.MemberStopped || m.State == fleet.MemberPrepared)
}

// crashes says that the member's process ends again and again, as its host says.
func (s seat) crashes() bool {
	m := s.report()
	return m != nil && m.State == fleet.MemberRestarting && (s.etcd == nil || !s.etcd.Answers)
}

// configured is how the member is to run, as its host says; false when that is not known.
func (s seat) configured() (fleet.MemberConfig, bool) {
	m := s.report()
	if m == nil || m.Configured == nil {
		return fleet.MemberConfig{}, false
	}
	return *m.Configured, true
}

// step is a step on this member.
func (r roster) step(kind fleet.StepKind, s seat) fleet.Step {
	step := r.in.step(kind, s.name)
	if s.host != nil {
		endpoint := EndpointOf(s.host.Host)
		step.Zone, step.HostID, step.Endpoint = s.host.Zone, s.host.ID, &endpoint
	}
	if s.disk != nil {
		step.DiskID = s.disk.ID
		step.Zone = cmp.Or(step.Zone, s.disk.Zone)
	}
	if s.etcd != nil {
		step.MemberID = s.etcd.ID
	}
	return step
}

// startStep is a step that starts a member within the membership that there is.
func (r roster) startStep(kind fleet.StepKind, s seat) fleet.Step {
	step := r.step(kind, s)
	step.Existing = true
	for _, m := range r.members() {
		if m.host != nil && m.name != s.name {
			step.Initial = append(step.Initial, EndpointOf(m.host.Host))
		}
	}
	if step.Endpoint != nil {
		step.Initial = append(step.Initial, *step.Endpoint)
	}
	return step
}

// quorumWithout says whether the voters that stay healthy are a quorum while a voter
// is down, or, if it leaves, of the voters that remain.
func (r roster) quorumWithout(s seat, leaves bool) bool {
	voters, healthy := 0, 0
	for _, v := range r.voters() {
		if v.name == s.name {
			if !leaves {
				voters++
			}
			continue
		}
		voters++
		if v.inSync() {
			healthy++
		}
	}
	return healthy >= voters/2+1
}

// settle gives what has to happen before anybody may be disturbed: every member has been
// healthy for as long as the policy asks, by its host's word. Members that are exempt do
// not count. It gives nil when that is so.
func (r roster) settle(exempt func(seat) bool) *fleet.Decision {
	var d *fleet.Decision
	for _, s := range r.members() {
		m := s.report()
		switch {
		case exempt != nil && exempt(s):
		case s.inSync() && m == nil:
			unknown := wait("it is not known for how long %s has been healthy: its host does not answer", s.name)
			return &unknown
		case !s.inSync() || m.State == fleet.MemberRunning && m.Up < r.in.Policy.Soak:
			settle := act(r.in.step(fleet.AwaitSettled, ""))
			d = &settle
		}
	}
	return d
}

func (r roster) leads(s seat) bool {
	return r.in.Observation.Leader != "" && r.in.Observation.Leader == s.name
}

// heir gives the voter that is to lead instead of another: one that will not be
// touched any more if there is one, and the furthest otherwise.
func (r roster) heir(instead seat, pending func(seat) bool) (seat, bool) {
	var best seat
	found := false
	for _, v := range r.voters() {
		switch {
		case v.name == instead.name || !v.inSync():
		case !found, pending != nil && pending(best) && !pending(v):
			best, found = v, true
		}
	}
	return best, found
}

// touch gives what has to happen before a member may be disturbed, and then the step
// that does it: everyone settled, a quorum without it, and another leader.
func (r roster) touch(s seat, exempt, pending func(seat) bool, step fleet.Step) fleet.Decision {
	only := len(r.voters()) == 1 && s.voter()
	switch {
	case only && !r.in.Operation.Options.AllowDowntime:
		return blocked(fleet.Blocked, "%s is the only voter of %s, and %s takes it away from its clients; "+
			"scale to 3 voters first (flotilla scale %s --voters 3), or accept the gap with --allow-downtime",
			s.name, r.in.Operation.Cluster, step.Kind, r.in.Operation.Cluster)
	case s.voter() && !only && !r.quorumWithout(s, step.Kind == fleet.RemoveMember):
		return wait("%s cannot be disturbed: without it the healthy voters are no quorum", s.name)
	}
	if d := r.settle(exempt); d != nil {
		return *d
	}
	if r.in.Observation.Leader == "" && s.voter() && !only {
		return wait("it is not known who leads %s, and the leader must not be disturbed", r.in.Operation.Cluster)
	}
	if r.leads(s) && !only {
		heir, ok := r.heir(s, pending)
		if !ok {
			return wait("%s leads, and no other voter is in sync to take that over", s.name)
		}
		move := r.step(fleet.MoveLeader, s)
		move.To = heir.name
		return act(move)
	}
	return act(step)
}
