package workers

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// shownFor is how long what was seen of standbys is shown: any worker of the region may
// take the next look, a minute later, and then it is that one's to show.
const shownFor = 90 * time.Second

// standbys is what was seen of them last.
type standbys struct {
	mu   sync.Mutex
	seen []fleet.Summary
	at   time.Time
}

func (s *standbys) note(seen []fleet.Summary) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.at = seen, time.Now()
}

func (s *standbys) fresh() []fleet.Summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) > shownFor {
		return nil
	}
	return s.seen
}

// watchStandbys gives who shows how far standbys are behind.
func (m *metrics) watchStandbys() (func([]fleet.Summary), error) {
	entries, err := m.meter.Int64ObservableGauge("flotilla_standby_lag_entries",
		metric.WithDescription("How many raft entries a cluster's standby is behind."))
	if err != nil {
		return nil, err
	}
	seconds, err := m.meter.Float64ObservableGauge("flotilla_standby_lag",
		metric.WithUnit("s"), metric.WithDescription("How long a cluster's standby took to get what the voters had, up to standby.maxLag."))
	if err != nil {
		return nil, err
	}
	behind, err := m.meter.Int64ObservableGauge("flotilla_standby_behind",
		metric.WithDescription("1: a cluster's standby is behind by standby.maxLag, or does not answer."))
	if err != nil {
		return nil, err
	}
	var all standbys
	_, err = m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, s := range all.fresh() {
			if s.At.IsZero() || s.Healthy == 0 { // it could not be seen, or has no quorum
				continue
			}
			of := metric.WithAttributes(attribute.String("cluster", s.Name))
			late := int64(0)
			if s.StandbyIsBehind() {
				late = 1
			}
			o.ObserveInt64(entries, int64(s.Lag), of)
			o.ObserveFloat64(seconds, time.Duration(s.Behind).Seconds(), of)
			o.ObserveInt64(behind, late, of)
		}
		return nil
	}, entries, seconds, behind)
	return all.note, err
}
