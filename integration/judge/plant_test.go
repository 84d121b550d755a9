package judge

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/etcdadmin/etcdtest"
)

// forged is a copy of a real history, in which a test plants a fault as a cluster
// would have it that lost, repeated or mixed up something.
type forged struct {
	*History
	t *testing.T
}

func forge(t *testing.T, real []byte) forged {
	h, err := Read(bytes.NewReader(real))
	require.NoError(t, err)
	return forged{h, t}
}

// find gives the last call that fits.
func (f forged) find(fits func(*Call) bool) *Call {
	for i := range slices.Backward(f.Calls) {
		if c := &f.Calls[i]; c.Outcome == OK && fits(c) {
			return c
		}
	}
	require.Fail(f.t, "the real history has no such call")
	return nil
}

func contended(c *Call) bool { return len(c.Writes) > 0 && strings.Contains(c.Writes[0].Key, "/k/") }

// before gives a key as it was before a revision, as watches told of it.
func (f forged) before(key string, revision int64) Sight {
	last := Sight{Key: key}
	for _, d := range f.Deliveries {
		for _, e := range d.Events {
			if e.Key == key && e.Mod < revision && e.Mod > last.Mod {
				if last = e.Sight; e.Delete {
					last = Sight{Key: key, Mod: e.Mod}
				}
			}
		}
	}
	if last.Value == "" {
		last.Mod = 0
	}
	return last
}

// next gives the first change of a key after a revision.
func (f forged) next(key string, revision int64) (next Sight) {
	for _, d := range f.Deliveries {
		for _, e := range d.Events {
			if e.Key == key && e.Mod > revision && (next.Mod == 0 || e.Mod < next.Mod) {
				next = e.Sight
			}
		}
	}
	return next
}

// undo makes a write unseen: no watch told of it, and no read saw it.
func (f forged) undo(w Write, revision int64) {
	for i := range f.Deliveries {
		d := &f.Deliveries[i]
		d.Events = slices.DeleteFunc(d.Events, func(e Event) bool { return e.Key == w.Key && e.Mod == revision })
	}
	old := f.before(w.Key, revision)
	for i := range f.Calls {
		for n, s := range f.Calls[i].Saw {
			if s.Key == w.Key && s.Mod == revision {
				f.Calls[i].Saw[n] = old
			}
		}
	}
}

// batch gives a delivery of a watch of everything with events that fit.
func (f forged) batch(fits func([]Event) bool) *Delivery {
	all := map[int]bool{}
	for i := range f.Deliveries {
		d := &f.Deliveries[i]
		if d.Sign == Asked {
			all[d.Watch] = d.Lasting && d.Prefix == f.Prefix
		}
		if d.Sign == Events && all[d.Watch] && i > len(f.Deliveries)/3 && fits(d.Events) {
			return d
		}
	}
	require.Fail(f.t, "the real history has no such events")
	return nil
}

func (f forged) insert(after *Delivery, d Delivery) {
	i := slices.IndexFunc(f.Deliveries, func(x Delivery) bool { return x.Watch == after.Watch && x.At == after.At && x.Sign == after.Sign })
	f.Deliveries = slices.Insert(f.Deliveries, i+1, d)
}

func any1(events []Event) bool { return len(events) > 0 }

// plants are faults, with the rule that must find each and words that it must say.
var plants = []struct {
	name, rule, words string
	plant             func(f forged)
}{
	{"a lost write", "read", "the last read", func(f forged) {
		c := f.find(func(c *Call) bool { return c.Kind == Last })
		f.undo(c.Writes[0], c.Revision)
	}},
	{"a lost write that watches told of", "linearizable", "no order of", func(f forged) {
		c := f.find(func(c *Call) bool { return c.Range == f.Prefix })
		s := &c.Saw[slices.IndexFunc(c.Saw, func(s Sight) bool { return s.Version > 1 && strings.Contains(s.Key, "/k/") })]
		*s = f.before(s.Key, s.Mod)
	}},
	{"a lost write in the middle", "watch", "did not get", func(f forged) {
		n := 0
		c := f.find(func(c *Call) bool { n++; return n > 200 && c.Kind == Put && contended(c) })
		f.undo(c.Writes[0], c.Revision)
	}},
	{"a stale linearizable read", "order", "is stale", func(f forged) {
		c := f.freshRead()
		c.Revision = c.Saw[0].Mod - 1
		c.Saw[0] = f.before(c.Saw[0].Key, c.Saw[0].Mod)
	}},
	{"a stale linearizable read, to porcupine", "linearizable", "no order of", func(f forged) {
		c := f.freshRead()
		c.Revision = c.Saw[0].Mod - 1
		c.Saw[0] = f.before(c.Saw[0].Key, c.Saw[0].Mod)
	}},
	{"a serializable read of what never was", "store", "nobody wrote", func(f forged) {
		// At a revision that did not change its key.
		c := f.find(func(c *Call) bool {
			return c.Kind == Serializable && c.Saw[0].Mod > 0 && f.next(c.Saw[0].Key, c.Saw[0].Mod-2).Mod == c.Saw[0].Mod
		})
		c.Saw[0].Value += "x"
		c.Saw[0].Mod--
	}},
	{"a dropped event", "watch", "did not get", func(f forged) {
		d := f.batch(any1)
		d.Events = d.Events[1:]
	}},
	{"a dropped message", "watch", "did not get", func(f forged) { f.batch(any1).Events = nil }},
	{"an event dropped from all watches", "store", "a change before it was lost", func(f forged) {
		// And no answer tells of it either. Its key was there before and after.
		n := 0
		c := f.find(func(c *Call) bool {
			n++
			return n > 200 && c.Kind == Put && contended(c) && f.before(c.Writes[0].Key, c.Revision).Mod > 0 &&
				f.next(c.Writes[0].Key, c.Revision).Value != ""
		})
		f.undo(c.Writes[0], c.Revision)
		c.failed(Unknown, "context deadline exceeded")
	}},
	{"a duplicated event", "watch", "twice", func(f forged) {
		d := f.batch(any1)
		f.insert(d, *d)
	}},
	{"events in another order", "watch", "after revision", func(f forged) {
		d := f.batch(any1)
		last := d.Events[len(d.Events)-1]
		for i := range f.Deliveries {
			later := &f.Deliveries[i]
			if later.Watch == d.Watch && later.Sign == Events && len(later.Events) > 0 && later.Events[0].Mod > last.Mod {
				d.Events[len(d.Events)-1], later.Events[0] = later.Events[0], last
				return
			}
		}
	}},
	{"a transaction in parts", "watch", "in parts", func(f forged) {
		d := f.batch(func(events []Event) bool { return len(events) == 2 && events[0].Mod == events[1].Mod })
		second := *d
		second.Events, d.Events = d.Events[1:], d.Events[:1]
		f.insert(d, second)
	}},
	{"half a transaction in a read", "read", "is later", func(f forged) {
		c := f.find(func(c *Call) bool {
			return c.Range != "" && slices.ContainsFunc(c.Saw, func(s Sight) bool {
				return s.Version > 1 && strings.Contains(s.Key, "/k/") && len(f.at(s.Mod)) > 1
			})
		})
		s := &c.Saw[slices.IndexFunc(c.Saw, func(s Sight) bool { return s.Version > 1 && strings.Contains(s.Key, "/k/") && len(f.at(s.Mod)) > 1 })]
		*s = f.before(s.Key, s.Mod)
	}},
	{"a leased key that vanished too early", "lease", "not revoked", func(f forged) {
		// The client asked for the revoke only after the key had gone.
		c := f.find(func(c *Call) bool { return c.Kind == Revoke })
		c.Start = c.End + 50*time.Millisecond
		c.End = c.Start + time.Millisecond
	}},
	{"a leased key that outlives its revoke", "lease", "was revoked", func(f forged) {
		revoke := f.find(func(c *Call) bool { return c.Kind == Revoke })
		put := f.find(func(c *Call) bool { return c.Kind == Pair && c.Lease == revoke.Lease })
		read := f.find(func(c *Call) bool {
			return c.Kind == Get && len(c.Saw) == 1 && c.Saw[0].Key == put.Writes[0].Key && c.Start > revoke.End
		})
		read.Saw[0] = f.before(put.Writes[0].Key, put.Revision+1)
	}},
	{"a failed swap that was applied", "store", "found its condition false", func(f forged) {
		c := f.find(func(c *Call) bool { return c.Kind == Swap && c.Held })
		c.Held, c.Saw = false, []Sight{f.before(c.Writes[0].Key, c.Revision+1)}
	}},
	{"a swap that was applied against its condition", "linearizable", "no order of", func(f forged) {
		c := f.find(func(c *Call) bool { return c.Kind == Swap && c.Held && c.If.Mod > 0 })
		c.If.Mod, c.If.Value = 0, ""
	}},
	{"a write done twice", "store", "twice", func(f forged) {
		put := f.find(func(c *Call) bool { return c.Kind == Put && contended(c) })
		for i := range f.Calls {
			if c := &f.Calls[i]; c != put && c.Kind == Put && contended(c) && c.Outcome == OK && c.Start > put.Start/2 {
				value := c.Writes[0].Value
				c.failed(Unknown, "context deadline exceeded")
				f.rename(value, put.Writes[0].Value)
				return
			}
		}
	}},
}

// freshRead is a linearizable read of a key that had been changed before it began,
// by a call that had ended.
func (f forged) freshRead() *Call {
	return f.find(func(c *Call) bool {
		if c.Kind != Get || len(c.Saw) != 1 || c.Saw[0].Version < 2 || !strings.Contains(c.Saw[0].Key, "/k/") {
			return false
		}
		return slices.ContainsFunc(f.Calls, func(w Call) bool {
			return w.Outcome == OK && w.Held && w.Revision == c.Saw[0].Mod && len(w.Writes) > 0 && w.End < c.Start
		})
	})
}

// at gives the keys that changed at a revision.
func (f forged) at(revision int64) map[string]bool {
	keys := map[string]bool{}
	for _, d := range f.Deliveries {
		for _, e := range d.Events {
			if e.Mod == revision {
				keys[e.Key] = true
			}
		}
	}
	return keys
}

// rename puts one value in the place of another wherever clients saw it.
func (f forged) rename(old, value string) {
	for i := range f.Deliveries {
		for n := range f.Deliveries[i].Events {
			if e := &f.Deliveries[i].Events[n]; e.Value == old {
				e.Value = value
			}
		}
	}
	for i := range f.Calls {
		for n := range f.Calls[i].Saw {
			if s := &f.Calls[i].Saw[n]; s.Value == old {
				s.Value = value
			}
		}
	}
}

// TestPlants records what a real member does, which is fine, and plants faults.
func TestPlants(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, etcdtest.V37, 1)
	run := startRun(t, Config{Dial: dial(cluster), Rate: 25, ReadRate: 35, LeaseTTL: 3 * time.Second})
	// Until there is enough of everything for every plant.
	require.Eventually(t, func() bool {
		h := run.History()
		revoked := 0
		for i := range h.Calls {
			if h.Calls[i].Kind == Revoke {
				revoked++
			}
		}
		return revoked > 2 && len(h.Calls) > 1000
	}, patience, 50*time.Millisecond)
	require.True(t, stopRun(t, run).OK(), "without a plant")
	var real bytes.Buffer
	require.NoError(t, run.History().Write(&real))
	require.True(t, Check(forge(t, real.Bytes()).History).OK(), "as read from its file")

	for _, p := range plants {
		t.Run(strings.ReplaceAll(p.name, " ", "-"), func(t *testing.T) {
			f := forge(t, real.Bytes())
			p.plant(f)
			v := Check(f.History)
			require.True(t, slices.ContainsFunc(v.Violations, func(text string) bool {
				return strings.HasPrefix(text, p.rule+":") && strings.Contains(text, p.words)
			}), "expected of rule %s that %q: %s", p.rule, p.words, v)
			t.Log(v.Violations[0])
		})
	}
}
