package plan

import (
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// decommission takes a cluster down for good, from any state: a verified final
// snapshot, unless waived or there is no data; members stopped; the snapshot
// closed; hosts released; disks deleted, and copies of disks; secrets destroyed.
//
// Preconditions of everything that destroys: the cluster is not protected, and
// its data is in a verified snapshot, or the user waived that, or no member was
// ever started. What is unknown counts as data. What belongs to another cluster of
// the same name is left alone.
func decommission(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	obs := in.Observation
	if in.Operation.Spec.DeletionProtection {
		return blocked(fleet.Blocked, "%s is protected from deletion; turn its protection off first", in.Operation.Cluster)
	}
	if f := in.fatal(); f != nil {
		return failedFor(f)
	}
	if len(obs.Hosts)+len(obs.Disks)+len(obs.DiskSnapshots) > 0 {
		if d := in.secureData(); d != nil {
			return *d
		}
	}
	var wave []fleet.Step
	for _, h := range obs.Hosts {
		m := h.Report.Find(h.Member())
		if m != nil && (m.State == fleet.MemberRunning || m.State == fleet.MemberRestarting) {
			wave = append(wave, in.hostStep(fleet.StopMember, h.Host))
		}
	}
	if len(wave) > 0 {
		return act(wave...)
	}
	if s := obs.FinalSnapshot; s != nil && s.Operation == in.Operation.ID && s.Closed.IsZero() && in.stopped() {
		return act(in.step(fleet.CloseSnapshot, ""))
	}
	hosts, disks := in.releases(), in.deletions()
	if !in.secured() {
		// Only the hosts know that the disks are empty, so the disks go first.
		hosts, disks = disks, hosts
	}
	for _, wave := range [][]fleet.Step{hosts, disks, in.dropCopies(nil)} {
		if len(wave) > 0 {
			return act(wave...)
		}
	}
	if len(obs.Unknowns) > 0 { // of hosts that were seen, silence was judged above
		return wait("nothing more is seen of %s, but not everything could be seen: %s", in.Operation.Cluster, strings.Join(obs.Unknowns, "; "))
	}
	if obs.Secrets {
		return act(in.step(fleet.DestroyAuthority, ""))
	}
	return done("nothing is left of %s%s", in.Operation.Cluster, in.unlisted())
}

// secureData gives what has to happen before anything with data may be
// destroyed, or nil when nothing has to.
func (in Input) secureData() *fleet.Decision {
	obs := in.Observation
	if in.secured() {
		return nil
	}
	if obs.Quorum && in.alive() {
		d := act(in.step(fleet.SaveFinalSnapshot, ""))
		return &d
	}
	if in.mayHoldData() && newRoster(in).mayElect() {
		// An election or a busy machine passes; giving the data up does not.
		d := wait("no quorum of %s answers, but enough of its members run to be one; if that does not pass, give the data up with --skip-final-snapshot", in.Operation.Cluster)
		return &d
	}
	if in.mayHoldData() {
		d := blocked(fleet.Blocked, "no quorum of %s answers%s, so no final snapshot can be taken, and its disks may hold data; "+
			"bring it back first, or give the data up with --skip-final-snapshot", in.Operation.Cluster, in.silent())
		return &d
	}
	return nil
}

// secured says that the data may go: the user gave it up, or it is in a verified
// snapshot that this operation took. One that an earlier attempt took may be out
// of date; it counts only if it was closed, so that nothing can have been written
// since. What hosts and disks look like now is no proof of that: they look the same
// when the earlier attempt was cancelled, clients wrote on, and the hosts were lost.
func (in Input) secured() bool {
	if in.Operation.Options.SkipFinalSnapshot {
		return true
	}
	s := in.Observation.FinalSnapshot
	return s != nil && !s.Verified.IsZero() && (s.Operation == in.Operation.ID || !s.Closed.IsZero() && !in.alive())
}

// stopped says that no member can be running: each host ends, or says so itself.
func (in Input) stopped() bool {
	if in.Observation.Quorum || in.alive() {
		return false
	}
	for _, h := range in.Observation.Hosts {
		ends := h.State == fleet.HostTerminating || h.State == fleet.HostTerminated || h.State == fleet.HostStopped
		m := h.Report.Find(h.Member()) // what it says itself outweighs a list
		if h.Report == nil && !ends || m != nil && m.State != fleet.MemberStopped && m.State != fleet.MemberPrepared {
			return false
		}
	}
	return true
}

// own leaves out of an observation what belongs to another incarnation.
func own(obs fleet.Observation, uid string) fleet.Observation {
	obs.Hosts = slices.DeleteFunc(slices.Clone(obs.Hosts), func(h fleet.ObservedHost) bool { return h.Tags[fleet.TagUID] != uid })
	obs.DiskSnapshots = slices.DeleteFunc(slices.Clone(obs.DiskSnapshots), func(c fleet.DiskSnapshot) bool { return c.Tags[fleet.TagUID] != uid })
	obs.Disks = slices.DeleteFunc(slices.Clone(obs.Disks), func(d fleet.Disk) bool { return d.Tags[fleet.TagUID] != uid })
	return obs
}

// silent names the hosts that do not answer, for a person who has to mend that.
func (in Input) silent() string {
	var names []string
	for _, h := range in.Observation.Hosts {
		if h.Report == nil {
			names = append(names, h.Member())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return " (silent hosts: " + sentence(names) + ")"
}

// alive says that some voter answers.
func (in Input) alive() bool {
	for _, m := range in.Observation.Members {
		if m.Answers && !m.Learner {
			return true
		}
	}
	return false
}

// mayHoldData says whether a member may have data, unless the cluster never
// formed: every disk counts but one whose own host says that its member was never
// started, and so does every running host that says otherwise or nothing.
func (in Input) mayHoldData() bool {
	if in.neverFormed() {
		return false
	}
	for _, h := range in.Observation.Hosts {
		if started(h.Report.Find(h.Member())) || h.Report == nil && h.State == fleet.HostRunning {
			return true
		}
	}
	if len(in.Observation.DiskSnapshots) > 0 {
		return true
	}
	for _, d := range in.Observation.Disks {
		h := in.Observation.Host(d.Member())
		if h == nil || h.Report == nil || !in.belongs(d, h.Host) {
			return true
		}
	}
	return false
}

func (in Input) releases() []fleet.Step {
	var wave []fleet.Step
	for _, h := range in.Observation.Hosts {
		wave = append(wave, in.hostStep(fleet.ReleaseHost, h.Host))
	}
	return wave
}

func (in Input) deletions() []fleet.Step {
	var wave []fleet.Step
	for _, d := range in.Observation.Disks {
		step := in.step(fleet.DeleteDisk, d.Member())
		step.DiskID, step.Zone = d.ID, d.Zone
		wave = append(wave, step)
	}
	return wave
}

func (in Input) hostStep(kind fleet.StepKind, host fleet.Host) fleet.Step {
	step := in.step(kind, host.Member())
	step.HostID, step.Zone = host.ID, host.Zone
	return step
}
