package backup

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// copySnapshot makes the second store have a backup, byte for byte: its data, which is read
// back and compared, and then its manifest, which makes it count there. What is there
// already and has the same digest stays. It gives the manifest. Errors: fleet.Lost when it
// is damaged in the first store, of which nothing is copied then; as of the stores.
func (v Vault) copySnapshot(ctx context.Context, cluster, uid, id string, tell Tell) (Manifest, error) {
	key := manifestKey(cluster, uid, id)
	m, err := v.Manifest(ctx, cluster, uid, id)
	if err != nil {
		return m, err
	}
	if err := v.copyAll(ctx, m.String(), key, m.Objects, tell); err != nil {
		return m, err
	}
	return m, lockCopy(ctx, v.Second, m.Lock, key, m.Objects)
}

// copyBadge makes the second store have what became of a rehearsal, over an older one.
func (v Vault) copyBadge(ctx context.Context, key string) error {
	text, err := readText(ctx, v.Store, key)
	if err != nil {
		return err
	}
	var r Rehearsal
	if err := decode(text, &r); err != nil {
		return damaged(key, "%w", err)
	}
	return v.Second.Put(ctx, key, bytes.NewReader(text), int64(len(text)))
}

// copySegment does so with a segment of changes.
func (v Vault) copySegment(ctx context.Context, cluster, uid, history, id string, tell Tell) error {
	s, err := v.segment(ctx, cluster, uid, history, id)
	if err != nil {
		return err
	}
	if err := v.copyAll(ctx, s.String(), s.prefix()+manifestName, s.Objects, tell); err != nil {
		return err
	}
	return lockCopy(ctx, v.Second, s.Lock, s.prefix()+manifestName, s.Objects)
}

// copyAll copies objects and then the manifest that names them.
func (v Vault) copyAll(ctx context.Context, resource, manifest string, objects []Object, tell Tell) error {
	for _, o := range objects {
		if err := v.CopyObject(ctx, resource, o, tell); err != nil {
			return err
		}
	}
	return v.copyManifest(ctx, manifest)
}

// copyManifest makes the second store have a manifest, over one that was altered there.
func (v Vault) copyManifest(ctx context.Context, manifest string) error {
	text, err := readText(ctx, v.Store, manifest)
	if err != nil {
		return err
	}
	if err := v.Second.PutIfAbsent(ctx, manifest, text); !fleet.Is(err, fleet.Conflict) {
		return err
	}
	there, err := readText(ctx, v.Second, manifest)
	if err != nil && !fleet.Is(err, fleet.Lost) {
		return err
	}
	if bytes.Equal(there, text) {
		return nil
	}
	return v.Second.Put(ctx, manifest, bytes.NewReader(text), int64(len(text))) // it was altered there
}

// CopyObject makes the second store have one object, which is read back and compared. What
// is there already and has the same digest stays. Errors: fleet.Lost when the first store's
// has another digest; as of the stores.
func (v Vault) CopyObject(ctx context.Context, resource string, o Object, tell Tell) error {
	second := Vault{Store: v.Second}
	switch there, err := v.Second.Stat(ctx, o.Key); {
	case err == nil && there.Size == o.Size:
		// By an attempt that died, or another one that still runs.
		if err := second.readBack(ctx, resource, []Object{o}, tell); !fleet.Is(err, fleet.Lost) {
			return err
		}
	case err != nil && !fleet.Is(err, fleet.NotFound):
		return err
	}
	r, err := v.Store.Get(ctx, o.Key)
	if err != nil {
		return sealed.Missing(resource, o.Key, err)
	}
	defer r.Close()
	whole := &wholeReader{r: sealed.NewDigestReader(r, tell.of("copying")), is: o, resource: resource}
	if err := v.Second.Put(ctx, o.Key, whole, int64(o.Size)); err != nil {
		if whole.err != nil {
			return whole.err
		}
		return err
	}
	err = second.readBack(ctx, resource, []Object{o}, tell)
	if fleet.Is(err, fleet.Lost) {
		return errors.Join(fleet.Errorf(fleet.Unavailable, resource, "the second store has not kept what was sent: %w", err), v.Second.Delete(ctx, o.Key))
	}
	return err
}

// wholeReader gives an object, and an error in place of its end when it is not what was
// stored, so that nothing is kept of one that is damaged.
type wholeReader struct {
	r        *sealed.DigestReader
	is       Object
	resource string
	err      error
}

func (w *wholeReader) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.r.Read(p)
	switch {
	case w.r.N > int64(w.is.Size), errors.Is(err, io.EOF) && !w.r.Is(w.is):
		err = damaged(w.resource, "object %s is not what was stored", w.is.Key)
	case w.r.N == int64(w.is.Size) && !w.r.Is(w.is): // a store need not ask for the end of what has a size
		err = damaged(w.resource, "object %s is not what was stored", w.is.Key)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}
