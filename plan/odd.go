package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// ComparesDisks says whether an operation is to know what members have on their disks before
// it starts them: of a stopped cluster none of which runs, so that nobody serves yet, and that
// has a majority to say who is right. A member that serves its peers first and is the damaged
// one keeps all others from serving (etcd's InitialCorruptCheck), because who is right etcd
// does not know.
func ComparesDisks(in Input) bool {
	if in.Operation.Kind != fleet.StartCluster || in.Observation.Quorum {
		return false
	}
	in.Observation = own(in.Observation, in.Operation.UID)
	stopped := 0
	for _, s := range newRoster(in).seats {
		switch {
		case s.keptRunning():
			return false
		case s.hasStopped() && s.disk != nil && s.disk.State == fleet.DiskInUse:
			stopped++
		}
	}
	return stopped >= 3
}

// odd gives, in words for each, the members whose data is not that of the cluster: a majority
// of the voters have one and the same at a revision, and theirs differs at that revision.
// Whoever is at another one, or cannot be read, is unknown, and in nobody's way.
func odd(data []fleet.DataReport) map[string]string {
	words := map[string]string{}
	for _, d := range data {
		if len(d.Damage) > 0 || !d.Votes() {
			continue
		}
		alike := func(o fleet.DataReport) bool {
			return len(o.Damage) == 0 && o.Votes() && o.ClusterID == d.ClusterID && o.Revision == d.Revision && o.Compacted == d.Compacted
		}
		var agree []string
		for _, o := range data {
			if alike(o) && o.Hash == d.Hash {
				agree = append(agree, o.Member)
			}
		}
		if len(agree) < len(d.Voters())/2+1 {
			continue
		}
		slices.Sort(agree)
		for _, o := range data {
			if alike(o) && o.Hash != d.Hash {
				words[o.Member] = fmt.Sprintf("its data differs from what %s have at revision %d (hash %d, and theirs is %d)", sentence(agree), d.Revision, o.Hash, d.Hash)
			}
		}
	}
	return words
}

// leftOut says why a member was not started because of its data; empty when it was.
func (in Input) leftOut(member string) string {
	for _, f := range in.Failures {
		if f.Step.Member == member && f.Step.Differs != "" {
			return f.Step.Differs
		}
	}
	return ""
}

// withoutOdd names members that were left out, with why, and what replaces them.
func (in Input) withoutOdd(members []string) string {
	var words []string
	for _, name := range members {
		words = append(words, name+": "+in.leftOut(name))
	}
	return fmt.Sprintf("%s; it was not started: flotilla failover %s %s replaces it", strings.Join(words, "; "), in.Operation.Cluster, strings.Join(members, " "))
}
