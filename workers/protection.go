package workers

import (
	"context"
	"maps"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// protection shows how old what protects clusters is. Each worker shows what it saw or
// made last, so the newest of all workers holds.
type protection struct {
	mu       sync.Mutex
	clusters map[string]protected
}

type protected struct {
	backup, copied, rehearsal, changes time.Time
	every                              time.Duration
	ok                                 bool
}

func (p *protection) change(cluster string, by func(*protected)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	is := p.clusters[cluster]
	by(&is)
	p.clusters[cluster] = is
}

func (p *protection) Backup(cluster string, newest time.Time, every time.Duration) {
	p.change(cluster, func(is *protected) { is.backup, is.every = newest, every })
}

func (p *protection) Rehearsal(cluster string, when time.Time, ok bool) {
	p.change(cluster, func(is *protected) { is.rehearsal, is.ok = when, ok })
}

func (p *protection) Copied(cluster string, newest time.Time) {
	p.change(cluster, func(is *protected) { is.copied = newest })
}

func (p *protection) Changes(cluster string, until time.Time) {
	p.change(cluster, func(is *protected) { is.changes = until })
}

func (p *protection) Only(clusters map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.clusters, func(cluster string, _ protected) bool { return !clusters[cluster] })
}

// watchProtection gives what is to be told, and shows it.
func (m *metrics) watchProtection() (*protection, error) {
	p := &protection{clusters: map[string]protected{}}
	gauge := func(name, unit, says string) (metric.Float64ObservableGauge, error) {
		return m.meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(says))
	}
	backup, err := gauge("flotilla_backup_newest_timestamp", "s", "When the newest backup that counts was taken, or the cluster created, if there is none.")
	if err != nil {
		return nil, err
	}
	every, err := gauge("flotilla_backup_every", "s", "How often a backup is to be taken.")
	if err != nil {
		return nil, err
	}
	copied, err := gauge("flotilla_backup_copied_timestamp", "s", "When the newest backup was taken that the second store has, or the cluster created, if there is none.")
	if err != nil {
		return nil, err
	}
	rehearsal, err := gauge("flotilla_rehearsal_timestamp", "s", "When a backup was rehearsed last.")
	if err != nil {
		return nil, err
	}
	ok, err := gauge("flotilla_rehearsal_ok", "", "1 if the last rehearsal went well, else 0.")
	if err != nil {
		return nil, err
	}
	changes, err := gauge("flotilla_changes_stored_timestamp", "s", "Until when all that was written is stored.")
	if err != nil {
		return nil, err
	}
	_, err = m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		for cluster, is := range p.clusters {
			of := metric.WithAttributes(attribute.String("cluster", cluster))
			when := func(g metric.Float64ObservableGauge, t time.Time) {
				if !t.IsZero() {
					o.ObserveFloat64(g, float64(t.UnixMilli())/1000, of)
				}
			}
			when(backup, is.backup)
			when(copied, is.copied)
			when(rehearsal, is.rehearsal)
			when(changes, is.changes)
			if is.every > 0 {
				o.ObserveFloat64(every, is.every.Seconds(), of)
			}
			if !is.rehearsal.IsZero() {
				worth := 0.0
				if is.ok {
					worth = 1
				}
				o.ObserveFloat64(ok, worth, of)
			}
		}
		return nil
	}, backup, copied, every, rehearsal, ok, changes)
	return p, err
}
