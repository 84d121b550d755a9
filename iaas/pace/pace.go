// Package pace keeps one worker from asking a cloud oftener than it answers. It wraps
// an iaas.Provider, whichever cloud is behind it, and holds each call back until its
// turn. All steps of a worker share one pace per region and class of call, so that a
// thousand workflows take turns and do not throttle each other.
//
// The pace adapts as TCP does: it rises by a little with every call that is answered
// and is halved when the cloud says that it was asked too often (fleet.Throttled). The
// delay that the cloud asks for holds back everybody, not just the call that was told.
// A throttled call is not sent again here: whoever called knows whether it still wants to.
package pace

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Class is a group of calls that clouds count together.
type Class string

// The classes. AWS and Alibaba Cloud both count calls that look apart from calls that
// change something, and their run-command services apart from their VMs.
const (
	Read    Class = "read"
	Mutate  Class = "mutate"
	Command Class = "command"
)

// Classes are all classes.
var Classes = []Class{Read, Mutate, Command}

// Limits bound the pace of one class. Rates are calls a second.
type Limits struct {
	Start   float64 // before anything is known of the cloud
	Floor   float64 // however often it throttles
	Ceiling float64 // however well it answers
	Burst   int     // how many may go at once after a pause
	// MaxWaiting is how many calls may wait for their turn; one more is
	// fleet.Throttled at once.
	MaxWaiting int
}

// DefaultLimits begin below what both clouds grant a new account for one region (AWS:
// 20 describes and 2 to 5 changes a second; Alibaba Cloud: hundreds a minute for each
// action) and let the answers say how much more there is.
func DefaultLimits() map[Class]Limits {
	return map[Class]Limits{
		Read:    {Start: 10, Floor: 0.5, Ceiling: 50, Burst: 20, MaxWaiting: 4096},
		Mutate:  {Start: 4, Floor: 0.2, Ceiling: 20, Burst: 5, MaxWaiting: 4096},
		Command: {Start: 5, Floor: 0.5, Ceiling: 30, Burst: 10, MaxWaiting: 4096},
	}
}

const (
	// backoff is what the pace is multiplied by when the cloud throttles.
	backoff = 0.5
	// growth is by how many calls a second the pace rises with each call that is answered:
	// doubling takes 35 s of full use at any pace. A cloud that grants one call a second
	// refuses one in 25 then, and workers that share what it grants come to equal shares.
	growth = 0.02
	// maxPause bounds the delay that a cloud may ask for: a mistaken one must not stop a region.
	maxPause = 5 * time.Minute
)

// Stats are what a class of calls has come to.
type Stats struct {
	Calls     int64         // that were let through
	Throttled int64         // that the cloud refused for being too many
	Waiting   int64         // now
	Waited    time.Duration // by all calls together
	Rate      float64       // calls a second, now
}

// limiter gives turns, in the order in which they were asked for.
type limiter struct {
	limits Limits
	// turn is held by the one call that waits for the bucket. The others wait for turn;
	// the runtime serves them first come, first served.
	turn chan struct{}

	mu      sync.Mutex
	bucket  *rate.Limiter
	resume  time.Time // nobody goes before this
	lowered time.Time // when the pace was last halved
	calls   int64
	refused int64
	waiting int64
	waited  time.Duration
}

func newLimiter(l Limits) *limiter {
	return &limiter{limits: l, turn: make(chan struct{}, 1), bucket: rate.NewLimiter(rate.Limit(l.Start), l.Burst)}
}

// wait lets the caller go when it is its turn, and gives when that was. Errors:
// fleet.Unavailable when the context ends first, fleet.Throttled when too many wait.
func (l *limiter) wait(ctx context.Context, resource string) (time.Time, error) {
	began := time.Now()
	if err := l.enter(resource); err != nil {
		return time.Time{}, err
	}
	defer l.leave(began)
	if ctx.Err() == nil {
		select {
		case l.turn <- struct{}{}:
			defer func() { <-l.turn }()
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		now := time.Now()
		delay := l.take(now)
		if delay <= 0 {
			return now, nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return time.Time{}, fleet.Errorf(fleet.Unavailable, resource, "the call was ended while it waited for its turn: %w", ctx.Err())
}

func (l *limiter) enter(resource string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting >= int64(l.limits.MaxWaiting) {
		after := time.Duration(float64(l.waiting) / float64(l.bucket.Limit()) * float64(time.Second))
		return fleet.Errorf(fleet.Throttled, resource, "%d calls of this worker wait for their turn already", l.waiting).
			WithRetryAfter(min(after, maxPause))
	}
	l.waiting++
	return nil
}

func (l *limiter) leave(began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	l.waited += time.Since(began)
}

// take takes a turn if there is one now, and else says how long to wait before asking
// again. It reserves nothing: the pace may change until then.
func (l *limiter) take(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delay := l.resume.Sub(now); delay > 0 {
		return delay
	}
	r := l.bucket.ReserveN(now, 1)
	if delay := r.DelayFrom(now); delay > 0 {
		r.CancelAt(now)
		return delay
	}
	l.calls++
	return 0
}

// learn adapts the pace to the answer of a call that went at sent.
func (l *limiter) learn(sent time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, limit := time.Now(), float64(l.bucket.Limit())
	switch {
	case fleet.Is(err, fleet.Throttled):
		l.refused++
		if resume := now.Add(min(retryAfter(err), maxPause)); resume.After(l.resume) {
			l.resume = resume
		}
		// Calls that were on their way when the pace was halved tell nothing new.
		if sent.Before(l.lowered) {
			return
		}
		l.lowered = now
		l.bucket.SetLimitAt(now, rate.Limit(max(limit*backoff, l.limits.Floor)))
		if left := int(l.bucket.TokensAt(now)); left > 0 {
			l.bucket.AllowN(now, left) // no burst right after being told to slow down
		}
	case fleet.Is(err, fleet.Unavailable):
		// No answer says nothing of how often one may ask.
	default:
		l.bucket.SetLimitAt(now, rate.Limit(min(limit+growth, l.limits.Ceiling)))
	}
}

func (l *limiter) stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Stats{Calls: l.calls, Throttled: l.refused, Waiting: l.waiting, Waited: l.waited, Rate: float64(l.bucket.Limit())}
}
