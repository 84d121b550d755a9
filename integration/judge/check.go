package judge

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// rules are what is checked, in the order in which their violations are told.
type rule string

const (
	ruleRun    rule = "run"          // the run could not do what it should
	ruleStore  rule = "store"        // what is in the store is what clients wrote, once
	ruleRead   rule = "read"         // an answer shows the store at its own revision
	ruleOrder  rule = "order"        // revisions never go back in real time
	ruleLinear rule = "linearizable" // some order of a key's calls explains their answers
	ruleWatch  rule = "watch"        // every change once, in order, whole
	ruleLease  rule = "lease"        // keys live exactly as long as their lease
)

var rules = []rule{ruleRun, ruleStore, ruleRead, ruleOrder, ruleLinear, ruleWatch, ruleLease}

// toldPerRule is how many violations of one rule are told in words; one fault often
// breaks a rule many times.
const toldPerRule = 6

// checker holds a history and what was found out about it so far.
type checker struct {
	h     *History
	calls []Call // with Saw complete for ranges, and empty where there was no answer
	keys  []string

	moments moments
	watches []*watched
	covered spans // by watches of everything
	ledger  *ledger
	// unexplained are keys that were absent without a deletion that is known.
	unexplained map[string]bool
	back        []time.Duration // when the cluster answered again after an outage
	verdict     Verdict
	deadline    time.Time // for porcupine
	broken      map[rule][]string
}

// Check judges a history by nothing but itself.
func Check(h *History) Verdict {
	c := &checker{h: h, broken: map[rule][]string{}, unexplained: map[string]bool{}, deadline: time.Now().Add(CheckTimeout)}
	c.verdict = Verdict{Seed: h.Seed, Checked: map[string]int{}}
	c.complete()
	c.moments = h.moments()
	for _, n := range h.Notes {
		if n.Failed {
			c.violated(ruleRun, "%s", n.Text)
		} else {
			c.verdict.Notes = append(c.verdict.Notes, since(n.At)+" "+n.Text)
		}
	}
	c.followWatches()
	c.buildLedger()
	c.checkGaps()
	c.checkSights()
	c.checkOrder()
	c.checkLeases()
	c.checkKeys()

	c.verdict.Stalls = h.Stalls(h.Began, h.Began.Add(h.end()))
	for _, rule := range rules {
		told := c.broken[rule]
		c.verdict.Broken += len(told)
		for i, text := range told {
			if i == toldPerRule {
				text = fmt.Sprintf("and %d more like these", len(told)-i)
			}
			c.verdict.Violations = append(c.verdict.Violations, string(rule)+": "+text)
			if i == toldPerRule {
				break
			}
		}
	}
	return c.verdict
}

func (c *checker) violated(rule rule, format string, args ...any) {
	c.broken[rule] = append(c.broken[rule], fmt.Sprintf(format, args...))
}

// complete adds to reads of a prefix the keys that they showed to be absent.
func (c *checker) complete() {
	known := map[string]bool{}
	for i := range c.h.Calls {
		for _, w := range c.h.Calls[i].Writes {
			known[w.Key] = true
		}
		if c.h.Calls[i].Outcome == OK {
			for _, s := range c.h.Calls[i].Saw {
				known[s.Key] = true
			}
		}
	}
	for _, d := range c.h.Deliveries {
		for _, e := range d.Events {
			known[e.Key] = true
		}
	}
	for key := range known {
		c.keys = append(c.keys, key)
	}
	slices.Sort(c.keys)
	c.calls = slices.Clone(c.h.Calls)
	for i := range c.calls {
		call := &c.calls[i]
		c.verdict.Checked[string(call.Kind)]++
		switch {
		case call.Outcome != OK:
			call.Saw = nil
		case call.Range != "":
			there := map[string]bool{}
			for _, s := range call.Saw {
				there[s.Key] = true
			}
			call.Saw = slices.Clone(call.Saw)
			first, _ := slices.BinarySearch(c.keys, call.Range)
			for _, key := range c.keys[first:] {
				if !strings.HasPrefix(key, call.Range) {
					break
				}
				if !there[key] {
					call.Saw = append(call.Saw, Sight{Key: key})
				}
			}
		}
	}
}

// end is when the last thing happened.
func (h *History) end() (end time.Duration) {
	for i := range h.Calls {
		end = max(end, h.Calls[i].End)
	}
	for i := range h.Deliveries {
		end = max(end, h.Deliveries[i].At)
	}
	return end
}

// moments say at which time somebody had been told of which revision, in any
// answer. They are in order of time, and each is newer than the ones before.
type moments []moment

type moment struct {
	at       time.Duration
	revision int64
}

func (h *History) moments() moments {
	var all []moment
	for i := range h.Calls {
		if call := &h.Calls[i]; call.Outcome == OK && call.Kind != Compact {
			revision := call.Revision
			for _, s := range call.Saw {
				revision = max(revision, s.Mod)
			}
			all = append(all, moment{call.End, revision})
		}
	}
	for _, d := range h.Deliveries {
		revision := d.Revision
		for _, e := range d.Events {
			revision = max(revision, e.Mod)
		}
		if d.Sign != Broken && d.Sign != Ended && d.Sign != Asked {
			all = append(all, moment{d.At, revision})
		}
	}
	return newest(all)
}

// newest keeps of some moments those that were news.
func newest(all []moment) moments {
	slices.SortFunc(all, func(a, b moment) int { return int(a.at - b.at) })
	var news moments
	for _, m := range all {
		if len(news) == 0 || m.revision > news[len(news)-1].revision {
			news = append(news, m)
		}
	}
	return news
}

// before gives the newest revision that was told before a time.
func (m moments) before(at time.Duration) int64 {
	n := sort.Search(len(m), func(i int) bool { return m[i].at >= at })
	if n == 0 {
		return 0
	}
	return m[n-1].revision
}

// known gives the time since which a revision is known to have been there.
func (m moments) known(revision int64) (time.Duration, bool) {
	n := sort.Search(len(m), func(i int) bool { return m[i].revision >= revision })
	if n == len(m) {
		return 0, false
	}
	return m[n].at, true
}

// spans are ranges of revisions, both ends included, that do not touch each other.
type spans []span

type span struct{ from, to int64 }

func (s spans) add(n span) spans {
	if n.to < n.from {
		return s
	}
	var kept spans
	for _, old := range s {
		if old.to+1 < n.from || n.to+1 < old.from {
			kept = append(kept, old)
			continue
		}
		n.from, n.to = min(n.from, old.from), max(n.to, old.to)
	}
	return append(kept, n)
}

// cover says whether all of a range is covered; nothing is.
func (s spans) cover(from, to int64) bool {
	return from > to || slices.ContainsFunc(s, func(s span) bool { return s.from <= from && to <= s.to })
}
