package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

func TestOperationOf(t *testing.T) {
	for id, want := range map[string][]string{
		workflows.OperationID("orders", fleet.BackupCluster, "1a"): {"orders", "BackupCluster"},
		workflows.RehearsalID("orders", "1a"):                      {"rehearsal-1a", "RehearseBackup"}, // as its children
		"verify/orders/1a":                                         {"orders", "VerifyBackup"},
		workflows.ClusterID("orders"):                              nil,
		"backups/local/local-1":                                    nil,
	} {
		cluster, kind, ok := operationOf(id)
		require.Equal(t, want != nil, ok, id)
		if ok {
			require.Equal(t, want, []string{cluster, kind})
		}
	}
}
