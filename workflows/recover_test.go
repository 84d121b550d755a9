package workflows_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A policy answers for a person what it says and nothing else, and that is recorded. The
// end says what is lost in revisions and seconds.
func TestPolicyAnswersForLoss(t *testing.T) {
	survivor := fleet.Source{Kind: fleet.SourceSurvivor, Name: "orders-1", Revision: 4203, Missing: 7, Words: "orders-1 becomes a cluster of one"}
	stored := fleet.Source{Kind: fleet.SourceBackup, Name: "b1", Revision: 4150, Missing: 60, Until: time.Date(2026, 3, 14, 3, 12, 4, 0, time.UTC),
		Over: fleet.Duration(71 * time.Second), Words: "orders is made anew"}
	for name, c := range map[string]struct {
		answer fleet.LossAnswer
		from   fleet.Source
		kind   fleet.StepKind
		has    int64
		asks   bool
		lost   string
	}{
		"it asks by default":                {"", survivor, fleet.RecoverMember, 4205, true, ""},
		"a survivor is accepted":            {fleet.LossOfVoters, survivor, fleet.RecoverMember, 4205, false, "recovered from survivor orders-1 at revision 4205; lost: at least 5 revisions, for revision 4210 was seen before; voters that are gone may have"},
		"a survivor is no backup":           {fleet.LossOfVoters, stored, fleet.RestoreMember, 4150, true, ""},
		"anything is accepted":              {fleet.LossAny, stored, fleet.RestoreMember, 4150, false, "lost: at least 60 revisions, for revision 4210 was seen before; whatever was written after 2026-03-14 03:12:04 UTC is lost, up to 1m11s of writes"},
		"a survivor may have what was seen": {fleet.LossAny, survivor, fleet.RecoverMember, 4210, false, "no revision is known that is lost: the last one seen before was 4210"},
	} {
		t.Run(name, func(t *testing.T) {
			looks := under(fleet.Policy{AcceptLoss: c.answer}, sees(0, act(fleet.Step{Kind: c.kind, Member: "orders-1"})), sees(3, finished))
			looks[0].Sources, looks[0].Loss = []fleet.Source{c.from}, []string{c.from.Words}
			l := newLoop(t, map[fleet.StepKind]step{c.kind: brings(c.has)}, looks...)
			result, err := l.run(fleet.RecoverQuorum)
			if c.asks {
				denied(t, err)
				require.Empty(t, l.steps)
				return
			}
			require.NoError(t, err)
			require.Contains(t, result.Lost, c.lost)
			require.Len(t, result.Progress.Marks, 1)
			mark := result.Progress.Marks[0]
			require.Equal(t, fleet.MarkApproved, mark.Kind)
			require.Equal(t, "policy.acceptLoss: "+string(c.answer), mark.By)
			require.Equal(t, c.from.Words, mark.Why)
		})
	}
}

func brings(revision int64) step {
	return func(context.Context, fleet.StepRequest) (fleet.StepReply, error) {
		return fleet.StepReply{Revision: revision}, nil
	}
}
