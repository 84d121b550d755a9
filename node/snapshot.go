package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/datadir"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/pki"
)

// bring puts the whole snapshot where the store of a data directory is, without the sum behind
// it, and sees before that there is room for it. fell is told why what is needed came from its
// second source, if it did. It gives what the snapshot holds where that is known only from it.
func (n *Node) bring(ctx context.Context, m member, from RestoreFrom, data string, fell func(why error)) (*fleet.DataReport, error) {
	store := datadir.StorePath(data)
	if from.File == "" {
		if err := n.checkRoom(m, from.Expect.Size); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(store), 0o700); err != nil {
			return nil, onHost("disk "+m.DiskID, err)
		}
		return nil, n.fetchBackup(ctx, m, from, store, fell)
	}
	file := n.path(from.File)
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fleet.Errorf(fleet.NotFound, from.Name, "there is no file %s on this host", from.File)
	case err != nil:
		return nil, onHost(from.Name, err)
	}
	if err := n.checkRoom(m, fleet.Bytes(info.Size())); err != nil {
		return nil, err
	}
	held, err := examineSnapshot(ctx, file, from)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(store), 0o700); err != nil {
		return nil, onHost("disk "+m.DiskID, err)
	}
	if err := copyFile(file, store); err != nil {
		return nil, onHost("disk "+m.DiskID, err)
	}
	return held, checkCopy(ctx, store, from)
}

// fetchBackup streams a backup's objects through the seal and the decompressor into a
// file, without the sum behind the database. It is done only when all of it was compared.
func (n *Node) fetchBackup(ctx context.Context, m member, from RestoreFrom, to string, fell func(why error)) error {
	host, err := pki.LoadHostKey(n.hostKeyFile(m))
	if err != nil {
		return err
	}
	key, err := host.Borrow(from.Key)
	if fleet.Is(err, fleet.Denied) {
		return fleet.Errorf(fleet.Unavailable, from.Name, "its key was lent to a key that this host has no more") // it is lent anew
	} else if err != nil {
		return err
	}
	is := sealed.Snapshot{Name: from.Name, Size: from.Expect.Size, SHA256: from.Expect.SHA256}
	first, second := map[string]string{}, map[string]string{}
	for i, o := range from.Objects {
		name := fmt.Sprintf("%d (%s)", i+1, plainURL(o.URL))
		first[name] = o.URL
		if o.Second != "" {
			second[name] = o.Second
		}
		is.Objects = append(is.Objects, sealed.Object{Key: name, Size: o.Size, SHA256: o.SHA256})
	}
	get := func(urls map[string]string) sealed.Source {
		return func(ctx context.Context, o sealed.Object) (io.ReadCloser, error) {
			return startTransfer(ctx, urls[o.Key], o.Key, from.Name)
		}
	}
	var r io.ReadCloser
	if len(second) == len(first) {
		r, err = sealed.OpenEither(ctx, is, get(first), get(second), key, nil, fell)
	} else {
		r, err = sealed.Open(ctx, is, get(first), key, nil)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	source := &remember{r: r}
	err = writeStore(to, source, int64(is.Size))
	if source.err != nil {
		return source.err
	}
	return onHost("disk "+m.DiskID, err)
}

// writeStore writes what a reader gives into a new file, and keeps so much of it.
func writeStore(to string, r io.Reader, keep int64) error {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = durable.Stream(f, r)
	if err == nil {
		err = f.Truncate(keep)
	}
	return errors.Join(err, f.Close())
}

// transfer is an object on its way. What breaks it off is no damage.
type transfer struct {
	body     io.Closer
	watched  *stallReader
	ctx      context.Context
	end      context.CancelCauseFunc
	name, of string
}

// startTransfer opens an object. One that sends nothing for a while is ended.
func startTransfer(ctx context.Context, url, name, of string) (*transfer, error) {
	ctx, end := context.WithCancelCause(ctx)
	stalled := time.AfterFunc(stallTimeout, func() { end(errStalled) })
	body, _, err := open(ctx, url, of)
	if err != nil {
		stalled.Stop()
		end(nil)
		return nil, err
	}
	return &transfer{body: body, watched: &stallReader{r: body, stalled: stalled}, ctx: ctx, end: end, name: name, of: of}, nil
}

// Close ends it.
func (b *transfer) Close() error {
	b.watched.stalled.Stop()
	err := b.body.Close()
	b.end(nil)
	return err
}

func (b *transfer) Read(p []byte) (int, error) {
	n, err := b.watched.Read(p)
	if err == nil || err == io.EOF { //nolint:errorlint // io.Reader's contract: io.EOF itself
		return n, err
	}
	if cause := context.Cause(b.ctx); cause != nil {
		err = cause
	}
	return n, fleet.Errorf(fleet.Unavailable, b.of, "the download of object %s broke off: %w", b.name, err)
}

// checkCopy compares the checksum behind a snapshot that was copied, where there is one, and its
// size and digest with what they are to be; and takes that checksum off.
func checkCopy(ctx context.Context, file string, from RestoreFrom) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return onHost(from.Name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return onHost(from.Name, err)
	}
	if info.Size()%512 != 32 { // pages are multiples of 512 bytes
		if from.Expect != nil {
			return notRestorable(from.Name, "it has no checksum behind it")
		}
		return nil
	}
	r := sealed.NewSumReader(f, nil)
	_, err = io.Copy(io.Discard, &interruptible{ctx, r})
	switch e := from.Expect; {
	case errors.Is(err, sealed.ErrSum):
		return notRestorable(from.Name, err.Error())
	case err != nil:
		return onHost(from.Name, err)
	case e != nil && (r.Size() != int64(e.Size) || r.Digest() != e.SHA256):
		return notRestorable(from.Name, "it is another one than it is to be")
	}
	return onHost(from.Name, f.Truncate(r.Size()))
}

// interruptible is a reader that ends with a context.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (r *interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
