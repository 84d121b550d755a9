package activities

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// finals is where the final snapshots of all clusters are.
const finals = "snapshots/"

// finalCopies has the second store follow the first with final snapshots. They outlive their
// clusters, so what there is follows from the store and not from the list of clusters.
type finalCopies struct {
	all   *copiers
	share fleet.RecordRequest
	// done are the manifests that the second store has, by key, each with the ETag that the
	// first store had of it then; nil before the first look.
	done map[string]string
}

// beginFinals begins to copy those of a share.
func (all *copiers) beginFinals(ctx context.Context, r fleet.RecordRequest) *copier {
	c := &copier{of: fleet.Summary{Name: "final snapshots"}}
	ctx, c.cancel = context.WithCancel(ctx)
	f := finalCopies{all: all, share: r}
	c.ended.Go(func() {
		all.repeat(ctx, c, all.snapshots, func(ctx context.Context, _ *copier, tell backup.Tell) error { return f.look(ctx, tell) })
	})
	return c
}

// look copies the final snapshots that the second store lacks. One that is damaged in the
// first store is not copied, and is in the error; the others are copied.
func (f *finalCopies) look(ctx context.Context, tell backup.Tell) error {
	r := f.all.copies.Region
	objects, err := r.Store.List(ctx, finals)
	if err != nil {
		return err
	}
	if f.done == nil {
		if err := f.begin(ctx, objects); err != nil {
			return err
		}
	}
	var failed []error
	for _, o := range objects {
		uid := path.Base(path.Dir(o.Key))
		if path.Ext(o.Key) != ".json" || shareOf(uid, f.share.Of) != f.share.Share || f.done[o.Key] == o.ETag {
			continue
		}
		err := f.copy(ctx, o.Key, uid, tell)
		switch {
		case err == nil:
			f.done[o.Key] = o.ETag
			r.Log.Info("a final snapshot was copied into the second store", zap.String("snapshot", o.Key))
		case fleet.Is(err, fleet.Lost), fleet.Is(err, fleet.Denied), fleet.Is(err, fleet.NotFound): // of this one
			failed = append(failed, err)
		default:
			return errors.Join(append(failed, err)...)
		}
	}
	return errors.Join(failed...)
}

// begin takes note of what the second store has: a manifest that it got after the first store
// got its own, and of the same size, is that one.
func (f *finalCopies) begin(ctx context.Context, objects []objectstore.Object) error {
	second, err := f.all.copies.Second.List(ctx, finals)
	if err != nil {
		return err
	}
	copied := map[string]objectstore.Object{}
	for _, o := range second {
		copied[o.Key] = o
	}
	f.done = map[string]string{}
	for _, o := range objects {
		there, is := copied[o.Key]
		if data := copied[dataOfFinal(o.Key)]; is && data.Size > 0 && there.Size == o.Size && there.Modified.After(o.Modified) {
			f.done[o.Key] = o.ETag
		}
	}
	return nil
}

func dataOfFinal(manifest string) string { return strings.TrimSuffix(manifest, ".json") + ".db.age" }

// copy copies one: what else there is of a cluster that is gone, then the data, which is
// opened before and compared with its manifest, and then the manifest, which says that
// the second store has all of it. Unlike a backup's it may change, and follows.
func (f *finalCopies) copy(ctx context.Context, key, uid string, tell backup.Tell) error {
	r := f.all.copies.Region
	f.all.mu.Lock()
	alive := f.all.alive[uid]
	f.all.mu.Unlock()
	if !alive {
		rest := backup.Copier{Vault: r.both(), Cluster: path.Base(path.Dir(path.Dir(key))), UID: uid}
		_, _, err := rest.Snapshots(ctx, tell)
		if err == nil || fleet.Is(err, fleet.Lost) { // what is damaged is told of by lists
			_, err = rest.Changes(ctx, tell)
		}
		if err = ignore(err, fleet.Lost); err != nil {
			return err
		}
	}
	text, err := objectstore.ReadWhole(ctx, r.Store, key, maxManifest)
	if err != nil {
		return err
	}
	var snapshot fleet.Snapshot
	if err := json.Unmarshal(text, &snapshot); err != nil || snapshot.Key != dataOfFinal(key) {
		return fleet.Errorf(fleet.Lost, key, "it is damaged, and not copied into the second store")
	}
	object, err := r.asStored(ctx, snapshot, tell)
	if err != nil {
		return err
	}
	if err := r.both().CopyObject(ctx, "final snapshot "+snapshot.Key, object, tell); err != nil {
		return err
	}
	if _, err := objectstore.SweepUploads(ctx, r.Second, snapshot.Key, 0); err != nil { // of workers that died
		return err
	}
	if err := r.Second.Put(ctx, key, bytes.NewReader(text), int64(len(text))); err != nil {
		return err
	}
	there, err := objectstore.ReadWhole(ctx, r.Second, key, maxManifest)
	if err == nil && !bytes.Equal(there, text) {
		err = fleet.Errorf(fleet.Unavailable, key, "the second store has not kept what was sent")
	}
	return err
}

// asStored opens a final snapshot to its end and compares it with its manifest, which has the
// digest of what is inside. It gives that of what is stored. Errors: fleet.Lost when it is damaged.
func (r Region) asStored(ctx context.Context, snapshot fleet.Snapshot, tell backup.Tell) (backup.Object, error) {
	resource := "final snapshot " + snapshot.Key
	object, err := r.Store.Get(ctx, snapshot.Key)
	if err != nil {
		return backup.Object{}, sealed.Missing(resource, snapshot.Key, err)
	}
	defer object.Close()
	stored := sealed.NewDigestReader(object, func(n int64) { tell("reading a final snapshot", n) })
	opened, err := r.Key.Open(stored)
	if err != nil {
		return backup.Object{}, err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, opened)
	switch {
	case err != nil:
		return backup.Object{}, err
	case hex.EncodeToString(sum.Sum(nil)) != snapshot.SHA256, fleet.Bytes(n) != snapshot.Size:
		return backup.Object{}, sealed.Damaged(resource, "it is not what its manifest says")
	}
	return backup.Object{Key: snapshot.Key, Size: fleet.Bytes(stored.N), SHA256: stored.Digest()}, nil
}
