package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// A backup never has what was acknowledged last, for all that anybody can know: the recorder
// and the cluster's workflow have clocks of their own.
func TestWhatABackupLacksIsSaid(t *testing.T) {
	until := time.Date(2026, 3, 14, 3, 12, 4, 800e6, time.UTC)
	for name, c := range map[string]struct {
		asked time.Time
		over  time.Duration
	}{
		"asked for later":        {until.Add(71 * time.Second), 71 * time.Second},
		"asked for at once":      {until.Add(time.Millisecond), time.Second},
		"by a clock that lags":   {until.Add(-2 * time.Second), time.Second},
		"by a version of before": {time.Time{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := roster{in: Input{Operation: fleet.Operation{Cluster: "orders", Asked: c.asked}}}
			s := r.storedSource(fleet.Stored{Backup: fleet.Backup{ID: "b1", Taken: until, Revision: 7}})
			require.Equal(t, fleet.Duration(c.over), s.Over)
			require.Equal(t, c.over > 0, missingWords(s, r.in.Operation) != "")
		})
	}
}

// While the first store cannot be asked, nobody takes what the second has for all that there is
// without a person's word.
func TestNobodyAnswersForAStoreThatIsAway(t *testing.T) {
	in := Input{Operation: fleet.Operation{Kind: fleet.RecoverQuorum, Cluster: "orders", Options: fleet.Options{FromBackup: fleet.NewestBackup}}}
	in.Operation.Spec = fleet.Spec{Name: "orders", Voters: 1, Zones: []string{"a"}, Etcd: fleet.EtcdSpec{Version: "3.7.3"},
		Machine: fleet.MachineSpec{Disk: fleet.DiskSpec{Size: 20 * fleet.GiB}}}.WithDefaults()
	in.Observation.Stored = &fleet.Stored{Away: "no answer", Backup: fleet.Backup{ID: "b1", Cluster: "orders", UID: "u", Etcd: "3.7.3", Revision: 7, Reach: &fleet.Reach{Revision: 9}}}
	r := newRoster(in)
	s := r.storedSource(*in.Observation.Stored)
	require.Contains(t, s.Words, "may have NEWER backups and changes (no answer)")
	lax := fleet.Policy{AcceptLoss: fleet.LossAny}
	require.False(t, lax.Accepts(s))
	require.Equal(t, fleet.VerdictAct, r.fromStored().Verdict, "a person is asked before")

	r.in.Operation.Options.AcceptLoss = true
	d := r.fromStored()
	require.Equal(t, fleet.VerdictBlocked, d.Verdict)
	require.Contains(t, d.Reason, "--from-backup=b1")
	r.in.Operation.Options.FromBackup = "b1"
	require.Equal(t, fleet.VerdictAct, r.fromStored().Verdict)

	r.in.Operation.Options.FromBackup, r.in.Observation.Stored.Away = "", ""
	require.Equal(t, fleet.VerdictAct, r.fromStored().Verdict)
	require.True(t, lax.Accepts(r.storedSource(*r.in.Observation.Stored)))
}
