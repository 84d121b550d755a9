package clouds

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
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

// bought says how many instances and disks were ever sold.
func (s *stand) bought() [2]int {
	instances, disks := s.world.Bought()
	return [2]int{instances, disks}
}
