package plan_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// rules are what no operation may break, judged against the world as it is, not
// as it was observed. A broken one panics with a violation.
type rules struct {
	world *model.World
	// bought is which purchase a token stands for, and hosts are those that were bought
	// for each member.
	bought map[string]string
	hosts  map[string][]string
	// startedOn is the host on which a disk was first written.
	startedOn map[string]string
	// wrote are the members that wrote on a disk.
	wrote map[string]bool
	// ids is which member of etcd's a name stands for, and left whose names did.
	ids  map[string]uint64
	left map[string]bool
	// taken are the members that a step took down and that did not come back yet.
	taken map[string]bool
	// voters is how many there were when the operation began.
	voters int
	// waived stays so: members that were stopped under a waiver wrote after the
	// snapshot that an attempt before it took, and nothing on their hosts tells.
	waived bool
	// made are the generations of operations that made a member's data from a backup.
	made map[string]bool
}

func newRules(world *model.World) rules {
	return rules{
		world: world, bought: map[string]string{}, hosts: map[string][]string{}, startedOn: map[string]string{}, wrote: map[string]bool{},
		ids: map[string]uint64{}, left: map[string]bool{}, taken: map[string]bool{}, made: map[string]bool{},
	}
}

type violation string

func broken(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

// begin notes how things are when an operation begins.
func (r *rules) begin(op fleet.Operation) {
	r.voters, _, _ = r.world.Counts()
	r.waived = r.waived || op.Kind == fleet.DecommissionCluster && op.Options.SkipFinalSnapshot
}

// decision judges what can be told before anything is done.
func (r *rules) decision(in plan.Input, d fleet.Decision) {
	op, obs := in.Operation, in.Observation
	if d.Verdict != fleet.VerdictAct {
		if len(d.Wave) > 0 || d.Reason == "" {
			broken("%s: verdict %s with %d steps and reason %q", op.Cluster, d.Verdict, len(d.Wave), d.Reason)
		}
		if d.Verdict == fleet.VerdictDone && op.Kind == fleet.DecommissionCluster && len(obs.Unknowns) > 0 {
			broken("%s: a decommission is done although there are unknowns: %v", op.Cluster, obs.Unknowns)
		}
		return
	}
	seen := map[string]bool{}
	var starting []fleet.Endpoint
	for _, s := range d.Wave {
		if s.Kind == fleet.StartMember && s.Endpoint != nil {
			if !slices.Equal(s.After, starting) {
				broken("%s: it starts beside %v and waits for %v", s, starting, s.After)
			}
			starting = append(starting, *s.Endpoint)
		}
		if s.Member != "" && seen[s.Member] {
			broken("%s: two steps for one member in one wave: %v", s.Member, d.Wave)
		}
		seen[s.Member] = true
		if s.Token == "" || len(s.Token) > fleet.MaxToken {
			broken("%s: token %q has %d characters, at most %d are allowed", s, s.Token, len(s.Token), fleet.MaxToken)
		}
		if s.Kind == fleet.DestroyAuthority && len(obs.Unknowns) > 0 {
			broken("%s, the last step, follows from an observation with unknowns: %v", s, obs.Unknowns)
		}
		if op.Kind == fleet.DecommissionCluster && op.Spec.DeletionProtection {
			broken("%s of a protected cluster", s)
		}
		if op.Kind == fleet.CreateCluster && (s.Kind == fleet.StopMember || s.Kind == fleet.ReleaseHost || s.Kind == fleet.DestroyAuthority) {
			broken("%s in a create", s)
		}
	}
	if len(d.Wave) == 0 {
		broken("%s: act without a step", op.Cluster)
	}
	r.forget()
	switch {
	case op.Kind == fleet.RestoreCluster && (!r.made[op.Generation] || !r.world.Quorum() || r.world.HalfMade()):
		r.restoresInPlace(in, d)
	case !making(op.Kind):
		r.change(in, d.Wave)
	}
}

// before judges a step at the moment at which it is done.
func (r *rules) before(op fleet.Operation, s fleet.Step) {
	secured := r.waived || r.world.Saved() || !r.world.Formed()
	switch s.Kind {
	case fleet.LaunchHost, fleet.AttachDisk:
		r.beforePurchase(op, s)
	case fleet.StartMember:
		r.beforeStart(s)
	case fleet.StopMember:
		if op.Kind == fleet.DecommissionCluster && !secured || op.Kind == fleet.CreateCluster {
			broken("%s: in %s before the data is secured", s, op.Kind)
		}
	case fleet.DeleteDisk:
		if making(op.Kind) && r.world.HoldsData(s.DiskID) != "" && !secured {
			broken("%s: disk %s holds data that is in no verified snapshot", s, s.DiskID)
		}
	case fleet.ReleaseHost:
		for _, disk := range r.world.DisksOf(s.Member) {
			if making(op.Kind) && r.world.HoldsData(disk) != "" && !secured {
				broken("%s: its disk %s holds data that is in no verified snapshot", s, disk)
			}
		}
	}
}

// beforePurchase: a token buys one thing, and a disk that was written goes to another
// host only with its own member, which is dead.
func (r *rules) beforePurchase(op fleet.Operation, s fleet.Step) {
	if s.Kind == fleet.AttachDisk && s.DiskID == "" && r.wrote[s.Member] && !making(op.Kind) {
		broken("%s: a disk is bought for it, and its data was on another", s)
	}
	if s.Kind == fleet.LaunchHost && s.HostID == "" || s.Kind == fleet.AttachDisk && s.DiskID == "" {
		what := string(s.Kind) + " " + s.Member
		if was, ok := r.bought[s.Token]; ok && was != what {
			broken("%s: its token %q already bought %s", s, s.Token, was)
		}
		r.bought[s.Token] = what
	}
	if host := r.startedOn[s.DiskID]; s.Kind == fleet.AttachDisk && host != "" && host != s.HostID {
		owner, id := r.world.Owner(s.DiskID)
		lost := owner == "" // and with it what was written
		if !lost && (op.Kind == fleet.CreateCluster || owner != s.Member || id != r.world.MemberID(s.Member) || r.world.Up(s.Member)) {
			broken("%s: disk %s was written on host %s by %s (%d) and goes to %s", s, s.DiskID, host, owner, id, s.HostID)
		}
	}
}

// beforeStart: a member starts on its own data, or is new.
func (r *rules) beforeStart(s fleet.Step) {
	was := r.world.HoldsData(s.DiskID)
	owner, id := r.world.Owner(s.DiskID)
	now := r.world.MemberID(s.Member)
	switch {
	case !slices.Contains(r.world.DisksOf(s.Member), s.DiskID): // lost a moment ago
	case was == "" && r.wrote[s.Member] && r.ids[s.Member] != 0:
		broken("%s: it was started before, and disk %s is empty", s, s.DiskID)
	case was == "":
	case !s.Existing && was != model.Membership(s):
		broken("%s: disk %s holds data of membership %q and is started under %q", s, s.DiskID, was, model.Membership(s))
	case owner != s.Member:
		broken("%s: disk %s holds data of %s", s, s.DiskID, owner)
	case s.Existing && id != 0 && now != 0 && id != now:
		broken("%s: disk %s holds data of member %d, and it is member %d now", s, s.DiskID, id, now)
	}
	if snapshot := r.world.Snapshot(); snapshot != nil && !snapshot.Closed.IsZero() {
		broken("%s: the final snapshot is closed, so that it counts as the last word on the data", s)
	}
}

// after judges the world once a step, or part of it, was done.
func (r *rules) after(op fleet.Operation, s fleet.Step, err error) {
	if fleet.Is(err, fleet.Invalid) {
		broken("%s was refused as invalid: %v", s, err)
	}
	if s.Kind == fleet.RestoreMember && err == nil {
		r.restored(op, s)
	}
	r.note(s)
	if a, b, found := r.world.Distrust(); found {
		broken("after %s, %s and %s do not trust each other", s, a, b)
	}
	if s.Member == "" {
		return
	}
	hosts, disks := r.world.HostsOf(s.Member), r.world.DisksOf(s.Member)
	for _, id := range hosts {
		if slices.Contains(r.hosts[s.Member], id) {
			continue
		}
		// A member that is dead comes back on its own disk; a new one gets another name.
		revival := op.Kind == fleet.FailoverMember && r.world.Member(s.Member)
		if !making(op.Kind) && len(r.hosts[s.Member]) > 0 && !revival {
			broken("%s: host %s is bought for it, and %v was before", s, id, r.hosts[s.Member])
		}
		r.hosts[s.Member] = append(r.hosts[s.Member], id)
	}
	if len(hosts) > 1 {
		broken("%s has two hosts: %v", s.Member, hosts)
	}
	if len(disks) > 1 {
		broken("%s has two disks: %v", s.Member, disks)
	}
	for _, disk := range disks {
		r.wrote[s.Member] = r.wrote[s.Member] || r.world.HoldsData(disk) != ""
		if r.world.HoldsData(disk) != "" && r.startedOn[disk] == "" || s.Kind == fleet.AttachDisk && r.startedOn[disk] != "" {
			r.startedOn[disk] = s.HostID
		}
	}
}

// restored notes that members are others from now on, under the names that they had.
func (r *rules) restored(op fleet.Operation, s fleet.Step) {
	r.made[op.Generation] = r.made[op.Generation] || r.world.HasRestored(s)
	for _, e := range s.Initial {
		delete(r.ids, e.Member)
		delete(r.left, e.Member)
	}
}

// note keeps who is a member, who left, and who was taken down.
func (r *rules) note(s fleet.Step) {
	if s.Kind == fleet.RecoverMember && r.world.Member(s.Member) {
		delete(r.left, s.Member) // an earlier recovery, from another one's data, came to nothing
	}
	for _, name := range r.world.Names() {
		id := r.world.MemberID(name)
		if was := r.ids[name]; was != 0 && was != id && r.wrote[name] || r.left[name] {
			broken("%s is used for a second member", name)
		}
		r.ids[name] = id
	}
	for name := range r.ids {
		r.left[name] = r.left[name] || r.wrote[name] && !r.world.Member(name) && r.world.Formed()
	}
	if s.Member != "" && s.DisturbsMember() {
		r.taken[s.Member] = true
	}
	r.forget()
}

// forget forgets who was taken down and is back.
func (r *rules) forget() {
	for name := range r.taken {
		if !r.world.Member(name) || r.world.Up(name) {
			delete(r.taken, name)
		}
	}
}

// remedies are the words that tell a person what to do.
var remedies = []string{
	"decommission the cluster and create it again", "--skip-final-snapshot", "try again later", "submit the operation again",
	"protection off", "release it first", "delete it first", "flotilla ", "--allow-downtime", "go by way of", "it must be on", "take 3.",
	"stop its host in the cloud and ask again", "etcd.maxLearners", "compact and defragment it first",
}

// advised judges whether a person learns what to do.
func (r *rules) advised(op fleet.Operation, d fleet.Decision) {
	told := slices.ContainsFunc(remedies, func(remedy string) bool { return strings.Contains(d.Reason, remedy) })
	if d.Verdict == fleet.VerdictBlocked && d.Kind == "" || d.Verdict == fleet.VerdictBlocked && !told {
		broken("%s %s is blocked (%s) and does not say what to do: %s", op.Kind, op.Cluster, d.Kind, d.Reason)
	}
}
