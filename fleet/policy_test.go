package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWindowsOpen(t *testing.T) {
	at := func(text string) time.Time {
		moment, err := time.Parse("Mon 2006-01-02 15:04", text)
		require.NoError(t, err)
		return moment
	}
	for _, c := range []struct{ windows, now, opens string }{
		{"daily 01:00-05:00", "Wed 2026-11-25 00:30", "Wed 2026-11-25 01:00"},
		{"daily 01:00-05:00", "Wed 2026-11-25 01:00", "Wed 2026-11-25 01:00"},
		{"daily 01:00-05:00", "Wed 2026-11-25 04:59", "Wed 2026-11-25 04:59"},
		{"daily 01:00-05:00", "Wed 2026-11-25 05:00", "Thu 2026-11-26 01:00"},
		{"Mon-Fri 22:00-04:00", "Sat 2026-11-28 03:00", "Sat 2026-11-28 03:00"}, // Friday's night
		{"Mon-Fri 22:00-04:00", "Sat 2026-11-28 22:00", "Mon 2026-11-30 22:00"},
		{"Fri-Mon 10:00-11:00", "Sun 2026-11-29 10:30", "Sun 2026-11-29 10:30"}, // over the end of the week
		{"Sat,Tue 00:00-24:00", "Mon 2026-11-30 12:00", "Tue 2026-12-01 00:00"},
		{"Wed 10:00-11:00", "Wed 2026-11-25 12:00", "Wed 2026-12-02 10:00"},
	} {
		policy := Policy{Windows: []string{c.windows}}
		require.Empty(t, policy.Validate("policy"))
		require.Equal(t, at(c.opens), policy.Opens(at(c.now)), "%s, seen from %s", c.windows, c.now)
	}
	now := at("Wed 2026-11-25 12:00")
	require.Equal(t, now, Policy{}.Opens(now), "without windows, any time will do")
	two := Policy{Windows: []string{"Fri 10:00-11:00", "Thu 10:00-11:00"}}
	require.Equal(t, at("Thu 2026-11-26 10:00"), two.Opens(now), "the first of several windows")
}

func TestWrongPoliciesAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "01:00-05:00", "daily 1:00-5:00", "daily 25:00-26:00", "daily 01:00-01:00", "Mon- 01:00-02:00", "Xyz 01:00-02:00", "daily 24:30-25:00",
	} {
		require.Len(t, Policy{Windows: []string{text}}.Validate("policy"), 1, "window %q", text)
	}
	wrong := Policy{Approval: "perhaps", OnFailure: "cry", AcceptLoss: "some", DiskSnapshots: "always", Soak: -1, DeadAfter: Duration(2 * time.Hour), KeepAside: -1}
	require.Len(t, wrong.Validate("policy"), 7)
}

func TestPolicyIsTakenFieldByField(t *testing.T) {
	call := Policy{Soak: Duration(time.Second)}
	spec := Policy{Soak: Duration(time.Minute), Approval: ApprovalAlways, Windows: []string{"daily 01:00-02:00"}}
	base := Policy{Approval: ApprovalNever, OnFailure: FailureAsks, KeepAside: Duration(time.Hour)}
	got := call.Over(spec).Over(base).WithDefaults()
	require.Equal(t, Policy{
		Approval: ApprovalAlways, ApprovalWithin: DefaultApprovalWithin, Windows: []string{"daily 01:00-02:00"}, Soak: Duration(time.Second),
		ReadyWithin: DefaultReadyWithin, DeadAfter: DefaultDeadAfter, OnFailure: FailureAsks, AcceptLoss: LossAsk, KeepAside: Duration(time.Hour),
		DiskSnapshots: SnapshotBeforeRecovery,
	}, got)
	got.Windows[0] = "changed"
	require.Equal(t, "daily 01:00-02:00", spec.Windows[0], "a policy shares nothing with the one below it")
}
