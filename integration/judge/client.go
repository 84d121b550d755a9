package judge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// client is one program that uses the cluster, with a connection of its own.
type client struct {
	run    *Run
	id     int
	etcd   *clientv3.Client
	values atomic.Int64

	mu    sync.Mutex
	known map[string]Sight // as the client last saw them
}

func newClient(r *Run, id int, etcd *clientv3.Client) *client {
	return &client{run: r, id: id, etcd: etcd, known: map[string]Sight{}}
}

// Each goroutine of a client draws from a source of its own, so that what one of
// them asks for does not depend on how fast another one is.
const (
	drawsWrites = iota
	drawsReads
	drawsLeases
	drawsWatches
	drawsCount
)

func (c *client) draw(of int) *rand.Rand {
	return rand.New(rand.NewPCG(c.run.cfg.Seed, uint64(c.id*drawsCount+of)))
}

func (c *client) start(watchCtx context.Context) {
	r := c.run
	c.startWatches(watchCtx)
	r.working.Go(func() { c.begin(r.cfg.Rate, c.write(c.draw(drawsWrites))) })
	r.working.Go(func() { c.begin(r.cfg.ReadRate, c.read(c.draw(drawsReads))) })
	r.working.Go(func() { c.leases(c.draw(drawsLeases)) })
	if c.id == 0 && r.cfg.CompactEvery > 0 {
		r.working.Go(func() { c.every(r.cfg.CompactEvery, c.compact) })
	}
}

func period(rate float64) time.Duration { return time.Duration(float64(time.Second) / rate) }

// every does something again and again until the run is over.
func (c *client) every(period time.Duration, do func()) {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for !c.run.over() {
		do()
		select {
		case <-c.run.quit:
		case <-c.run.ctx.Done():
		case <-tick.C:
		}
	}
}

// begin begins calls at a rate, whether or not earlier ones were answered: a call
// that is lost for seconds then hides nothing of how the cluster serves others, and
// those that would have been made meanwhile count as late.
func (c *client) begin(rate float64, next func() func()) {
	most := int(math.Ceil(rate * c.run.cfg.CallTimeout.Seconds())) // more cannot be under way
	under := make(chan struct{}, most+1)
	c.every(period(rate), func() {
		select {
		case under <- struct{}{}:
			call := next()
			c.run.working.Go(func() { call(); <-under })
		default:
		}
	})
}

// call makes one call and records it. What ask is given it fills with the answer.
func (c *client) call(call Call, ask func(ctx context.Context, call *Call) error) Call {
	ctx, cancel := context.WithTimeout(c.run.ctx, c.run.cfg.CallTimeout)
	defer cancel()
	call.Client, call.Start = c.id, c.run.now()
	err := ask(ctx, &call)
	call.End = c.run.now()
	call.Outcome = outcome(err)
	if err != nil {
		call.Error = brief(err)
		call.LeaseGone = errors.Is(err, rpctypes.ErrLeaseNotFound)
	}
	c.run.record(call)
	c.remember(call)
	return call
}

// outcome says what an error proves. That a connection could not be made proves
// nothing here: which of several tries an error is of cannot be told.
func outcome(err error) Outcome {
	if err == nil {
		return OK
	}
	for _, refusal := range []error{
		rpctypes.ErrLeaseNotFound, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyRequests,
		rpctypes.ErrCompacted, rpctypes.ErrFutureRev, rpctypes.ErrEmptyKey,
	} {
		if errors.Is(err, refusal) {
			return Refused
		}
	}
	return Unknown
}

// ownSide is the client's side of a connection, which is another one each time.
var ownSide = regexp.MustCompile(`tcp \S+->`)

// brief keeps what tells one error from another, for counting.
func brief(err error) string {
	text := ownSide.ReplaceAllString(strings.ReplaceAll(err.Error(), "\n", " "), "tcp ")
	if len(text) > 160 {
		text = text[:160] + "…"
	}
	return text
}

// answered notes an answer's header.
func (call *Call) answered(revision int64, member uint64) {
	call.Held, call.Revision, call.Member = true, revision, member
}

func sight(key string, kv *mvccpb.KeyValue) Sight {
	if kv == nil {
		return Sight{Key: key}
	}
	return Sight{Key: key, Value: string(kv.Value), Mod: kv.ModRevision, Create: kv.CreateRevision, Version: kv.Version, Lease: kv.Lease}
}

func only(kvs []*mvccpb.KeyValue) *mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0]
}

// remember keeps what later conditions are made of.
func (c *client) remember(call Call) {
	if call.Outcome != OK || call.Kind == Serializable {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range call.Saw {
		c.known[s.Key] = s
	}
	if !call.effective() {
		return
	}
	for _, w := range call.Writes {
		s := Sight{Key: w.Key}
		if !w.Delete {
			s.Value, s.Mod = w.Value, call.Revision
		}
		c.known[w.Key] = s
	}
}

func (c *client) seen(key string) Sight {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.known[key]
	s.Key = key
	return s
}

func (r *Run) key(n int) string { return fmt.Sprintf("%sk/%04d", r.cfg.Prefix, n) }

// value gives one that was never written.
func (c *client) value() string { return fmt.Sprintf("c%d-%d", c.id, c.values.Add(1)) }

// write gives changes of some kind, one after another.
func (c *client) write(draw *rand.Rand) func() func() {
	return func() func() {
		n, what := draw.IntN(c.run.cfg.Keys), draw.IntN(100)
		previous, byValue := draw.IntN(2) == 0, draw.IntN(2) == 0
		key, first := c.run.key(n), c.run.key(n&^1)
		// Keys pair up as 0 and 1, 2 and 3 and so on; the last one of an odd number
		// takes the first.
		second := c.run.key(0)
		if n|1 < c.run.cfg.Keys {
			second = c.run.key(n | 1)
		}
		put, other := Write{Key: key, Value: c.value()}, Write{Key: second, Value: c.value()}
		switch {
		case what < 45:
			return func() { c.put(put, previous) }
		case what < 75:
			condition := c.unchanged(key, byValue)
			return func() { c.transact(Swap, condition, previous, put) }
		case what < 85:
			return func() { c.remove(key) }
		}
		put.Key = first
		var condition *Condition
		if what < 93 {
			condition = c.unchanged(first, byValue)
		}
		return func() { c.transact(Pair, condition, previous, put, other) }
	}
}

// unchanged is the condition that a key is as this client saw it last.
func (c *client) unchanged(key string, byValue bool) *Condition {
	s := c.seen(key)
	return &Condition{Key: key, Mod: s.Mod, Value: s.Value, ByValue: byValue && s.Mod != 0}
}

func (c *client) put(w Write, previous bool) {
	opts := []clientv3.OpOption{clientv3.WithLease(clientv3.LeaseID(w.Lease))}
	if previous {
		opts = append(opts, clientv3.WithPrevKV())
	}
	c.call(Call{Kind: Put, Writes: []Write{w}, Lease: w.Lease}, func(ctx context.Context, call *Call) error {
		reply, err := c.etcd.Put(ctx, w.Key, w.Value, opts...)
		if err != nil {
			return err
		}
		call.answered(reply.Header.Revision, reply.Header.MemberId)
		if previous {
			call.Saw = []Sight{sight(w.Key, reply.PrevKv)}
		}
		return nil
	})
}

func (c *client) remove(key string) {
	c.call(Call{Kind: Delete, Writes: []Write{{Key: key, Delete: true}}}, func(ctx context.Context, call *Call) error {
		reply, err := c.etcd.Delete(ctx, key, clientv3.WithPrevKV())
		if err != nil {
			return err
		}
		call.answered(reply.Header.Revision, reply.Header.MemberId)
		call.Saw = []Sight{sight(key, only(reply.PrevKvs))}
		return nil
	})
}

// transact puts if the condition holds, and else looks at what is there.
func (c *client) transact(kind Kind, condition *Condition, previous bool, writes ...Write) Call {
	var then, otherwise []clientv3.Op
	for _, w := range writes {
		opts := []clientv3.OpOption{clientv3.WithLease(clientv3.LeaseID(w.Lease))}
		if previous {
			opts = append(opts, clientv3.WithPrevKV())
		}
		then = append(then, clientv3.OpPut(w.Key, w.Value, opts...))
		otherwise = append(otherwise, clientv3.OpGet(w.Key))
	}
	call := Call{Kind: kind, If: condition, Writes: writes, Lease: writes[0].Lease, Final: kind == Last}
	return c.call(call, func(ctx context.Context, call *Call) error {
		txn := c.etcd.Txn(ctx)
		if condition != nil {
			txn = txn.If(compare(*condition))
		}
		reply, err := txn.Then(then...).Else(otherwise...).Commit()
		if err != nil {
			return err
		}
		call.answered(reply.Header.Revision, reply.Header.MemberId)
		call.Held = reply.Succeeded
		for i, w := range writes {
			switch part := reply.Responses[i]; {
			case !reply.Succeeded:
				call.Saw = append(call.Saw, sight(w.Key, only(part.GetResponseRange().Kvs)))
			case previous:
				call.Saw = append(call.Saw, sight(w.Key, part.GetResponsePut().PrevKv))
			}
		}
		return nil
	})
}

// putAll writes every contended key once more, so that every watch gets something.
func (c *client) putAll() Call {
	var writes []Write
	for n := range c.run.cfg.Keys {
		writes = append(writes, Write{Key: c.run.key(n), Value: c.value()})
	}
	return c.transact(Last, nil, true, writes...)
}

func compare(c Condition) clientv3.Cmp {
	if c.ByValue {
		return clientv3.Compare(clientv3.Value(c.Key), "=", c.Value)
	}
	return clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Mod)
}

// read gives reads of some kind, one after another.
func (c *client) read(draw *rand.Rand) func() func() {
	return func() func() {
		key := c.run.key(draw.IntN(c.run.cfg.Keys))
		switch what := draw.IntN(100); {
		case what < 55:
			return func() { c.get(Get, key) }
		case what < 65:
			return func() { c.getAll(c.run.cfg.Prefix+"k/", false) }
		}
		return func() { c.get(Serializable, key) }
	}
}

func (c *client) get(kind Kind, key string) Call {
	var opts []clientv3.OpOption
	if kind == Serializable {
		opts = append(opts, clientv3.WithSerializable())
	}
	return c.call(Call{Kind: kind, Saw: []Sight{{Key: key}}}, func(ctx context.Context, call *Call) error {
		reply, err := c.etcd.Get(ctx, key, opts...)
		if err != nil {
			return err
		}
		call.answered(reply.Header.Revision, reply.Header.MemberId)
		call.Saw[0] = sight(key, only(reply.Kvs))
		return nil
	})
}

// getAll reads all keys with a prefix.
func (c *client) getAll(prefix string, final bool) Call {
	return c.call(Call{Kind: Get, Range: prefix, Final: final}, func(ctx context.Context, call *Call) error {
		reply, err := c.etcd.Get(ctx, prefix, clientv3.WithPrefix())
		if err != nil {
			return err
		}
		call.answered(reply.Header.Revision, reply.Header.MemberId)
		for _, kv := range reply.Kvs {
			call.Saw = append(call.Saw, sight(string(kv.Key), kv))
		}
		return nil
	})
}

// kept is how many revisions a compaction leaves: fewer than some watches from the
// past ask for, and enough for a lasting watch to find its way back.
const kept = 400

func (c *client) compact() {
	revision := c.run.latest.Load() - kept
	if revision <= c.run.history.From {
		return
	}
	c.call(Call{Kind: Compact}, func(ctx context.Context, call *Call) error {
		call.Revision = revision
		_, err := c.etcd.Compact(ctx, revision)
		return err
	})
}
