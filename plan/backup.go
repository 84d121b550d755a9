package plan

import "github.com/flotilla-etcd/flotilla/fleet"

// backup has a snapshot stored. Which member it comes from depends on how busy each is
// at that moment, so the step itself chooses. Only a quorum can say what was
// acknowledged: without one a snapshot might be of a member that was left behind.
func backup(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	obs, cluster := in.Observation, in.Operation.Cluster
	switch b := obs.Backup; {
	case b == nil || b.Operation != in.Operation.ID:
	case b.Damaged != "":
		return blocked(fleet.Lost, "backup %s of %s does not count: %s; ask for another one", b.ID, cluster, b.Damaged)
	case in.Operation.Options.At != nil: // it is no newer one that an older one could go for
		return done("%s is backed up as it was at %s", cluster, in.Operation.Options.At)
	case len(obs.ExpiredBackups) > 0 && in.failed(fleet.ExpireBackups, "") > 0:
		return done("%s is backed up at revision %d; older ones could not be removed: %s", cluster, b.Revision, in.Failures[len(in.Failures)-1].Message)
	case len(obs.ExpiredBackups) > 0:
		return act(in.step(fleet.ExpireBackups, ""))
	default:
		return done("%s is backed up at revision %d", cluster, b.Revision)
	}
	if f := in.fatal(); f != nil {
		return failedFor(f)
	}
	if in.Operation.Options.At != nil { // what it is made of is stored already, and stays as it is
		if len(in.Failures) > 0 {
			return failedFor(&in.Failures[0])
		}
		return act(in.step(fleet.SaveBackup, ""))
	}
	running := false
	for _, h := range obs.Hosts {
		running = running || h.State == fleet.HostRunning
	}
	switch {
	case obs.Quorum:
		return act(in.step(fleet.SaveBackup, ""))
	case !running && len(obs.Unknowns) == 0:
		return blocked(fleet.Blocked, "no host of %s runs, so there is no member to take a backup from; start it first", cluster)
	}
	// Hosts are not asked for a backup, so it cannot be told whether that passes.
	return wait("no quorum of %s answers, so nobody can tell what a backup would have to hold", cluster)
}
