package etcdadmin

import (
	"context"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// loadOver is between the two looks at members' counters: long enough for a busy
// member to show in a clock of 10 ms, and short for who waits for a backup to begin.
const loadOver = 200 * time.Millisecond

// What shows how busy a member is. The first is of every process on Linux; the others
// tell where it is missing.
const (
	metricProcessor = "process_cpu_seconds_total"
	metricSent      = "etcd_network_client_grpc_sent_bytes_total"
	metricTaken     = "etcd_network_client_grpc_received_bytes_total"
)

// Load is how busy a member was for a moment.
type Load struct {
	// Processors is how many it kept busy; Traffic the bytes per second from and to
	// clients.
	Processors, Traffic float64
}

// Less says that a member is less busy than another.
func (l Load) Less(than Load) bool {
	const alike = 0.1 // of a processor, two ticks of the clock: what is closer says nothing
	if d := l.Processors - than.Processors; d < -alike || d > alike {
		return d < 0
	}
	return l.Traffic < than.Traffic
}

// Loads looks at how busy members are, by their IDs: at their own counters, twice. A
// member that does not tell is left out.
func (c *Client) Loads(ctx context.Context, members []fleet.ObservedMember) map[uint64]Load {
	first := c.counters(ctx, members)
	began := time.Now()
	if len(first) == 0 || pause(ctx, loadOver, c.resource()) != nil {
		return nil
	}
	second := c.counters(ctx, members)
	over := time.Since(began).Seconds()
	loads := map[uint64]Load{}
	for id, now := range second {
		if then, ok := first[id]; ok {
			loads[id] = Load{Processors: (now.Processors - then.Processors) / over, Traffic: (now.Traffic - then.Traffic) / over}
		}
	}
	return loads
}

// counters gives the sums since each member began.
func (c *Client) counters(ctx context.Context, members []fleet.ObservedMember) map[uint64]Load {
	var (
		mu    sync.Mutex
		asked sync.WaitGroup
		all   = map[uint64]Load{}
	)
	for _, m := range members {
		if !m.Answers || len(m.ClientURLs) == 0 {
			continue
		}
		asked.Go(func() {
			var sum Load
			err := c.metrics(ctx, m.ClientURLs[0], m.ID, "load of member "+called(m), func(name string, _ map[string]string, value float64) {
				switch name {
				case metricProcessor:
					sum.Processors += value
				case metricSent, metricTaken:
					sum.Traffic += value
				}
			})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				all[m.ID] = sum
			}
		})
	}
	asked.Wait()
	return all
}
