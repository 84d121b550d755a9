package backup

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// Tell is told what is being done, and how many bytes of it are done. It must be quick.
type Tell func(doing string, bytes int64)

func (t Tell) of(doing string) func(int64) {
	return func(n int64) {
		if t != nil {
			t(doing, n)
		}
	}
}

// Save stores a snapshot as a member streams it, and gives the manifest that makes it
// count. about says what it is of: Cluster, UID, ID, History, Taken, Member, Etcd and
// who asked; the rest is found out. scratch is a directory with room for some 40 bytes of
// each revision, where what the database holds is noted while it comes by.
//
// It may be run again with the same ID, also while another attempt runs: one of them
// makes the backup, and the others give that one. Errors: as of the stream and the
// store; fleet.Unavailable when what the member sent or the store kept is not whole;
// fleet.Invalid when etcd cannot read it. Then there is no backup, and what was stored
// of it is removed, or found later by Sweep.
func (v Vault) Save(ctx context.Context, about Manifest, stream io.Reader, scratch string, tell Tell) (Manifest, error) {
	if m, err := v.Manifest(ctx, about.Cluster, about.UID, about.ID); !fleet.Is(err, fleet.NotFound) {
		if err == nil { // by an attempt that died before it had locked it
			err = v.lock(ctx, m, manifestKey(m.Cluster, m.UID, m.ID))
		}
		return m, err
	}
	m, err := v.store(ctx, about, stream, scratch, tell)
	if err == nil {
		return v.commit(ctx, m)
	}
	v.drop(ctx, m)
	return Manifest{}, err
}

// store sends the stream on its way: looked at, and compressed, by several at once, and
// sealed into the store. What the store has is read back as soon as it is whole.
func (v Vault) store(ctx context.Context, m Manifest, stream io.Reader, scratch string, tell Tell) (Manifest, error) {
	m.Format, m.Recipient = formatVersion, v.Key.Recipient()
	object := Object{Key: m.freshKey()}
	m.Objects = []Object{object}
	look, err := etcdadmin.ScanSnapshot(scratch)
	if err != nil {
		return m, err
	}
	defer func() { _ = look.Close() }() // what it noted is nothing any more
	source, name := sealed.NewSumReader(whole{stream}, tell.of("storing")), m.String()
	var facts etcdadmin.SnapshotFacts
	z, err := compressor(compressing)
	if err != nil {
		return m, err
	}
	between := newFrames()
	out, in := io.Pipe()
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error {
		err := between.fill(ctx, io.TeeReader(source, look))
		switch {
		case errors.Is(err, sealed.ErrSum):
			return fleet.Errorf(fleet.Unavailable, "snapshot from member "+m.Member, "what it sent is not whole: %w", err)
		case err != nil:
			return err
		}
		tell.of("looking into it")(source.Size())
		facts, err = look.Facts(ctx)
		return err
	})
	for range compressing {
		all.Go(func() error {
			between.compress(ctx, z)
			return nil
		})
	}
	all.Go(func() error {
		in.CloseWithError(v.seal(ctx, in, between)) // Put tells of an error
		return nil
	})
	all.Go(func() error {
		stored := sealed.NewDigestReader(out, nil)
		err := v.Store.Put(ctx, object.Key, stored, -1)
		out.Close()
		if err != nil {
			return err
		}
		object.Size, object.SHA256 = fleet.Bytes(stored.N), stored.Digest()
		return v.readBack(ctx, name, []Object{object}, tell)
	})
	if err := all.Wait(); err != nil {
		return m, err
	}
	m.Objects, m.Size, m.SHA256 = []Object{object}, fleet.Bytes(source.Size()), source.Digest()
	m.Revision, m.Compacted, m.Keys, m.Hash = facts.Revision, facts.Compacted, facts.Keys, facts.Hash
	return m, nil
}

// seal writes the sealed form of what was read and compressed.
func (v Vault) seal(ctx context.Context, into io.Writer, read frames) error {
	age, err := v.Key.Seal(into)
	if err == nil {
		err = read.drain(ctx, age)
	}
	if err != nil {
		return err
	}
	return age.Close()
}

// ReadBack reads what is stored of a backup and compares it with the manifest's digests:
// a store that says it has stored something may still give back something else.
// Errors: fleet.Lost when it does, as of the store.
func (v Vault) ReadBack(ctx context.Context, m Manifest, tell Tell) error {
	return v.readBack(ctx, m.String(), m.Objects, tell)
}

func (v Vault) readBack(ctx context.Context, resource string, objects []Object, tell Tell) error {
	for _, o := range objects {
		r, err := v.Store.Get(ctx, o.Key)
		if err != nil {
			return sealed.Missing(resource, o.Key, err)
		}
		read := sealed.NewDigestReader(r, tell.of("reading back"))
		_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{read}, make([]byte, pieces))
		_ = r.Close() // it was only read
		switch {
		case err != nil:
			return err
		case !read.Is(o):
			return damaged(resource, "object %s is not what was stored", o.Key)
		}
	}
	return nil
}

// commit writes the manifest, which makes the backup count. Of several attempts the
// first does; the others give its manifest and remove what is theirs.
func (v Vault) commit(ctx context.Context, m Manifest) (Manifest, error) {
	m.Stored = time.Now().UTC()
	text, err := encode(m)
	if err != nil {
		return Manifest{}, err
	}
	if err := v.lock(ctx, m); err != nil { // what it says must be so
		v.drop(ctx, m)
		return Manifest{}, err
	}
	err = v.Store.PutIfAbsent(ctx, manifestKey(m.Cluster, m.UID, m.ID), text)
	if err != nil && !fleet.Is(err, fleet.Conflict) && !fleet.Is(err, fleet.Unavailable) {
		v.drop(ctx, m)
		return Manifest{}, err
	}
	// Unavailable may mean that it was written, and a conflict is another attempt's.
	there, look := v.Manifest(ctx, m.Cluster, m.UID, m.ID)
	if look != nil {
		return Manifest{}, errors.Join(err, look) // nothing is dropped: it may count
	}
	if there.Objects[0].Key != m.Objects[0].Key {
		v.drop(ctx, m)
	}
	return there, v.lock(ctx, there, manifestKey(m.Cluster, m.UID, m.ID))
}

// lock locks the objects of a backup that is to be locked, and others.
func (v Vault) lock(ctx context.Context, m Manifest, others ...string) error {
	return lockKeys(ctx, v.Store, m.Lock, append(others, keysOf(m.Objects)...)...)
}

// drop removes what an attempt stored that leads to no backup. It does so also when the
// attempt was stopped; what it cannot remove, Sweep finds.
func (v Vault) drop(ctx context.Context, m Manifest) { v.dropObjects(ctx, m.Objects) }

func (v Vault) dropObjects(ctx context.Context, objects []Object) {
	const patience = 10 * time.Second // a few answers of a store; Sweep does the rest
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	for _, o := range objects {
		_ = v.Store.Delete(ctx, o.Key)
	}
}
