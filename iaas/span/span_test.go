package span_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
	"github.com/flotilla-etcd/flotilla/iaas/span"
)

var there = fleet.Place{Provider: "local", Region: "local-2"}

// regions gives two regions of this machine that boot nothing, joined.
func regions(t *testing.T) (home iaas.Provider, joined *span.Provider, remote *span.Remote) {
	t.Helper()
	open := func(region string) iaas.Provider {
		p, err := local.Open(local.Config{Root: t.TempDir(), Region: region, Zones: []string{"a"}})
		require.NoError(t, err)
		return p
	}
	home = open("local-1")
	joined = span.New(home, map[fleet.Place]iaas.Provider{there: open(there.Region)})
	remote, err := joined.Elsewhere(there)
	require.NoError(t, err)
	return home, joined, remote
}

// A call finds its region by the name that it is about, and what it gives is named so
// that the next call finds it too.
func TestCallsFindTheirRegion(t *testing.T) {
	home, joined, remote := regions(t)
	ctx := t.Context()
	zones, err := remote.Zones(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"local/local-2/a"}, zones)

	disk, err := joined.CreateDisk(ctx, iaas.CreateDiskRequest{Token: "t1", Name: "orders-1", Zone: zones[0], Size: 20 * fleet.GiB, Category: "ssd"})
	require.NoError(t, err)
	require.Equal(t, zones[0], disk.Zone)
	require.NoError(t, joined.TagDisk(ctx, disk.ID, iaas.Tags{"k": "v"}))
	require.NoError(t, joined.GrowDisk(ctx, disk.ID, 30*fleet.GiB))
	seen, err := joined.Disk(ctx, disk.ID)
	require.NoError(t, err)
	require.Equal(t, disk.ID, seen.ID)
	require.Equal(t, 30*fleet.GiB, seen.Size)
	require.Equal(t, "v", seen.Tags["k"])

	listed, err := remote.ListDisks(ctx, nil)
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.Equal(t, disk.ID, listed[0].ID)
	for _, p := range []iaas.Provider{home, joined} {
		listed, err = p.ListDisks(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, listed, "lists are of the region at home")
	}
	require.NoError(t, joined.DeleteDisk(ctx, disk.ID))

	plain, err := joined.CreateDisk(ctx, iaas.CreateDiskRequest{Token: "t2", Name: "orders-2", Zone: "a", Size: 20 * fleet.GiB, Category: "ssd"})
	require.NoError(t, err)
	_, err = home.Disk(ctx, plain.ID)
	require.NoError(t, err, "at home names are plain")
}

func TestWhatIsNotReachedIsAnError(t *testing.T) {
	_, joined, _ := regions(t)
	_, err := joined.Host(t.Context(), "aws/eu-central-1/i-1")
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)
	require.ErrorContains(t, err, "it reaches local/local-2")
	require.ErrorContains(t, joined.AttachDisk(t.Context(), "local/local-2/d-1", "h-1"), "in another region")
}
