// Package sealed reads what a backup is stored as: a snapshot as a member streamed it,
// compressed (zstd), then sealed (age), cut into objects. Workers read it from the object
// store, and hosts that restore it from links into that.
//
// Nothing of it may be used before its io.EOF: every digest is compared by then.
package sealed

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// MaxWindow is how far back the compressor of any backup looked at most; more is damage.
const MaxWindow = 8 << 20

// Object is something stored, with the digest of its stored bytes.
type Object struct {
	Key    string      `json:"key"`
	Size   fleet.Bytes `json:"size"`
	SHA256 string      `json:"sha256"`
}

// Snapshot is what is to be read.
type Snapshot struct {
	// Name is what errors call it.
	Name string
	// Objects are what it is stored in, in their order.
	Objects []Object
	// Size and SHA256 are of the database, without the sum behind it.
	Size   fleet.Bytes
	SHA256 string
}

// Source opens an object. fleet.NotFound says that it is missing.
type Source func(ctx context.Context, o Object) (io.ReadCloser, error)

// Opener undoes age's seal, as pki.FleetKey and pki.ObjectKey do.
type Opener interface {
	Open(r io.Reader) (io.Reader, error)
}

// Damaged says that a backup must not be used.
func Damaged(resource, format string, args ...any) error {
	return fleet.Errorf(fleet.Lost, resource, "it is damaged and does not count: %w", fmt.Errorf(format, args...)).
		WithRemedy("use another backup, and have a new one taken")
}

// Open gives the database and the SHA-256 behind it. Nothing of it may be used before its
// io.EOF: an error comes instead when a digest differs. It must be closed. tell is told
// how many bytes were read, unless it is nil. Memory: 32 MiB at most.
//
// Errors, also of the reader: fleet.Lost when anything is missing or altered;
// fleet.Denied when it was sealed with another key; as of the source.
func Open(ctx context.Context, s Snapshot, source Source, key Opener, tell func(n int64)) (io.ReadCloser, error) {
	// Of the objects that follow each other only one is open at a time.
	stored := &objectsReader{ctx: ctx, source: source, resource: s.Name, left: s.Objects}
	opened, err := key.Open(stored)
	if err != nil {
		// An altered header looks like that of another key: the digest tells.
		if fleet.Is(err, fleet.Denied) {
			if _, altered := io.Copy(io.Discard, stored); altered != nil {
				err = altered
			}
		}
		_ = stored.Close() // it was only read
		return nil, explainOpen(s.Name, err)
	}
	z, err := zstd.NewReader(opened, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow),
		zstd.IgnoreChecksum(true)) // there is a stronger one behind the database
	if err != nil {
		_ = stored.Close() // it was only read
		return nil, Damaged(s.Name, "%w", err)
	}
	return &snapshotReader{is: s, plain: NewSumReader(z, tell), z: z, stored: stored}, nil
}

// explainOpen keeps a store's own errors and those of a wrong key, and says of all
// others that the backup is damaged.
func explainOpen(resource string, err error) error {
	var known *fleet.Error
	if errors.As(err, &known) && known.Kind != fleet.Lost {
		return known
	}
	if errors.As(err, &known) && known.Resource == resource {
		return known // it says so already
	}
	return Damaged(resource, "%w", err)
}

// snapshotReader gives the plain snapshot, and its end only when all of it is right.
type snapshotReader struct {
	is     Snapshot
	plain  *SumReader
	z      *zstd.Decoder
	stored *objectsReader
	err    error
}

// Read gives nothing more after an error.
func (s *snapshotReader) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.plain.Read(p)
	switch {
	case s.plain.Size() > int64(s.is.Size):
		err = Damaged(s.is.Name, "it is longer than its manifest says")
	case err == io.EOF: //nolint:errorlint // io.Reader's contract: io.EOF itself
		if err = s.finish(); err == nil {
			err = io.EOF
		}
	case err != nil:
		err = explainOpen(s.is.Name, err)
	}
	s.err = err
	return n, err
}

// finish compares what was read with the manifest.
func (s *snapshotReader) finish() error {
	if _, err := io.Copy(io.Discard, s.stored); err != nil {
		return explainOpen(s.is.Name, err)
	}
	if s.plain.Size() != int64(s.is.Size) || s.plain.Digest() != s.is.SHA256 {
		return Damaged(s.is.Name, "the database is not the one that was stored")
	}
	return nil
}

// Close ends the reading.
func (s *snapshotReader) Close() error {
	s.z.Close()
	return s.stored.Close()
}

// objectsReader reads objects one after another, and compares each with its digest.
type objectsReader struct {
	ctx      context.Context
	source   Source
	resource string
	left     []Object
	open     io.ReadCloser
	read     *DigestReader
}

func (o *objectsReader) Read(p []byte) (int, error) {
	for {
		if o.open == nil {
			if len(o.left) == 0 {
				return 0, io.EOF
			}
			r, err := o.source(o.ctx, o.left[0])
			if err != nil {
				return 0, Missing(o.resource, o.left[0].Key, err)
			}
			o.open, o.read = r, NewDigestReader(r, nil)
		}
		n, err := o.read.Read(p)
		if err == io.EOF { //nolint:errorlint // io.Reader's contract: io.EOF itself
			if !o.read.Is(o.left[0]) {
				return n, Damaged(o.resource, "object %s is not what was stored: it has %d bytes and should have %d",
					o.left[0].Key, o.read.N, int64(o.left[0].Size))
			}
			err = o.Close()
			o.left = o.left[1:]
			if n == 0 && err == nil {
				continue
			}
		}
		return n, err
	}
}

// Close closes the object that is open.
func (o *objectsReader) Close() error {
	if o.open == nil {
		return nil
	}
	r := o.open
	o.open = nil
	return r.Close()
}

// Missing turns "not found" into what it means for a backup.
func Missing(resource, key string, err error) error {
	if fleet.Is(err, fleet.NotFound) {
		return Damaged(resource, "object %s is missing", key)
	}
	return err
}
