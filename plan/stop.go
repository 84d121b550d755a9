package plan

import (
	"slices"
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
	if !in.stopped() && !in.secured() && !in.halfStopped() {
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
		return answer(wait("no quorum of %s answers, but enough of its members run to be one; if that does not pass, bring it back first, or accept %s with --skip-final-snapshot",
			in.Operation.Cluster, what))
	}
	return answer(blocked(fleet.Blocked, "no quorum of %s answers%s, so no snapshot can be taken; bring it back first, or accept %s with --skip-final-snapshot",
		in.Operation.Cluster, in.silent(), what))
}

// halfStopped says that an attempt before this one saved a snapshot and stopped so many
// members that no quorum is left to save another one. What was written in between is in
// none, and still on the disks, which a stop keeps.
func (in Input) halfStopped() bool {
	s, r := in.Observation.FinalSnapshot, newRoster(in)
	return s != nil && !s.Verified.IsZero() && !in.Observation.Quorum && !in.alive() && !r.mayElect() &&
		slices.ContainsFunc(r.seats, seat.stopped)
}

// start starts the hosts of a stopped cluster, then all its members, in turn: none
// serves before most of them do. Who does not come back is left to a failover, as long
// as the others are a quorum; and so is whose data a majority of them contradicts, which
// would serve what is wrong, or keep the others from serving.
func start(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	obs := in.Observation
	r := newRoster(in)
	if d := twins(obs); d != nil {
		return *d
	}
	if s := obs.FinalSnapshot; s != nil && !s.Closed.IsZero() {
		if in.failed(fleet.ReopenSnapshot, "") > 0 {
			return failedFor(in.fatal())
		}
		return act(in.step(fleet.ReopenSnapshot, ""))
	}
	var hosts, disks, members, strange []fleet.Step
	differs := odd(obs.Data)
	for _, s := range r.seats {
		h := s.host
		switch {
		case h == nil || s.disk == nil || in.failedOn(s.name) || s.etcd != nil && s.etcd.Answers:
		case h.State == fleet.HostStopped || h.State == fleet.HostPending:
			hosts = append(hosts, r.step(fleet.StartHost, s))
		case h.State == fleet.HostRunning && s.disk.State == fleet.DiskAvailable && s.hasStopped():
			disks = append(disks, r.step(fleet.AttachDisk, s))
		case s.hasStopped() && (s.member() || len(obs.Members) == 0):
			step := r.startAgain(s)
			if step.Differs = differs[s.name]; step.Differs != "" {
				strange = append(strange, step)
				continue
			}
			members = append(members, step)
		}
	}
	members = append(members, strange...)
	switch {
	case len(hosts) > 0:
		return act(hosts...)
	case len(disks) > 0:
		return act(disks...)
	case len(members) > 0:
		return inTurn(members...)
	}
	return r.started()
}

// failedOn says that some step on a member failed for good.
func (in Input) failedOn(member string) bool {
	return slices.ContainsFunc(in.Failures, func(f fleet.Failure) bool { return f.Step.Member == member })
}

// started judges whether a cluster whose members were started serves.
func (r roster) started() fleet.Decision {
	in, cluster := r.in, r.in.Operation.Cluster
	var missing []string
	for _, s := range r.members() {
		if !s.etcd.Answers {
			missing = append(missing, s.name)
		}
	}
	switch {
	case in.Observation.Quorum && len(missing) == 0:
		return done("%s serves again", cluster)
	case in.Observation.Quorum && !slices.ContainsFunc(missing, func(name string) bool { return in.leftOut(name) == "" }):
		return done("%s serves again, without %s", cluster, in.withoutOdd(missing))
	case !in.Observation.Quorum && slices.ContainsFunc(in.Failures, func(f fleet.Failure) bool { return f.Step.Differs != "" }):
		return wait("no quorum of %s serves yet%s", cluster, in.silent()) // who was left out is not waited for
	case in.failed(fleet.AwaitHealthy, "") == 0:
		return act(in.step(fleet.AwaitHealthy, ""))
	case !in.Observation.Quorum:
		return blocked(fleet.Unavailable, "no quorum of %s serves%s: %s; bring its members back, and submit the operation again",
			cluster, in.silent(), in.Failures[0].Message)
	}
	return done("%s serves again, without %s; what does not come back is replaced by flotilla failover %s", cluster, sentence(missing), cluster)
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
