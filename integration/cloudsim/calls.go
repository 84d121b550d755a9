package cloudsim

import (
	"context"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is one call that a face got, as it is logged.
type Call struct {
	Action string // of the vendor, as in RunInstances
	// Changes says that it may change something.
	Changes bool
	// Token is its client token, if it has one, and ID the resource that it is about.
	Token, ID string

	At      time.Time
	Refused Code // empty: it was done
	Lost    bool // it was done, and the answer never sent
}

// Reply is a face's answer.
type Reply struct {
	Status      int
	ContentType string
	Header      map[string]string
	Body        []byte
}

// Rate is how often an action may be called: Burst at once, PerSecond after that. A
// zero PerSecond is no limit.
type Rate struct{ Burst, PerSecond float64 }

type bucket struct {
	Rate
	left float64
	at   time.Time
}

// SetRate limits an action; "" limits each action that has no rate of its own,
// all of them together.
func (w *World) SetRate(action string, rate Rate) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rates[action] = &bucket{Rate: rate, left: rate.Burst, at: time.Now()}
}

// take says whether a call is within its rate. w.mu is held.
func (w *World) take(action string) bool {
	b := w.rates[action]
	if b == nil {
		b = w.rates[""]
	}
	if b == nil || b.PerSecond == 0 {
		return true
	}
	now := time.Now()
	b.left = min(b.Burst, b.left+now.Sub(b.at).Seconds()*b.PerSecond)
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// Answer serves one call of a face, whose signature was checked: it suffers the faults
// of calls, is done, logged and answered. refused renders a refusal.
func (w *World) Answer(rw http.ResponseWriter, r *http.Request, call Call, do func() (Reply, error), refused func(*Refusal) Reply) {
	call.At = time.Now()
	err := w.enter(r.Context(), call)
	var reply Reply
	if err == nil {
		reply, err = do()
	}
	if err != nil {
		refusal := Because(err)
		call.Refused, reply = refusal.Code, refused(refusal)
	}
	w.mu.Lock()
	if err == nil {
		call.Lost = w.strikes(LoseAnswer, Target{Action: call.Action, ID: call.ID}) != nil
	}
	w.calls = append(w.calls, call)
	w.mu.Unlock()
	if call.Lost {
		drop(rw)
		return
	}
	for key, value := range reply.Header {
		rw.Header().Set(key, value)
	}
	rw.Header().Set("Content-Type", reply.ContentType)
	rw.WriteHeader(reply.Status)
	_, _ = rw.Write(reply.Body) // the caller is gone if this fails
}

// enter lets a call through, or says which fault it met.
func (w *World) enter(ctx context.Context, call Call) error {
	at := Target{Action: call.Action, ID: call.ID}
	w.mu.Lock()
	slow := w.strikes(Slow, at)
	w.mu.Unlock()
	if slow != nil {
		timer := time.NewTimer(slow.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return refuse(Failing, call.Action, "the caller is gone")
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if f := w.strikes(Throttle, at); f != nil {
		return &Refusal{Code: Throttled, Resource: call.Action, Message: "asked too often, by fault", RetryAfter: f.Delay}
	}
	switch {
	case !w.take(call.Action):
		return refuse(Throttled, call.Action, "asked too often")
	case w.strikes(ServerError, at) != nil:
		return refuse(Failing, call.Action, "by fault")
	case w.strikes(Deny, at) != nil:
		return refuse(NotAllowed, call.Action, "by fault")
	}
	return nil
}

// drop closes a connection without an answer.
func drop(rw http.ResponseWriter) {
	conn, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // which drops it too
	}
	_ = conn.Close()
}

// Calls gives all calls so far.
func (w *World) Calls() []Call {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Call(nil), w.calls...)
}

// Count says how many calls of an action there were, refused ones included; "" counts all.
func (w *World) Count(action string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, c := range w.calls {
		if action == "" || c.Action == action {
			n++
		}
	}
	return n
}

// Done says how often an action was done: what a token was used for again counts once.
func (w *World) Done(action string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, tokens := 0, map[string]bool{}
	for _, c := range w.calls {
		if c.Action != action || c.Refused != "" || c.Token != "" && tokens[c.Token] {
			continue
		}
		n++
		tokens[c.Token] = true
	}
	return n
}

// Bought says how many instances and disks were ever sold.
func (w *World) Bought() (instances, disks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.instances), len(w.disks)
}

// Page gives the part of a list that follows a face's token, and the token of the next
// part; empty at the end. key orders the list and goes up in it, so that what goes from
// the list between two parts moves nothing. ok is false for a token that is none.
func Page[T any](all []T, size int, token string, key func(T) int64) (page []T, next string, ok bool) {
	if token != "" {
		text, err := base64.RawURLEncoding.DecodeString(token)
		last, isPage := strings.CutPrefix(string(text), "after ")
		after, err2 := strconv.ParseInt(last, 10, 64)
		if err != nil || err2 != nil || !isPage {
			return nil, "", false
		}
		all = slices.DeleteFunc(slices.Clone(all), func(v T) bool { return key(v) <= after })
	}
	if size <= 0 || size >= len(all) {
		return all, "", true
	}
	last := strconv.FormatInt(key(all[size-1]), 10)
	return all[:size], base64.RawURLEncoding.EncodeToString([]byte("after " + last)), true
}
