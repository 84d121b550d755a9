package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/pki"
	"github.com/flotilla-etcd/flotilla/starter"
	"github.com/flotilla-etcd/flotilla/workflows"
)

// stories are what is recorded: each takes the cluster of its name from nothing to
// gone. They run side by side, so a fault of one must not be another's; clusters are as
// small as their story allows, because every look is in a history.
var stories = map[string]func(story){
	"made": made, "failed": failed, "refused": refused, "cancelled": cancelled,
	"scaled": scaled, "changed": changed, "asked": asked, "halted": halted, "adopted": adopted,
	"saved": saved, "recovered": recovered, "restored": restored, "mended": mended,
}

// story is one cluster and what happens to it.
type story struct {
	t       *testing.T
	e       *harness.Env
	cluster string
}

const older, newer = "3.6.16", "3.7.3"

// spec is a small cluster whose members are touched soon after one another.
func (s story) spec(voters int, version string) fleet.Spec {
	spec := harness.Spec(s.cluster, voters, version)
	spec.Policy.Soak, spec.Policy.DeadAfter = fleet.Duration(time.Second), fleet.Duration(2*time.Second)
	spec.Etcd.SnapshotCount = 500 // for the raft snapshots before 3.7
	return spec
}

// begun expects that an operation was taken in hand.
func (s story) begun(r *harness.Running, err error) *harness.Running {
	s.t.Helper()
	require.NoError(s.t, err)
	return r
}

// done waits until an operation is, and the cluster's own record says so.
func (s story) done(r *harness.Running, err error) {
	s.t.Helper()
	require.NoError(s.t, err)
	_, err = r.Await()
	require.NoError(s.t, err, "%s", r.Ref)
	settled(s.t, s.e, s.cluster)
}

func (s story) create(spec fleet.Spec) {
	s.t.Helper()
	s.done(s.e.Begin(s.cluster, fleet.CreateCluster, &spec))
}

// to does an operation that makes the cluster another one. The only voter of a cluster
// may be restarted.
func (s story) to(kind fleet.OperationKind, change func(*fleet.Spec)) {
	s.t.Helper()
	s.done(s.e.BeginChange(s.cluster, harness.Change{Kind: kind, To: change, Options: fleet.Options{AllowDowntime: true}}))
}

func (s story) with(kind fleet.OperationKind, options fleet.Options) {
	s.t.Helper()
	s.done(s.e.BeginChange(s.cluster, harness.Change{Kind: kind, Options: options}))
}

// fails expects that an operation fails, for this kind of reason.
func (s story) fails(r *harness.Running, err error, kind fleet.Kind) {
	s.t.Helper()
	require.NoError(s.t, err)
	_, err = r.Await()
	require.ErrorContains(s.t, err, string(kind))
	settled(s.t, s.e, s.cluster)
}

// wave waits until an operation has come to a wave, and leaves it there.
func (s story) wave(ref starter.Ref, wave int) {
	s.t.Helper()
	harness.Eventually(s.t, fmt.Sprintf("wave %d of %s runs", wave, ref), func(ctx context.Context) error {
		p, err := s.e.Client.Progress(ctx, ref)
		if err == nil && p.Wave < wave {
			err = fmt.Errorf("it is in wave %d", p.Wave)
		}
		return err
	})
}

// cancel cancels whatever runs.
func (s story) cancel(r *harness.Running) {
	s.t.Helper()
	_, err := s.e.Client.Cancel(s.t.Context(), s.cluster, "", "to record it")
	require.NoError(s.t, err)
	_, err = r.Await()
	require.Error(s.t, err)
	settled(s.t, s.e, s.cluster)
}

// capacity says how many hosts of a type each zone has; a negative number: as many as
// anybody wants.
func (s story) capacity(machine string, zones ...int) {
	s.t.Helper()
	for i, zone := range []string{"a", "b", "c"} {
		require.NoError(s.t, s.e.Provider.SetCapacity(s.t.Context(), zone, machine, zones[i]))
	}
}

// made is created and decommissioned, with a request that is made twice, and answers
// to those who only ask in between.
func made(s story) {
	ctx, client := s.t.Context(), s.e.Client
	spec := harness.Spec(s.cluster, 3, newer)
	_, err := client.Plan(ctx, fleet.Operation{Kind: fleet.CreateCluster, Cluster: spec.Name, Spec: spec})
	require.NoError(s.t, err)
	request := starter.Request{ID: starter.NewRequestID()}
	for range 2 {
		_, err = client.Create(ctx, spec, request)
		require.NoError(s.t, err)
	}
	joined := s.begun(s.e.Begin(s.cluster, fleet.CreateCluster, &spec))
	require.NoError(s.t, client.Protect(ctx, spec.Name, true))
	s.done(joined, nil)
	_, csr, err := pki.NewKeyAndRequest("reader")
	require.NoError(s.t, err)
	_, err = client.Credentials(ctx, spec.Name, "reader", csr, time.Hour)
	require.NoError(s.t, err)
	_, err = client.Clusters(ctx, starter.Filter{})
	require.NoError(s.t, err)
	require.NoError(s.t, client.Protect(ctx, spec.Name, false))
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// failed is stopped half way, then taken down as it is.
func failed(s story) {
	spec := harness.Spec(s.cluster, 3, newer)
	spec.Machine.Type = "large"
	s.capacity("large", 1, 0, 0)
	r, err := s.e.Begin(s.cluster, fleet.CreateCluster, &spec)
	s.fails(r, err, fleet.OutOfCapacity)
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// refused is stopped before anything was made.
func refused(s story) {
	spec := harness.Spec(s.cluster, 1, newer)
	spec.Machine.Type = "enormous"
	r, err := s.e.Begin(s.cluster, fleet.CreateCluster, &spec)
	require.NoError(s.t, err)
	_, err = r.Await()
	require.ErrorContains(s.t, err, string(fleet.Invalid))
}

// cancelled is cancelled with steps in hand.
func cancelled(s story) {
	spec := harness.Spec(s.cluster, 3, newer)
	r := s.begun(s.e.Begin(s.cluster, fleet.CreateCluster, &spec))
	s.wave(r.Ref, 2)
	s.cancel(r)
	s.with(fleet.DecommissionCluster, fleet.Options{SkipFinalSnapshot: true})
}

// scaled grows and shrinks. In between its members move to larger machines where they
// are, it has another leader, and members die: one comes back on its disk, one is replaced.
func scaled(s story) {
	ctx, e := s.t.Context(), s.e
	s.create(s.spec(1, newer))
	s.to(fleet.ScaleCluster, func(spec *fleet.Spec) { spec.Voters = 3 })
	s.to(fleet.UpscaleCluster, func(spec *fleet.Spec) {
		spec.Machine.Type, spec.Machine.Change, spec.Machine.Disk.Size = "medium", fleet.ResizeMachine, 30*fleet.GiB
	})
	s.with(fleet.ChangeLeader, fleet.Options{Members: []string{fleet.MemberName(s.cluster, 3)}})

	h := s.follower()
	require.NoError(s.t, e.Provider.FailHost(ctx, h.ID))
	s.with(fleet.FailoverMember, fleet.Options{Members: []string{h.Member()}})
	h = s.follower()
	disks, err := e.Provider.ListDisks(ctx, iaas.Tags{fleet.TagCluster: s.cluster, fleet.TagMember: h.Member()})
	require.NoError(s.t, err)
	require.Len(s.t, disks, 1)
	require.NoError(s.t, e.Provider.FailHost(ctx, h.ID))
	require.NoError(s.t, e.Provider.FailDisk(ctx, disks[0].ID))
	s.with(fleet.FailoverMember, fleet.Options{})

	s.to(fleet.ScaleCluster, func(spec *fleet.Spec) { spec.Voters = 1 })
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// follower gives a member's host that does not lead.
func (s story) follower() fleet.Host {
	s.t.Helper()
	leader, err := s.e.Leader(s.t.Context(), s.cluster)
	require.NoError(s.t, err)
	hosts, err := s.e.HostsOf(s.t.Context(), s.cluster)
	require.NoError(s.t, err)
	i := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.Member() != leader })
	require.GreaterOrEqual(s.t, i, 0, "%s has no follower", s.cluster)
	return hosts[i]
}

// changed goes through the operations that leave the size as it is.
func changed(s story) {
	s.create(s.spec(1, older))
	s.to(fleet.RollCluster, func(spec *fleet.Spec) { spec.Etcd.MaxTxnOps = 256 })
	s.to(fleet.UpgradeCluster, func(spec *fleet.Spec) { spec.Etcd.Version = newer })
	for _, change := range []fleet.CertificateChange{fleet.RenewLeaves, fleet.TrustNewCA, fleet.UseNewCA, fleet.DropOldCA} {
		s.with(fleet.RollCluster, fleet.Options{Certificates: change, AllowDowntime: true})
	}
	s.to(fleet.UpscaleCluster, func(spec *fleet.Spec) {
		spec.Machine.Type, spec.Machine.Disk.Size = "medium", 30*fleet.GiB
	})
	s.with(fleet.MigrateByLearner, fleet.Options{})
	s.to(fleet.UpgradeCluster, func(spec *fleet.Spec) { spec.Etcd.Version = older })
	s.with(fleet.StopCluster, fleet.Options{})
	s.with(fleet.StartCluster, fleet.Options{})
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// asked has people approve, pause, resume and reject what follows one another.
func asked(s story) {
	ctx, client := s.t.Context(), s.e.Client
	s.create(s.spec(1, older))
	view, err := client.Describe(ctx, s.cluster)
	require.NoError(s.t, err)
	slower := view.Spec.Clone()
	slower.Labels = map[string]string{"team": "sea"}
	require.NoError(s.t, client.Amend(ctx, s.cluster, slower))
	slower.Etcd.ElectionTimeout = fleet.Duration(3 * time.Second)
	upgraded := slower.Clone()
	upgraded.Etcd.Version = newer
	reply, err := client.Change(ctx, s.cluster, fleet.RollCluster, &slower, starter.Request{
		Options: fleet.Options{AllowDowntime: true, Policy: fleet.Policy{Approval: fleet.ApprovalAlways}},
		Then:    []fleet.Change{{Kind: fleet.UpgradeCluster, Spec: upgraded}},
	})
	require.NoError(s.t, err)
	roll := starter.RefOf(s.cluster, reply)
	waits(s.t, s.e, roll, fleet.WaitApproval)
	require.NoError(s.t, client.Pause(ctx, roll, "not yet"))
	require.NoError(s.t, client.Approve(ctx, roll, "looks well"))
	waits(s.t, s.e, roll, fleet.WaitPaused)
	require.NoError(s.t, client.ResumePaused(ctx, roll, ""))

	require.Len(s.t, reply.Then, 1)
	upgrade := starter.Ref{Cluster: s.cluster, ID: reply.Then[0].Operation, Kind: reply.Then[0].Kind, WorkflowID: reply.Then[0].WorkflowID}
	_, err = client.AwaitBegun(ctx, upgrade)
	require.NoError(s.t, err)
	waits(s.t, s.e, upgrade, fleet.WaitApproval)
	require.NoError(s.t, client.Reject(ctx, upgrade, "not on a Friday"))
	settled(s.t, s.e, s.cluster)
	again := s.begun(s.e.Resume(s.cluster))
	waits(s.t, s.e, again.Ref, fleet.WaitApproval)
	require.NoError(s.t, client.Approve(ctx, again.Ref, ""))
	s.done(again, nil)
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// halted has an operation wait for a person after a step failed, and another one be
// cancelled half way and gone on with.
func halted(s story) {
	s.create(s.spec(1, newer))
	const machine = "xlarge"
	s.capacity(machine, 0, 0, 0)
	r := s.begun(s.e.BeginChange(s.cluster, harness.Change{
		Kind: fleet.UpscaleCluster, To: func(spec *fleet.Spec) { spec.Machine.Type = machine },
		Options: fleet.Options{Policy: fleet.Policy{OnFailure: fleet.FailureAsks}},
	}))
	waits(s.t, s.e, r.Ref, fleet.WaitPerson)
	s.capacity(machine, -1, -1, -1)
	require.NoError(s.t, s.e.Client.ResumePaused(s.t.Context(), r.Ref, "there are some again"))
	s.done(r, nil)

	r = s.begun(s.e.BeginChange(s.cluster, harness.Change{Kind: fleet.MigrateByLearner}))
	s.wave(r.Ref, 2)
	s.cancel(r)
	s.done(s.e.Resume(s.cluster))
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// recovered loses two of three hosts with their disks, and is recovered once a person
// approved of what that loses.
func recovered(s story) {
	s.create(s.spec(3, newer))
	leader, err := s.e.Leader(s.t.Context(), s.cluster)
	require.NoError(s.t, err)
	hosts, err := s.e.HostsOf(s.t.Context(), s.cluster)
	require.NoError(s.t, err)
	var lost []string
	for _, h := range hosts {
		if h.Member() == leader {
			continue
		}
		lost = append(lost, h.Member())
		disks, err := s.e.Provider.ListDisks(s.t.Context(), iaas.Tags{fleet.TagCluster: s.cluster, fleet.TagMember: h.Member()})
		require.NoError(s.t, err)
		require.NoError(s.t, s.e.Provider.FailHost(s.t.Context(), h.ID))
		for _, d := range disks {
			require.NoError(s.t, s.e.Provider.FailDisk(s.t.Context(), d.ID))
		}
	}
	r := s.begun(s.e.BeginChange(s.cluster, harness.Change{Kind: fleet.RecoverQuorum, Options: fleet.Options{Without: lost}}))
	waits(s.t, s.e, r.Ref, fleet.WaitApproval)
	require.NoError(s.t, s.e.Client.Approve(s.t.Context(), r.Ref, "they are gone"))
	s.done(r, nil)
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// adopted is created by something else.
func adopted(s story) {
	f := s.e.StartForeign(s.spec(1, older), "etcd-a")
	s.done(s.e.BeginAdoption(f, fleet.Options{AllowDowntime: true}))
	view, err := s.e.Client.Describe(s.t.Context(), s.cluster)
	require.NoError(s.t, err)
	require.Equal(s.t, fleet.PhaseRunning, view.Summary.Phase)
	s.with(fleet.DecommissionCluster, fleet.Options{})
}

// saved is backed up, its backup is rehearsed, and one is called off: before it has begun, as far as
// anything is stored.
func saved(s story) {
	ctx, client := s.t.Context(), s.e.Client
	s.create(s.spec(1, newer))
	s.with(fleet.BackupCluster, fleet.Options{})
	view, err := client.Describe(ctx, s.cluster)
	require.NoError(s.t, err)
	found, err := client.Backups(ctx, workflows.BackupsRequest{
		Provider: view.Spec.Provider, Region: view.Spec.Region, Clusters: []fleet.BackupsOf{{Cluster: s.cluster}},
	})
	require.NoError(s.t, err)
	require.Len(s.t, found.Backups, 1)
	_, err = client.VerifyBackup(ctx, workflows.BackupRequest{
		Provider: view.Spec.Provider, Region: view.Spec.Region, Cluster: s.cluster, UID: view.Summary.UID,
	}, nil)
	require.NoError(s.t, err)

	rehearsed, err := client.RehearseBackup(ctx, fleet.RehearseRequest{Spec: view.Spec, UID: view.Summary.UID}, nil)
	require.NoError(s.t, err)
	require.NotNil(s.t, rehearsed.Rehearsal)
	require.True(s.t, rehearsed.Rehearsal.OK, rehearsed.Rehearsal.Why)

	approved := fleet.Options{Policy: fleet.Policy{Approval: fleet.ApprovalAlways}}
	r := s.begun(s.e.BeginChange(s.cluster, harness.Change{Kind: fleet.BackupCluster, Options: approved}))
	harness.Eventually(s.t, "the backup waits for approval, and is listed", func(ctx context.Context) error {
		p, err := client.Progress(ctx, r.Ref)
		if err == nil && p.Waiting == nil {
			return errors.New("it does not wait yet")
		}
		found, ferr := client.FindOperation(ctx, s.cluster)
		if ferr == nil && found != r.Ref {
			ferr = fmt.Errorf("the running one is said to be %s", found)
		}
		return errors.Join(err, ferr)
	})
	s.cancel(r)

	spec := view.Spec.Clone()
	spec.Backup = fleet.BackupPolicy{Every: fleet.Duration(time.Minute), Keep: fleet.Keep{Last: 1}, Changes: fleet.Duration(time.Second)}
	require.NoError(s.t, client.Amend(ctx, s.cluster, spec))
	harness.Eventually(s.t, "the schedule takes a backup, only that is kept, and changes are recorded behind it", func(ctx context.Context) error {
		now, err := client.Backups(ctx, workflows.BackupsRequest{
			Provider: spec.Provider, Region: spec.Region, Clusters: []fleet.BackupsOf{{Cluster: s.cluster}},
		})
		if err == nil && (len(now.Backups) != 1 || now.Backups[0].AskedBy != "schedule" || now.Backups[0].Reach == nil) {
			err = fmt.Errorf("there are %+v", now)
		}
		return err
	})
	spec.Backup = fleet.BackupPolicy{}
	require.NoError(s.t, client.Amend(ctx, s.cluster, spec))
	s.with(fleet.DecommissionCluster, fleet.Options{SkipFinalSnapshot: true})
}

// restored is brought back to a backup of it, once a person approved of what that loses,
// and what was kept aside is discarded.
func restored(s story) {
	ctx, client := s.t.Context(), s.e.Client
	s.create(s.spec(1, newer))
	s.with(fleet.BackupCluster, fleet.Options{})
	view, err := client.Describe(ctx, s.cluster)
	require.NoError(s.t, err)
	found, err := client.Backups(ctx, workflows.BackupsRequest{
		Provider: view.Spec.Provider, Region: view.Spec.Region, Clusters: []fleet.BackupsOf{{Cluster: s.cluster}},
	})
	require.NoError(s.t, err)
	require.Len(s.t, found.Backups, 1)
	r := s.begun(s.e.BeginChange(s.cluster, harness.Change{Kind: fleet.RestoreCluster, Options: fleet.Options{Restore: fleet.RestoreOf(found.Backups[0])}}))
	waits(s.t, s.e, r.Ref, fleet.WaitApproval)
	require.NoError(s.t, client.Approve(ctx, r.Ref, "it was deleted by mistake"))
	s.done(r, nil)
	s.with(fleet.DiscardSetAside, fleet.Options{})
	s.with(fleet.DecommissionCluster, fleet.Options{SkipFinalSnapshot: true})
}

// mended gets keys of a backup back while it runs, once a person approved of what that loses.
func mended(s story) {
	ctx, client := s.t.Context(), s.e.Client
	s.create(s.spec(1, newer))
	a, err := s.e.Connect(ctx, s.cluster)
	require.NoError(s.t, err)
	defer a.Close()
	_, err = a.Put(ctx, "shop/1", "right")
	require.NoError(s.t, err)
	s.with(fleet.BackupCluster, fleet.Options{})
	_, err = a.Put(ctx, "shop/1", "wrong")
	require.NoError(s.t, err)
	view, err := client.Describe(ctx, s.cluster)
	require.NoError(s.t, err)
	found, err := client.Backups(ctx, workflows.BackupsRequest{
		Provider: view.Spec.Provider, Region: view.Spec.Region, Clusters: []fleet.BackupsOf{{Cluster: s.cluster}},
	})
	require.NoError(s.t, err)
	require.Len(s.t, found.Backups, 1)
	restore := fleet.RestoreOf(found.Backups[0])
	restore.Prefixes = []string{"shop/"}
	operation := fleet.Operation{Kind: fleet.RestorePrefixes, Cluster: s.cluster, Options: fleet.Options{Restore: restore}}
	keys, err := client.CompareKeys(ctx, operation, nil)
	require.NoError(s.t, err)
	require.Equal(s.t, 1, keys.Change)
	r := s.begun(s.e.BeginChange(s.cluster, harness.Change{Kind: operation.Kind, Options: operation.Options}))
	waits(s.t, s.e, r.Ref, fleet.WaitApproval)
	require.NoError(s.t, client.Approve(ctx, r.Ref, "it was written by mistake"))
	s.done(r, nil)
	s.with(fleet.DecommissionCluster, fleet.Options{SkipFinalSnapshot: true})
}
