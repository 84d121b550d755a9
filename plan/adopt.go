package plan

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// adopt takes over a running cluster that something else created, member by member,
// the leader last: its authority, its hosts and disks, and then each process, which
// stops once and starts again on the same data under our manager. Members accept any
// peer of the authority until all are taken over, because the others' certificates
// bear names of their own; then they are restarted once more, and accept peers only.
func adopt(in Input) fleet.Decision {
	op := in.Operation
	if op.Options.Adopt == nil {
		return blocked(fleet.Invalid, "there is nothing said of what to adopt as %s", op.Cluster)
	}
	if f := in.fatal(); f != nil {
		return failedFor(f)
	}
	if d := in.adoptable(); d != nil {
		return *d
	}
	var wave []fleet.Step
	if !in.Observation.Authority {
		wave = append(wave, in.step(fleet.ImportAuthority, ""))
	}
	for _, m := range op.Options.Adopt.Members {
		host, disk := in.Observation.Host(m.Name), in.Observation.Disk(m.Name)
		if host == nil || disk == nil || host.Tags[fleet.TagUID] != op.UID || disk.Tags[fleet.TagUID] != op.UID {
			wave = append(wave, in.adoptStep(fleet.AdoptHost, m))
		}
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	in.Observation = own(in.Observation, op.UID)
	for _, m := range op.Options.Adopt.Members {
		if host := in.Observation.Host(m.Name); host.Report.Find(m.Name) == nil || !prepared(withoutMembers(in.Observation), op.Spec.Etcd.Version, m.Name) {
			wave = append(wave, in.memberStep(fleet.PrepareHost, m.Name))
		}
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	r := newRoster(in)
	foreign := func(s seat) bool { _, known := s.configured(); return !known }
	for _, s := range r.members() {
		// One that was being taken over when somebody died: neither side runs it. It is
		// never started as a new member would be.
		if foreign(s) && !s.inSync() {
			return act(r.adoptMember(s))
		}
	}
	return change(in, goal{
		voters: len(r.voters()), learners: len(r.learners()),
		inPlace: func(r roster, s seat) (fleet.Decision, bool) {
			run, known := s.configured()
			switch {
			case !known:
				return r.touch(s, nil, foreign, r.adoptMember(s)), true
			case run.AnyPeer && r.adopted():
				run.AnyPeer = false
				return r.restart(s, run), true
			}
			return fleet.Decision{}, false
		},
		done: "all members are taken over",
	})
}

// adoptMember takes a member over from whatever runs it.
func (r roster) adoptMember(s seat) fleet.Step {
	step := r.startStep(fleet.AdoptMember, s)
	etcd := r.in.Operation.Spec.Etcd
	step.Run = &fleet.MemberConfig{Version: etcd.Version, Settings: etcd.EtcdSettings, AnyPeer: true}
	return step
}

// adopted says that every member is run by us.
func (r roster) adopted() bool {
	return !slices.ContainsFunc(r.members(), func(s seat) bool { _, known := s.configured(); return !known })
}

// adoptable gives why what was named cannot be taken over, or nil.
func (in Input) adoptable() *fleet.Decision {
	op, obs := in.Operation, in.Observation
	answer := func(d fleet.Decision) *fleet.Decision { return &d }
	for _, m := range op.Options.Adopt.Members {
		i := slices.IndexFunc(obs.Hosts, func(h fleet.ObservedHost) bool { return h.ID == m.HostID })
		switch {
		case i < 0:
			return answer(blocked(fleet.NotFound, "host %s of %s does not exist in %s", m.HostID, m.Name, op.Spec.Region))
		case obs.Hosts[i].State != fleet.HostRunning:
			return answer(wait("host %s of %s is %s", m.HostID, m.Name, obs.Hosts[i].State))
		}
		host := obs.Hosts[i]
		if uid := host.Tags[fleet.TagUID]; uid != "" && uid != op.UID {
			return answer(blocked(fleet.Conflict, "host %s of %s belongs to cluster %s already", m.HostID, m.Name, host.Tags[fleet.TagCluster]))
		}
		tagged := host.Host
		tagged.Tags = map[string]string{fleet.TagMember: m.Name}
		if at := EndpointOf(tagged); at != m.Endpoint {
			return answer(blocked(fleet.Invalid, "%s must listen at %s for clients and at %s for peers to be taken over; it is said to be at %s and %s",
				m.Name, at.ClientURL(), at.PeerURL(), m.Endpoint.ClientURL(), m.Endpoint.PeerURL()))
		}
		if !slices.ContainsFunc(obs.Disks, func(d fleet.Disk) bool { return d.ID == m.DiskID && d.HostID == m.HostID }) {
			return answer(blocked(fleet.NotFound, "disk %s of %s is not attached to host %s", m.DiskID, m.Name, m.HostID))
		}
	}
	for _, listed := range obs.Members {
		if !slices.ContainsFunc(op.Options.Adopt.Members, func(m fleet.AdoptedMember) bool { return m.Name == listed.Name }) {
			return answer(blocked(fleet.Invalid, "etcd lists a member %q that is not among those to be taken over; name all of them", listed.Name))
		}
	}
	return nil
}

func (in Input) adoptStep(kind fleet.StepKind, m fleet.AdoptedMember) fleet.Step {
	step := in.step(kind, m.Name)
	step.HostID, step.DiskID, step.Endpoint = m.HostID, m.DiskID, &m.Endpoint
	return step
}

// withoutMembers gives an observation without what etcd says: a member that answers
// is not thereby prepared to be run by us.
func withoutMembers(obs fleet.Observation) fleet.Observation {
	obs.Members = nil
	return obs
}
