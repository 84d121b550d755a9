package judge

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Paused notes that a member is stopped without being ended (SIGSTOP, a frozen VM),
// until what it returns is called, as soon as the member goes on. A leader that goes
// on after that may end leases that its successor keeps alive: it sees them as expired
// before it sees that it does not lead any more (etcdserver's revokeExpiredLeases
// trusts a member whose clock has just ticked; etcd-io/etcd#15247). The verdict tells
// of such leases as excused.
func (r *Run) Paused() (resumed func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.history.Pauses)
	r.history.Pauses = append(r.history.Pauses, Pause{From: r.now(), To: math.MaxInt64})
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.history.Pauses[n].To = r.now()
	}
}

// History gives a copy of what was recorded so far.
func (r *Run) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.history
	h.Calls = slices.Clone(h.Calls)
	h.Deliveries = slices.Clone(h.Deliveries)
	h.Notes = slices.Clone(h.Notes)
	h.Pauses = slices.Clone(h.Pauses)
	return &h
}

func (r *Run) now() time.Duration { return time.Since(r.history.Began) }

// saw remembers the newest revision.
func (r *Run) saw(revision int64) {
	for {
		known := r.latest.Load()
		if revision <= known || r.latest.CompareAndSwap(known, revision) {
			return
		}
	}
}

func (r *Run) record(call Call) {
	r.saw(call.Revision)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Calls = append(r.history.Calls, call)
	if len(r.history.Calls) >= r.cfg.MaxCalls && !r.full {
		r.full, r.history.Quit = true, r.now()
		r.history.Notes = append(r.history.Notes, Note{At: r.now(), Failed: true,
			Text: fmt.Sprintf("the clients ended early, after %d calls, which is all that may be recorded", r.cfg.MaxCalls)})
	}
}

func (r *Run) deliver(d Delivery) {
	d.At = r.now()
	r.saw(d.Revision)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Deliveries = append(r.history.Deliveries, d)
}

func (r *Run) note(failed bool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.cfg.Log("judge: %s", text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.Notes = append(r.history.Notes, Note{At: r.now(), Text: text, Failed: failed})
}

func (r *Run) fail(format string, args ...any) error {
	r.note(true, format, args...)
	return fmt.Errorf(format, args...)
}

// ended notes when nothing new began any more.
func (r *Run) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.history.Quit == 0 {
		r.history.Quit = r.now()
	}
}

// over says that nothing new is to begin.
func (r *Run) over() bool {
	select {
	case <-r.quit:
		return true
	case <-r.ctx.Done():
		return true
	default:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.full
	}
}
