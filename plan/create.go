package plan

import (
	"github.com/flotilla-etcd/flotilla/fleet"
)

// create brings a cluster from nothing, or from wherever an earlier attempt
// stopped, to all members serving: authority and hosts, disks, releases and
// certificates, the voters together, then the learners one by one.
func create(in Input) fleet.Decision {
	if f := in.fatal(); f != nil {
		return blocked(f.Kind, "%s failed: %s", f.Step, f.Message)
	}
	obs, spec := in.Observation, in.Operation.Spec
	names := MemberNames(spec)
	if d, found := foreign(obs, in.Operation.UID); found {
		return d
	}

	var wave []fleet.Step
	if !obs.Authority {
		wave = append(wave, in.step(fleet.CreateAuthority, ""))
	}
	launches, d := in.launches(names)
	if d != nil {
		return *d
	}
	if wave = append(wave, launches...); len(wave) > 0 {
		return act(wave...)
	}
	if wave = in.disks(names); len(wave) > 0 {
		return act(wave...)
	}
	for _, name := range names {
		if !prepared(obs, spec, name) {
			step := in.memberStep(fleet.PrepareHost, name)
			wave = append(wave, step)
		}
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	return in.start(names[:spec.Voters], names[spec.Voters:])
}

// foreign blocks when something of another cluster of the same name is still
// there: its hosts must be neither joined nor paid for twice.
func foreign(obs fleet.Observation, uid string) (fleet.Decision, bool) {
	for _, h := range obs.Hosts {
		if h.Tags[fleet.TagUID] != uid {
			return blocked(fleet.Conflict, "host %s (%s) belongs to an earlier cluster of this name (%s); release it first",
				h.Name, h.ID, h.Tags[fleet.TagUID]), true
		}
	}
	for _, d := range obs.Disks {
		if d.Tags[fleet.TagUID] != uid {
			return blocked(fleet.Conflict, "disk %s (%s) belongs to an earlier cluster of this name (%s); delete it first",
				d.Name, d.ID, d.Tags[fleet.TagUID]), true
		}
	}
	return fleet.Decision{}, false
}

// launches gives a LaunchHost for every member whose host does not run yet, each
// in the zone that has the fewest members so far, in the order of the spec; zones
// that had no capacity are left out.
func (in Input) launches(names []string) ([]fleet.Step, *fleet.Decision) {
	obs, spec := in.Observation, in.Operation.Spec
	crowd := map[string]int{}
	for _, h := range obs.Hosts {
		crowd[h.Zone]++
	}
	var wave []fleet.Step
	for _, name := range names {
		host := obs.Host(name)
		switch {
		case host == nil && everStarted(obs):
			// Its address is in the configuration of the others.
			d := blocked(fleet.Lost, "the host of %s is gone, and other members were started already; "+
				"decommission the cluster and create it again", name)
			return nil, &d
		case host == nil:
			zone := in.zone(name, crowd)
			if zone == "" {
				d := blocked(fleet.OutOfCapacity, "no zone of %s has a %s left; "+
					"try again later, or change machine.type or zones", sentence(spec.Zones), spec.Machine.Type)
				return nil, &d
			}
			crowd[zone]++
			step := in.step(fleet.LaunchHost, name)
			step.Zone = zone
			wave = append(wave, step)
		case host.State == fleet.HostUnknown:
			d := wait("the state of host %s is unknown", host.Name)
			return nil, &d
		case host.State != fleet.HostRunning:
			step := in.step(fleet.LaunchHost, name)
			step.Zone, step.HostID = host.Zone, host.ID
			wave = append(wave, step)
		}
	}
	return wave, nil
}

// zone chooses where a member goes: of the zones that did not refuse it, the one
// with the fewest members. A zone without capacity is out for the whole operation.
func (in Input) zone(member string, crowd map[string]int) string {
	refused := map[string]bool{}
	for _, f := range in.Failures {
		if f.Step.Kind == fleet.LaunchHost && f.Kind == fleet.OutOfCapacity {
			refused[f.Step.Zone] = true
		}
	}
	best := ""
	for _, zone := range in.Operation.Spec.Zones {
		if !refused[zone] && (best == "" || crowd[zone] < crowd[best]) {
			best = zone
		}
	}
	return best
}

// disks gives an AttachDisk for every member without its disk. A disk left in
// another zone by a host that had to move is deleted first; it never held data,
// because hosts do not move once a member was started.
func (in Input) disks(names []string) []fleet.Step {
	var wave []fleet.Step
	for _, name := range names {
		host, disk := in.Observation.Host(name), in.Observation.Disk(name)
		if disk != nil && disk.HostID == host.ID && disk.State == fleet.DiskInUse {
			continue
		}
		step := in.memberStep(fleet.AttachDisk, name)
		if disk != nil && disk.Zone != host.Zone && !everStarted(in.Observation) {
			step = in.step(fleet.DeleteDisk, name)
			step.DiskID = disk.ID
		}
		wave = append(wave, step)
	}
	return wave
}

// start starts the voters together, then adds and starts the learners one by one.
func (in Input) start(voters, learners []string) fleet.Decision {
	obs := in.Observation
	var wave []fleet.Step
	for _, name := range voters {
		if !running(obs, name) {
			step := in.memberStep(fleet.StartMember, name)
			step.Initial = in.initial(voters)
			wave = append(wave, step)
		}
	}
	switch {
	case len(wave) > 0:
		return act(wave...)
	case !serving(obs, voters):
		return act(in.step(fleet.AwaitHealthy, ""))
	}
	for i, name := range learners {
		switch {
		case obs.Member(name) == nil && !listed(obs, EndpointOf(obs.Host(name).Host)):
			return act(in.memberStep(fleet.AddLearner, name))
		case !running(obs, name):
			step := in.memberStep(fleet.StartMember, name)
			step.Existing = true
			step.Initial = in.initial(append(append([]string{}, voters...), learners[:i+1]...))
			return act(step)
		case !serving(obs, []string{name}):
			return act(in.step(fleet.AwaitHealthy, ""))
		}
	}
	return done("all %d members serve", len(voters)+len(learners))
}

// memberStep is a step on a member whose host is there.
func (in Input) memberStep(kind fleet.StepKind, name string) fleet.Step {
	step := in.step(kind, name)
	if host := in.Observation.Host(name); host != nil {
		endpoint := EndpointOf(host.Host)
		step.Zone, step.HostID, step.Endpoint = host.Zone, host.ID, &endpoint
	}
	if disk := in.Observation.Disk(name); disk != nil {
		step.DiskID = disk.ID
	}
	return step
}

func (in Input) initial(names []string) []fleet.Endpoint {
	all := make([]fleet.Endpoint, len(names))
	for i, name := range names {
		all[i] = EndpointOf(in.Observation.Host(name).Host)
	}
	return all
}

// prepared says that a member's release, keys and certificates are on its host. A
// host that does not answer is not known to be prepared; preparing it again does
// no harm.
func prepared(obs fleet.Observation, spec fleet.Spec, name string) bool {
	report := obs.Host(name).Report
	member := report.Find(name)
	if member == nil || member.CertifiedUntil.IsZero() {
		return false
	}
	for _, version := range report.Releases {
		if version == spec.Etcd.Version {
			return true
		}
	}
	return false
}

// running says that a member's host keeps its process running. One that crashes
// is being restarted by the host; starting it again would not help.
func running(obs fleet.Observation, name string) bool {
	member := obs.Host(name).Report.Find(name)
	return member != nil && (member.State == fleet.MemberRunning || member.State == fleet.MemberRestarting)
}

// serving says that these members answer and that a quorum of the cluster does.
func serving(obs fleet.Observation, names []string) bool {
	if !obs.Quorum {
		return false
	}
	for _, name := range names {
		if m := obs.Member(name); m == nil || !m.Answers {
			return false
		}
	}
	return true
}

// listed says that etcd has a member at this place, perhaps not started and so
// without a name.
func listed(obs fleet.Observation, at fleet.Endpoint) bool {
	for _, m := range obs.Members {
		for _, url := range m.PeerURLs {
			if url == at.PeerURL() {
				return true
			}
		}
	}
	return false
}

// everStarted says that some member was started once: the addresses of all are
// in its configuration, and it may hold data.
func everStarted(obs fleet.Observation) bool {
	for i := range obs.Hosts {
		for _, m := range obs.Hosts[i].Report.MembersOrNone() {
			if m.State != fleet.MemberPrepared {
				return true
			}
		}
	}
	return len(obs.Members) > 0
}
