package plan_test

import (
	"fmt"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// rules are what no operation may break, judged against the world as it is, not
// as it was observed. A broken one panics with a violation.
type rules struct {
	world *model.World
	// bought is which purchase a token stands for.
	bought map[string]string
	// startedOn is the host on which a disk was first written.
	startedOn map[string]string
	// waived stays so: members that were stopped under a waiver wrote after the
	// snapshot that an attempt before it took, and nothing on their hosts tells.
	waived bool
}

type violation string

func broken(format string, args ...any) { panic(violation(fmt.Sprintf(format, args...))) }

// decision judges what can be told before anything is done.
func (r *rules) decision(op fleet.Operation, obs fleet.Observation, d fleet.Decision) {
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
	for _, s := range d.Wave {
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
}

// before judges a step at the moment at which it is done.
func (r *rules) before(op fleet.Operation, s fleet.Step) {
	r.waived = r.waived || op.Options.SkipFinalSnapshot
	secured := r.waived || r.world.Saved() || !r.world.Formed()
	switch s.Kind {
	case fleet.LaunchHost, fleet.AttachDisk:
		if s.Kind == fleet.LaunchHost && s.HostID == "" || s.Kind == fleet.AttachDisk && s.DiskID == "" {
			what := string(s.Kind) + " " + s.Member
			if was, ok := r.bought[s.Token]; ok && was != what {
				broken("%s: its token %q already bought %s", s, s.Token, was)
			}
			r.bought[s.Token] = what
		}
		if host := r.startedOn[s.DiskID]; host != "" && host != s.HostID {
			broken("%s: disk %s was written on host %s and goes to %s", s, s.DiskID, host, s.HostID)
		}
	case fleet.StartMember:
		under := model.Membership(s)
		if was := r.world.HoldsData(s.DiskID); was != "" && was != under {
			broken("%s: disk %s holds data of membership %q and is started under %q", s, s.DiskID, was, under)
		}
	case fleet.StopMember:
		if op.Kind != fleet.DecommissionCluster || !secured {
			broken("%s: in %s before the data is secured", s, op.Kind)
		}
	case fleet.DeleteDisk:
		if r.world.HoldsData(s.DiskID) != "" && !secured {
			broken("%s: disk %s holds data that is in no verified snapshot", s, s.DiskID)
		}
	case fleet.ReleaseHost:
		for _, disk := range r.world.DisksOf(s.Member) {
			if r.world.HoldsData(disk) != "" && !secured {
				broken("%s: its disk %s holds data that is in no verified snapshot", s, disk)
			}
		}
	}
}

// after judges the world once a step, or part of it, was done.
func (r *rules) after(op fleet.Operation, s fleet.Step, err error) {
	if fleet.Is(err, fleet.Invalid) {
		broken("%s was refused as invalid: %v", s, err)
	}
	if s.Member == "" {
		return
	}
	if hosts := r.world.HostsOf(s.Member); len(hosts) > 1 {
		broken("%s has two hosts: %v", s.Member, hosts)
	}
	disks := r.world.DisksOf(s.Member)
	if len(disks) > 1 {
		broken("%s has two disks: %v", s.Member, disks)
	}
	for _, disk := range disks {
		if r.world.HoldsData(disk) != "" && r.startedOn[disk] == "" {
			r.startedOn[disk] = s.HostID
		}
	}
}

// blocked judges whether a person learns what to do.
func (r *rules) blocked(op fleet.Operation, d fleet.Decision) {
	for _, remedy := range []string{
		"decommission the cluster and create it again", "--skip-final-snapshot", "try again later",
		"submit the operation again", "protection off", "release it first", "delete it first",
	} {
		if strings.Contains(d.Reason, remedy) && d.Kind != "" {
			return
		}
	}
	broken("%s %s is blocked (%s) and does not say what to do: %s", op.Kind, op.Cluster, d.Kind, d.Reason)
}
