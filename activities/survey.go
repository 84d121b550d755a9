package activities

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/plan"
)

// surveyed is how many clusters are looked at side by side.
const surveyed = 16

// Survey looks at many clusters at once: one list of hosts for the region, then
// each cluster's own members. A cluster that does not answer keeps the counts it
// came with; their time says how old they are.
func (p *Planner) Survey(ctx context.Context, r fleet.SurveyRequest) (fleet.SurveyReply, error) {
	endpoints, err := p.allEndpoints(ctx)
	if err != nil {
		return fleet.SurveyReply{}, decide(err)
	}
	answer := fleet.SurveyReply(r)
	var group errgroup.Group
	group.SetLimit(surveyed)
	for i := range answer.Clusters {
		s := &answer.Clusters[i]
		group.Go(func() error {
			p.survey(ctx, s, endpoints[s.Name+"/"+s.UID])
			beat(ctx, -1, s.Name)
			return nil
		})
	}
	_ = group.Wait()
	return answer, nil
}

// allEndpoints gives where members may listen on the region's hosts, by "cluster/UID".
func (r Region) allEndpoints(ctx context.Context) (map[string][]fleet.Endpoint, error) {
	hosts, err := r.Provider.ListHosts(ctx, iaas.Tags{fleet.TagCluster: ""})
	if err != nil {
		return nil, err
	}
	endpoints := map[string][]fleet.Endpoint{}
	for _, h := range hosts {
		if h.State == fleet.HostRunning {
			key := h.Tags[fleet.TagCluster] + "/" + h.Tags[fleet.TagUID]
			endpoints[key] = append(endpoints[key], plan.EndpointOf(h))
		}
	}
	return endpoints, nil
}

func (p *Planner) survey(ctx context.Context, s *fleet.Summary, endpoints []fleet.Endpoint) {
	if len(endpoints) == 0 {
		return
	}
	client, err := p.connect(ctx, s.Name, s.UID, endpoints)
	if err != nil {
		return
	}
	defer client.Close()
	seen := client.Observe(ctx)
	if len(seen.Members) == 0 {
		s.Healthy, s.Leader, s.At = 0, "", time.Now().UTC()
		return
	}
	count(s, seen.Members, seen.Leader, seen.Revision)
	s.At = time.Now().UTC()
	if s.MaxLag > 0 {
		s.Behind = behind(ctx, client, seen.Members, time.Duration(s.MaxLag))
	}
}
