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

// An inventory of one cluster has nothing of another one, nor of an earlier one of its name,
// and tells of a place that cannot be looked at.
func TestInventoryOfOneCluster(t *testing.T) {
	open := func(region string) iaas.Provider {
		p, err := local.Open(local.Config{Root: filepath.Join(t.TempDir(), region), Region: region})
		require.NoError(t, err)
		return p
	}
	home, there := open("local-1"), &pricey{Provider: open("local-2")}
	place, nowhere := fleet.Place{Provider: "local", Region: "local-2"}, fleet.Place{Provider: "local", Region: "local-3"}
	u := &Upkeep{Region{Provider: home, Elsewhere: map[fleet.Place]iaas.Provider{place: there}}.ready()}
	kept := func(p iaas.Provider, cluster, uid string) string {
		tags := iaas.Tags{fleet.TagCluster: cluster, fleet.TagUID: uid, fleet.TagMember: cluster + "-1"}
		d, err := p.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: cluster + uid, Name: cluster, Zone: "a", Size: fleet.GiB, Category: "ssd", Tags: tags})
		require.NoError(t, err)
		s, err := p.SnapshotDisk(t.Context(), iaas.SnapshotDiskRequest{Token: cluster + uid, Name: cluster, DiskID: d.ID, Tags: tags})
		require.NoError(t, err)
		return s.ID
	}
	at := kept(home, "orders", "u2")
	elsewhere := place.Qualify(kept(there, "orders", "u2"))
	kept(home, "orders", "u1")
	kept(there, "users", "u3")

	list := func(r fleet.InventoryRequest) (reply fleet.InventoryReply, ids []string) {
		_, err := as(t, func(ctx context.Context) (err error) {
			reply, err = u.Inventory(ctx, r)
			return err
		})
		require.NoError(t, err)
		for _, resource := range reply.Resources {
			ids = append(ids, resource.ID)
		}
		return reply, ids
	}
	reply, ids := list(fleet.InventoryRequest{
		Cluster: "orders", UID: "u2", Kinds: []fleet.ResourceKind{fleet.DiskSnapshotResource}, Elsewhere: []fleet.Place{place, nowhere},
	})
	require.Equal(t, []string{at, elsewhere}, ids)
	require.Equal(t, [3]any{"orders-1", "of " + reply.Resources[0].Of + ", 1 GiB", fleet.GiB}, [3]any{reply.Resources[0].Member, reply.Resources[0].What, reply.Resources[0].Size})
	require.Nil(t, reply.Resources[0].Monthly)
	require.NotNil(t, reply.Resources[1].Monthly, "what it costs is asked where it lies")
	require.Len(t, reply.Notes, 1)
	require.Contains(t, reply.Notes[0], "what is in local/local-3 could not be listed")
	_, ids = list(fleet.InventoryRequest{})
	require.Len(t, ids, 4, "all that the region has")
}

// pricey is a region of which some prices are known.
type pricey struct {
	iaas.Provider
	asked []string
	fails error
}

func (p *pricey) HostCost(_ context.Context, h fleet.Host) (fleet.Cost, error) {
	p.asked = append(p.asked, "host "+h.Type)
	return fleet.Cost{Amount: 300, Currency: "CNY"}, p.fails
}

func (p *pricey) DiskCost(_ context.Context, d fleet.Disk) (fleet.Cost, error) {
	p.asked = append(p.asked, "disk "+d.Category)
	if d.Category == "odd" {
		return fleet.Cost{}, fleet.Errorf(fleet.NotFound, "price of odd", "there is none")
	}
	return fleet.Cost{Amount: float64(d.Size / fleet.GiB), Currency: "CNY"}, p.fails
}

func (p *pricey) DiskSnapshotCost(_ context.Context, s fleet.DiskSnapshot) (fleet.Cost, error) {
	p.asked = append(p.asked, "snapshot "+s.Written.Human())
	return fleet.Cost{Amount: float64(s.Written / fleet.GiB), Currency: "CNY", AtMost: true}, p.fails
}

// What costs the same is asked for once, what is not known costs nothing less, and where
// prices may not be seen, one refusal is enough.
func TestCosts(t *testing.T) {
	disk := func(category string, size fleet.Bytes) fleet.Disk {
		return fleet.Disk{Category: category, Size: size * fleet.GiB}
	}
	p := &pricey{}
	c := newCosts(p)
	for range 3 {
		require.Equal(t, &fleet.Cost{Amount: 20, Currency: "CNY"}, c.ofDisk(t.Context(), disk("ssd", 20)))
		require.Nil(t, c.ofDisk(t.Context(), disk("odd", 20)))
		require.Equal(t, &fleet.Cost{Amount: 300, Currency: "CNY"}, c.ofHost(t.Context(), fleet.Host{Type: "small"}))
	}
	require.Equal(t, &fleet.Cost{Amount: 40, Currency: "CNY"}, c.ofDisk(t.Context(), disk("ssd", 40)))
	for range 2 {
		for _, written := range []fleet.Bytes{2, 3} {
			s := fleet.DiskSnapshot{Size: 20 * fleet.GiB, Written: written * fleet.GiB}
			require.Equal(t, &fleet.Cost{Amount: float64(written), Currency: "CNY", AtMost: true}, c.ofDiskSnapshot(t.Context(), s))
		}
	}
	require.Equal(t, []string{"disk ssd", "disk odd", "host small", "disk ssd", "snapshot 2 GiB", "snapshot 3 GiB"}, p.asked)
	require.Equal(t, []string{"price of odd: there is none"}, c.notes)

	p = &pricey{fails: fleet.Errorf(fleet.Denied, "price of small", "you may not")}
	c = newCosts(p)
	require.Nil(t, c.ofHost(t.Context(), fleet.Host{Type: "small"}))
	require.Nil(t, c.ofDisk(t.Context(), disk("ssd", 20)))
	require.Equal(t, []string{"host small"}, p.asked)
	require.Equal(t, []string{"price of small: you may not"}, c.notes)
	require.Nil(t, newCosts(nil).ofHost(t.Context(), fleet.Host{}), "of a provider without prices")
}
