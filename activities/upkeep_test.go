package activities

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
)

// What is removed is what was meant: a disk that carries other tags by now is left alone,
// and one that is gone already is no trouble.
func TestRemoveResources(t *testing.T) {
	provider, err := local.Open(local.Config{Root: filepath.Join(t.TempDir(), "local")})
	require.NoError(t, err)
	u := &Upkeep{Region{Provider: provider}.ready()}
	disk := func(token, uid string) string {
		d, err := provider.CreateDisk(t.Context(), iaas.CreateDiskRequest{
			Token: token, Name: token, Zone: "a", Size: fleet.GiB, Category: "ssd",
			Tags: iaas.Tags{fleet.TagCluster: "orders", fleet.TagUID: uid, fleet.TagMember: "orders-1"},
		})
		require.NoError(t, err)
		return d.ID
	}
	old, current := disk("old", "u1"), disk("current", "u2")
	var list fleet.InventoryReply
	_, err = as(t, func(ctx context.Context) (err error) {
		list, err = u.Inventory(ctx, fleet.InventoryRequest{})
		return err
	})
	require.NoError(t, err)
	require.Len(t, list.Resources, 2)
	require.Equal(t, "1 GiB ssd", list.Resources[0].What)
	require.WithinDuration(t, time.Now(), list.Resources[0].Created, time.Minute)

	stale := fleet.Resource{Kind: fleet.DiskResource, ID: current, Cluster: "orders", UID: "u1"} // it was, when it was listed
	gone := fleet.Resource{Kind: fleet.HostResource, ID: "h-0000000000000001", Cluster: "orders", UID: "u1"}
	var answer fleet.RemoveReply
	_, err = as(t, func(ctx context.Context) (err error) {
		answer, err = u.RemoveResources(ctx, fleet.RemoveRequest{
			Resources: []fleet.Resource{{Kind: fleet.DiskResource, ID: old, Cluster: "orders", UID: "u1"}, stale, gone},
		})
		return err
	})
	require.NoError(t, err)
	require.ElementsMatch(t, []string{gone.ID, old}, answer.Removed)
	require.Len(t, answer.Left, 1)
	require.Contains(t, answer.Left[0], "carries other tags by now")
	disks, err := provider.ListDisks(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, disks, 1)
	require.Equal(t, current, disks[0].ID)
}
