package fleet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestCheckRestorable(t *testing.T) {
	for _, test := range []struct {
		wrote, serves string
		ok            bool
	}{
		{"3.5.35", "3.5.34", true}, {"3.5.35", "3.6.16", true}, {"3.6.16", "3.7.3", true},
		{"3.5.35", "3.7.3", false}, {"3.7.3", "3.6.16", false}, {"3.7.3", "4.0.0", false}, {"", "3.7.3", false},
	} {
		err := fleet.CheckRestorable(test.wrote, test.serves)
		require.Equal(t, test.ok, err == nil, "%s → %s: %v", test.wrote, test.serves, err)
	}
}

func TestRestoreCheck(t *testing.T) {
	spec := fleet.Spec{
		Name: "orders", Etcd: fleet.EtcdSpec{Version: "3.7.3", EtcdSettings: fleet.EtcdSettings{Quota: 4 * fleet.GiB}},
		Machine: fleet.MachineSpec{Disk: fleet.DiskSpec{Size: 10 * fleet.GiB}},
	}
	restore := fleet.Restore{Cluster: "orders", UID: "u1", ID: "b1", Etcd: "3.6.16", Size: 2 * fleet.GiB}
	require.NoError(t, restore.Check(spec))
	for name, change := range map[string]func(*fleet.Restore, *fleet.Spec){
		"no backup":         func(r *fleet.Restore, _ *fleet.Spec) { r.ID = "" },
		"more than quota":   func(_ *fleet.Restore, s *fleet.Spec) { s.Etcd.Quota = fleet.GiB },
		"no room":           func(r *fleet.Restore, s *fleet.Spec) { r.Size, s.Etcd.Quota = 9*fleet.GiB, 16*fleet.GiB },
		"two minors behind": func(r *fleet.Restore, _ *fleet.Spec) { r.Etcd = "3.5.35" },
	} {
		r, s := restore, spec
		change(&r, &s)
		require.Equal(t, fleet.Invalid, fleet.KindOf(r.Check(s)), name)
	}
}

func TestRehearsalDue(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	at := func(ago time.Duration) *fleet.Rehearsal { return &fleet.Rehearsal{When: now.Add(-ago)} }
	daily := fleet.BackupPolicy{Rehearse: fleet.Duration(24 * time.Hour)}
	for name, test := range map[string]struct {
		policy  fleet.BackupPolicy
		backups []fleet.Backup
		due     bool
	}{
		"no policy":             {fleet.BackupPolicy{}, []fleet.Backup{{ID: "1"}}, false},
		"no backup":             {daily, nil, false},
		"none that counts":      {daily, []fleet.Backup{{ID: "1", Damaged: "cut"}}, false},
		"never":                 {daily, []fleet.Backup{{ID: "1"}}, true},
		"the newest was":        {daily, []fleet.Backup{{ID: "1"}, {ID: "2", Rehearsal: at(48 * time.Hour)}}, false},
		"the last is young":     {daily, []fleet.Backup{{ID: "1", Rehearsal: at(time.Hour)}, {ID: "2"}}, false},
		"the last is old":       {daily, []fleet.Backup{{ID: "1", Rehearsal: at(25 * time.Hour)}, {ID: "2"}}, true},
		"the newest is damaged": {daily, []fleet.Backup{{ID: "1", Rehearsal: at(25 * time.Hour)}, {ID: "2", Damaged: "cut"}}, false},
	} {
		require.Equal(t, test.due, test.policy.RehearsalDue(test.backups, now), name)
	}
}

// What a rehearsal makes is a cluster of one of another name, whatever the cluster is.
func TestScratch(t *testing.T) {
	spec := fleet.Spec{Name: "orders", Voters: 5, Learners: 1, DeletionProtection: true, Policy: fleet.Policy{Approval: fleet.ApprovalAlways}}
	op := fleet.RehearseRequest{ID: "1a2b3c4d", Spec: spec, UID: "u1"}.Scratch(fleet.Backup{ID: "b1", Cluster: "orders", UID: "u1"})
	require.Equal(t, "rehearsal-1a2b3c4d", op.Cluster)
	require.Equal(t, 1, op.Spec.Voters)
	require.Zero(t, op.Spec.Learners)
	require.False(t, op.Spec.DeletionProtection)
	require.NotEqual(t, "u1", op.UID)
	require.True(t, op.Options.Restore.Rehearsal, "the revision is to be compared")
	require.Equal(t, fleet.ApprovalNever, op.Options.Policy.Approval)
}
