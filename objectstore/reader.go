package objectstore

import (
	"context"
	"errors"
	"io"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// source is the reader of a Put. It ends with the context, counts what it gave,
// and remembers an error of its own, so that whoever reads the error of the Put
// can tell a broken source from a broken store.
type source struct {
	ctx  context.Context
	r    io.Reader
	size int64 // -1 when unknown
	n    int64
	err  error
}

// errSize says that a source gave another number of bytes than was announced.
var errSize = errors.New("the source gave another number of bytes than was announced")

// Read gives at most the announced size, and errSize instead of an end that
// comes too early or too late.
func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return 0, err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	switch {
	case s.size >= 0 && s.n > s.size, s.size >= 0 && err == io.EOF && s.n < s.size:
		s.err = errSize
		return 0, errSize
	case err != nil && err != io.EOF:
		s.err = err
	}
	return n, err
}

// failure gives the error of a Put that the source is to blame for, or nil.
func (s *source) failure(resource string) error {
	switch {
	case s.err == nil:
		return nil
	case s.ctx.Err() != nil:
		return stopped(resource, s.ctx.Err())
	case errors.Is(s.err, errSize):
		return fleet.Errorf(fleet.Invalid, resource, "%w: %d instead of %d; nothing was stored", errSize, s.n, s.size)
	}
	// Keep the kind that the source gave its error, if it did.
	kind := fleet.KindOf(s.err)
	if kind == "" {
		kind = fleet.Unavailable
	}
	return fleet.Errorf(kind, resource, "what was to be stored could not be read, nothing was stored: %w", s.err)
}

// body is the reader of a Get: it ends with the context and gives its errors a kind.
type body struct {
	ctx      context.Context
	c        io.ReadCloser
	resource string
	explain  func(resource string, err error) error
}

// Read reads on; an error other than io.EOF is a *fleet.Error.
func (b *body) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, stopped(b.resource, err)
	}
	n, err := b.c.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.explain(b.resource, err)
	}
	return n, err
}

// Close ends the reading.
func (b *body) Close() error { return b.c.Close() }
