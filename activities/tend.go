package activities

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// tendFor is how long an activity tends its share of the clusters before another takes
	// its place, which may be one of a newer version.
	tendFor = time.Hour
	// rosterEvery is how often it is looked which clusters there are.
	rosterEvery = 30 * time.Second
	// rosterWithin covers a list of ten thousand clusters.
	rosterWithin = time.Minute
)

// tend has keep begin and end what is done for each of the clusters that there are, again
// and again, until it is another activity's turn or the worker ends. The error is that of the
// first list, or of ctx: when a later list fails, what is done goes on.
func (r Region) tend(ctx context.Context, keep func([]fleet.Summary), said func() string) error {
	beats := time.NewTicker(beatEvery)
	defer beats.Stop()
	looked, until := time.Time{}, time.Now().Add(tendFor)
	for time.Now().Before(until) {
		if time.Since(looked) >= rosterEvery {
			clusters, err := within(ctx, rosterWithin, "listing clusters", r.Clusters)
			if err != nil && looked.IsZero() {
				return err
			}
			looked = time.Now()
			if err == nil {
				keep(clusters)
			}
		}
		beat(ctx, -1, said())
		select {
		case <-beats.C:
		case <-activity.GetWorkerStopChannel(ctx):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
