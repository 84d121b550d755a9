package activities

import (
	"context"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// lagPoll is how often a learner is asked that is behind.
	lagPoll = 50 * time.Millisecond
	// lagsWithin bounds the watch of a region's standbys, which is taken each minute.
	lagsWithin = 20 * time.Second
)

// behind gives how long the last learner takes to get what the furthest member has now:
// at most limit, and that much if it does not answer. It is zero for those that have it.
func behind(ctx context.Context, client *etcdadmin.Client, members []fleet.ObservedMember, limit time.Duration) fleet.Duration {
	began := time.Now()
	var ahead uint64
	for _, m := range members {
		ahead = max(ahead, m.Applied)
	}
	last := time.Duration(0)
	for _, m := range members {
		if !m.Learner || m.Answers && m.Applied >= ahead {
			continue
		}
		for m.Answers && m.Applied < ahead && time.Since(began) < limit && ctx.Err() == nil {
			if lag, err := client.Lag(ctx, m.ID); err == nil {
				m.Answers, m.Applied = lag.Answers, lag.Applied
			}
			time.Sleep(lagPoll)
		}
		took := min(time.Since(began), limit)
		if m.Applied < ahead {
			took = limit
		}
		last = max(last, took)
	}
	return fleet.Duration(last)
}

// watchStandbys looks at the clusters of a region that have a standby, and tells who
// shows it. It is part of the look that a region takes each minute anyway; what cannot be
// seen is told at the next one.
func (r Region) watchStandbys(ctx context.Context, place fleet.Place, clusters []fleet.Summary) {
	if r.Standbys == nil {
		return
	}
	var watched []fleet.Summary
	for _, s := range clusters {
		if s.Provider == place.Provider && s.Region == place.Region && s.Phase == fleet.PhaseRunning && s.MaxLag > 0 {
			s.At = time.Time{}
			watched = append(watched, s)
		}
	}
	if len(watched) > 0 {
		ctx, cancel := context.WithTimeout(ctx, lagsWithin)
		defer cancel()
		endpoints, err := r.allEndpoints(ctx)
		if err != nil {
			r.Log.Warn("the standbys of the region cannot be looked at", zap.Error(err))
			return
		}
		var group errgroup.Group
		group.SetLimit(surveyed)
		for i := range watched {
			s := &watched[i]
			group.Go(func() error {
				(&Planner{r}).survey(ctx, s, endpoints[s.Name+"/"+s.UID])
				return nil
			})
		}
		_ = group.Wait()
	}
	r.Standbys(watched)
}
