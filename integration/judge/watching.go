package judge

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

const (
	// progressEvery is how often a watch asks how far it has come.
	progressEvery = time.Second
	// silence is how long a watch may get nothing, not even that, before it is
	// given up and asked for again: the member it is at may be dead in a way that
	// its connection does not show yet.
	silence = 5 * time.Second
	// pastEvery is about how often a client looks into the past.
	pastEvery = 1500 * time.Millisecond
	// past is how far back that goes, in revisions.
	past = 600
)

// watch is one watch as a program has it: asked for again from where it was, as
// often as it breaks.
type watch struct {
	client        *client
	id            int
	prefix        string
	from          int64 // the next revision; zero for from now
	lasting       bool
	requireLeader bool
	// alone: it has a stream of its own, and asks how far it has come. Others
	// share streams, as those of one program do, and only get what happens. On a
	// shared stream etcd may tell a new watch of progress that it told of before
	// that watch was there, ahead of what the watch has yet to get.
	alone    bool
	attempts int
	reached  atomic.Int64 // everything up to here has come
}

func (c *client) newWatch(prefix string, from int64, lasting bool, draw *rand.Rand) *watch {
	return &watch{
		client: c, id: int(c.run.watches.Add(1)), prefix: prefix, from: from, lasting: lasting,
		requireLeader: draw.IntN(2) == 0, alone: draw.IntN(2) == 0,
	}
}

// startWatches begins two lasting watches, and looks into the past now and then.
// The first client's begins at the very first revision, so that nothing is without
// a witness.
func (c *client) startWatches(ctx context.Context) {
	r := c.run
	draw := c.draw(drawsWatches)
	var from int64
	if c.id == 0 {
		from = r.history.From + 1
	}
	all := c.newWatch(r.cfg.Prefix, from, true, draw)
	one := c.newWatch(r.key(draw.IntN(r.cfg.Keys)), 0, true, draw)
	for _, w := range []*watch{all, one} {
		r.lasting = append(r.lasting, w)
		r.watching.Go(func() { w.follow(ctx, 0) })
	}
	r.watching.Go(func() { c.lookBack(ctx, draw) })
}

// lookBack watches from a past revision, until it has what was there when it began.
func (c *client) lookBack(ctx context.Context, draw *rand.Rand) {
	for c.idle(pastEvery/2 + time.Duration(draw.Int64N(int64(pastEvery)))) {
		back, prefix := draw.Int64N(past), c.run.cfg.Prefix
		if draw.IntN(3) == 0 {
			prefix = c.run.key(draw.IntN(c.run.cfg.Keys))
		}
		until := c.run.latest.Load()
		w := c.newWatch(prefix, max(c.run.history.From+1, until-back), false, draw)
		w.follow(ctx, until)
		if c.run.over() {
			return
		}
	}
}

// follow watches until the context ends, or until everything up to a revision has
// come if one is given.
func (w *watch) follow(ctx context.Context, until int64) {
	for w.attempt(ctx, until) {
		if !pause(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// attempt asks for the watch once, and follows it until it breaks. It is true if it
// is to be asked for again.
func (w *watch) attempt(asked context.Context, until int64) bool {
	r := w.client.run
	ctx, cancel := context.WithCancel(asked)
	defer cancel()
	mute := time.AfterFunc(silence, cancel)
	defer mute.Stop()
	if w.requireLeader {
		ctx = clientv3.WithRequireLeader(ctx)
	}
	if w.alone { // clientv3 has one stream for each set of metadata
		w.attempts++
		ctx = metadata.AppendToOutgoingContext(ctx, "judge-watch", fmt.Sprintf("%d/%d", w.id, w.attempts))
	}
	w.deliver(Delivery{Sign: Asked, Prefix: w.prefix, From: w.from, Lasting: w.lasting})
	opts := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithCreatedNotify()}
	if w.from > 0 {
		opts = append(opts, clientv3.WithRev(w.from))
	}
	answers := w.client.etcd.Watch(ctx, w.prefix, opts...)
	if w.alone {
		r.watching.Go(func() { w.askProgress(ctx, until) })
	}
	for answer := range answers {
		mute.Reset(silence)
		w.take(answer)
		if until > 0 && w.reached.Load() >= until {
			w.deliver(Delivery{Sign: Ended})
			return false
		}
		if answer.Err() != nil {
			return true
		}
	}
	if asked.Err() != nil {
		w.deliver(Delivery{Sign: Ended})
		return false
	}
	w.deliver(Delivery{Sign: Broken, Error: "ended without a reason, or was silent for " + silence.String()})
	return true
}

// take records one answer, and remembers from where to go on.
func (w *watch) take(answer clientv3.WatchResponse) {
	d := Delivery{Revision: answer.Header.GetRevision()}
	switch err := answer.Err(); {
	case err != nil:
		d.Sign, d.Error = Broken, brief(err)
		if errors.Is(err, rpctypes.ErrCompacted) {
			d.Compacted = answer.CompactRevision
			w.from = max(w.from, answer.CompactRevision)
		}
		w.deliver(d)
		return
	case answer.Created:
		d.Sign = Created
		if w.from == 0 {
			w.from = d.Revision + 1
			w.reached.Store(d.Revision)
		}
	case answer.IsProgressNotify():
		d.Sign = Progress
		w.reach(d.Revision)
		w.from = max(w.from, d.Revision+1)
	default:
		d.Sign = Events
		for _, e := range answer.Events {
			d.Events = append(d.Events, Event{Sight: sight(string(e.Kv.Key), e.Kv), Delete: e.Type == mvccpb.Event_DELETE})
			w.reach(e.Kv.ModRevision)
			// Also back: a watch from now may begin before its creation's revision.
			w.from = e.Kv.ModRevision + 1
		}
	}
	w.deliver(d)
}

func (w *watch) reach(revision int64) {
	w.reached.Store(max(revision, w.reached.Load()))
}

func (w *watch) deliver(d Delivery) {
	d.Watch, d.Client = w.id, w.client.id
	w.client.run.deliver(d)
}

// askProgress asks how far the watch has come: seldom, and often while somebody
// waits for it.
func (w *watch) askProgress(ctx context.Context, until int64) {
	const patience = 50 * time.Millisecond
	for n := 1; pause(ctx, patience); n++ {
		if w.reached.Load() >= until && time.Duration(n)*patience%progressEvery != 0 {
			continue
		}
		// It waits while the stream is being made again.
		ctx, cancel := context.WithTimeout(ctx, progressEvery)
		_ = w.client.etcd.RequestProgress(ctx)
		cancel()
	}
}
