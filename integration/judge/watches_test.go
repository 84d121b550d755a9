package judge

import (
	"testing"
	"time"
)

func TestWatches(t *testing.T) {
	// Three changes that are acknowledged, the last of two keys at once.
	one, two, a3, b3 := is("1", 11), again("2", 11, 12, 2), again("3", 11, 13, 3), is("4", 13)
	written := func(h *History) {
		put(0, 1, "a", "1", 11)(h)
		put(2, 3, "a", "2", 12)(h)
		pair(4, 5, "3", "4", 13)(h)
	}
	compacted := sign(Delivery{Watch: 1, Sign: Broken, Error: "compacted", Compacted: 13}, 7)
	broken := sign(Delivery{Watch: 1, Sign: Broken, Error: "no leader"}, 7)
	check(t, []judgeCase{
		{name: "one by one", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one)), events(1, 7, event("a", two)), events(1, 8, event("a", a3), event("b", b3)))},
		{name: "all at once", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two), event("a", a3), event("b", b3)))},
		{name: "from now on", h: tell(written, lasting(1, 3, 0), created(1, 4, 12), events(1, 6, event("a", a3), event("b", b3)))},
		{name: "from now on, which was sooner than the answer says", h: tell(written, lasting(1, 1, 0), created(1, 4, 13),
			events(1, 6, event("a", two)), broken, lasting(1, 8, 13), events(1, 9, event("a", a3), event("b", b3)))},
		{name: "from now on, and never before", rules: "watch", words: "got p/a at revision 11 after revision 12", h: tell(written, lasting(1, 1, 0),
			created(1, 4, 13), events(1, 6, event("a", two), event("a", one), event("a", a3), event("b", b3)))},
		{name: "asked for again where it was", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two)), broken, lasting(1, 8, 13), created(1, 8, 13), events(1, 9, event("a", a3), event("b", b3)))},
		{name: "asked for again after progress", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one)), progress(1, 6, 11), broken, lasting(1, 8, 12), created(1, 8, 13),
			events(1, 9, event("a", two), event("a", a3), event("b", b3)))},
		{name: "a compaction in between", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one)), compacted, lasting(1, 8, 13), created(1, 8, 13), events(1, 9, event("a", a3), event("b", b3)))},
		{name: "a short one that was given up", h: tell(written, watchFrom(1, 0, 11), created(1, 0, 10), events(1, 6, event("a", one)))},

		{name: "a gap", rules: "watch", words: "did not get p/a at revision 12", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one)), events(1, 8, event("a", a3), event("b", b3)))},
		{name: "a gap where it was asked for again", rules: "watch", words: "did not get p/a at revision 12", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one)), broken, lasting(1, 8, 12), created(1, 8, 13), events(1, 9, event("a", a3), event("b", b3)))},
		{name: "a gap at the beginning", rules: "watch", words: "did not get p/a at revision 12", h: tell(written, lasting(1, 1, 0), created(1, 1, 11),
			events(1, 6, event("a", a3), event("b", b3)))},
		{name: "a gap before progress", rules: "watch", words: "did not get p/b at revision 13", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two)), progress(1, 9, 13))},
		{name: "a gap that only another watch knows of", rules: "watch", words: "watch 2 of client 0 did not get p/c at revision 12", h: tell(
			call(Call{Kind: Put, Writes: []Write{{Key: "p/c", Value: "9"}}}, 0, 1, unknown), put(2, 3, "a", "1", 13),
			lasting(1, 0, 11), events(1, 6, event("c", is("9", 12)), event("a", is("1", 13))),
			lasting(2, 0, 11), events(2, 6, event("a", is("1", 13))))},
		{name: "half a transaction", rules: "watch", words: "did not get p/b at revision 13", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two), event("a", a3)))},
		{name: "half a transaction of nobody's answer", rules: "store", words: "has p/a and not p/b", h: tell(
			pair(0, 1, "1", "2", 0, unknown), lasting(1, 0, 11), events(1, 6, event("a", is("1", 11))))},
		{name: "a transaction in parts", rules: "watch", words: "got revision 13 in parts", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two)), events(1, 7, event("a", a3)), events(1, 8, event("b", b3)))},
		{name: "a change twice", rules: "watch", words: "got p/a at revision 12 twice", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two)), events(1, 7, event("a", two), event("a", a3), event("b", b3)))},
		{name: "all twice", rules: "watch", words: "got p/b at revision 13 twice", h: tell(written, lasting(1, 0, 11),
			events(1, 6, event("a", one), event("a", two), event("a", a3), event("b", b3)),
			broken, lasting(1, 8, 14), events(1, 9, event("a", one), event("a", two), event("a", a3), event("b", b3)))},
		{name: "out of order", rules: "watch", words: "got p/a at revision 11 after revision 12", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", two), event("a", one)), events(1, 7, event("a", a3), event("b", b3)))},
		{name: "older than asked for", rules: "watch", words: "before revision 12 from where", h: tell(written, watchFrom(1, 0, 12), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two)))},
		{name: "later than progress said", rules: "watch", words: "before revision 14 from where", h: tell(written, watchFrom(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two)), progress(1, 6, 13), events(1, 7, event("a", a3), event("b", b3)))},
		{name: "not to the end", rules: "watch", words: "ended at revision 12, 2 changes before the end", h: tell(written, lasting(1, 0, 11), created(1, 0, 10),
			events(1, 6, event("a", one), event("a", two)))},
		{name: "of another key", rules: "watch", words: "is of p/", h: tell(lasting(1, 0, 11),
			call(Call{Kind: Put, Revision: 11, Writes: []Write{{Key: "q/a", Value: "1"}}}, 0, 1),
			events(1, 6, Event{Sight: Sight{Key: "q/a", Value: "1", Mod: 11, Create: 11, Version: 1}}))},
		{name: "another value than was written", rules: "store", words: "told in two ways", h: tell(written, lasting(1, 0, 11),
			events(1, 6, event("a", is("2", 11)), event("a", two), event("a", a3), event("b", b3)))},
		{name: "a deletion of nobody", rules: "store", words: "nobody asked for that", h: tell(written, lasting(1, 0, 11),
			events(1, 6, event("a", one), event("a", two), event("a", a3), event("b", b3)), events(1, 8, deleted("a", 14)))},
		{name: "a deletion before it was asked for", rules: "store", words: "nobody asked for that", h: tell(written, lasting(1, 0, 11),
			events(1, 6, event("a", one), event("a", two), event("a", a3), event("b", b3)), events(1, 8, deleted("a", 14)),
			remove(9, 10, "a", 0, is("", 0), unknown))},
		{name: "a deletion without an answer", h: tell(written, lasting(1, 0, 11), remove(6, 7, "a", 0, is("", 0), unknown),
			events(1, 6, event("a", one), event("a", two), event("a", a3), event("b", b3)), events(1, 9, deleted("a", 14)),
			get(10, 11, "a", is("", 0), 14))},
		{name: "a deletion that a watch would have told of", rules: "read linearizable", words: "shows no p/a", h: tell(written,
			remove(6, 7, "a", 0, is("", 0), unknown), lasting(1, 0, 11),
			events(1, 6, event("a", one), event("a", two), event("a", a3), event("b", b3)), progress(1, 9, 14), get(10, 11, "a", is("", 0), 14))},
		{name: "a change that came before it was asked for", rules: "order", words: "was known before it was asked for", h: tell(
			lasting(1, 0, 11), events(1, 1, event("a", one)), put(2, 3, "a", "1", 11))},
	})
}

func TestLeases(t *testing.T) {
	const ttl = 100 * time.Millisecond
	key := under(is("1", 11))
	held := func(h *History) {
		grant(0, 1, ttl)(h)
		put(2, 3, "a", "1", 11, leased)(h)
		lasting(1, 0, 11)(h)
		events(1, 4, event("a", key))(h)
	}
	gone := func(at int) func(*History) { return events(1, at, deleted("a", 12)) }
	// A cluster that answers all the time.
	quiet := func(until int) func(*History) {
		return func(h *History) {
			for at := 5; at < until; at += 100 {
				get(at, at+1, "z", is("", 0), 11)(h)
			}
		}
	}
	check(t, []judgeCase{
		{name: "revoked", h: tell(held, revoke(50, 52), gone(51), get(53, 54, "a", is("", 0), 12))},
		{name: "revoked without an answer", h: tell(held, revoke(50, 52, unknown), get(53, 54, "a", key, 11), gone(55))},
		{name: "expired", h: tell(held, gone(110), get(111, 112, "a", is("", 0), 12))},
		{name: "kept alive and expired", h: tell(held, keepAlive(50, 51, ttl), get(149, 149, "a", key, 11), gone(151))},
		{name: "expired, and a keepalive says so", h: tell(held, keepAlive(110, 111, 0, leaseGone), gone(112))},
		{name: "vanished when a leader went on that had been paused", h: tell(held, gone(80), func(h *History) { h.Pauses = []Pause{{50 * ms, 79 * ms}} })},
		{name: "vanished while a member was paused", rules: "lease", h: tell(held, gone(80), func(h *History) { h.Pauses = []Pause{{50 * ms, 90 * ms}} })},
		{name: "not there before it was put", h: tell(get(0, 1, "a", is("", 0), 10), held, revoke(50, 52), gone(51))},

		{name: "vanished before its time", rules: "lease", words: "p/a was deleted at revision 12 before 0.090s", h: tell(held, gone(90))},
		{name: "vanished though kept alive", rules: "lease", words: "renewed for 100ms at 0.050s", h: tell(held, keepAlive(50, 51, ttl), gone(140))},
		{name: "vanished before the revoke", rules: "lease", words: "not revoked", h: tell(held, gone(40), revoke(50, 52))},
		{name: "vanished, as a read saw", rules: "read lease", words: "found no p/a", h: tell(held, get(40, 41, "a", is("", 0), 11))},
		{name: "vanished, as a put found", rules: "lease", words: "did not find its lease", h: tell(held, put(40, 41, "a", "2", 0, leased, leaseGone))},
		{name: "vanished, as a keepalive found", rules: "lease", words: "did not find its lease", h: tell(held, keepAlive(40, 41, 0, leaseGone))},
		{name: "there after its revoke", rules: "lease", words: "was revoked at 0.052s", h: tell(held, revoke(50, 52), get(53, 54, "a", key, 11))},
		{name: "alive after its revoke", rules: "lease", words: "alive, which was revoked", h: tell(held, revoke(50, 52), gone(51), keepAlive(60, 61, ttl))},
		{name: "there long after its time", rules: "lease", words: "renewed for the last time", h: tell(held, quiet(40000), get(40000, 40001, "a", key, 11))},
		{name: "there long after its time, for the cluster was stopped", h: tell(held, get(40000, 40001, "a", key, 11), get(40050, 40051, "a", key, 11))},
		{name: "without its lease", rules: "store", words: "told in two ways", h: tell(grant(0, 1, ttl), put(2, 3, "a", "1", 11, leased),
			get(4, 5, "a", is("1", 11), 11))},
	})
}
