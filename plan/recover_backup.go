package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// restoreSet is a cluster that a recovery makes from a backup: which backup, and who are its
// first members.
type restoreSet struct {
	from    fleet.Restore
	members []string
}

// setToken names the making of a set beside the data of each of its members. Another
// backup or other members are another cluster, so that what an attempt left half made is
// never started with what another one makes.
func (r roster) setToken(backup string, members []string) string {
	return r.in.token(r.in.Operation.Generation, fleet.RestoreMember, backup+"/"+strings.Join(members, ","), 0)
}

func (r roster) has(set restoreSet, s seat) bool {
	return s.restored(r.setToken(set.from.ID, set.members))
}

// begunRestore gives the set that this recovery has begun to make: of several, the one
// that most of its members have.
func (r roster) begunRestore() (best restoreSet, begun bool) {
	op, most := r.in.Operation, 0
	for _, s := range r.seats {
		m := s.report()
		if m == nil || m.Restored == nil || m.Restored.Token != r.setToken(m.Restored.Backup, m.Restored.Members) {
			continue
		}
		set := restoreSet{from: fleet.Restore{Cluster: op.Cluster, UID: op.UID, ID: m.Restored.Backup}, members: m.Restored.Members}
		if n := len(r.which(func(s seat) bool { return r.has(set, s) })); n > most {
			best, begun, most = set, true, n
		}
	}
	return best, begun
}

// halfMade says that a member's data was made from a backup, never served, and is not all
// of what was to be made with it: others of its set have something else. An election
// goes to term 2, so that what has term 1 never had a leader.
func (r roster) halfMade(s seat, data fleet.DataReport) bool {
	m := s.report()
	if m.Restored == nil || data.Last.Term > 1 {
		return false
	}
	return slices.ContainsFunc(r.seats, func(other seat) bool {
		return slices.Contains(m.Restored.Members, other.name) && other.attached() && other.report() != nil && !other.restored(m.Restored.Token)
	})
}

// ends gives the first failure that a recovery does not go on after. A host that was given
// up may not answer; one that was bought and lost, or is not sold, is bought elsewhere.
func (r roster) ends() *fleet.Failure {
	for i, f := range r.in.Failures {
		switch kind := f.Step.Kind; {
		case kind == fleet.StopHost && r.isWithout(f.Step.Member):
		case kind == fleet.LaunchHost && f.Kind == fleet.OutOfCapacity && r.in.failed(kind, f.Step.Member) <= maxLaunches:
		case f.Kind == fleet.Lost && r.bringsIn(f.Step) && r.lostPurchases() <= maxLaunches:
		default:
			return &r.in.Failures[i]
		}
	}
	return nil
}

// bringsIn says that a step is part of bringing in a new member, before it has data.
func (r roster) bringsIn(step fleet.Step) bool {
	switch step.Kind {
	case fleet.LaunchHost, fleet.StartHost, fleet.AttachDisk, fleet.PrepareHost:
		return fleet.MemberNumber(r.in.Operation.Cluster, step.Member) >= r.in.Operation.Since
	}
	return false
}

// fromStored makes the voters from what the object store has: on the hosts and disks that
// the cluster has, where they answer, and on new ones. In this order:
//
//  1. a backup is made of the newest one and the changes recorded since
//  2. new hosts are bought and prepared
//  3. all are made from it; what a disk had is kept beside
//  4. they are started together
func (r roster) fromStored() fleet.Decision {
	op, stored := r.in.Operation, r.in.Observation.Stored
	if stored == nil {
		c, _ := r.candidates()
		return blocked(fleet.Lost, "no member of %s has whole data%s, and there is no backup of it; bring another disk back and submit the operation again",
			op.Cluster, brokenWords(c.broken))
	}
	if len(r.in.Observation.Unreached) > 0 && op.Options.FromBackup == "" {
		return wait("%s, and a standby may be there that has more than any backup; wait until it answers, or give up what is there: flotilla recover %s --from-backup",
			r.unreachedWords(), op.Cluster)
	}
	if stored.Away != "" && op.Options.AcceptLoss && (op.Options.FromBackup == "" || op.Options.FromBackup == fleet.NewestBackup) {
		return blocked(fleet.Unavailable, "the first store cannot be asked, and may have NEWER backups and changes than the second, which lead to revision %d: %s; "+
			"ask again without --accept-loss and approve of that, or name one: flotilla recover %s --from-backup=%s", stored.Revision(), stored.Away, op.Cluster, stored.Backup.ID)
	}
	if err := fleet.RestoreOf(stored.Backup).Check(op.Spec); err != nil {
		return blocked(fleet.Blocked, "%s; then submit the operation again", err)
	}
	if stored.Revision() > stored.Backup.Revision {
		step := r.in.step(fleet.SaveBackup, "")
		step.Restore, step.At = fleet.RestoreOf(stored.Backup), &fleet.PointInTime{Revision: stored.Revision()}
		step.Token = r.in.token(op.ID, fleet.SaveBackup, fmt.Sprint(stored.Revision()), 0)
		return act(step)
	}
	seats := r.toFill()
	wave, d := r.bringIn(seats)
	switch {
	case d != nil:
		return *d
	case len(wave) > 0:
		return act(wave...)
	}
	set := restoreSet{from: *fleet.RestoreOf(stored.Backup)}
	for _, s := range seats {
		set.members = append(set.members, s.name)
	}
	return act(r.fill(set, seats)...)
}

// toFill gives the voters-to-be: those whose host and disk are there, and then new ones.
func (r roster) toFill() []seat {
	voters := r.in.Operation.Spec.Voters
	var all []seat
	for _, s := range r.seats {
		m := s.report()
		if len(all) < voters && s.attached() && m != nil && m.Configured != nil {
			all = append(all, s)
		}
	}
	return append(all, r.recruits(voters-len(all))...)
}

// storedHasMore says that the object store has writes for sure that a member's data does
// not have: its revision is beyond what all entries of the member's log can come to.
func (r roster) storedHasMore(best fleet.DataReport) bool {
	stored := r.in.Observation.Stored
	if stored == nil || !stored.SameHistory(best) || best.Last.Index < best.Applied.Index {
		return false
	}
	return stored.Revision() > best.Revision+int64(best.Last.Index-best.Applied.Index)
}

// attached says that a member's host runs and has its disk.
func (s seat) attached() bool {
	return s.host != nil && s.disk != nil && s.host.State == fleet.HostRunning && s.disk.HostID == s.host.ID && s.disk.State == fleet.DiskInUse
}

// recruits gives so many new members: those that were bought for already, and new names.
func (r roster) recruits(n int) []seat {
	all := slices.DeleteFunc(r.newcomers(), func(s seat) bool { m := s.report(); return m != nil && m.Configured != nil })
	for _, f := range r.in.Failures {
		s, seen := r.find(f.Step.Member)
		if f.Step.Kind == fleet.LaunchHost && f.Kind == fleet.OutOfCapacity && !seen && !r.givenUp(s) && !is(all...)(s) {
			all = append(all, s) // it was refused, so that its name was never used
		}
	}
	for next := r.nextNumber(); len(all) < n; next++ {
		all = append(all, seat{name: fleet.MemberName(r.in.Operation.Cluster, next), number: next})
	}
	return all[:max(0, n)]
}

// bringIn gives the next step of each new host, or why there is none.
func (r roster) bringIn(seats []seat) (wave []fleet.Step, unclear *fleet.Decision) {
	crowd := map[string]int{}
	for _, s := range seats {
		if s.host != nil {
			crowd[s.host.Zone]++
		}
	}
	for _, s := range seats {
		switch h := s.host; {
		case h == nil:
			step, d := r.launchIn(s.name, crowd)
			if d != nil {
				return nil, d
			}
			crowd[step.Zone]++
			wave = append(wave, step)
		case h.State == fleet.HostStopped:
			wave = append(wave, r.step(fleet.StartHost, s))
		case h.State == fleet.HostPending:
			wave = append(wave, r.step(fleet.LaunchHost, s))
		case h.State != fleet.HostRunning:
			d := wait("host %s of %s is %s%s; submit the operation again", h.ID, s.name, h.State, r.in.silent())
			unclear = &d
		case s.disk == nil:
			step := r.in.purchase(fleet.AttachDisk, s.name, h.ID)
			step.Zone, step.HostID = h.Zone, h.ID
			wave = append(wave, step)
		case !s.attached():
			wave = append(wave, r.step(fleet.AttachDisk, s))
		case !isPrepared(s) && !prepared(r.in.Observation, r.release(), s.name):
			wave = append(wave, r.prepareStep(s))
		}
	}
	if len(wave) > 0 {
		unclear = nil
	}
	return wave, unclear
}

// launchIn buys the host of a new member in the zone that has the fewest of them: the same
// one again as long as it is remembered.
func (r roster) launchIn(name string, crowd map[string]int) (fleet.Step, *fleet.Decision) {
	if step := r.bought(name); step != nil {
		return *step, nil
	}
	spec, best := r.in.Operation.Spec, ""
	for _, zone := range spec.Zones {
		refused := slices.ContainsFunc(r.in.Failures, func(f fleet.Failure) bool {
			return f.Step.Kind == fleet.LaunchHost && f.Kind == fleet.OutOfCapacity && f.Step.Member == name && f.Step.Zone == zone
		})
		if !refused && (best == "" || crowd[zone] < crowd[best]) {
			best = zone
		}
	}
	if best == "" {
		d := blocked(fleet.OutOfCapacity, "no zone of %s has a %s left; try again later, or change machine.type or zones", sentence(spec.Zones), spec.Machine.Type)
		return fleet.Step{}, &d
	}
	machine := spec.MachineIn(best).Type
	step := r.in.purchase(fleet.LaunchHost, name, machine+"/"+best)
	step.Zone, step.Type = best, machine
	return step, nil
}

// fill gives the step that makes each member's data that does not have it yet.
func (r roster) fill(set restoreSet, seats []seat) []fleet.Step {
	var wave []fleet.Step
	for _, s := range seats {
		if r.has(set, s) {
			continue
		}
		step := r.startAs(fleet.RestoreMember, s)
		from := set.from
		step.Token, step.Initial, step.Existing, step.Restore = r.setToken(set.from.ID, set.members), endpointsOf(seats), false, &from
		wave = append(wave, step)
	}
	return wave
}

// goOn goes on with a set that was begun: all of it is made before any of it is started.
// Where members of it are gone since, those that are left are started if they are a quorum.
func (r roster) goOn(set restoreSet) fleet.Decision {
	op := r.in.Operation
	var seats, made []seat
	var gone, words []string
	for _, name := range set.members {
		switch s, _ := r.find(name); {
		case r.has(set, s) && s.attached():
			seats, made = append(seats, s), append(made, s)
		case s.attached() && s.report() != nil:
			seats = append(seats, s)
		default:
			gone = append(gone, name)
			words = append(words, fmt.Sprintf("the recovery has begun with %s, and %s is not seen now", sentence(set.members), name))
		}
	}
	var others []fleet.Step
	for _, s := range r.seats {
		if s.keptRunning() && !r.has(set, s) {
			others = append(others, r.step(fleet.StopMember, s))
		}
	}
	switch {
	case len(others) > 0: // it is of the cluster that was, or of an attempt that came to nothing
		return act(others...)
	case len(made) > len(set.members)/2 && (len(gone) > 0 || len(made) == len(set.members)):
		if d := r.reopen(); d != nil {
			return *d
		}
		return r.startRestored(made)
	case len(gone) > 0:
		return r.needsWithout(gone, words)
	}
	if d := r.reopen(); d != nil {
		return *d
	}
	wave := r.fill(set, seats)
	if len(wave) == 0 {
		return wait("%s is being made from backup %s%s", op.Cluster, set.from.ID, r.in.silent())
	}
	return act(wave...)
}
