package harness

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
)

// Points are boundaries of a worker's life, by cluster (integration/breakworker says how
// they are named).
type Points map[string][]string

// Breaker is a worker that stops clusters dead at boundaries of its life.
type Breaker struct {
	*Process
	e     *Env
	stops string
	trace string

	mu     sync.Mutex
	points Points // those it was not released from
}

// StartBreaker starts a worker that is to stop each of these clusters at each of its
// boundaries, whichever it comes to first. Others it serves as any worker does.
func (e *Env) StartBreaker(points Points) *Breaker {
	e.t.Helper()
	dir, err := os.MkdirTemp(e.Dir, "breaker-")
	require.NoError(e.t, err)
	b := &Breaker{e: e, points: points.clone(), stops: filepath.Join(dir, "stops"), trace: filepath.Join(dir, "trace")}
	require.NoError(e.t, os.Mkdir(b.stops, 0o700))
	var lines strings.Builder
	for cluster, all := range points {
		for _, point := range all {
			fmt.Fprintln(&lines, cluster, point)
		}
	}
	breaks := filepath.Join(dir, "breaks")
	require.NoError(e.t, os.WriteFile(breaks, []byte(lines.String()), 0o600))
	b.Process = e.StartWorker("breakworker", "FLOTILLA_TRACE="+b.trace, "FLOTILLA_BREAKS="+breaks, "FLOTILLA_STOPS="+b.stops,
		"FLOTILLA_BEGUN="+filepath.Join(e.Dir, "begun"))
	return b
}

// Stopped says whether a cluster stands still, and at which boundary.
func (b *Breaker) Stopped(cluster string) (point string, stands bool) {
	text, err := os.ReadFile(filepath.Join(b.stops, cluster))
	return string(text), err == nil
}

// AwaitStops waits until every cluster stands still at a boundary, and gives those whose
// operation ended without passing any.
func (b *Breaker) AwaitStops(operations map[string]*Running) (missed []string) {
	b.e.t.Helper()
	waiting := maps.Clone(b.points)
	err := b.e.Within(Patience, func() error {
		for cluster := range waiting {
			_, stands := b.Stopped(cluster)
			switch {
			case stands:
				delete(waiting, cluster)
			case operations[cluster].Ended():
				missed = append(missed, cluster)
				delete(waiting, cluster)
			}
		}
		if len(waiting) > 0 {
			return errors.New("some have not")
		}
		return nil
	})
	for cluster, points := range waiting {
		b.e.t.Errorf("cluster %s: expected that it comes to %s; it has not after %s: %s", cluster, strings.Join(points, " or "), Patience, operations[cluster].stands())
	}
	if err != nil {
		b.e.t.FailNow()
	}
	return missed
}

// Release lets a cluster that stands still go on. The boundary counts for nothing from now
// on: DieInTurn does not kill the worker at it.
func (b *Breaker) Release(cluster string) error {
	point, stands := b.Stopped(cluster)
	if !stands {
		return fmt.Errorf("cluster %s stands at no boundary", cluster)
	}
	b.mu.Lock()
	b.points[cluster] = slices.DeleteFunc(b.points[cluster], func(p string) bool { return p == point })
	b.mu.Unlock()
	return os.Remove(filepath.Join(b.stops, cluster))
}

// Trace gives the boundaries that a cluster has passed so far, each once, in order.
func (b *Breaker) Trace(cluster string) []string {
	text, err := os.ReadFile(b.trace)
	require.NoError(b.e.t, err)
	var points []string
	for line := range strings.Lines(string(text)) {
		of, point, _ := strings.Cut(strings.TrimSpace(line), " ")
		if of == cluster && !slices.Contains(points, point) {
			points = append(points, point)
		}
	}
	return points
}
