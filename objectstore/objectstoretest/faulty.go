package objectstoretest

import (
	"context"
	"io"
	"strings"
	"sync"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Faulty is a real store with faults in front of it. Its fields may be changed with Set
// while it is used; the zero ones do nothing.
type Faulty struct {
	objectstore.Store

	mu     sync.Mutex
	faults Faults
}

// Faults are what a store may do wrong. They hold for keys that contain Key.
type Faults struct {
	Key string
	// Refuse is the error of every call.
	Refuse error
	// Full ends a put with Denied once that many bytes were taken; zero never does.
	Full int64
	// AnswerLost has puts done, and says Unavailable.
	AnswerLost bool
	// Flip alters one bit of the byte at that place, counted from 1, of what is read.
	Flip int64
	// Cut ends what is read after that many bytes, as if that were all.
	Cut int64
	// Pace is called before each piece that is read or taken: it may wait.
	Pace func(ctx context.Context)
}

// Set makes these the faults.
func (s *Faulty) Set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

func (s *Faulty) on(key string) Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.Contains(key, s.faults.Key) {
		return Faults{}
	}
	return s.faults
}

// Put writes, unless a fault is in the way.
func (s *Faulty) Put(ctx context.Context, key string, r io.Reader, size int64) error {
	f := s.on(key)
	if f.Refuse != nil {
		return f.Refuse
	}
	err := s.Store.Put(ctx, key, &faultyReader{ctx: ctx, r: r, pace: f.Pace, full: f.Full}, size)
	if err == nil && f.AnswerLost {
		err = fleet.Errorf(fleet.Unavailable, "object "+key, "the answer was lost")
	}
	return err
}

// PutIfAbsent writes, unless a fault is in the way.
func (s *Faulty) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	f := s.on(key)
	if f.Refuse != nil {
		return f.Refuse
	}
	err := s.Store.PutIfAbsent(ctx, key, data)
	if err == nil && f.AnswerLost {
		err = fleet.Errorf(fleet.Unavailable, "object "+key, "the answer was lost")
	}
	return err
}

// Get reads, altered by the faults.
func (s *Faulty) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	f := s.on(key)
	if f.Refuse != nil {
		return nil, f.Refuse
	}
	r, err := s.Store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{&faultyReader{ctx: ctx, r: r, pace: f.Pace, flip: f.Flip, cut: f.Cut}, r}, nil
}

// List lists, unless a fault is in the way.
func (s *Faulty) List(ctx context.Context, prefix string) ([]objectstore.Object, error) {
	if f := s.on(prefix); f.Refuse != nil {
		return nil, f.Refuse
	}
	return s.Store.List(ctx, prefix)
}

// ListAfter lists, unless a fault is in the way.
func (s *Faulty) ListAfter(ctx context.Context, prefix, after string) ([]objectstore.Object, error) {
	if f := s.on(prefix); f.Refuse != nil {
		return nil, f.Refuse
	}
	return s.Store.ListAfter(ctx, prefix, after)
}

// Delete removes, unless a fault is in the way.
func (s *Faulty) Delete(ctx context.Context, key string) error {
	if f := s.on(key); f.Refuse != nil {
		return f.Refuse
	}
	return s.Store.Delete(ctx, key)
}

type faultyReader struct {
	ctx             context.Context
	r               io.Reader
	n               int64
	pace            func(context.Context)
	full, flip, cut int64
}

func (f *faultyReader) Read(p []byte) (int, error) {
	if f.pace != nil {
		f.pace(f.ctx)
	}
	if f.cut > 0 {
		if f.n >= f.cut {
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), f.cut-f.n)]
	}
	n, err := f.r.Read(p)
	if at := f.flip - 1 - f.n; f.flip > 0 && at >= 0 && at < int64(n) {
		p[at] ^= 1
	}
	f.n += int64(n)
	if f.full > 0 && f.n > f.full {
		return 0, fleet.Errorf(fleet.Denied, "object store", "the disk is full, nothing was stored")
	}
	return n, err
}
