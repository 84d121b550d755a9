package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/pki"
)

// snapshotFile is what a backup is fetched into, below a restore's directory.
const snapshotFile = "snapshot.db"

// bring gives a file with the whole snapshot, and sees that there is room for what a
// restore makes of it. fell is told why what is needed came from its second source, if it did.
func (n *Node) bring(ctx context.Context, m member, from RestoreFrom, work string, fell func(why error)) (string, error) {
	if from.File != "" {
		file := n.path(from.File)
		info, err := os.Stat(file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return "", fleet.Errorf(fleet.NotFound, from.Name, "there is no file %s on this host", from.File)
		case err != nil:
			return "", onHost(from.Name, err)
		}
		if err := n.checkRoom(m, fleet.Bytes(info.Size())); err != nil {
			return "", err
		}
		return file, checkFile(ctx, file, from)
	}
	// The snapshot, and the store that is made of it.
	if err := n.checkRoom(m, 2*from.Expect.Size); err != nil {
		return "", err
	}
	return n.fetchBackup(ctx, m, from, filepath.Join(work, snapshotFile), fell)
}

// fetchBackup streams a backup's objects through the seal and the decompressor into a
// file. It gives the file only when every stored byte was compared; makeData compares the
// database with the sum behind it, which is the manifest's.
func (n *Node) fetchBackup(ctx context.Context, m member, from RestoreFrom, to string, fell func(why error)) (string, error) {
	host, err := pki.LoadHostKey(n.hostKeyFile(m))
	if err != nil {
		return "", err
	}
	key, err := host.Borrow(from.Key)
	if fleet.Is(err, fleet.Denied) {
		return "", fleet.Errorf(fleet.Unavailable, from.Name, "its key was lent to a key that this host has no more") // it is lent anew
	} else if err != nil {
		return "", err
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
		r, err = sealed.OpenUnsummed(ctx, is, get(first), key)
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	source := &remember{r: r}
	err = writeScratch(to, source)
	if source.err != nil {
		return "", source.err
	}
	return to, onHost("disk "+m.DiskID, err)
}

// writeScratch writes a new file, and does not wait until it is on the disk: it is read
// once, and a restore that is cut short brings it again.
func writeScratch(to string, r io.Reader) error {
	const pieces = 256 << 10
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, r, make([]byte, pieces))
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

// checkFile compares the checksum behind a snapshot, where there is one, and its size and
// digest with what they are to be.
func checkFile(ctx context.Context, file string, from RestoreFrom) error {
	f, err := os.Open(file)
	if err != nil {
		return onHost(from.Name, err)
	}
	defer f.Close()
	summed, err := hasSum(file)
	if err != nil {
		return onHost(from.Name, err)
	}
	if !summed {
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
	return nil
}

// hasSum says whether a file has a checksum behind it: pages are multiples of 512 bytes.
func hasSum(file string) (bool, error) {
	info, err := os.Stat(file)
	return err == nil && info.Size()%512 == 32, err
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

// makeData makes a data directory from a snapshot, by etcd's own library. That of 3.7
// makes them for 3.5 and 3.6 alike.
func makeData(ctx context.Context, file, dir string, req RestoreRequest) (err error) {
	// bbolt and etcd panic at a file that does not hang together, and a mapped page that
	// cannot be read is a fault that ends the process.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = notRestorable(req.From.Name, fmt.Sprint("etcd cannot restore it: ", p))
		}
	}()
	var initial, own []string
	for _, peer := range req.Start.Initial {
		initial = append(initial, peer.Name+"="+peer.URL)
		if peer.Name == req.Start.Member {
			own = append(own, peer.URL)
		}
	}
	summed, err := hasSum(file)
	if err != nil {
		return err
	}
	if !summed && req.From.File == "" { // nobody has summed what was fetched
		return notRestorable(req.From.Name, "it has no checksum behind it")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	panicking := zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))
	err = snapshot.NewV3(panicking).Restore(snapshot.RestoreConfig{
		SnapshotPath: file, OutputDataDir: dir,
		Name: req.Start.Member, PeerURLs: own,
		InitialCluster: strings.Join(initial, ","), InitialClusterToken: req.Start.Token,
		SkipHashCheck: !summed,
		RevisionBump:  uint64(req.Bump), MarkCompacted: req.Bump > 0,
	})
	if err != nil && strings.HasPrefix(err.Error(), otherSum) {
		return notRestorable(req.From.Name, sealed.ErrSum.Error())
	}
	return err
}

// otherSum begins what etcd's library says when the copy that it made does not match the sum
// that was behind the snapshot (etcdutl/snapshot, copyAndVerifyDB).
const otherSum = "expected sha256 "
