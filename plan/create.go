package plan

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// create brings a cluster from nothing, or from wherever an earlier attempt
// stopped, to all members serving: authority and hosts, disks, releases and
// certificates, the voters together, then the learners one by one.
func create(in Input) fleet.Decision {
	if f := in.fatal(); f != nil {
		return failedFor(f)
	}
	for i, f := range in.Failures {
		if f.Step.Kind == fleet.RestoreMember { // no other host makes the backup whole
			return failedFor(&in.Failures[i])
		}
	}
	obs, spec := in.Observation, in.Operation.Spec
	names := MemberNames(spec)
	if d := foreign(obs, in.Operation.UID); d != nil {
		return *d
	}
	if d := twins(obs); d != nil {
		return *d
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
	if wave, d = in.disks(names); d != nil {
		return *d
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	for _, name := range names {
		if !prepared(obs, spec.Etcd.Version, name) {
			step := in.memberStep(fleet.PrepareHost, name)
			wave = append(wave, step)
		}
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	if wave = in.restores(names[:spec.Voters]); len(wave) > 0 {
		return act(wave...)
	}
	return in.begin(names[:spec.Voters], names[spec.Voters:])
}

// foreign blocks when something of another cluster of the same name is still
// there: its hosts must be neither joined nor paid for twice.
func foreign(obs fleet.Observation, uid string) *fleet.Decision {
	for _, h := range obs.Hosts {
		if h.Tags[fleet.TagUID] != uid {
			d := blocked(fleet.Conflict, "host %s (%s) belongs to an earlier cluster of this name (%s); release it first",
				h.Name, h.ID, h.Tags[fleet.TagUID])
			return &d
		}
	}
	for _, disk := range obs.Disks {
		if disk.Tags[fleet.TagUID] != uid {
			d := blocked(fleet.Conflict, "disk %s (%s) belongs to an earlier cluster of this name (%s); delete it first",
				disk.Name, disk.ID, disk.Tags[fleet.TagUID])
			return &d
		}
	}
	return nil
}

// twins blocks when a member has two hosts or two disks: which of them is the
// member's cannot be told, so neither is used or ended.
func twins(obs fleet.Observation) *fleet.Decision {
	seen := map[string]string{}
	for _, h := range obs.Hosts {
		if other, twice := seen[h.Member()]; twice {
			d := blocked(fleet.Conflict, "%s has two hosts (%s and %s); decommission the cluster and create it again", h.Member(), other, h.ID)
			return &d
		}
		seen[h.Member()] = h.ID
	}
	clear(seen)
	for _, disk := range obs.Disks {
		if other, twice := seen[disk.Member()]; twice {
			d := blocked(fleet.Conflict, "%s has two disks (%s and %s); decommission the cluster and create it again", disk.Member(), other, disk.ID)
			return &d
		}
		seen[disk.Member()] = disk.ID
	}
	return nil
}

// launches gives a LaunchHost for every member whose host does not run yet.
func (in Input) launches(names []string) ([]fleet.Step, *fleet.Decision) {
	obs, spec := in.Observation, in.Operation.Spec
	var wave []fleet.Step
	for i, name := range names {
		host := obs.Host(name)
		switch {
		case host == nil && everStarted(obs):
			// Its address is in the configuration of the others.
			d := blocked(fleet.Lost, "the host of %s is gone, and other members were started already; "+
				"decommission the cluster and create it again", name)
			return nil, &d
		case host == nil:
			zone := in.zone(i, name)
			if zone == "" {
				zones, field, _ := in.placesOf(i)
				d := blocked(fleet.OutOfCapacity, "no zone of %s has a %s left; "+
					"try again later, or change machine.type or %s", sentence(zones), spec.MachineIn(zones[0]).Type, field)
				return nil, &d
			}
			step := in.purchase(fleet.LaunchHost, name, spec.MachineIn(zone).Type+"/"+zone)
			step.Zone = zone
			wave = append(wave, step)
		case host.State == fleet.HostUnknown:
			d := wait("the state of host %s is unknown", host.Name)
			return nil, &d
		case host.State == fleet.HostTerminating || host.State == fleet.HostTerminated:
			d := wait("host %s (%s) is being released", host.Name, host.ID)
			return nil, &d
		case host.State != fleet.HostRunning:
			step := in.step(fleet.LaunchHost, name)
			step.Zone, step.HostID = host.Zone, host.ID
			wave = append(wave, step)
		}
	}
	return wave, nil
}

// zone chooses where a member goes: members take turns in the zones that did not
// refuse them. The choice follows from nothing but the spec and the member's own
// failures, as its token does: a list of hosts that lags behind must lead to the
// same zone and the same token, which then buys nothing twice.
func (in Input) zone(index int, member string) string {
	var open []string
	zones, _, index := in.placesOf(index)
	for _, zone := range zones {
		if !slices.ContainsFunc(in.Failures, func(f fleet.Failure) bool {
			return f.Step.Kind == fleet.LaunchHost && f.Kind == fleet.OutOfCapacity && f.Step.Member == member && f.Step.Zone == zone
		}) {
			open = append(open, zone)
		}
	}
	if len(open) == 0 {
		return ""
	}
	return open[index%len(open)]
}

// placesOf gives the zones that a member of a new cluster may go to, the field of the
// spec that has them, and whose turn it is there.
func (in Input) placesOf(index int) (zones []string, field string, turn int) {
	spec := in.Operation.Spec
	if len(spec.Standby.Zones) > 0 && index >= spec.Voters {
		return spec.LearnerZones(), "standby.zones", index - spec.Voters
	}
	return spec.Zones, "zones", index
}

// disks gives an AttachDisk for every member without its disk. A disk that
// outlived its host is never given to another one, for it may hold data of another
// membership. It is deleted when the cluster cannot have had any data yet.
func (in Input) disks(names []string) ([]fleet.Step, *fleet.Decision) {
	var wave []fleet.Step
	for _, name := range names {
		host, disk := in.Observation.Host(name), in.Observation.Disk(name)
		switch {
		case disk == nil:
			step := in.purchase(fleet.AttachDisk, name, host.ID)
			step.Zone, step.HostID = host.Zone, host.ID
			wave = append(wave, step)
		case !in.belongs(*disk, host.Host):
			if !in.neverFormed() {
				d := blocked(fleet.Lost, "disk %s of %s outlived its host and may hold data; "+
					"decommission the cluster and create it again", disk.ID, name)
				return nil, &d
			}
			step := in.step(fleet.DeleteDisk, name)
			step.DiskID, step.Zone = disk.ID, disk.Zone
			wave = append(wave, step)
		case disk.HostID != host.ID || disk.State != fleet.DiskInUse:
			wave = append(wave, in.memberStep(fleet.AttachDisk, name))
		}
	}
	return wave, nil
}

// belongs says that a disk was bought for this host, and so was never used on
// another one.
func (in Input) belongs(disk fleet.Disk, host fleet.Host) bool {
	if disk.HostID != "" {
		return disk.HostID == host.ID
	}
	return in.boughtFor(disk, host)
}

// boughtFor says that a disk was bought for this host.
func (in Input) boughtFor(disk fleet.Disk, host fleet.Host) bool {
	for failed := range maxLaunches + 1 {
		if disk.Tags[fleet.TagToken] == in.purchaseToken(fleet.AttachDisk, disk.Member(), host.ID, failed) {
			return true
		}
	}
	return false
}

// neverFormed says that fewer than a quorum of the voters can ever have been
// started: nothing was written to the cluster, whatever is on a disk. Only a host
// that answers, and has the disk that was bought for it, counts as not started.
func (in Input) neverFormed() bool {
	obs, voters := in.Observation, in.Operation.Spec.Voters
	if obs.Quorum || len(obs.Members) > 0 || twins(obs) != nil {
		return false
	}
	if newRoster(in).changed(in.Operation.Spec) {
		return false // it was changed since it was created, and so it formed
	}
	fresh := 0
	for _, name := range MemberNames(in.Operation.Spec)[:voters] {
		host, disk := obs.Host(name), obs.Disk(name)
		if host != nil && host.Report != nil && (disk == nil || in.belongs(*disk, host.Host)) && !started(host.Report.Find(name)) {
			fresh++
		}
	}
	return voters-fresh < voters/2+1
}

// started says that a member was started on its host once.
func started(m *fleet.MemberReport) bool { return m != nil && m.State != fleet.MemberPrepared }

// begin starts the voters together, then adds and starts the learners one by one.
func (in Input) begin(voters, learners []string) fleet.Decision {
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
		return inTurn(wave...)
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

// prepared says that a release, and a member's keys and certificates are on its host. A
// host that does not answer is not known to be prepared; preparing it again does
// no harm.
func prepared(obs fleet.Observation, release, name string) bool {
	if answers(obs, name) {
		return true
	}
	report := obs.Host(name).Report
	member := report.Find(name)
	if member == nil || member.CertifiedUntil.IsZero() {
		return false
	}
	return slices.Contains(report.Releases, release)
}

// answers says that etcd's own status call was answered by a member.
func answers(obs fleet.Observation, name string) bool {
	m := obs.Member(name)
	return m != nil && m.Answers
}

// running says that a member's host keeps its process running. One that crashes
// is being restarted by the host; starting it again would not help.
func running(obs fleet.Observation, name string) bool {
	if answers(obs, name) {
		return true
	}
	member := obs.Host(name).Report.Find(name)
	return member != nil && (member.State == fleet.MemberRunning || member.State == fleet.MemberRestarting)
}

// serving says that these members answer and that a quorum of the cluster does.
func serving(obs fleet.Observation, names []string) bool {
	if !obs.Quorum {
		return false
	}
	for _, name := range names {
		if !answers(obs, name) {
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
			if started(&m) {
				return true
			}
		}
	}
	return len(obs.Members) > 0
}
