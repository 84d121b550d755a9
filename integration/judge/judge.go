// Package judge finds out what the clients of a cluster notice while something is
// done to it. It has a workload, which records every call of several clients with
// its times and outcome, and a checker of that record (Check), which knows nothing
// but what the clients asked and were told.
//
// The workload: puts, deletes, conditional transactions, transactions over two
// keys, linearizable and serializable reads, leases that are kept alive, revoked or
// left to expire, and watches, from now and from past revisions, that are asked for
// again where they broke. Every value is written once, so that a write which is
// lost, done twice or seen too early is told apart from all others.
//
// The checker holds the record against what etcd promises (its page "KV API
// guarantees"): linearizable.go per key by porcupine, order.go across keys by real
// time, ledger.go by revisions, watches.go for watches, leases.go for leases.
// stalls.go says how long clients waited, which is no violation of anything.
//
// It disturbs nothing itself, and it is for tests and benchmarks alone.
package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Config says who the clients are and how much they do. Zero values mean the
// defaults.
type Config struct {
	// Dial gives a client of its own to each caller. Run closes it.
	Dial func(ctx context.Context) (*clientv3.Client, error)
	// Endpoints says which endpoints clients should use now. It is asked every
	// EndpointsEvery (200 ms), and all clients follow. Nil: they stay as they are.
	Endpoints      func(ctx context.Context) ([]string, error)
	EndpointsEvery time.Duration

	// Clients is how many there are (4). Each writes, reads, holds a lease and
	// watches, at the same time.
	Clients int
	// Rate is how many writes per second each client begins (20), and ReadRate how
	// many reads (20), however long the ones before take.
	Rate, ReadRate float64
	// Keys is how many keys they contend for (12), from 2 to 100.
	Keys int
	// Prefix of all keys; by default one that no other run has.
	Prefix string
	// Seed decides who asks for what; zero takes a new one.
	Seed uint64

	// CallTimeout ends a call without an answer (5 s). Longer than an election.
	CallTimeout time.Duration
	// LeaseTTL is what leases ask for (5 s); etcd grants no less than one and a
	// half election timeouts.
	LeaseTTL time.Duration
	// CompactEvery is how often the first client compacts (never), so that watches
	// from the past find nothing there.
	CompactEvery time.Duration
	// CatchUp is how long Stop lets the cluster take to answer the last read, and
	// watches to get everything (30 s).
	CatchUp time.Duration
	// MaxCalls bounds the record (200000, for which some 1 GB is needed while it is
	// judged). The clients end there, and the verdict says so.
	MaxCalls int
	// Filler is a load that Fill left and that must be there at the end.
	Filler *Filler
	// Log gets a line now and then; nil for none.
	Log func(format string, args ...any)
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.Dial == nil {
		return cfg, errors.New("a judge needs a way to dial the cluster")
	}
	cfg.EndpointsEvery = cmp.Or(cfg.EndpointsEvery, 200*time.Millisecond)
	cfg.Clients = cmp.Or(cfg.Clients, 4)
	cfg.Rate = cmp.Or(cfg.Rate, 20)
	cfg.ReadRate = cmp.Or(cfg.ReadRate, 20)
	cfg.Keys = cmp.Or(cfg.Keys, 12)
	cfg.Prefix = cmp.Or(cfg.Prefix, fmt.Sprintf("judge/%x/", time.Now().UnixNano()))
	cfg.Seed = cmp.Or(cfg.Seed, rand.Uint64())
	cfg.CallTimeout = cmp.Or(cfg.CallTimeout, 5*time.Second)
	cfg.LeaseTTL = cmp.Or(cfg.LeaseTTL, 5*time.Second)
	cfg.CatchUp = cmp.Or(cfg.CatchUp, 30*time.Second)
	cfg.MaxCalls = cmp.Or(cfg.MaxCalls, 200_000)
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	if cfg.Clients < 1 || cfg.Keys < 2 || cfg.Keys > 100 || cfg.Rate <= 0 || cfg.ReadRate <= 0 {
		return cfg, fmt.Errorf("a judge needs clients, rates and 2 to 100 keys: %d, %g and %g, %d", cfg.Clients, cfg.Rate, cfg.ReadRate, cfg.Keys)
	}
	return cfg, nil
}

// Run is a workload that goes on.
type Run struct {
	cfg     Config
	ctx     context.Context // of everything
	cancel  context.CancelFunc
	quit    chan struct{} // closed: begin nothing new
	working sync.WaitGroup
	// watchers end after the others.
	watching    sync.WaitGroup
	endWatching context.CancelFunc

	clients []*client
	lasting []*watch
	latest  atomic.Int64 // the newest revision that anybody was told of
	watches atomic.Int64

	mu      sync.Mutex
	history History
	full    bool

	stopping sync.Once
	stopped  error
}

// Start dials and begins, and returns when every client is there. The run ends by
// Stop; that ctx ends before is an accident that the verdict tells of.
func Start(ctx context.Context, cfg Config) (*Run, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Run{cfg: cfg, quit: make(chan struct{}), history: History{Seed: cfg.Seed, Began: time.Now(), Prefix: cfg.Prefix}}
	r.ctx, r.cancel = context.WithCancel(ctx)
	cfg.Log("judge: seed %d, %d clients, keys %s", cfg.Seed, cfg.Clients, cfg.Prefix)
	for id := range cfg.Clients {
		etcd, err := cfg.Dial(ctx)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("client %d of the judge: %w", id, err)
		}
		r.clients = append(r.clients, newClient(r, id, etcd))
	}
	if err := r.look(); err != nil {
		r.close()
		return nil, err
	}
	watchCtx, endWatching := context.WithCancel(r.ctx)
	r.endWatching = endWatching
	for _, c := range r.clients {
		c.start(watchCtx)
	}
	if cfg.Endpoints != nil {
		r.working.Go(r.follow)
	}
	return r, nil
}

// look finds the revision before the first call, and that the prefix is empty. Every
// client asks: one that has not connected yet must not be given endpoints, because
// clientv3 guards neither against the other (SetEndpoints and its resolver's Build).
func (r *Run) look() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.CallTimeout)
	defer cancel()
	var reply *clientv3.GetResponse
	for _, c := range r.clients {
		var err error
		reply, err = c.etcd.Get(ctx, r.cfg.Prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return fmt.Errorf("the judge's first read: %w", err)
		}
	}
	if reply.Count > 0 {
		return fmt.Errorf("there are %d keys under %s of an earlier run: the judge needs a prefix of its own", reply.Count, r.cfg.Prefix)
	}
	r.history.From = reply.Header.Revision
	r.saw(reply.Header.Revision)
	return nil
}

// follow gives the clients the endpoints that they should use, as a user's program
// does who asks for them.
func (r *Run) follow() {
	var known []string
	failing := false
	tick := time.NewTicker(r.cfg.EndpointsEvery)
	defer tick.Stop()
	for {
		ctx, cancel := context.WithTimeout(r.ctx, r.cfg.CallTimeout)
		endpoints, err := r.cfg.Endpoints(ctx)
		cancel()
		endpoints = slices.Clone(endpoints)
		slices.Sort(endpoints)
		if err == nil && len(endpoints) > 0 && !slices.Equal(endpoints, known) {
			known = endpoints
			for _, c := range r.clients {
				c.etcd.SetEndpoints(endpoints...)
			}
			r.note(false, "clients use %v", endpoints)
		}
		if err != nil && !failing {
			r.note(false, "which endpoints to use is not known: %v", err)
		}
		failing = err != nil
		select {
		case <-r.quit:
			return
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Seed is what the run's choices come from.
func (r *Run) Seed() uint64 { return r.cfg.Seed }

// Stop ends the clients, writes and reads everything once more, and waits until the
// watches have got it. It returns when nothing of the run is left, with an
// error if the cluster did not let it end well, which the verdict says too.
func (r *Run) Stop() error {
	r.stopping.Do(func() { r.stopped = r.stop() })
	return r.stopped
}

func (r *Run) stop() error {
	defer r.close()
	r.ended()
	close(r.quit)
	r.working.Wait()
	if err := r.ctx.Err(); err != nil {
		return r.fail("the run was ended before its time: %v", err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.CatchUp)
	defer cancel()
	last, err := r.finally(ctx, (*client).putAll)
	if err != nil {
		return r.fail("the last write of all keys got no answer within %s: %v", r.cfg.CatchUp, err)
	}
	if _, err = r.finally(ctx, func(c *client) Call { return c.getAll(r.cfg.Prefix, true) }); err != nil {
		return r.fail("the last read of all keys got no answer within %s: %v", r.cfg.CatchUp, err)
	}
	err = r.awaitWatches(ctx, last.Revision)
	if r.cfg.Filler != nil {
		if lost := r.cfg.Filler.Verify(ctx, r.clients[0].etcd); lost != nil {
			err = errors.Join(err, r.fail("%v", lost))
		}
	}
	return err
}

// finally makes a call until it is answered, by one client after another.
func (r *Run) finally(ctx context.Context, do func(*client) Call) (Call, error) {
	for n := 0; ; n++ {
		call := do(r.clients[n%len(r.clients)])
		if call.Outcome == OK {
			return call, nil
		}
		if !pause(ctx, 50*time.Millisecond) {
			return call, errors.New(call.Error)
		}
	}
}

func (r *Run) awaitWatches(ctx context.Context, revision int64) error {
	for {
		behind := slices.IndexFunc(r.lasting, func(w *watch) bool { return w.reached.Load() < revision })
		if behind < 0 {
			return nil
		}
		if !pause(ctx, 20*time.Millisecond) {
			w := r.lasting[behind]
			return r.fail("watch %d of client %d had come to revision %d %s after the last write, at revision %d",
				w.id, w.client.id, w.reached.Load(), r.cfg.CatchUp, revision)
		}
	}
}

// pause waits, unless the context ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (r *Run) close() {
	if r.endWatching != nil {
		r.endWatching()
	}
	r.watching.Wait()
	r.cancel()
	for _, c := range r.clients {
		_ = c.etcd.Close() // its context ends with it
	}
}

// Stalls says how long clients waited between two moments, also while the run goes
// on.
func (r *Run) Stalls(from, to time.Time) Stalls { return r.History().Stalls(from, to) }

// Verdict judges the history. Before Stop it takes what is missing for lost.
func (r *Run) Verdict() Verdict { return Check(r.History()) }
