package backup

import (
	"context"
	"io"

	"github.com/klauspost/compress/zstd"
)

// frame is what is compressed by itself: zstd's largest block. The likes of a key are on its
// page, and on those beside it. Half as much at a time takes half as much again of the
// processor where objects are alike and some kilobytes long, as those of Kubernetes are, and
// is stored as a quarter more; of small ones with identifiers of their own it takes a tenth
// less.
const frame = 128 << 10

// sealer compresses what is written to it, and has it sealed.
type sealer struct {
	into io.WriteCloser
	z    *zstd.Encoder
	out  []byte
}

func (v Vault) sealer(into io.Writer) (*sealer, error) {
	age, err := v.Key.Seal(into)
	if err != nil {
		return nil, err
	}
	z, err := compressor(1)
	if err != nil {
		return nil, err
	}
	return &sealer{into: age, z: z}, nil
}

// compressor gives one that so many may use at once.
func compressor(users int) (*zstd.Encoder, error) {
	// The fastest level: a backup shares its cores with others. Without a checksum of
	// zstd's: there is that of age behind it, and that of the database before.
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(frame),
		zstd.WithEncoderConcurrency(users), zstd.WithEncoderCRC(false))
}

// Write makes a frame of as much as there is, up to the size of one.
func (s *sealer) Write(p []byte) (done int, err error) {
	for done < len(p) && err == nil {
		next := p[done:min(done+frame, len(p))]
		s.out = s.z.EncodeAll(next, s.out[:0])
		_, err = s.into.Write(s.out)
		done += len(next)
	}
	return done, err
}

// Close ends the seal: without it, what was written cannot be opened to its end.
func (s *sealer) Close() error { return s.into.Close() }

// frames are on their way from who reads a stream to who seals it, so that reading,
// compressing and sealing are done at once. One that is sealed is filled again.
type frames struct {
	empty, filled chan *chunk
	// inOrder has those that are filled, as they came, compressed or not yet.
	inOrder chan *chunk
}

// chunk of a stream, and the frame that is made of it.
type chunk struct {
	plain, compressed []byte
	done              chan struct{} // has one when it is compressed
}

const (
	// ahead is how many chunks are read that are not sealed yet.
	ahead = 16
	// compressing is how many are compressed at once. It is what takes longest: one alone,
	// whose core others use too, would have all the others wait for it.
	compressing = 2
)

func newFrames() frames {
	f := frames{make(chan *chunk, ahead), make(chan *chunk, ahead), make(chan *chunk, ahead)}
	for range ahead {
		f.empty <- &chunk{plain: make([]byte, frame), done: make(chan struct{}, 1)}
	}
	return f
}

// fill reads all of r. Its end is passed on only if there was no error.
func (f frames) fill(ctx context.Context, r io.Reader) error {
	for {
		p, err := next(ctx, f.empty)
		if err != nil {
			return err
		}
		n, err := whole{r}.Read(p.plain[:frame])
		if n > 0 {
			p.plain = p.plain[:n]
			f.inOrder <- p // there is room for all there are
			f.filled <- p
		}
		if err == io.EOF { //nolint:errorlint // io.Reader's contract: one that is wrapped is no end
			close(f.inOrder)
			close(f.filled)
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// compress makes frames of what was read, unless ctx ends first.
func (f frames) compress(ctx context.Context, z *zstd.Encoder) {
	for {
		p, _ := next(ctx, f.filled)
		if p == nil {
			return
		}
		p.compressed = z.EncodeAll(p.plain, p.compressed[:0])
		p.done <- struct{}{}
	}
}

// drain writes the frames of all that was read, unless ctx ends first.
func (f frames) drain(ctx context.Context, into io.Writer) error {
	for {
		p, err := next(ctx, f.inOrder)
		if p == nil {
			return err
		}
		if _, err := next(ctx, p.done); err != nil {
			return err
		}
		if _, err := into.Write(p.compressed); err != nil {
			return err
		}
		f.empty <- p
	}
}

// next gives what comes next, and nothing at the end.
func next[T any](ctx context.Context, from <-chan T) (t T, err error) {
	select {
	case t = <-from:
	case <-ctx.Done():
		err = ctx.Err()
	}
	return t, err
}

// whole reads as much as there is room for, so that what follows works on few large
// pieces instead of many small ones.
type whole struct{ r io.Reader }

func (w whole) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var more int
		more, err = w.r.Read(p[n:])
		n += more
	}
	return n, err
}
