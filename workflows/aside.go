package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// discardAgain is when the rule tries again to discard what was put aside, after it could
// not: a person has to see to the cluster first.
const discardAgain = 24 * time.Hour

// putsAside says whether operations of a kind keep what members had before.
func putsAside(kind fleet.OperationKind) bool {
	return kind == fleet.RestoreCluster || kind == fleet.RecoverQuorum
}

// keepAside notes until when what was put aside is kept, once an operation has put
// something aside, or discarded it.
func (c *cluster) keepAside(op *inHand, record *OperationRecord, result OperationResult) {
	done := record.State == fleet.OperationDone
	switch {
	case putsAside(op.Kind) && done:
		c.AsideUntil = time.Time{}
		if result.KeepAside > 0 {
			c.AsideUntil = record.Ended.Add(time.Duration(result.KeepAside))
		}
	case op.Kind != fleet.DiscardSetAside || c.AsideUntil.IsZero():
	case done && len(op.Options.Members) == 0:
		c.AsideUntil = time.Time{}
	case !done:
		c.AsideUntil = later(c.AsideUntil, record.Ended.Add(discardAgain))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits until it is woken, or until what was put aside has been kept for as long
// as the policy says: then it takes in hand to discard that.
func (c *cluster) sleep(ctx workflow.Context, woken func() bool) error {
	for !c.AsideUntil.IsZero() {
		left := max(c.AsideUntil.Sub(workflow.Now(ctx)), time.Second)
		if _, err := workflow.AwaitWithTimeout(ctx, left, woken); err != nil || woken() {
			return err
		}
		if c.Summary.Phase == fleet.PhaseRunning {
			c.discardAside(ctx)
			return nil
		}
		c.AsideUntil = workflow.Now(ctx).Add(discardAgain)
	}
	return workflow.Await(ctx, woken)
}

func (c *cluster) discardAside(ctx workflow.Context) {
	request := "policy.keepAside/" + c.AsideUntil.UTC().Format(time.RFC3339)
	op := fleet.Operation{Kind: fleet.DiscardSetAside, Spec: c.Spec.Clone()}
	c.begin(ctx, c.complete(op, c.operationID(request)), request, "policy.keepAside")
}
