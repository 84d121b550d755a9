package judge

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// place is where in the store's past something was changed.
type place struct {
	revision int64
	key      string
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.key, b.key))
}

// watched is what one watch got, over all the times it was asked for.
type watched struct {
	id, client int
	prefix     string
	lasting    bool
	seen       []place
	covers     spans // where everything must have come

	now     span // what it covers since it was asked for in a new place
	floor   int64
	created bool
	early   bool  // it began at some revision up to that of its creation
	last    int64 // the last change's revision
}

// followWatches checks each watch by itself: changes come in the order of their
// revisions, each once, none older than asked for or than progress has said, and
// those of one revision together.
func (c *checker) followWatches() {
	byID := map[int]*watched{}
	for i := range c.h.Deliveries {
		d := &c.h.Deliveries[i]
		w := byID[d.Watch]
		if w == nil {
			w = &watched{id: d.Watch, client: d.Client, now: span{0, -1}}
			byID[d.Watch] = w
			c.watches = append(c.watches, w)
		}
		switch d.Sign {
		case Asked:
			w.ask(d)
		case Created:
			w.create(d)
		case Progress:
			w.early = false
			w.now.to = max(w.now.to, d.Revision)
			w.floor = max(w.floor, d.Revision+1)
		case Events:
			c.verdict.Checked["event"] += len(d.Events)
			c.takeEvents(w, d)
		case Broken:
			if d.Compacted > 0 {
				c.verdict.Checked["compacted watch"]++
			} else {
				c.verdict.Checked["broken watch"]++
			}
		}
	}
	for _, w := range c.watches {
		w.close()
		slices.SortFunc(w.seen, comparePlaces)
		if w.prefix == c.h.Prefix {
			for _, s := range w.covers {
				c.covered = c.covered.add(s)
			}
		}
	}
	c.verdict.Checked["watch"] = len(c.watches)
}

// ask begins a watch, or goes on with it. It goes on in another place than where it
// was after a compaction; between the two it must get nothing.
func (w *watched) ask(d *Delivery) {
	w.prefix, w.lasting, w.created = d.Prefix, d.Lasting, d.From > 0
	if d.From > 0 && d.From != w.now.to+1 {
		w.close()
		w.now = span{d.From, d.From - 1}
		w.floor = d.From
	}
}

func (w *watched) close() { w.covers = w.covers.add(w.now) }

// create learns where "now" was: members take the revision of their answer after the
// watch began (etcd's v3rpc/watch.go), so it has everything after it, and perhaps
// some before. clientv3 may ask for that revision once more, too, if the first stream
// breaks before anything came.
func (w *watched) create(d *Delivery) {
	if w.created {
		return
	}
	w.close()
	w.created, w.early = true, true
	w.now = span{d.Revision + 1, d.Revision}
	w.floor = 0
}

func (c *checker) takeEvents(w *watched, d *Delivery) {
	before, whole := w.last, len(w.seen) > 0
	for _, e := range d.Events {
		at := place{e.Mod, e.Key}
		known := slices.Contains(w.seen[max(0, len(w.seen)-recentEvents):], at)
		switch {
		case known:
			c.violated(ruleWatch, "watch %d of client %d got %s at revision %d twice, again at %s", w.id, w.client, e.Key, e.Mod, since(d.At))
			continue
		case whole && e.Mod == before:
			c.violated(ruleWatch, "watch %d of client %d got revision %d in parts: %s came at %s, after the rest", w.id, w.client, e.Mod, e.Key, since(d.At))
		case e.Mod < w.last:
			c.violated(ruleWatch, "watch %d of client %d got %s at revision %d after revision %d, at %s", w.id, w.client, e.Key, e.Mod, w.last, since(d.At))
		case e.Mod < w.floor:
			c.violated(ruleWatch, "watch %d of client %d got %s at revision %d, at %s, which is before revision %d from where it was to go on",
				w.id, w.client, e.Key, e.Mod, since(d.At), w.floor)
		case !strings.HasPrefix(e.Key, w.prefix):
			c.violated(ruleWatch, "watch %d of client %d got %s, and is of %s", w.id, w.client, e.Key, w.prefix)
		}
		if w.early && e.Mod < w.now.from {
			w.now = span{e.Mod, e.Mod}
		}
		w.early = false
		w.seen = append(w.seen, at)
		w.last = max(w.last, e.Mod)
		w.now.to = max(w.now.to, e.Mod)
	}
	w.floor = max(w.floor, w.last)
}

// recentEvents is how far back a change is known again as a repetition; what comes
// from further back is told as out of order.
const recentEvents = 64

// checkGaps holds every watch against everything that is known of the store: each
// change between the first and the last revision that a watch covers must have come.
func (c *checker) checkGaps() {
	for _, w := range c.watches {
		c.verdict.Checked["watch span"] += len(w.covers)
		var reached int64
		for _, s := range w.covers {
			reached = max(reached, s.to)
			for _, e := range c.ledger.between(s.from, s.to) {
				if !strings.HasPrefix(e.key, w.prefix) {
					continue
				}
				if _, seen := slices.BinarySearchFunc(w.seen, e.place, comparePlaces); !seen {
					c.violated(ruleWatch, "watch %d of client %d did not get %s at revision %d (%s), though it got everything from revision %d to %d",
						w.id, w.client, e.key, e.revision, e.witness, s.from, s.to)
				}
			}
		}
		if !w.lasting {
			continue
		}
		missed := 0
		for _, e := range c.ledger.after(reached) {
			if strings.HasPrefix(e.key, w.prefix) {
				missed++
			}
		}
		if missed > 0 {
			c.violated(ruleWatch, "watch %d of client %d ended at revision %d, %d changes before the end", w.id, w.client, reached, missed)
		}
	}
}

// watchDelay gives the longest time between two messages to a lasting watch within
// a span of the run.
func (h *History) watchDelay(from, to time.Duration) (longest time.Duration, client int) {
	if h.Quit > 0 {
		to = min(to, h.Quit)
	}
	last := map[int]time.Duration{}
	lasting := map[int]bool{}
	for _, d := range h.Deliveries {
		if d.Sign == Asked {
			lasting[d.Watch] = d.Lasting && d.Prefix == h.Prefix
		}
		if d.Sign != Events || !lasting[d.Watch] {
			continue
		}
		if before, ok := last[d.Watch]; ok && d.At >= from && d.At <= to && d.At-before > longest {
			longest, client = d.At-before, d.Client
		}
		last[d.Watch] = d.At
	}
	return longest, client
}
