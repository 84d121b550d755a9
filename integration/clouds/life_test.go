package clouds

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

func failover() harness.Change { return harness.Change{Kind: fleet.FailoverMember} }

func migrate(member string) harness.Change {
	return harness.Change{Kind: fleet.MigrateByLearner, Options: fleet.Options{Members: []string{member}}}
}

// upscale is in place: a larger machine and a larger disk.
func (s *stand) upscale() harness.Change {
	return harness.Change{Kind: fleet.UpscaleCluster, To: func(spec *fleet.Spec) {
		spec.Machine.Type, spec.Machine.Change, spec.Machine.Disk.Size = s.larger, fleet.ResizeMachine, 30*fleet.GiB
	}}
}

// TestLife takes a cluster through its life in a region that does what it is asked: it is
// created, loses an instance that the cloud wants back and gets another for its disk, moves
// a member to a new host, and is taken down. Each thing is bought once. FLOTILLA_WHOLE
// upscales it as well.
func TestLife(t *testing.T) {
	abreast(t)
	onAWS(t, setup{}).live()
}

// TestLifeOnAlibabaCloud is the same, by the other SDK.
func TestLifeOnAlibabaCloud(t *testing.T) {
	abreast(t)
	onAliyun(t, setup{}).live()
}

func (s *stand) live() {
	s.t.Helper()
	t := s.t
	s.create()
	require.Equal(t, [2]int{3, 3}, s.bought())

	h := s.follower()
	require.NoError(t, s.world.Reclaim(h.ID))
	steps := s.change("failing over a reclaimed instance", failover())
	require.Contains(t, steps, "AttachDisk "+h.Member(), "its disk moves to a new host: %v", steps)
	require.Equal(t, [2]int{4, 3}, s.bought())

	s.change("moving a member", migrate(s.follower().Member()))
	require.Equal(t, [2]int{5, 4}, s.bought())
	if harness.Whole() {
		steps = s.change("upscaling in place", s.upscale())
		require.Equal(t, [2]int{5, 4}, s.bought(), "nothing is bought: %v", steps)
	}
	s.decommission()
}

// TestDisksOfAnotherKind makes the disks of a cluster larger ones of another category where
// they are, under members that go on. A volume is optimized for longer than the SDK waits
// before it asks again.
func TestDisksOfAnotherKind(t *testing.T) {
	abreast(t)
	onAWS(t, setup{flags: []string{"--aws-disk-categories", "gp2,gp3"}, settle: time.Minute}).retyped("gp2", "gp3", "ModifyVolume", 3)
}

// TestDisksOfAnotherKindOnAlibabaCloud is the same with performance levels, by the other SDK:
// ECS takes the size and the level apart.
func TestDisksOfAnotherKindOnAlibabaCloud(t *testing.T) {
	abreast(t)
	onAliyun(t, setup{}).retyped("cloud_essd:PL0", "cloud_essd", "ModifyDiskSpec", 3)
}

// retyped does it by some action, which is to be done so many times. The answer of the
// first is lost.
func (s *stand) retyped(from, to, action string, times int) {
	s.t.Helper()
	t := s.t
	s.spec.Machine.Disk.Category = from
	s.create()
	bought := s.bought()
	s.world.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer, Target: cloudsim.Target{Action: action}, Times: 1})
	steps := s.change("making disks others where they are", harness.Change{Kind: fleet.UpscaleCluster, To: func(spec *fleet.Spec) {
		spec.Machine.Disk.Category, spec.Machine.Disk.Size = to, 30*fleet.GiB
	}})
	require.Equal(t, 1, s.world.Struck(cloudsim.LoseAnswer), "an answer was lost")
	require.Equal(t, bought, s.bought(), "nothing is bought: %v", steps)
	require.Equal(t, times, s.world.Done(action), "each disk once: %v", steps)
	for _, step := range steps {
		require.NotContains(t, step, "StopMember", "%v", steps)
	}
	disks, err := s.Cloud.ListDisks(t.Context(), iaas.Tags{fleet.TagCluster: s.spec.Name})
	require.NoError(t, err)
	require.Len(t, disks, 3)
	for _, d := range disks {
		require.Contains(t, steps, "RetypeDisk "+d.Member())
		require.Equal(t, fmt.Sprint(30*fleet.GiB, to, fleet.DiskInUse), fmt.Sprint(d.Size, d.Category, d.State))
	}
	s.decommission()
}

// bought says how many instances and disks were ever sold.
func (s *stand) bought() [2]int {
	instances, disks := s.world.Bought()
	return [2]int{instances, disks}
}
