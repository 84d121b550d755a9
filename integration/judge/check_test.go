package judge

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tell makes a small history, with times in milliseconds, of a store whose revision
// was 10 before.
func tell(parts ...func(*History)) *History {
	h := &History{Prefix: "p/", From: 10, Began: time.Unix(1e9, 0)}
	for _, part := range parts {
		part(h)
	}
	return h
}

const ms = time.Millisecond

func call(c Call, from, to int, options ...func(*Call)) func(*History) {
	return func(h *History) {
		c.Start, c.End = time.Duration(from)*ms, time.Duration(to)*ms
		c.Outcome = OK
		if c.Kind.linearizable() {
			c.Member = 1
		}
		if c.If == nil {
			c.Held = true
		}
		for _, option := range options {
			option(&c)
		}
		h.Calls = append(h.Calls, c)
	}
}

func put(from, to int, key, value string, revision int64, options ...func(*Call)) func(*History) {
	return call(Call{Kind: Put, Revision: revision, Writes: []Write{{Key: "p/" + key, Value: value}}}, from, to, options...)
}

func pair(from, to int, a, b string, revision int64, options ...func(*Call)) func(*History) {
	return call(Call{Kind: Pair, Revision: revision, Writes: []Write{{Key: "p/a", Value: a}, {Key: "p/b", Value: b}}}, from, to, options...)
}

func remove(from, to int, key string, revision int64, saw Sight, options ...func(*Call)) func(*History) {
	saw.Key = "p/" + key
	return call(Call{Kind: Delete, Revision: revision, Writes: []Write{{Key: "p/" + key, Delete: true}}, Saw: []Sight{saw}}, from, to, options...)
}

// is is a key that was put once, absent if the revision is zero.
func is(value string, revision int64) Sight {
	if revision == 0 {
		return Sight{}
	}
	return Sight{Value: value, Mod: revision, Create: revision, Version: 1}
}

// again is a key that was put for the nth time.
func again(value string, created, revision, n int64) Sight {
	return Sight{Value: value, Mod: revision, Create: created, Version: n}
}

func get(from, to int, key string, saw Sight, revision int64, options ...func(*Call)) func(*History) {
	saw.Key = "p/" + key
	return call(Call{Kind: Get, Revision: revision, Saw: []Sight{saw}}, from, to, options...)
}

// swap puts if the key is still as it was at a revision.
func swap(from, to int, key, old string, mod int64, value string, revision int64, options ...func(*Call)) func(*History) {
	return call(Call{Kind: Swap, Revision: revision, If: &Condition{Key: "p/" + key, Mod: mod, Value: old},
		Writes: []Write{{Key: "p/" + key, Value: value}}}, from, to, options...)
}

func held(c *Call)        { c.Held = true }
func stale(c *Call)       { c.Kind = Serializable }
func final(c *Call)       { c.Final, c.Range = true, "p/" }
func otherMember(c *Call) { c.Member = 2 }
func client1(c *Call)     { c.Client = 1 }

func unknown(c *Call) { c.failed(Unknown, "context deadline exceeded") }
func refused(c *Call) { c.failed(Refused, "etcdserver: request is too large") }

func (call *Call) failed(outcome Outcome, err string) {
	call.Outcome, call.Error, call.Held, call.Revision, call.Saw, call.Member = outcome, err, false, 0, nil, 0
}

func saw(sights ...Sight) func(*Call) {
	return func(c *Call) {
		c.Saw = nil
		for i, s := range sights {
			s.Key = c.Writes[i].Key
			c.Saw = append(c.Saw, s)
		}
	}
}

func watchFrom(id, at int, revision int64) func(*History) {
	return func(h *History) {
		h.Deliveries = append(h.Deliveries, Delivery{Watch: id, At: time.Duration(at) * ms, Sign: Asked, Prefix: "p/", From: revision})
	}
}

func lasting(id, at int, revision int64) func(*History) {
	return func(h *History) {
		watchFrom(id, at, revision)(h)
		h.Deliveries[len(h.Deliveries)-1].Lasting = true
	}
}

func created(id, at int, revision int64) func(*History) {
	return sign(Delivery{Watch: id, Sign: Created, Revision: revision}, at)
}

func progress(id, at int, revision int64) func(*History) {
	return sign(Delivery{Watch: id, Sign: Progress, Revision: revision}, at)
}

func sign(d Delivery, at int) func(*History) {
	return func(h *History) {
		d.At = time.Duration(at) * ms
		h.Deliveries = append(h.Deliveries, d)
	}
}

func events(id, at int, all ...Event) func(*History) {
	return sign(Delivery{Watch: id, Sign: Events, Revision: all[len(all)-1].Mod, Events: all}, at)
}

func event(key string, s Sight) Event {
	s.Key = "p/" + key
	return Event{Sight: s}
}

func deleted(key string, revision int64) Event {
	return Event{Sight: Sight{Key: "p/" + key, Mod: revision}, Delete: true}
}

func grant(from, to int, ttl time.Duration) func(*History) {
	return call(Call{Kind: Grant, Lease: 7, TTL: ttl, Revision: 10}, from, to)
}

func keepAlive(from, to int, ttl time.Duration, options ...func(*Call)) func(*History) {
	return call(Call{Kind: KeepAlive, Lease: 7, TTL: ttl, Revision: 10}, from, to, options...)
}

func revoke(from, to int, options ...func(*Call)) func(*History) {
	return call(Call{Kind: Revoke, Lease: 7, Revision: 10}, from, to, options...)
}

func leased(c *Call) {
	c.Lease = 7
	for i := range c.Writes {
		c.Writes[i].Lease = 7
	}
}

func leaseGone(c *Call) {
	c.failed(Refused, "etcdserver: requested lease not found")
	c.LeaseGone = true
}

func under(s Sight) Sight { s.Lease = 7; return s }

// judgeCase is a history and what is wrong with it: rules that are broken, none if
// it is fine, and words of a violation.
type judgeCase struct {
	name  string
	h     *History
	rules string
	words string
}

func check(t *testing.T, cases []judgeCase) {
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			var file bytes.Buffer
			require.NoError(t, c.h.Write(&file))
			h, err := Read(&file)
			require.NoError(t, err)
			require.Equal(t, c.h.Calls, h.Calls, "as it was written")
			v := Check(h)
			broken := map[string]bool{}
			for _, text := range v.Violations {
				name, _, _ := strings.Cut(text, ":")
				broken[name] = true
			}
			var rulesBroken []string
			for _, r := range rules {
				if broken[string(r)] {
					rulesBroken = append(rulesBroken, string(r))
				}
			}
			require.Equal(t, c.rules, strings.Join(rulesBroken, " "), "%s", v)
			require.Equal(t, c.rules == "", v.OK())
			require.Contains(t, strings.Join(v.Violations, "\n"), c.words)
		})
	}
}

func TestReadsAndWrites(t *testing.T) {
	check(t, []judgeCase{
		{name: "nothing happened", h: tell()},
		{name: "one after another", h: tell(
			get(0, 1, "a", is("", 0), 10),
			put(2, 3, "a", "1", 11, saw(is("", 0))),
			get(4, 5, "a", is("1", 11), 11),
			swap(6, 7, "a", "1", 11, "2", 12, held, saw(is("1", 11))),
			swap(8, 9, "a", "1", 11, "3", 12, saw(again("2", 11, 12, 2))),
			remove(10, 11, "a", 13, again("2", 11, 12, 2)),
			remove(12, 13, "a", 13, is("", 0)),
			swap(14, 15, "a", "", 0, "4", 14, held),
			get(16, 17, "a", is("4", 14), 14, final),
		)},
		{name: "at the same time, in an order that only revisions tell", h: tell(
			put(0, 9, "a", "1", 12, saw(again("2", 11, 11, 1))),
			put(0, 9, "a", "2", 11, client1),
			get(1, 8, "a", is("", 0), 10),
			get(10, 11, "a", again("1", 11, 12, 2), 12),
		)},
		{name: "a read that lost the race", h: tell(
			put(0, 9, "a", "1", 11), get(1, 8, "a", is("", 0), 10), get(1, 8, "a", is("1", 11), 11),
		)},
		{name: "a stale read, whole", rules: "order linearizable", words: "is stale: revision 11 was known", h: tell(
			put(0, 1, "a", "1", 11), get(2, 3, "a", is("", 0), 10),
		)},
		{name: "a stale read at a fresh revision", rules: "read linearizable", words: "revision 12 (2) is later", h: tell(
			put(0, 1, "a", "1", 11), put(2, 3, "a", "2", 12), get(4, 5, "a", is("1", 11), 12),
		)},
		{name: "a stale read of another key's revision", rules: "order", words: "is stale", h: tell(
			put(0, 1, "a", "1", 11), get(2, 3, "b", is("", 0), 10, client1),
		)},
		{name: "a write that is lost", rules: "read linearizable", words: "the last read, at revision 12, shows p/a of revision 11", h: tell(
			put(0, 1, "a", "1", 11), put(2, 3, "a", "2", 12), get(4, 5, "a", is("1", 11), 12, final),
		)},
		{name: "a key that is lost", rules: "read linearizable", words: "shows no p/a, which was written at revision 11", h: tell(
			put(0, 1, "a", "1", 11), put(2, 3, "b", "2", 12), get(4, 5, "b", is("2", 12), 12, final),
		)},
		{name: "a read from the future", rules: "read order linearizable", words: "revision 12 was known before it was asked for", h: tell(
			get(0, 1, "a", is("1", 12), 11), put(2, 3, "a", "1", 12),
		)},
		{name: "a write that took effect before it was asked for", rules: "order linearizable", words: "took effect at revision 11", h: tell(
			get(0, 1, "a", is("1", 11), 11), put(2, 3, "a", "1", 11),
		)},
		{name: "no answer, and done", h: tell(
			put(0, 1, "a", "1", 0, unknown), get(2, 3, "a", is("1", 11), 11),
		)},
		{name: "no answer, and done much later", h: tell(
			put(0, 1, "a", "1", 0, unknown), get(2, 3, "a", is("", 0), 10), put(4, 5, "a", "2", 11), get(6, 7, "a", again("1", 11, 12, 2), 12),
		)},
		{name: "no answer, and not done", h: tell(
			put(0, 1, "a", "1", 0, unknown), get(2, 3, "a", is("", 0), 10, final),
		)},
		{name: "no answer, and done and undone", rules: "read linearizable", words: "shows no p/a", h: tell(
			put(0, 1, "a", "1", 0, unknown), get(2, 3, "a", is("1", 11), 11), get(4, 5, "a", is("", 0), 11),
		)},
		{name: "no answer, and done against its condition", rules: "linearizable", words: "no order of 3 calls", h: tell(
			put(0, 1, "a", "1", 11), swap(2, 3, "a", "", 0, "2", 0, unknown), get(4, 5, "a", again("2", 11, 12, 2), 12),
		)},
		{name: "a delete without an answer that nobody could see but by the key's absence", h: tell(
			put(0, 1, "a", "1", 11), remove(2, 3, "a", 0, is("", 0), unknown), get(4, 5, "a", is("1", 11), 11), get(6, 7, "a", is("", 0), 12),
		)},
		{name: "a delete without an answer that comes and goes", rules: "linearizable", h: tell(
			put(0, 1, "a", "1", 11), remove(2, 3, "a", 0, is("", 0), unknown), get(4, 5, "a", is("", 0), 12), get(6, 7, "a", is("1", 11), 12),
		)},
		{name: "a condition that was true and could not be", rules: "linearizable", words: "client 0's swap of p/a=2", h: tell(
			put(0, 1, "a", "1", 11), swap(2, 3, "a", "", 0, "2", 12, held), get(4, 5, "a", again("2", 11, 12, 2), 12),
		)},
		{name: "a condition that was false and could not be", rules: "linearizable", h: tell(
			put(0, 1, "a", "1", 11), swap(2, 3, "a", "1", 11, "2", 11, saw(is("1", 11))),
		)},
		{name: "a condition that was false, and the write is there", rules: "store read linearizable", words: "found its condition false", h: tell(
			put(0, 1, "a", "1", 11), swap(2, 3, "a", "", 0, "2", 11, saw(is("1", 11))), get(4, 5, "a", again("2", 11, 12, 2), 12),
			get(6, 7, "a", is("1", 11), 12),
		)},
		{name: "a write that was refused, and is there", rules: "store linearizable", words: "was refused", h: tell(
			put(0, 1, "a", "1", 0, refused), get(2, 3, "a", is("1", 11), 11),
		)},
		{name: "a value of nobody", rules: "store linearizable", words: "which nobody wrote", h: tell(get(0, 1, "a", is("1", 11), 11))},
		{name: "a value in another key", rules: "store linearizable", words: "did not write so", h: tell(
			put(0, 1, "b", "1", 0, unknown), get(2, 3, "a", is("1", 11), 11),
		)},
		{name: "a write done twice", rules: "store linearizable", words: "was written once and is in the store twice", h: tell(
			put(0, 1, "a", "1", 11), get(2, 3, "a", again("1", 11, 12, 2), 12),
		)},
		{name: "an answer with another revision than the store's", rules: "store read linearizable", words: "in the store twice", h: tell(
			put(0, 1, "a", "1", 12), get(2, 3, "a", is("1", 11), 12),
		)},
		{name: "two writes at one revision", rules: "store order", words: "revision 11 is of two calls", h: tell(
			put(0, 1, "a", "1", 11), put(2, 3, "b", "2", 11),
		)},
		{name: "half a transaction", rules: "read linearizable", words: "shows p/a of revision 11", h: tell(
			put(0, 1, "a", "1", 11), pair(2, 3, "2", "3", 12), get(4, 5, "b", is("3", 12), 12), get(6, 7, "a", is("1", 11), 12),
		)},
		{name: "a transaction without an answer at two revisions", rules: "store linearizable", words: "one transaction", h: tell(
			pair(0, 1, "1", "2", 0, unknown), get(2, 3, "a", is("1", 11), 11), get(4, 5, "b", is("2", 12), 12),
		)},
		{name: "a stale read that may be", h: tell(
			put(0, 1, "a", "1", 11), put(2, 3, "a", "2", 12), get(4, 5, "a", is("1", 11), 11, stale, otherMember),
		)},
		{name: "a stale read of what never was", rules: "read", words: "shows no p/a", h: tell(
			put(0, 1, "a", "1", 11), put(2, 3, "a", "2", 12), get(4, 5, "a", is("", 0), 11, stale, otherMember),
		)},
		{name: "a member that goes back in time", rules: "order", words: "went back in time: member 2", h: tell(
			put(0, 1, "a", "1", 11), put(2, 3, "a", "2", 12),
			get(4, 5, "a", again("2", 11, 12, 2), 12, stale, otherMember), get(6, 7, "a", is("1", 11), 11, stale, otherMember, client1),
		)},
		{name: "a version that jumps", rules: "store", words: "a change before it was lost", h: tell(
			lasting(1, 0, 11), put(0, 1, "a", "1", 11), put(2, 3, "a", "2", 12), get(4, 5, "a", again("2", 11, 12, 3), 12),
			events(1, 6, event("a", is("1", 11)), event("a", again("2", 11, 12, 3))),
		)},
	})
}
