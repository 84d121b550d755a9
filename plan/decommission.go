package plan

import (
	"github.com/flotilla-etcd/flotilla/fleet"
)

// decommission takes a cluster down for good, from any state: a verified final
// snapshot, unless waived or there is no data; members stopped; hosts released;
// disks deleted; secrets destroyed.
//
// Preconditions of everything that destroys: the cluster is not protected, and
// its data is in a verified snapshot, or the user waived that, or no member was
// ever started. What is unknown counts as data.
func decommission(in Input) fleet.Decision {
	obs := in.Observation
	if in.Operation.Spec.DeletionProtection {
		return blocked(fleet.Blocked, "%s is protected from deletion", in.Operation.Cluster)
	}
	if f := in.fatal(); f != nil {
		return blocked(f.Kind, "%s failed: %s", f.Step, f.Message)
	}
	if len(obs.Hosts)+len(obs.Disks) > 0 {
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
	hosts, disks := in.releases(), in.deletions()
	if !in.secured() {
		// Only the hosts know that the disks are empty, so the disks go first.
		hosts, disks = disks, hosts
	}
	for _, wave := range [][]fleet.Step{hosts, disks} {
		if len(wave) > 0 {
			return act(wave...)
		}
	}
	if obs.Secrets {
		return act(in.step(fleet.DestroyAuthority, ""))
	}
	return done("nothing is left of %s", in.Operation.Cluster)
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
	if in.mayHoldData() {
		d := blocked(fleet.Blocked, "no quorum of %s answers, so no final snapshot can be taken, and its disks may hold data; "+
			"bring it back first, or give the data up with --skip-final-snapshot", in.Operation.Cluster)
		return &d
	}
	return nil
}

// secured says that the data may go: the user gave it up, or it is in a verified
// snapshot that this operation took. One that an earlier attempt took counts once
// no member serves any more: before that, it may be out of date.
func (in Input) secured() bool {
	if in.Operation.Options.SkipFinalSnapshot {
		return true
	}
	s := in.Observation.FinalSnapshot
	return s != nil && !s.Verified.IsZero() && (s.Operation == in.Operation.ID || !in.alive())
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

// mayHoldData says whether a member may have data: every disk counts, unless the
// host that has it answers and says that the member on it was never started.
func (in Input) mayHoldData() bool {
	for _, d := range in.Observation.Disks {
		if d.HostID == "" && d.State != fleet.DiskAvailable {
			return true // on its way from or to somewhere
		}
		safe := false
		for _, h := range in.Observation.Hosts {
			if h.Report == nil || h.Member() != d.Member() {
				continue
			}
			m := h.Report.Find(h.Member())
			safe = m == nil || m.State == fleet.MemberPrepared
		}
		if !safe {
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
