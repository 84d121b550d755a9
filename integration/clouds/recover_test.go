package clouds

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// TestRecovery has the cloud want two of three instances back, twice. The first recovery
// must do without copies of the disks, since the worker has no right to them; before the
// second changes anything, that of the member that is left is. It is kept until somebody discards it.
func TestRecovery(t *testing.T) {
	abreast(t)
	onAWS(t, setup{}).recovers("CreateSnapshot")
}

// TestRecoveryOnAlibabaCloud is the same, by the other SDK.
func TestRecoveryOnAlibabaCloud(t *testing.T) {
	abreast(t)
	onAliyun(t, setup{}).recovers("CreateSnapshot")
}

// recovers takes the right to copy disks away, by its action, for the first recovery.
func (s *stand) recovers(action string) {
	t := s.t
	t.Helper()
	s.create()
	heal := s.world.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: action}})
	text := s.loseAndRecover()
	require.Contains(t, text, "SnapshotDisk")
	require.Zero(t, s.world.SnapshotsBought())
	heal()

	s.loseAndRecover()
	copies, err := s.world.Snapshots(nil, nil)
	require.NoError(t, err)
	require.Len(t, copies, 1, "of the only one whose host answers")
	for _, args := range [][]string{{"plan", "discard", s.spec.Name}, {"describe", s.spec.Name}, {"describe", s.spec.Name, "-o", "json"}} {
		answer := s.CLI(args...)
		require.Zero(t, answer.Code, answer.Err)
		for _, c := range copies {
			require.Contains(t, answer.Out, c.ID)
		}
	}
	discard := s.CLI("discard", s.spec.Name, "--yes")
	require.Zero(t, discard.Code, discard.Err)
	copies, err = s.world.Snapshots(nil, nil)
	require.NoError(t, err)
	require.Empty(t, copies)
	s.decommission()
}

// loseAndRecover ends two of three instances and has what is left recovered. It gives what
// the recovery said.
func (s *stand) loseAndRecover() string {
	t := s.t
	t.Helper()
	hosts, err := s.Cloud.ListHosts(t.Context(), iaas.Tags{fleet.TagCluster: s.spec.Name})
	require.NoError(t, err)
	require.Len(t, hosts, 3)
	var lost []string
	for _, h := range hosts[:2] {
		require.NoError(t, s.world.Reclaim(h.ID))
		lost = append(lost, h.Member())
	}
	answer := s.CLI("recover", s.spec.Name, "--without", strings.Join(lost, ","), "--accept-loss", "--yes")
	require.Zero(t, answer.Code, "%s\n%s", answer.Out, answer.Err)
	require.NoError(t, s.Stands(t.Context(), s.spec.Name))
	return answer.Out + answer.Err
}
