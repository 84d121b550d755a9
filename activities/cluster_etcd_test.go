package activities

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func TestStepsOnARunningCluster(t *testing.T) {
	s := created(t, 3)
	obs := s.observed()
	leader := obs.Leader
	require.NotEmpty(t, leader)
	require.Contains(t, s.must(fleet.Step{Kind: fleet.AwaitSettled}), "all 3 members have been in sync for 2s of 2s")
}
