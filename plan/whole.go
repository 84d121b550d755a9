package plan

import "github.com/flotilla-etcd/flotilla/fleet"

// Whole says whether nothing is half done, so that an operation may wait here for
// hours: every member that there is, or was bought for, is one of a healthy cluster
// of an odd number of voters. One that goes down or comes up is never whole.
func Whole(in Input) bool {
	op := in.Operation
	switch op.Kind {
	case fleet.BackupCluster:
		return true // what goes on beside it is not its own
	case fleet.CreateCluster, fleet.StopCluster, fleet.StartCluster, fleet.DecommissionCluster:
		return false
	}
	in.Observation = own(in.Observation, op.UID)
	r := newRoster(in)
	for _, s := range r.seats {
		if !s.member() || s.stopped() || !s.inSync() {
			return false
		}
	}
	for _, p := range in.Purchases { // a list that lags behind may not show it yet
		if s, seen := r.find(p.Member); !seen || !s.member() {
			return false
		}
	}
	learners := op.Spec.Learners
	if op.Before != nil {
		learners = max(learners, op.Before.Learners)
	}
	return in.Observation.Quorum && len(r.voters())%2 == 1 && len(r.learners()) <= learners
}
