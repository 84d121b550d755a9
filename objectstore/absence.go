package objectstore

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// How long a store is waited for whose objects are in another one too.
const (
	// answersWithin: a store answers in milliseconds, and one that is busy within seconds.
	answersWithin = 5 * time.Second
	// sendsWithin: what sends nothing for so long, while it is read, has stopped.
	sendsWithin = 10 * time.Second
	// awayFor is how long one that did not answer is not asked again: a restore reads
	// thousands of objects, and must not find that out with each of them.
	awayFor = 15 * time.Second
)

// Absence remembers that a store does not answer, for who can read from another one. It is
// safe for concurrent use; a nil one remembers nothing.
type Absence struct {
	mu    sync.Mutex
	until time.Time
	why   error
}

// Why gives why the store is not to be asked now; nil when it is.
func (a *Absence) Why() error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().After(a.until) {
		return nil
	}
	return a.why
}

// Note remembers the error of a store that does not answer. One that answered, whatever it
// said, is there. What Why gave says nothing new: the store was not asked.
func (a *Absence) Note(err error) {
	var answer minio.ErrorResponse
	if a == nil || !fleet.Is(err, fleet.Unavailable) || errors.As(err, &answer) && answer.StatusCode != 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.why != nil && errors.Is(err, a.why) {
		return
	}
	a.until, a.why = time.Now().Add(awayFor), err
}

// Reading gives a store that is waited for no longer than its answers take, and is not asked
// while it is known not to answer. It is for who can read the same from another store, and for
// short lists.
func (a *Absence) Reading(s Store) Store { return impatient{s, a} }

type impatient struct {
	Store
	absence *Absence
}

func (i impatient) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	callCtx, timed, err := i.begin(ctx)
	if err != nil {
		return nil, err
	}
	r, err := i.Store.Get(callCtx, key)
	if err = i.end(ctx, timed, about(i.String(), key), err); err != nil {
		timed.cancel()
		return nil, err
	}
	return &watched{r: r, of: i, ctx: ctx, timed: timed, resource: about(i.String(), key)}, nil
}

func (i impatient) Stat(ctx context.Context, key string) (Object, error) {
	return asked(ctx, i, about(i.String(), key), func(ctx context.Context) (Object, error) { return i.Store.Stat(ctx, key) })
}

func (i impatient) List(ctx context.Context, prefix string) ([]Object, error) {
	return i.ListAfter(ctx, prefix, "")
}

func (i impatient) ListAfter(ctx context.Context, prefix, after string) ([]Object, error) {
	return asked(ctx, i, about(i.String(), prefix), func(ctx context.Context) ([]Object, error) { return i.Store.ListAfter(ctx, prefix, after) })
}

// asked makes one call that reads.
func asked[T any](ctx context.Context, i impatient, resource string, call func(ctx context.Context) (T, error)) (none T, err error) {
	callCtx, timed, err := i.begin(ctx)
	if err != nil {
		return none, err
	}
	defer timed.cancel()
	value, err := call(callCtx)
	return value, i.end(ctx, timed, resource, err)
}

// timed is a call whose time can run out.
type timed struct {
	cancel context.CancelFunc
	timer  *time.Timer
}

func (i impatient) begin(ctx context.Context) (context.Context, *timed, error) {
	if why := i.absence.Why(); why != nil {
		return nil, nil, why
	}
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &timed{cancel, time.AfterFunc(answersWithin, cancel)}, nil
}

// end says of a call whose time ran out that the store does not answer. That it was stopped
// by its caller says nothing of the store.
func (i impatient) end(ctx context.Context, t *timed, resource string, err error) error {
	ended := !t.timer.Stop()
	switch {
	case ctx.Err() != nil:
		return err
	case ended:
		err = fleet.Errorf(fleet.Unavailable, resource, "no answer within %s", answersWithin)
	}
	i.absence.Note(err)
	return err
}

// watched is a body that must not stop.
type watched struct {
	r        io.ReadCloser
	of       impatient
	ctx      context.Context
	timed    *timed
	resource string
}

// Read counts only the time in which the store is waited for.
func (w *watched) Read(p []byte) (int, error) {
	w.timed.timer.Reset(sendsWithin)
	n, err := w.r.Read(p)
	stopped := !w.timed.timer.Stop()
	if err == nil || errors.Is(err, io.EOF) || w.ctx.Err() != nil {
		return n, err
	}
	if stopped {
		err = fleet.Errorf(fleet.Unavailable, w.resource, "nothing came for %s", sendsWithin)
	}
	w.of.absence.Note(err)
	return n, err
}

// Close ends the reading.
func (w *watched) Close() error {
	err := w.r.Close()
	w.timed.cancel()
	return err
}
