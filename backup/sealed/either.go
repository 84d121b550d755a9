package sealed

import (
	"context"
	"errors"
	"io"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// OpenEither is Open for a snapshot that is stored twice, byte for byte. What the first
// source does not give, or gives altered, is read from the second, from wherever that
// shows: what was given until then is compared with what the second has there, so that
// nothing is given that the second would not. fell is told why, once.
//
// Errors: as of Open. When neither can be read, the one that may pass.
func OpenEither(ctx context.Context, s Snapshot, first, second Source, key Opener, tell func(n int64), fell func(why error)) (io.ReadCloser, error) {
	e := &either{ctx: ctx, is: s, second: second, key: key, tell: tell, fell: fell}
	r, err := Open(ctx, s, first, key, tell)
	if err == nil {
		e.now, _ = r.(*snapshotReader)
	} else if err := e.turn(err); err != nil {
		return nil, err
	}
	return e, nil
}

type either struct {
	ctx    context.Context
	is     Snapshot
	now    *snapshotReader
	second Source // nil once it is read from
	key    Opener
	tell   func(n int64)
	fell   func(why error)
}

// Read gives nothing more after an error.
func (e *either) Read(p []byte) (int, error) {
	for {
		n, err := e.now.Read(p)
		switch {
		case err == nil, errors.Is(err, io.EOF), e.second == nil, e.ctx.Err() != nil:
			return n, err
		case n > 0: // they are counted, and compared by turn
			return n, nil
		}
		if err := e.turn(err); err != nil {
			return 0, err
		}
	}
}

// turn goes on in the second source, behind what was given.
func (e *either) turn(why error) error {
	source, before := e.second, e.now
	e.second = nil
	if e.ctx.Err() != nil {
		return why
	}
	r, err := Open(e.ctx, e.is, source, e.key, e.tell)
	if err != nil {
		return Neither(why, err)
	}
	e.now, _ = r.(*snapshotReader) // which is closed with e, also after an error
	if before != nil {
		_ = before.Close() // it was only read
		if _, err := io.CopyN(io.Discard, e.now, before.plain.n); err != nil {
			return Neither(why, err)
		}
		if !e.now.plain.same(before.plain) {
			return Neither(why, Damaged(e.is.Name, "the two stores have different ones"))
		}
	}
	e.fell(why)
	return nil
}

// Close ends the reading.
func (e *either) Close() error {
	if e.now == nil {
		return nil
	}
	return e.now.Close()
}

// Neither is the error of what neither of two stores gives: of the kind that may pass, if
// one of them is.
func Neither(first, second error) error {
	kind := fleet.KindOf(first)
	if passing(second) && !passing(first) || kind == fleet.NotFound && !fleet.Is(second, fleet.NotFound) {
		kind = fleet.KindOf(second)
	}
	return fleet.Errorf(kind, "", "neither of the two stores gives it: %w; and the second: %w", first, second)
}

func passing(err error) bool {
	return fleet.Is(err, fleet.Unavailable) || fleet.Is(err, fleet.Throttled)
}
