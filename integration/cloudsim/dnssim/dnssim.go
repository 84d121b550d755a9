// Package dnssim is one DNS zone that two clouds' APIs change: Route 53 (REST, XML, API
// version 2013-04-01, signature version 4) and Alibaba Cloud DNS (RPC, JSON, API version
// 2015-01-09, HMAC-SHA1). What a request has and is not modelled is refused. Faults and
// lost answers are those of cloudsim's World, which faces are asked through.
package dnssim

import (
	"fmt"
	"slices"
	"sync"

	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// Entry is one value of a name, as it is served.
type Entry struct {
	// Name has no dot at its end.
	Name, Type, Value string
	TTL               int64 // in seconds

	id string // of Alibaba Cloud DNS
}

// Zone is what servers answer from.
type Zone struct {
	// ID is that of the hosted zone, Domain the name that all others are below.
	ID, Domain string
	// Pending is how often a change of Route 53 is not known everywhere yet when it is
	// asked about. MinTTL is the least of the edition of Alibaba Cloud DNS, in seconds.
	Pending int
	MinTTL  int64

	world *cloudsim.World

	mu      sync.Mutex
	entries []Entry
	lowest  map[string]int // of each name with A records: how few it ever had since the first
	changes map[string]int // of Route 53: how often each is still pending
	next    int
	nonces  map[string]bool
}

// New makes an empty zone. The keys that it knows are the world's.
func New(w *cloudsim.World, id, domain string) *Zone {
	return &Zone{
		ID: id, Domain: domain, Pending: 2, MinTTL: 1, world: w,
		lowest: map[string]int{}, changes: map[string]int{}, nonces: map[string]bool{},
	}
}

// Lookup gives the values that a name has now, in order.
func (z *Zone) Lookup(name, kind string) []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.lookup(name, kind)
}

func (z *Zone) lookup(name, kind string) []string {
	var values []string
	for _, e := range z.entries {
		if e.Name == name && e.Type == kind {
			values = append(values, e.Value)
		}
	}
	slices.Sort(values)
	return values
}

// Put has a name say something, as somebody else would have made it.
func (z *Zone) Put(e Entry) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.add(e)
}

// Lowest says how few addresses a name ever had since it first had one.
func (z *Zone) Lowest(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.lowest[name]
}

// add is one more value. z.mu is held.
func (z *Zone) add(e Entry) string {
	z.next++
	e.id = fmt.Sprintf("%019d", z.next)
	z.entries = append(z.entries, e)
	if _, had := z.lowest[e.Name]; !had && e.Type == "A" {
		z.lowest[e.Name] = 1
	}
	return e.id
}

// drop takes entries away. z.mu is held.
func (z *Zone) drop(which func(Entry) bool) (n int) {
	was := len(z.entries)
	z.entries = slices.DeleteFunc(z.entries, which)
	for name := range z.lowest {
		z.lowest[name] = min(z.lowest[name], len(z.lookup(name, "A")))
	}
	return was - len(z.entries)
}
