package plan_test

import (
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// fulfilled judges whether what an operation says that it did is so, once it ended in
// calm weather: the members that were asked for, as they were asked for, each with its
// host and disk, and nothing else.
func (w *walk) fulfilled(op fleet.Operation) {
	obs := w.world.Observe()
	switch op.Kind {
	case fleet.StopCluster:
		for _, h := range obs.Hosts {
			if h.State != fleet.HostStopped {
				broken("%s is done, and host %s of %s is %s", op.Kind, h.ID, h.Member(), h.State)
			}
		}
		return
	case fleet.ChangeLeader:
		switch leader := w.world.Leader(); {
		case len(op.Options.Members) > 0 && !slices.Contains(op.Options.Members, leader), op.Options.Leave == leader:
			broken("%s is done, and %s leads", op.Kind, leader)
		}
		return
	}
	voters, healthy, learners := w.world.Counts()
	if op.Kind == fleet.StartCluster { // what was lost meanwhile is a failover's
		if !w.world.Quorum() {
			broken("%s is done, and %d of %d voters serve", op.Kind, healthy, voters)
		}
		return
	}
	if voters != op.Spec.Voters || healthy != voters || learners != op.Spec.Learners {
		broken("%s is done, and there are %d voters, %d of them healthy, and %d learners, instead of %d and %d",
			op.Kind, voters, healthy, learners, op.Spec.Voters, op.Spec.Learners)
	}
	if len(obs.Hosts) != voters+learners || len(obs.Disks) != voters+learners {
		broken("%s is done, and there are %d hosts and %d disks for %d members", op.Kind, len(obs.Hosts), len(obs.Disks), voters+learners)
	}
	for _, name := range w.world.Names() {
		w.fulfilledBy(op, name, obs)
	}
}

// fulfilledBy judges one member.
func (w *walk) fulfilledBy(op fleet.Operation, name string, obs fleet.Observation) {
	host, disk := obs.Host(name), obs.Disk(name)
	run, _ := w.world.Configured(name)
	switch {
	case host == nil || disk == nil || disk.HostID != host.ID:
		broken("%s is done, and %s has not both its host and its disk", op.Kind, name)
	case !w.world.Healthy(name):
		broken("%s is done, and %s is not healthy", op.Kind, name)
	}
	m, spec := host.Report.Find(name), op.Spec
	wrong := func(what string, is, want any) {
		broken("%s is done, and %s of %s is %v, not %v", op.Kind, what, name, is, want)
	}
	switch op.Kind {
	case fleet.UpscaleCluster:
		switch {
		case host.Type != spec.Machine.Type:
			wrong("the type", host.Type, spec.Machine.Type)
		case disk.Size != spec.Machine.Disk.Size || m.DiskSize != disk.Size:
			wrong("the disk", disk.Size, spec.Machine.Disk.Size)
		case disk.Category != spec.Machine.Disk.Category:
			wrong("the disk", disk.Category, spec.Machine.Disk.Category)
		case run.Settings.Quota != spec.Etcd.Quota:
			wrong("the quota", run.Settings.Quota, spec.Etcd.Quota)
		}
	case fleet.UpgradeCluster:
		if run.Version != spec.Etcd.Version || w.world.Minor() != fleet.Minor(spec.Etcd.Version) {
			wrong("etcd", run.Version+" at "+w.world.Minor(), spec.Etcd.Version)
		}
	case fleet.MigrateByLearner:
		if n := fleet.MemberNumber(op.Cluster, name); n < op.Since && has(op.Options.Members, name) {
			wrong("the number", n, op.Since)
		}
	case fleet.RollCluster:
		w.fulfilledRoll(op, m, run, wrong)
	}
}

func (w *walk) fulfilledRoll(op fleet.Operation, m *fleet.MemberReport, run fleet.MemberConfig, wrong func(what string, is, want any)) {
	trust := w.world.Trust()
	old := fleet.MemberNumber(op.Cluster, m.Name) < op.Since // newer ones are as they are to be
	switch op.Options.Certificates {
	case "":
		switch {
		case run.Settings != op.Spec.Etcd.EtcdSettings && has(op.Options.Members, m.Name):
			wrong("the settings", run.Settings, op.Spec.Etcd.EtcdSettings)
		case op.Spec.Etcd == op.Before.Etcd && old && has(op.Options.Members, m.Name) && run.Generation != op.Generation:
			wrong("the generation", run.Generation, op.Generation)
		}
	case fleet.RenewLeaves:
		if old && m.Certified != op.Generation {
			wrong("the certificate", m.Certified, op.Generation)
		}
	case fleet.TrustNewCA:
		if trust.Other == "" || len(m.Trusts) != 2 || m.TrustIsOld {
			wrong("the trust", m.Trusts, trust)
		}
	case fleet.UseNewCA:
		if !trust.Switched || m.Issuer != trust.Signer {
			wrong("the issuer", m.Issuer, trust)
		}
	case fleet.DropOldCA:
		if trust.Other != "" || len(m.Trusts) != 1 || m.Trusts[0] != trust.Signer || m.Issuer != trust.Signer || m.TrustIsOld {
			wrong("the trust", m.Trusts, trust)
		}
	}
}

// excused judges whether an operation that ended undone in calm weather had a reason
// that holds in truth, and said it.
func (w *walk) excused(op fleet.Operation, d fleet.Decision) bool {
	says := func(words string) bool { return strings.Contains(d.Reason, words) }
	voters, _, _ := w.world.Counts()
	dead := w.dead()
	switch {
	case w.quorumLost():
		return true
	case says("the only voter"):
		return voters == 1 && !op.Options.AllowDowntime
	case says("etcd.maxLearners") || says("--learners 0"):
		return w.learners() >= min(w.world.LearnersAllowed(), op.Spec.Etcd.MaxLearners)
	case says("is alive"):
		return op.Kind == fleet.FailoverMember && len(op.Options.Members) > 0
	case says("flotilla failover"):
		named := slices.DeleteFunc(dead, func(name string) bool { return has(op.Options.Members, name) })
		return op.Kind != fleet.FailoverMember && len(dead) > 0 || len(named) > 0
	}
	switch op.Kind {
	case fleet.UpgradeCluster:
		if says("was rolled back and serves as before") {
			return w.world.IsBad(op.Spec.Etcd.Version) && w.world.Serving()
		}
		return says("go by way of") || says("it must be on") || says("cannot be gone back to")
	case fleet.StopCluster:
		return says("--skip-final-snapshot") && !w.world.Quorum()
	case fleet.ChangeLeader:
		return says("cannot lead") || voters == 1
	case fleet.RollCluster:
		return w.outOfOrder(op, says)
	}
	return false
}

// outOfOrder says that a move of replacing an authority is asked for before the one that
// comes before it was done.
func (w *walk) outOfOrder(op fleet.Operation, says func(words string) bool) bool {
	trust, obs := w.world.Trust(), w.world.Observe()
	all := func(is func(*fleet.MemberReport) bool) bool {
		return !slices.ContainsFunc(w.world.Names(), func(name string) bool {
			h := obs.Host(name)
			return h == nil || h.Report.Find(name) == nil || !is(h.Report.Find(name))
		})
	}
	switch op.Options.Certificates {
	case fleet.UseNewCA:
		ready := all(func(m *fleet.MemberReport) bool { return len(m.Trusts) == 2 && !m.TrustIsOld })
		return says("--trust-new-ca") && (trust.Other == "" || !ready)
	case fleet.DropOldCA:
		ready := all(func(m *fleet.MemberReport) bool { return m.Issuer == trust.Signer })
		return says("--use-new-ca") && (!trust.Switched || !ready)
	}
	return false
}

// dead are the members that cannot come back where they are: host, disk or data is gone.
func (w *walk) dead() []string {
	var dead []string
	for _, name := range w.world.Names() {
		if !w.world.CanServe(name) {
			dead = append(dead, name)
		}
	}
	return dead
}

// quorumLost says that fewer voters than a quorum can ever serve again.
func (w *walk) quorumLost() bool {
	voters, _, _ := w.world.Counts()
	dead := 0
	for _, name := range w.dead() {
		if w.world.Voter(name) {
			dead++
		}
	}
	return voters-dead <= voters/2
}
