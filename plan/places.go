package plan

import (
	"fmt"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// outOfReach stops an operation while a member may be in a place whose cloud does not
// answer. Where all members are seen, what else may be there waits: hosts and disks of
// former members are given up by an operation that sees them. A failover of others goes on
// without a learner that is there.
func (r roster) outOfReach(goal) *fleet.Decision {
	if len(r.in.Observation.Unreached) == 0 {
		return nil
	}
	for _, s := range r.members() {
		if s.host == nil && !r.passedOver(s) {
			d := wait("no host of %s is seen, and %s", s.name, r.unreachedWords())
			return &d
		}
	}
	return nil
}

// passedOver says that a failover is not about a learner that does not answer, and that
// may be in a place whose cloud does not: what is dead is replaced without it.
func (r roster) passedOver(s seat) bool {
	return r.in.Operation.Kind == fleet.FailoverMember && len(r.in.Observation.Unreached) > 0 &&
		s.learner() && !s.nameless() && s.host == nil && !s.etcd.Answers
}

// unreachedWords says which clouds do not answer.
func (r roster) unreachedWords() string {
	var words []string
	for _, u := range r.in.Observation.Unreached {
		words = append(words, fmt.Sprintf("the cloud of %s does not answer (%s)", u.Place, u.Why))
	}
	return strings.Join(words, "; ")
}

// leftThere says in the end of a recovery what it did not see to.
func (r roster) leftThere() string {
	if len(r.in.Observation.Unreached) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s, so what may be left there is not given up: when it answers, flotilla recover %s does that",
		r.unreachedWords(), r.in.Operation.Cluster)
}
