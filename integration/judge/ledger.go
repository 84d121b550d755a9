package judge

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// entry is one change of one key, as somebody told of it.
type entry struct {
	place
	value string
	gone  bool // deleted
	// create, version and lease are known if whole.
	create, version, lease int64
	whole                  bool
	by                     int // the call that did it; -1 if nobody is known to have
	witness                string
}

func (e *entry) String() string {
	if e.gone {
		return "deleted"
	}
	return e.value
}

// ledger is every change that anybody was told of: by the answer to a write, by a
// read, or by a watch. Where watches cover the revisions it lacks nothing.
type ledger struct {
	all    []*entry // by revision and key
	keys   map[string][]*entry
	at     map[place]*entry
	values map[string]*entry
	// happened are calls without an answer that took effect, with the revision.
	happened map[int]int64
	writers  map[string]int // of a value
	leased   map[string]bool
}

func (l *ledger) between(from, to int64) []*entry {
	a := sort.Search(len(l.all), func(i int) bool { return l.all[i].revision >= from })
	b := sort.Search(len(l.all), func(i int) bool { return l.all[i].revision > to })
	return l.all[a:max(a, b)]
}

func (l *ledger) after(revision int64) []*entry {
	a := sort.Search(len(l.all), func(i int) bool { return l.all[i].revision > revision })
	return l.all[a:]
}

// last gives the last change of a key up to a revision, or nil.
func (l *ledger) last(key string, revision int64) *entry {
	of := l.keys[key]
	n := sort.Search(len(of), func(i int) bool { return of[i].revision > revision })
	if n == 0 {
		return nil
	}
	return of[n-1]
}

// buildLedger gathers what was told, and checks that all told the same and that
// every change has one call that did it.
func (c *checker) buildLedger() {
	c.ledger = &ledger{
		keys: map[string][]*entry{}, at: map[place]*entry{}, values: map[string]*entry{},
		happened: map[int]int64{}, writers: map[string]int{}, leased: map[string]bool{},
	}
	for i := range c.calls {
		c.enterCall(i)
	}
	for i := range c.h.Deliveries {
		d := &c.h.Deliveries[i]
		for _, e := range d.Events {
			c.enter(&entry{
				place: place{e.Mod, e.Key}, value: e.Value, gone: e.Delete, create: e.Create, version: e.Version, lease: e.Lease,
				whole: !e.Delete, by: -1, witness: fmt.Sprintf("as watch %d got it", d.Watch),
			})
		}
	}
	l := c.ledger
	for _, e := range l.at {
		l.all = append(l.all, e)
	}
	slices.SortFunc(l.all, func(a, b *entry) int { return comparePlaces(a.place, b.place) })
	for _, e := range l.all {
		l.keys[e.key] = append(l.keys[e.key], e)
	}
	c.attribute()
	c.attributeDeletes()
	c.checkAtomic()
	c.checkVersions()
}

func (c *checker) enterCall(i int) {
	call, l := &c.calls[i], c.ledger
	for _, w := range call.Writes {
		if !w.Delete {
			l.writers[w.Value] = i
		}
		if w.Lease != 0 {
			l.leased[w.Key] = true
		}
		if !call.effective() {
			continue
		}
		if s := call.saw(w.Key); w.Delete && s != nil && s.Mod == 0 {
			continue
		}
		c.enter(&entry{place: place{call.Revision, w.Key}, value: w.Value, gone: w.Delete, lease: w.Lease, by: i,
			witness: "as acknowledged to client " + fmt.Sprint(call.Client)})
	}
	for _, s := range call.Saw {
		if s.Mod > 0 {
			c.enter(&entry{place: place{s.Mod, s.Key}, value: s.Value, create: s.Create, version: s.Version, lease: s.Lease,
				whole: true, by: -1, witness: fmt.Sprintf("as client %d read it", call.Client)})
		}
	}
}

// enter adds what one witness says, and holds it against what others said.
func (c *checker) enter(e *entry) {
	known := c.ledger.at[e.place]
	if known == nil {
		c.ledger.at[e.place] = e
		return
	}
	same := known.value == e.value && known.gone == e.gone
	if known.whole && e.whole {
		same = same && known.create == e.create && known.version == e.version
	}
	if !known.gone && !e.gone {
		same = same && known.lease == e.lease
	}
	if !same {
		c.violated(ruleStore, "%s at revision %d is told in two ways: %s %s, and %s %s", e.key, e.revision, known, known.witness, e, e.witness)
		return
	}
	if e.by >= 0 {
		if known.by >= 0 && known.by != e.by {
			c.violated(ruleStore, "two calls deleted %s at revision %d: %s, and %s", e.key, e.revision, &c.calls[known.by], &c.calls[e.by])
		}
		known.by = e.by
	}
	if e.whole && !known.whole {
		known.create, known.version, known.lease, known.whole = e.create, e.version, e.lease, true
	}
}

// attribute finds the call behind every value in the store.
func (c *checker) attribute() {
	l := c.ledger
	for _, e := range l.all {
		if e.gone {
			continue
		}
		if other := l.values[e.value]; other != nil {
			c.violated(ruleStore, "%s was written once and is in the store twice: %s at revision %d and %s at revision %d (%s)",
				e.value, other.key, other.revision, e.key, e.revision, e.witness)
			continue
		}
		l.values[e.value] = e
		i, written := l.writers[e.value]
		if !written {
			c.violated(ruleStore, "%s at revision %d is %s (%s), which nobody wrote", e.key, e.revision, e.value, e.witness)
			continue
		}
		switch call := &c.calls[i]; {
		case !slices.ContainsFunc(call.Writes, func(w Write) bool { return w.Key == e.key && w.Value == e.value && w.Lease == e.lease }):
			c.violated(ruleStore, "%s at revision %d is %s (%s), which %s did not write so", e.key, e.revision, e.value, e.witness, call)
		case call.Outcome == Refused:
			c.violated(ruleStore, "%s was refused (%s), and is in the store at revision %d (%s)", call, call.Error, e.revision, e.witness)
		case call.Outcome == OK && !call.Held:
			c.violated(ruleStore, "%s found its condition false, and is in the store at revision %d (%s)", call, e.revision, e.witness)
		case call.Outcome == OK && call.Revision != e.revision:
			c.violated(ruleStore, "%s is in the store at revision %d (%s)", call, e.revision, e.witness)
		case call.Outcome == Unknown:
			e.by = i
			if known, ok := l.happened[i]; ok && known != e.revision {
				c.violated(ruleStore, "%s was one transaction, and is in the store at revisions %d and %d", call, known, e.revision)
			}
			l.happened[i] = e.revision
		}
	}
}

// attributeDeletes finds for every deletion that no answer tells of a delete
// without an answer, the earliest one for the earliest, or a lease.
func (c *checker) attributeDeletes() {
	l := c.ledger
	open := map[string][]int{} // calls, by start
	for i := range c.calls {
		if call := &c.calls[i]; call.Kind == Delete && call.Outcome == Unknown {
			open[call.Writes[0].Key] = append(open[call.Writes[0].Key], i)
		}
	}
	for _, calls := range open {
		slices.SortFunc(calls, func(a, b int) int { return cmp.Compare(c.calls[a].Start, c.calls[b].Start) })
	}
	for _, e := range l.all {
		if !e.gone || e.by >= 0 || l.leased[e.key] {
			continue
		}
		known, _ := c.moments.known(e.revision)
		if calls := open[e.key]; len(calls) > 0 && c.calls[calls[0]].Start <= known {
			e.by, open[e.key] = calls[0], calls[1:]
			l.happened[e.by] = e.revision
			continue
		}
		c.violated(ruleStore, "%s was deleted at revision %d (%s), and nobody asked for that", e.key, e.revision, e.witness)
	}
}

// checkAtomic checks that one revision is one call's, and has all of it.
func (c *checker) checkAtomic() {
	l := c.ledger
	for n, e := range l.all {
		if e.by < 0 {
			continue
		}
		if n > 0 && l.all[n-1].revision == e.revision && l.all[n-1].by >= 0 && l.all[n-1].by != e.by {
			c.violated(ruleStore, "revision %d is of two calls: %s, and %s", e.revision, &c.calls[l.all[n-1].by], &c.calls[e.by])
		}
		for _, w := range c.calls[e.by].Writes {
			if l.at[place{e.revision, w.Key}] == nil && c.covered.cover(e.revision, e.revision) {
				c.violated(ruleStore, "revision %d has %s and not %s of %s", e.revision, e.key, w.Key, &c.calls[e.by])
			}
		}
	}
}

// checkVersions checks that keys count their changes without a gap. A change that
// neither a watch nor an answer told of shows here.
func (c *checker) checkVersions() {
	for key, entries := range c.ledger.keys {
		for n, e := range entries {
			if !e.whole || n == 0 && !c.covered.cover(c.h.From+1, e.revision) || n > 0 && !c.covered.cover(entries[n-1].revision, e.revision) {
				continue
			}
			create, version := e.revision, int64(1)
			if n > 0 && !entries[n-1].gone {
				if !entries[n-1].whole {
					continue
				}
				create, version = entries[n-1].create, entries[n-1].version+1
			}
			if e.create != create || e.version != version {
				c.violated(ruleStore, "%s at revision %d is its version %d since revision %d, and should be version %d since revision %d: a change before it was lost",
					key, e.revision, e.version, e.create, version, create)
			}
		}
	}
}
