package plan

import (
	"fmt"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// restorePrefixes puts keys of a backup back into a running cluster: it compares what
// there is, so that a person can say whether that may be lost, and then writes. No member
// is disturbed by it.
func restorePrefixes(in Input) fleet.Decision {
	in.Observation = own(in.Observation, in.Operation.UID)
	op, keys := in.Operation, in.Keys
	switch {
	case op.Options.Restore == nil || len(op.Options.Restore.Prefixes) == 0:
		return blocked(fleet.Invalid, "no backup is named to put keys of %s back from, or no prefix", op.Cluster)
	case keys != nil && keys.Done.Whole && keys.Unread:
		return done("%s has the keys of %s", op.Cluster, op.Options.Restore)
	case keys != nil && keys.Done.Whole:
		return done("%s has the keys of %s: %s", op.Cluster, op.Options.Restore, keys.Done)
	case keys != nil && !keys.Unread && keys.Compared.Todo() == 0:
		return done("%s has the keys of %s already: %s", op.Cluster, op.Options.Restore, keys.Compared)
	case len(in.Failures) > 0:
		return failedFor(&in.Failures[0])
	case !in.Observation.Quorum:
		return wait("no quorum of %s answers%s, so no key of it can be written", op.Cluster, in.silent())
	case keys == nil:
		return act(in.step(fleet.CompareKeys, ""))
	}
	return act(in.step(fleet.RestoreKeys, ""))
}

// keysLoss says what putting keys back loses, until that is begun.
func (in Input) keysLoss(wave []fleet.Step) []string {
	keys := in.Keys
	if keys == nil || keys.Begun() || keys.Compared.Change+keys.Compared.Delete == 0 || wave[0].Kind != fleet.RestoreKeys {
		return nil
	}
	return []string{
		fmt.Sprintf("keys of %s are put back from %s: %s", in.Operation.Cluster, in.Operation.Options.Restore, keys.Compared),
		"lost: what those that are put back or deleted have now; what clients write after that revision is left to them",
	}
}
