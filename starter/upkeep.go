package starter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/workflows"
)

const (
	// upkeepTimeout bounds looking at a whole region: the workers' own limit and a little.
	upkeepTimeout = 4 * time.Minute
	// removalTimeout bounds ending hosts and disks, likewise.
	removalTimeout = 32 * time.Minute
)

// Examine says what a region lacks for its work, as its workers see it. Nothing is changed.
func (c *Client) Examine(ctx context.Context, provider, regionName string) ([]fleet.Check, error) {
	var reply workflows.ExamineReply
	err := c.run(ctx, "examine/"+provider+"/"+regionName, "examination of "+regionName, upkeepTimeout,
		region{provider, regionName}, workflows.ExamineType, workflows.ExamineRequest{Provider: provider, Region: regionName}, &reply)
	return reply.Checks, err
}

// Stray is a resource that belongs to no cluster.
type Stray struct {
	fleet.Resource
	// Why says why it belongs to none.
	Why string `json:"why"`
	// Unknown says that Temporal knows no cluster of that name, not even one that is gone.
	// Where Temporal's own state was lost, that is every cluster.
	Unknown bool `json:"unknown,omitempty"`
}

// Strays are the resources of a region that belong to no cluster.
type Strays struct {
	Resources []Stray `json:"resources"`
	// Belonging is how many others carry our tags.
	Belonging int `json:"belonging"`
	// Young is how many would be strays, were they older.
	Young int `json:"young"`
	// Notes say which clusters could not be asked; what carries their names is not a stray.
	// They also say why it is not known what things cost.
	Notes []string `json:"notes,omitempty"`
}

// Strays finds the resources of a region that carry our tags, are older than so much, and
// belong to no cluster: the cluster that they name is gone, has begun anew since under the
// same name, or is not known. Each cluster is asked itself, as lists lag.
func (c *Client) Strays(ctx context.Context, provider, regionName string, olderThan time.Duration) (Strays, error) {
	var reply workflows.InventoryReply
	err := c.run(ctx, "inventory/"+provider+"/"+regionName, "resources in "+regionName, upkeepTimeout,
		region{provider, regionName}, workflows.InventoryType, workflows.InventoryRequest{Provider: provider, Region: regionName}, &reply)
	found := Strays{Resources: []Stray{}, Notes: reply.Notes}
	if err != nil {
		return found, err
	}
	type answer struct {
		view workflows.ClusterView
		err  error
	}
	asked := map[string]answer{}
	for _, r := range reply.Resources {
		a, before := asked[r.Cluster]
		if !before {
			a.view, a.err = c.Describe(ctx, r.Cluster)
			asked[r.Cluster] = a
			if a.err != nil && !fleet.Is(a.err, fleet.NotFound) {
				found.Notes = append(found.Notes, fmt.Sprintf("%s could not be asked: %v", r.Cluster, a.err))
			}
		}
		stray := Stray{Resource: r}
		switch {
		case fleet.Is(a.err, fleet.NotFound):
			stray.Why, stray.Unknown = "no cluster "+r.Cluster+" is known", true
		case a.err != nil:
			found.Belonging++
			continue
		case a.view.Summary.UID != r.UID:
			stray.Why = "another cluster has the name " + r.Cluster + " now"
		case a.view.Summary.Phase == fleet.PhaseGone:
			stray.Why = "cluster " + r.Cluster + " is gone"
		default:
			found.Belonging++
			continue
		}
		if time.Since(r.Created) < olderThan {
			found.Young++
			continue
		}
		found.Resources = append(found.Resources, stray)
	}
	slices.Sort(found.Notes)
	return found, ctx.Err()
}

// DiskSnapshots lists the copies of a cluster's disks, wherever it lies, the oldest first,
// with about what they cost.
func (c *Client) DiskSnapshots(ctx context.Context, view workflows.ClusterView) (workflows.InventoryReply, error) {
	home, name := view.Spec.Place(), view.Summary.Name
	elsewhere := slices.Clone(view.Spec.Places()[1:])
	for _, place := range view.Elsewhere { // that it has moved away from, say
		if !slices.Contains(elsewhere, place) {
			elsewhere = append(elsewhere, place)
		}
	}
	var reply workflows.InventoryReply
	err := c.run(ctx, "inventory/"+name, "copies of the disks of "+name, answerTimeout, region{home.Provider, home.Region},
		workflows.InventoryType, workflows.InventoryRequest{
			Provider: home.Provider, Region: home.Region, Cluster: name, UID: view.Summary.UID,
			Kinds: []fleet.ResourceKind{fleet.DiskSnapshotResource}, Elsewhere: elsewhere,
		}, &reply)
	reply.Resources = slices.DeleteFunc(reply.Resources, func(r fleet.Resource) bool {
		return r.Kind != fleet.DiskSnapshotResource || r.Cluster != name || r.UID != view.Summary.UID
	})
	return reply, err
}

// RemoveStrays ends resources of a region for good. Workers look at each again, and leave
// alone what carries other tags by now.
func (c *Client) RemoveStrays(ctx context.Context, provider, regionName string, strays []Stray) (workflows.RemoveReply, error) {
	request := workflows.RemoveRequest{Provider: provider, Region: regionName}
	for _, s := range strays {
		request.Resources = append(request.Resources, s.Resource)
	}
	var reply workflows.RemoveReply
	err := c.run(ctx, "remove/"+provider+"/"+regionName, "removal in "+regionName, removalTimeout,
		region{provider, regionName}, workflows.RemoveType, request, &reply)
	return reply, err
}
