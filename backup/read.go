package backup

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Open gives the snapshot of a backup as a member streamed it: the database and the
// SHA-256 behind it. Nothing of it may be used before its io.EOF: every digest is
// compared by then, and an error comes instead when one differs. It must be closed.
//
// Errors, also of the reader: fleet.Lost when anything is missing or altered;
// fleet.Denied when it was sealed with another key; as of the store.
func (v Vault) Open(ctx context.Context, m Manifest, tell Tell) (io.ReadCloser, error) {
	// Of the objects that follow each other only one is open at a time.
	stored := &objectsReader{ctx: ctx, vault: v, resource: m.String(), left: m.Objects}
	opened, err := v.Key.Open(stored)
	if err != nil {
		// An altered header looks like that of another key: the digest tells.
		if fleet.Is(err, fleet.Denied) {
			if _, altered := io.Copy(io.Discard, stored); altered != nil {
				err = altered
			}
		}
		_ = stored.Close() // it was only read
		return nil, explainOpen(m.String(), err)
	}
	z, err := zstd.NewReader(opened, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8*window))
	if err != nil {
		_ = stored.Close() // it was only read
		return nil, damaged(m.String(), "%w", err)
	}
	return &snapshotReader{m: m, plain: newSumReader(z, tell.of("reading")), z: z, stored: stored}, nil
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
	return damaged(resource, "%w", err)
}

// snapshotReader gives the plain snapshot, and its end only when all of it is right.
type snapshotReader struct {
	m      Manifest
	plain  *sumReader
	z      *zstd.Decoder
	stored *objectsReader
	err    error
}

func (s *snapshotReader) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.plain.Read(p)
	switch {
	case s.plain.size() > int64(s.m.Size):
		err = damaged(s.m.String(), "it is longer than its manifest says")
	case err == io.EOF: //nolint:errorlint // io.Reader's contract: io.EOF itself
		if err = s.finish(); err == nil {
			err = io.EOF
		}
	case err != nil:
		err = explainOpen(s.m.String(), err)
	}
	s.err = err
	return n, err
}

// finish compares what was read with the manifest.
func (s *snapshotReader) finish() error {
	if _, err := io.Copy(io.Discard, s.stored); err != nil {
		return explainOpen(s.m.String(), err)
	}
	if s.plain.size() != int64(s.m.Size) || s.plain.digest() != s.m.SHA256 {
		return damaged(s.m.String(), "the database is not the one that was stored")
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
	vault    Vault
	resource string
	left     []Object
	open     io.ReadCloser
	read     *digestReader
}

func (o *objectsReader) Read(p []byte) (int, error) {
	for {
		if o.open == nil {
			if len(o.left) == 0 {
				return 0, io.EOF
			}
			r, err := o.vault.Store.Get(o.ctx, o.left[0].Key)
			if err != nil {
				return 0, missing(o.resource, o.left[0].Key, err)
			}
			o.open, o.read = r, newDigestReader(r, nil)
		}
		n, err := o.read.Read(p)
		if err == io.EOF { //nolint:errorlint // io.Reader's contract: io.EOF itself
			if !o.read.is(o.left[0]) {
				return n, damaged(o.resource, "object %s is not what was stored: it has %d bytes and should have %d",
					o.left[0].Key, o.read.n, int64(o.left[0].Size))
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

// Fetch writes the snapshot of a backup into a file, whole or not at all: it has its
// name only once everything was compared, and is on the disk. etcdutl takes it as it is.
// Errors: as of Open; fleet.Unavailable when the file cannot be written.
func (v Vault) Fetch(ctx context.Context, m Manifest, file string, tell Tell) (err error) {
	r, err := v.Open(ctx, m, tell)
	if err != nil {
		return err
	}
	defer r.Close()
	out, err := os.CreateTemp(filepath.Dir(file), ".fetching-*")
	if err != nil {
		return noRoom(file, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(out.Name()) // ours, and not whole
		}
	}()
	_, err = io.CopyBuffer(&targetFile{file, out}, struct{ io.Reader }{r}, make([]byte, pieces))
	if synced := out.Sync(); err == nil && synced != nil {
		err = noRoom(file, synced)
	}
	if closed := out.Close(); err == nil && closed != nil {
		err = noRoom(file, closed)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(out.Name(), file); err != nil {
		return noRoom(file, err)
	}
	return nil
}
