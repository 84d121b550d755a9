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

// Once one of them has its list, the other may take so much longer: one that is far is slower
// by a factor, and one that is dead never answers.
const (
	listGrace  = 5 * time.Second
	listSlower = 5
)

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
	first, second, away := v.listBoth(ctx, prefix)
	found := looked{away: away}
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

// listBoth lists both stores side by side. Once one has answered, the other is not waited for
// much longer; a first one that is known not to answer is not asked.
func (v Vault) listBoth(ctx context.Context, prefix string) (first, second []objectstore.Object, away Away) {
	timed, cancel := context.WithTimeout(ctx, listPatience)
	defer cancel()
	began := time.Now()
	var both sync.WaitGroup
	var waiting sync.Once
	list := func(from objectstore.Store, objects *[]objectstore.Object, failed *error) {
		*objects, *failed = from.List(timed, prefix)
		if *failed == nil {
			waiting.Do(func() { time.AfterFunc(listGrace+time.Since(began)*listSlower, cancel) })
		} else if timed.Err() != nil && ctx.Err() == nil {
			*failed = fleet.Errorf(fleet.Unavailable, "object store "+from.String(), "it did not list its objects within %s", time.Since(began).Round(time.Second/10))
		}
	}
	if away.Store = v.Absence.Why(); away.Store == nil {
		both.Go(func() { list(v.Store, &first, &away.Store) })
	}
	both.Go(func() { list(v.Second, &second, &away.Second) })
	both.Wait()
	if ctx.Err() == nil {
		v.Absence.Note(away.Store)
	}
	return first, second, away
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
	return read(v.first())
}
