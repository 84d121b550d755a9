package backup

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Open gives the snapshot of a backup as a member streamed it: the database and the
// SHA-256 behind it. Nothing of it may be used before its io.EOF: every digest is
// compared by then, and an error comes instead when one differs. It must be closed. What
// the first store does not give comes from the second, also half way.
//
// Errors, also of the reader: fleet.Lost when anything is missing or altered;
// fleet.Denied when it was sealed with another key; as of the store.
func (v Vault) Open(ctx context.Context, m Manifest, tell Tell) (io.ReadCloser, error) {
	from := func(store objectstore.Store) sealed.Source {
		return func(ctx context.Context, o Object) (io.ReadCloser, error) { return store.Get(ctx, o.Key) }
	}
	if v.Second == nil {
		return sealed.Open(ctx, m.snapshot(), from(v.Store), v.Key, tell.of("reading"))
	}
	return sealed.OpenEither(ctx, m.snapshot(), from(v.first()), from(v.Second), v.Key, tell.of("reading"), v.fell(m.String()))
}

func (m Manifest) snapshot() sealed.Snapshot {
	return sealed.Snapshot{Name: m.String(), Objects: m.Objects, Size: m.Size, SHA256: m.SHA256}
}

// maxHeader is more than age's headers have for one recipient.
const maxHeader = 64 << 10

// Lend gives the key of one backup's data, and of nothing else, sealed to a recipient: so
// a host can open what it is to restore, and nothing that is secret is on the way.
// Errors: as of Open.
func (v Vault) Lend(ctx context.Context, m Manifest, recipient string) ([]byte, error) {
	return either(ctx, v, "header of "+m.String(), func(from objectstore.Store) ([]byte, error) {
		r, err := from.Get(ctx, m.Objects[0].Key)
		if err != nil {
			return nil, sealed.Missing(m.String(), m.Objects[0].Key, err)
		}
		defer r.Close()
		lent, err := v.Key.Lend(io.LimitReader(r, maxHeader), recipient)
		if fleet.Is(err, fleet.Lost) {
			err = damaged(m.String(), "%w", err)
		}
		return lent, err
	})
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
