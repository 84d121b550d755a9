package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
	"github.com/flotilla-etcd/flotilla/plan/model"
)

// drive does an operation's steps until it is over, or until last was done so often.
func drive(t *testing.T, w *model.World, op fleet.Operation, last fleet.StepKind, times int) fleet.Decision {
	t.Helper()
	op.ID, op.Generation = "op-"+string(op.Options.Certificates), "op-"+string(op.Options.Certificates)
	for range 60 {
		d := plan.Next(plan.Input{Operation: op, Observation: w.Observe()})
		if d.Verdict != fleet.VerdictAct {
			return d
		}
		for _, step := range d.Wave {
			require.NoError(t, w.Apply(op, step), step.String())
			if step.Kind == last {
				if times--; times == 0 {
					return d
				}
			}
		}
	}
	require.FailNow(t, "the operation does not end")
	return fleet.Decision{}
}

// The moves of a replacement are refused while a member is not ready for them.
func TestAuthoritiesAreReplacedInOrder(t *testing.T) {
	spec := fleet.Spec{
		Name: "orders", Provider: "local", Region: "local-1", Zones: []string{"a", "b", "c"}, Voters: 3,
		Etcd: fleet.EtcdSpec{Version: "3.7.3"}, Machine: fleet.MachineSpec{Type: "small", Disk: fleet.DiskSpec{Category: "ssd"}},
	}.WithDefaults()
	w := model.New()
	operation := func(kind fleet.OperationKind, change fleet.CertificateChange) fleet.Operation {
		return fleet.Operation{Kind: kind, Cluster: "orders", UID: "u", Spec: spec, Before: &spec, Options: fleet.Options{Certificates: change}}
	}
	all := func(kind fleet.OperationKind, change fleet.CertificateChange) fleet.Decision {
		return drive(t, w, operation(kind, change), "", 0)
	}
	refused := func(change fleet.CertificateChange, why string) {
		t.Helper()
		d := all(fleet.RollCluster, change)
		require.Equal(t, fleet.VerdictBlocked, d.Verdict, d.Reason)
		require.Contains(t, d.Reason, why)
	}
	require.Equal(t, fleet.VerdictDone, all(fleet.CreateCluster, "").Verdict)
	refused(fleet.UseNewCA, "has no second authority")

	drive(t, w, operation(fleet.RollCluster, fleet.TrustNewCA), fleet.RestartMember, 2)
	refused(fleet.UseNewCA, "does not trust the new authority yet")
	refused(fleet.DropOldCA, "does not sign yet")
	d := all(fleet.RollCluster, fleet.TrustNewCA)
	require.Equal(t, fleet.VerdictDone, d.Verdict, d.Reason)

	drive(t, w, operation(fleet.RollCluster, fleet.UseNewCA), fleet.RenewCertificates, 2)
	refused(fleet.DropOldCA, "has no certificate of the new authority yet")
	d = all(fleet.RollCluster, fleet.UseNewCA)
	require.Equal(t, fleet.VerdictDone, d.Verdict, d.Reason)
	d = all(fleet.RollCluster, fleet.DropOldCA)
	require.Equal(t, fleet.VerdictDone, d.Verdict, d.Reason)
	trust := w.Observe().Trust
	require.Empty(t, trust.Other)
	for _, h := range w.Observe().Hosts {
		m := h.Report.Find(h.Member())
		require.Equal(t, []string{trust.Signer}, m.Trusts)
		require.False(t, m.TrustIsOld)
	}
}
