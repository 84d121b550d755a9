package activities

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// The membership and the leader are changed, each step twice, as after the death of a
// worker that had done it.
func TestMembershipIsChanged(t *testing.T) {
	const soak = 8 * time.Second
	s := created(t, 3, func(op *fleet.Operation) { op.Spec.Policy.Soak = fleet.Duration(soak) })
	require.Contains(t, s.must(fleet.Step{Kind: fleet.AwaitSettled}), "all 3 members have been in sync for 8s of 8s")
	began := time.Now()
	s.must(fleet.Step{Kind: fleet.AwaitSettled})
	require.Less(t, time.Since(began), soak, "what has long been settled is so at once")

	from := s.observed().Leader
	to := "orders-1"
	if from == to {
		to = "orders-2"
	}
	move := s.step(fleet.MoveLeader, from)
	move.To = to
	for range 2 {
		require.Equal(t, to+" leads", s.must(move))
	}
	require.Equal(t, to, s.observed().Leader)
	move.Member, move.To = to, "orders-9"
	_, err := s.do(move)
	require.Equal(t, "lost, final", kindAndFinality(t, err), "a heir that is no member: the planner chooses another")

	leaving := from
	remove := s.step(fleet.RemoveMember, leaving)
	wrong := remove
	wrong.MemberID = s.step(fleet.RemoveMember, to).MemberID
	_, err = s.do(wrong)
	require.Equal(t, "blocked, final", kindAndFinality(t, err))
	require.Len(t, s.observed().Members, 3)
	s.must(s.step(fleet.StopMember, leaving))
	require.Contains(t, s.must(remove), "was member ")
	require.Equal(t, "had left already", s.must(remove))
	require.Len(t, s.observed().Members, 2)

	launch := fleet.Step{Kind: fleet.LaunchHost, Member: "orders-4", Zone: "a", Token: "host-4"}
	s.must(launch)
	attach := s.step(fleet.AttachDisk, "orders-4")
	attach.Token = "disk-4"
	s.must(attach)
	for _, kind := range []fleet.StepKind{fleet.PrepareHost, fleet.AddLearner, fleet.StartMember, fleet.AwaitInSync, fleet.Promote, fleet.UpdateMember} {
		for range 2 {
			step := s.step(kind, "orders-4")
			step.Initial = endpointsBut(step.Initial, leaving) // who left is in no membership
			t.Logf("%s: %s", step, s.must(step))
		}
	}
	obs := s.observed()
	require.Len(t, obs.Members, 3)
	require.False(t, obs.Member("orders-4").Learner)
	s.must(fleet.Step{Kind: fleet.AwaitSettled})
	endpoints := s.endpointsNow()
	require.ElementsMatch(t, []string{to, "orders-4", other(t, []string{"orders-1", "orders-2", "orders-3"}, from, to)}, endpoints)
}

func endpointsBut(all []fleet.Endpoint, member string) (kept []fleet.Endpoint) {
	for _, e := range all {
		if e.Member != member {
			kept = append(kept, e)
		}
	}
	return kept
}

func other(t *testing.T, names []string, known ...string) string {
	t.Helper()
	for _, name := range names {
		if name != known[0] && name != known[1] {
			return name
		}
	}
	require.FailNow(t, "there is no other")
	return ""
}

func (s *stand) endpointsNow() (names []string) {
	_, err := as(s.t, func(ctx context.Context) error {
		all, err := s.patient().endpoints(ctx, s.op)
		for _, e := range all {
			names = append(names, e.Member)
		}
		return err
	})
	require.NoError(s.t, err)
	return names
}

// A member is restarted once for each generation, and rolled back when it does not
// come back.
func TestMemberIsRestartedAndRolledBack(t *testing.T) {
	s := created(t, 3)
	s.op.Kind = fleet.RollCluster
	name := other(t, []string{"orders-1", "orders-2", "orders-3"}, s.observed().Leader, "orders-1")
	report := func() fleet.MemberReport { return *s.observed().Host(name).Report.Find(name) }
	first := report()
	run := *first.Configured
	run.Generation = "g-1"
	restart := s.step(fleet.RestartMember, name)
	restart.Run = &run
	s.must(restart)
	second := report()
	require.NotEqual(t, first.PID, second.PID)
	require.Equal(t, run, *second.Configured)
	s.must(restart)
	s.must(s.step(fleet.StartMember, name))
	require.Equal(t, second.PID, report().PID, "neither the same restart nor a plain start restarts it")

	broken := run
	broken.Settings.HeartbeatInterval = broken.Settings.ElectionTimeout // etcd ends at once on that
	restart.Run = &broken
	patience := s.op.Spec.Policy.ReadyWithin
	s.op.Spec.Policy.ReadyWithin = fleet.Duration(6 * time.Second)
	began := time.Now()
	_, err := s.do(restart)
	require.Equal(t, "lost, final", kindAndFinality(t, err))
	require.ErrorContains(t, err, "member "+name+": did not come back as etcd "+run.Version+" within 6s: it was started")
	require.ErrorContains(t, err, "election-timeout", "what its log said last")
	require.Greater(t, time.Since(began), 6*time.Second)
	s.op.Spec.Policy.ReadyWithin = patience
	rollBack := s.step(fleet.RollBackMember, name)
	rollBack.Run = &run
	for range 2 {
		require.Contains(t, s.must(rollBack), "etcd "+run.Version+", "+name+" has all")
	}
	require.Equal(t, run, *report().Configured)
	s.must(fleet.Step{Kind: fleet.AwaitSettled})
}

// Every way for a member not to answer, and what witnesses make of it.
func TestWitnesses(t *testing.T) {
	s := created(t, 3)
	s.op.Kind = fleet.FailoverMember
	name := other(t, []string{"orders-1", "orders-2", "orders-3"}, s.observed().Leader, "orders-1")
	s.op.Options.Members = []string{name}
	evidence := func() fleet.Evidence {
		look := s.look(fleet.Memory{})
		require.Len(t, look.Observation.Evidence, 1)
		e := look.Observation.Evidence[0]
		t.Log(e.Words)
		require.GreaterOrEqual(t, e.Looks, 1)
		return e
	}
	dead := func(e fleet.Evidence) {
		require.GreaterOrEqual(t, e.Looks, 3)
		require.GreaterOrEqual(t, e.Over, s.op.Spec.Policy.DeadAfter)
		require.Equal(t, []fleet.Testimony{fleet.SaysDead, fleet.SaysDead}, []fleet.Testimony{e.Peers, e.Client}, e.Words)
	}
	require.Empty(t, s.look(fleet.Memory{}).Observation.Evidence, "nobody is asked about a member that answers")

	pid := s.observed().Host(name).Report.Find(name).PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	await(t, name+" does not answer", func() bool { return !s.observed().Member(name).Answers })
	e := evidence()
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	require.Equal(t, fleet.SaysAlive, e.Host, "a paused process is there: %s", e.Words)
	require.NotEqual(t, fleet.SaysDead, e.Client)
	await(t, name+" answers", func() bool { return s.observed().Member(name).Answers })

	s.must(s.step(fleet.StopMember, name))
	e = evidence()
	dead(e)
	require.Equal(t, []fleet.Testimony{fleet.SaysAlive, fleet.SaysDead}, []fleet.Testimony{e.Cloud, e.Host}, e.Words)
	require.False(t, e.DiskLost)
	s.must(s.step(fleet.StartMember, name))
	s.must(s.step(fleet.AwaitInSync, name))

	require.NoError(t, s.local().FailHost(t.Context(), s.host(name).ID))
	e = evidence()
	dead(e)
	require.Equal(t, []fleet.Testimony{fleet.SaysDead, fleet.SaysUnknown}, []fleet.Testimony{e.Cloud, e.Host}, e.Words)
	require.False(t, e.DiskLost, "its disk can go to another host")
	require.Contains(t, e.Words, "its host is stopped (failed by fault injection)")

	require.NoError(t, s.local().FailZone(t.Context(), s.host(name).Zone))
	e = evidence()
	dead(e)
	require.True(t, e.DiskLost, e.Words)
}

func TestQuietMemberTakesARaftSnapshot(t *testing.T) {
	s := created(t, 1, func(op *fleet.Operation) { op.Spec.Etcd.SnapshotCount = 500 })
	s.op.Kind = fleet.UpgradeCluster
	before := s.observed().Host("orders-1").Report.Find("orders-1")
	require.Zero(t, before.RaftSnapshot, "it has none")
	note := s.must(fleet.Step{Kind: fleet.TakeRaftSnapshot})
	require.Contains(t, note, "every member has one")
	after := s.observed().Host("orders-1").Report.Find("orders-1")
	require.NotZero(t, after.MinorSnapshot)
	require.Equal(t, note, s.must(fleet.Step{Kind: fleet.TakeRaftSnapshot}), "another one is not needed")
}

func TestDowngradeIsEnabledAndCancelled(t *testing.T) {
	s := created(t, 1, func(op *fleet.Operation) { op.Spec.Etcd.Version = newest(t, "../bin/releases.yaml", "3.7") })
	s.op.Kind = fleet.UpgradeCluster
	require.Equal(t, "3.7.0", s.observed().Member("orders-1").Storage)
	_, err := s.do(fleet.Step{Kind: fleet.EnableDowngrade, Version: "3.5.35"})
	require.Equal(t, "invalid, final", kindAndFinality(t, err), "one minor at a time")
	for range 2 {
		require.Equal(t, "every store is at 3.6", s.must(fleet.Step{Kind: fleet.EnableDowngrade, Version: "3.6.16"}))
	}
	require.Equal(t, "3.6", s.observed().Downgrade)
	for range 2 {
		s.must(fleet.Step{Kind: fleet.CancelDowngrade})
	}
	require.Empty(t, s.observed().Downgrade)
}

// Whole operations, as their workflow carries them out.
func TestClusterIsStoppedStartedAndMadeLarger(t *testing.T) {
	s := created(t, 1)
	before := s.observed().Member("orders-1").ID

	s.op.ID, s.op.Kind = "op-stop", fleet.StopCluster
	look := s.run(10)
	require.Equal(t, fleet.HostStopped, look.Observation.Hosts[0].State)
	require.False(t, look.Observation.FinalSnapshot.Closed.IsZero(), "the last word on the data")

	s.op.ID, s.op.Kind = "op-start", fleet.StartCluster
	look = s.run(10)
	require.True(t, look.Observation.FinalSnapshot.Closed.IsZero(), "and no more, once it runs")
	require.Equal(t, before, look.Observation.Member("orders-1").ID)

	s.op.ID, s.op.Kind = "op-up", fleet.UpscaleCluster
	s.op.Spec.Machine.Type, s.op.Spec.Machine.Disk.Size = "large", 30*fleet.GiB
	for range 2 {
		require.Equal(t, "30 GiB, the file system has 30 GiB", s.must(s.step(fleet.GrowDisk, "orders-1")))
	}
	for _, kind := range []fleet.StepKind{fleet.StopMember, fleet.StopHost, fleet.ResizeHost, fleet.StartHost, fleet.StartMember, fleet.AwaitInSync} {
		step := s.step(kind, "orders-1")
		step.MemberID = before // as planned while it still answered
		t.Logf("%s: %s", step, s.must(step))
	}
	obs := s.observed()
	require.Equal(t, "large", obs.Hosts[0].Type)
	require.Equal(t, 30*fleet.GiB, obs.Disks[0].Size)
	require.Equal(t, before, obs.Member("orders-1").ID)
}

// A member whose host died comes back on its disk; one whose zone died is replaced
// elsewhere, through a learner.
func TestDeadMembersAreFailedOver(t *testing.T) {
	s := created(t, 3)
	s.op.Since, s.op.NextMember = 4, 4
	names := []string{"orders-1", "orders-2", "orders-3"}
	dead := other(t, names, s.observed().Leader, "orders-1")
	s.op.ID, s.op.Generation, s.op.Kind = "op-fail", "op-fail", fleet.FailoverMember
	host, disk := s.host(dead), s.observed().Disk(dead).ID
	require.NoError(t, s.local().FailHost(t.Context(), host.ID))
	look := s.run(30)
	require.NotEqual(t, host.ID, look.Observation.Host(dead).ID)
	require.Equal(t, disk, look.Observation.Disk(dead).ID, "its data was not copied")
	require.Len(t, look.Observation.Members, 3)

	s.op.ID, s.op.Generation = "op-zone", "op-zone"
	gone := s.host(dead).Zone
	require.NoError(t, s.local().FailZone(t.Context(), gone))
	look = s.run(30)
	require.Nil(t, look.Observation.Member(dead))
	require.NotNil(t, look.Observation.Member("orders-4"))
	require.NotEqual(t, gone, look.Observation.Host("orders-4").Zone)
	for _, h := range look.Observation.Hosts {
		require.NotEqual(t, gone, h.Zone, "nothing is kept there")
	}
}
