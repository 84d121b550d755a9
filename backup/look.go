package backup

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// listPatience is how long one of two stores may take for a list, some thousand small
// objects, before what the other has is taken.
const listPatience = 40 * time.Second

// Away is why a store could not be asked; nil when it could.
type Away struct{ Store, Second error }

// looked is what lists of the stores say.
type looked struct {
	// first and second are sizes by key; second is nil where there is none.
	first, second map[string]fleet.Bytes
	// objects are those of both, by key: where both have one, the first's.
	objects []objectstore.Object
	away    Away
}

// look lists the first store and, where there is one, the second. The error is that of the
// first, when there is no list at all.
func (v Vault) look(ctx context.Context, prefix string) (looked, error) {
	if v.Second == nil {
		objects, err := v.Store.List(ctx, prefix)
		return looked{objects: objects, first: sizesOf(objects), away: Away{Store: err}}, err
	}
	var found looked
	var first, second []objectstore.Object
	within, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	var both sync.WaitGroup
	both.Go(func() { first, found.away.Store = v.Store.List(within, prefix) })
	both.Go(func() { second, found.away.Second = v.Second.List(within, prefix) })
	both.Wait()
	if err := ctx.Err(); err != nil {
		return found, err
	}
	if found.away.Store != nil && found.away.Second != nil {
		return found, found.away.Store
	}
	if found.away.Store != nil {
		v.fell("list of " + prefix)(found.away.Store)
	}
	found.first, found.second = sizesOf(first), sizesOf(second)
	found.objects = first
	for _, o := range second {
		if _, there := found.first[o.Key]; !there {
			found.objects = append(found.objects, o)
		}
	}
	slices.SortFunc(found.objects, func(a, b objectstore.Object) int { return cmp.Compare(a.Key, b.Key) })
	return found, nil
}

func sizesOf(objects []objectstore.Object) map[string]fleet.Bytes {
	sizes := map[string]fleet.Bytes{}
	for _, o := range objects {
		sizes[o.Key] = o.Size
	}
	return sizes
}

// has says whether a store has a manifest and all that it names, as far as sizes show.
func hasAll(sizes map[string]fleet.Bytes, manifest string, objects []Object) bool {
	if _, there := sizes[manifest]; !there {
		return false
	}
	return !slices.ContainsFunc(objects, func(o Object) bool { return !hasObject(sizes, o) })
}

func hasObject(sizes map[string]fleet.Bytes, o Object) bool {
	size, there := sizes[o.Key]
	return there && size == o.Size
}

// lacks is the error of what neither store has whole.
func (l looked) lacks(resource string, objects []Object) error {
	for _, o := range objects {
		if !hasObject(l.first, o) && !hasObject(l.second, o) {
			return damaged(resource, "object %s is missing, or is not of %d bytes", o.Key, int64(o.Size))
		}
	}
	return nil
}

// segment reads the manifest of a segment.
func (l looked) segment(ctx context.Context, v Vault, cluster, uid string, k segmentKey) (Segment, error) {
	key := Segment{Cluster: cluster, UID: uid, History: k.history, ID: k.id}.prefix() + manifestName
	return readListed(ctx, l, v, key, func(from objectstore.Store) (Segment, error) {
		return segmentIn(ctx, from, cluster, uid, k.history, k.id)
	})
}

// readListed reads a document from the stores whose lists have it.
func readListed[T any](ctx context.Context, l looked, v Vault, key string, read func(from objectstore.Store) (T, error)) (T, error) {
	_, first := l.first[key]
	_, second := l.second[key]
	switch {
	case first && second:
		return either(ctx, v, key, read)
	case second:
		value, err := read(v.Second)
		if err == nil && l.away.Store == nil {
			v.fell(key)(fleet.Errorf(fleet.NotFound, key, "the first store does not have it"))
		}
		return value, err
	}
	return read(v.Store)
}
