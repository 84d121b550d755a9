package plan_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// kinds are the operations on a cluster that runs, and how often each is wished for.
var kinds = []fleet.OperationKind{
	fleet.UpscaleCluster, fleet.UpscaleCluster, fleet.ScaleCluster, fleet.ScaleCluster, fleet.MigrateByLearner, fleet.FailoverMember,
	fleet.FailoverMember, fleet.UpgradeCluster, fleet.UpgradeCluster, fleet.RollCluster, fleet.RollCluster, fleet.ChangeLeader, fleet.StopCluster,
}

// request gives an operation that somebody asks for: any that the cluster's phase
// allows, or, at times, to go on with what stopped half way.
func (w *walk) request() fleet.Operation {
	switch {
	case w.unfinished != nil && w.may(w.unfinished.Kind) && w.once(2, "resume"):
		return w.resume()
	case w.may(fleet.StartCluster):
		return w.operation(fleet.StartCluster, w.spec, fleet.Options{})
	}
	kind := kinds[w.choose(len(kinds), "kind")]
	if w.theme != "" && w.choose(4, "what the life is about") > 0 {
		kind = w.theme
	}
	if !w.may(kind) {
		return w.operation(fleet.FailoverMember, w.spec, fleet.Options{})
	}
	target, options := w.spec.Clone(), fleet.Options{}
	switch kind {
	case fleet.UpscaleCluster:
		w.otherMachine(&target)
	case fleet.ScaleCluster:
		target.Voters, target.Learners = 1+2*w.choose(4, "voters"), w.choose(3, "learners")
	case fleet.MigrateByLearner:
		options.Members = w.some()
		if w.once(3, "other zones") {
			target.Zones = [][]string{{"a"}, {"b", "c"}, {"d", "a"}, {"a", "b", "c", "d"}}[w.choose(4, "zones")]
		}
	case fleet.FailoverMember:
		if w.once(2, "named") {
			options.Members = w.some()
		}
	case fleet.UpgradeCluster:
		target.Etcd.Version = w.otherRelease()
		if w.once(5, "a bad release") && !w.runs(target.Etcd.Version) && !w.mild {
			w.world.Bad(target.Etcd.Version)
			w.say("etcd %s never serves", target.Etcd.Version)
		}
	case fleet.RollCluster:
		w.otherSettings(&target, &options)
	case fleet.ChangeLeader:
		if options.Members = w.some()[:1]; w.once(2, "leave") {
			options.Leave, options.Members = options.Members[0], nil
		}
	case fleet.StopCluster:
		options.SkipFinalSnapshot = w.once(4, "skip the snapshot")
	}
	if !w.changes(kind, target) { // not in this spec
		target = w.spec.Clone()
	}
	options.AllowDowntime = options.AllowDowntime || w.spec.Voters == 1 && kind != fleet.ChangeLeader && kind != fleet.FailoverMember &&
		kind != fleet.StopCluster && w.choose(3, "allow downtime") > 0
	return w.operation(kind, target, options)
}

// runs says whether some member runs a release, or is to.
func (w *walk) runs(version string) bool {
	return version == w.spec.Etcd.Version || slices.ContainsFunc(w.world.Names(), func(name string) bool {
		run, _ := w.world.Configured(name)
		return run.Version == version
	})
}

// some gives some members, at least one.
func (w *walk) some() []string {
	names := w.world.Names()
	if len(names) == 0 {
		return []string{w.spec.Name + "-1"}
	}
	first := w.choose(len(names), "member")
	return names[first:min(len(names), first+1+w.choose(2, "and the next"))]
}

// otherRelease gives a release to go to: often one of the next minor, up or down.
func (w *walk) otherRelease() string {
	wanted := append(slices.Clone(releases), "3.5.30")
	if w.theme == fleet.UpgradeCluster {
		minors := []string{"3.5", "3.6", "3.7"}
		i := slices.Index(minors, fleet.Minor(w.spec.Etcd.Version))
		next := minors[max(0, min(len(minors)-1, i+1-2*w.choose(3, "down")/2))]
		wanted = slices.DeleteFunc(wanted, func(version string) bool { return fleet.Minor(version) != next })
	}
	return wanted[w.choose(len(wanted), "release")]
}

func (w *walk) otherMachine(target *fleet.Spec) {
	m := &target.Machine
	if w.once(2, "other type") {
		m.Type = map[string]string{"small": "large", "large": "small"}[m.Type]
	}
	switch w.choose(4, "other disk") {
	case 0:
		m.Disk.Size = map[fleet.Bytes]fleet.Bytes{20 * fleet.GiB: 40 * fleet.GiB, 40 * fleet.GiB: 20 * fleet.GiB}[m.Disk.Size]
	case 1:
		m.Disk.Category = map[string]string{"ssd": "essd", "essd": "ssd"}[m.Disk.Category]
	case 2:
		target.Etcd.Quota = map[fleet.Bytes]fleet.Bytes{2 * fleet.GiB: 4 * fleet.GiB, 4 * fleet.GiB: 2 * fleet.GiB}[target.Etcd.Quota]
	}
	if w.once(2, "other way") {
		// It needs no operation and is there before one (update Amend).
		m.Change = map[fleet.MachineChange]fleet.MachineChange{
			"": fleet.ResizeMachine, fleet.ResizeMachine: fleet.ReplaceMachine, fleet.ReplaceMachine: fleet.ResizeMachine,
		}[m.Change]
		w.spec.Machine.Change = m.Change
	}
}

func (w *walk) otherSettings(target *fleet.Spec, options *fleet.Options) {
	if trust := w.world.Trust(); w.theme == fleet.RollCluster && w.choose(4, "not the next move") > 0 {
		switch {
		case trust.Other == "":
			options.Certificates = fleet.TrustNewCA
		case !trust.Switched:
			options.Certificates = fleet.UseNewCA
		default:
			options.Certificates = fleet.DropOldCA
		}
		return
	}
	switch w.choose(8, "roll") {
	case 0:
		target.Etcd.SnapshotCount = 30000 - target.Etcd.SnapshotCount // 10000 or 20000
	case 1, 2:
		target.Etcd.MaxLearners = 1 + w.choose(3, "limit of learners")
	case 3:
		options.Members = w.some()
	case 4:
		options.Certificates = fleet.RenewLeaves
	case 5:
		options.Certificates = fleet.TrustNewCA
	case 6:
		options.Certificates = fleet.UseNewCA
	case 7:
		options.Certificates = fleet.DropOldCA
	}
}

// wish says what an operation asks for, for the log of a walk.
func (w *walk) wish(op fleet.Operation) string {
	var b strings.Builder
	s := op.Spec
	fmt.Fprintf(&b, ": %d+%d in %v, etcd %s quota %s learners %d, %s %s %s %s, since %d next %d", s.Voters, s.Learners, s.Zones, s.Etcd.Version,
		s.Etcd.Quota, s.Etcd.MaxLearners, s.Machine.Type, s.Machine.Change, s.Machine.Disk.Size, s.Machine.Disk.Category, op.Since, op.NextMember)
	if o := op.Options; !o.Equal(fleet.Options{}) {
		fmt.Fprintf(&b, ", members %v leave %s downtime %v skip %v certificates %s", o.Members, o.Leave, o.AllowDowntime, o.SkipFinalSnapshot, o.Certificates)
	}
	for _, p := range op.Purchases {
		fmt.Fprintf(&b, ", bought %s", p.Member)
	}
	return b.String()
}

// has says whether a list is empty, which stands for all, or has a member.
func has(members []string, name string) bool {
	return len(members) == 0 || slices.Contains(members, name)
}
