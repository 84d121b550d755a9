package plan

import (
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// stop saves a snapshot, stops all members and then their hosts. Disks stay, and with
// them the cluster's identity.
func stop(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	obs := in.Observation
	if d := twins(obs); d != nil {
		return *d
	}
	if f := in.fatal(); f != nil {
		return failedFor(f)
	}
	if !in.stopped() && !in.secured() {
		if d := in.snapshotFirst("stopping it without a snapshot"); d != nil {
			return *d
		}
	}
	var wave []fleet.Step
	for _, h := range obs.Hosts {
		if m := h.Report.Find(h.Member()); m != nil && (m.State == fleet.MemberRunning || m.State == fleet.MemberRestarting) {
			wave = append(wave, in.hostStep(fleet.StopMember, h.Host))
		}
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	if s := obs.FinalSnapshot; s != nil && s.Operation == in.Operation.ID && s.Closed.IsZero() && in.stopped() {
		return act(in.step(fleet.CloseSnapshot, ""))
	}
	for _, h := range obs.Hosts {
		switch h.State {
		case fleet.HostStopped, fleet.HostTerminating, fleet.HostTerminated:
		case fleet.HostUnknown:
			return wait("the state of host %s is unknown", h.Name)
		default:
			wave = append(wave, in.hostStep(fleet.StopHost, h.Host))
		}
	}
	switch {
	case len(wave) > 0:
		return act(wave...)
	case len(obs.Hosts) == 0:
		return wait("no host of %s is seen: %s", in.Operation.Cluster, strings.Join(obs.Unknowns, "; "))
	}
	return done("%s is stopped; its disks are kept", in.Operation.Cluster)
}

// snapshotFirst gives what has to happen before members stop.
func (in Input) snapshotFirst(what string) *fleet.Decision {
	obs := in.Observation
	answer := func(d fleet.Decision) *fleet.Decision { return &d }
	switch {
	case obs.Quorum && in.alive():
		return answer(act(in.step(fleet.SaveFinalSnapshot, "")))
	case newRoster(in).mayElect():
		return answer(wait("no quorum of %s answers, but enough of its members run to be one", in.Operation.Cluster))
	}
	return answer(blocked(fleet.Blocked, "no quorum of %s answers%s, so no snapshot can be taken; bring it back first, or accept %s with --skip-final-snapshot",
		in.Operation.Cluster, in.silent(), what))
}

// start starts the hosts of a stopped cluster, then all its members together: none
// serves before most of them do.
func start(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	obs := in.Observation
	r := newRoster(in)
	if d := twins(obs); d != nil {
		return *d
	}
	if f := in.fatal(); f != nil {
		return failedFor(f)
	}
	if len(obs.Hosts) == 0 {
		return wait("no host of %s is seen", in.Operation.Cluster)
	}
	if s := obs.FinalSnapshot; s != nil && !s.Closed.IsZero() {
		return act(in.step(fleet.ReopenSnapshot, ""))
	}
	var hosts, members []fleet.Step
	for _, s := range r.seats {
		if s.host == nil {
			continue // a member that was lost meanwhile; a failover replaces it
		}
		switch s.host.State {
		case fleet.HostStopped, fleet.HostPending:
			hosts = append(hosts, r.step(fleet.StartHost, s))
		case fleet.HostRunning:
			m := s.report()
			switch {
			case s.etcd != nil && s.etcd.Answers:
			case s.host.Report == nil:
				return wait("host %s of %s does not answer: %s", s.host.ID, s.name, s.host.Silent)
			case m != nil && m.State == fleet.MemberStopped:
				step := r.step(fleet.StartMember, s)
				step.Existing, step.Initial = true, r.everyone()
				if run, known := s.configured(); known {
					step.Run = &run
				}
				members = append(members, step)
			}
		default:
			return wait("host %s of %s is %s", s.host.ID, s.name, s.host.State)
		}
	}
	for _, wave := range [][]fleet.Step{hosts, members} {
		if len(wave) > 0 {
			return act(wave...)
		}
	}
	for _, s := range r.seats {
		if s.host != nil && s.report() != nil && s.report().State != fleet.MemberPrepared && !serving(obs, []string{s.name}) {
			return act(in.step(fleet.AwaitHealthy, ""))
		}
	}
	if !obs.Quorum {
		return act(in.step(fleet.AwaitHealthy, ""))
	}
	return done("%s serves again", in.Operation.Cluster)
}

// everyone are the places of all members that have a host.
func (r roster) everyone() []fleet.Endpoint {
	var all []fleet.Endpoint
	for _, s := range r.seats {
		if s.host != nil {
			all = append(all, EndpointOf(s.host.Host))
		}
	}
	return all
}
