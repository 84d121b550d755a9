package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// segmentSuffix is what the data of a segment ends with.
const segmentSuffix = ".changes.zst.age"

// Segment says what one piece of the changes between snapshots is: those of some
// revisions, whole ones, one after another. It is stored as a manifest, written once and
// last, that names the object with the changes.
//
// Segments may overlap, where two have recorded at once because one was taken for dead.
// Both count, and must agree.
type Segment struct {
	Format  int    `json:"format"`
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`
	ID      string `json:"id"`
	// History is etcd's ID of the cluster, in hex, as in a Manifest.
	History string `json:"history"`
	// First and Last are its revisions. Last is First-1 where nothing has changed: then
	// it says that, and no object belongs to it.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Late are the revisions up to this one that were there before they were watched
	// for: of those it is known only that they were made before they were read.
	Late int64 `json:"late,omitempty"`
	// Earliest and Latest are when its first and its last change were seen, by the clock
	// of who recorded them; zero where nothing has changed.
	Earliest time.Time `json:"earliest,omitzero"`
	Latest   time.Time `json:"latest,omitzero"`
	// Until is the last time by which all that was acknowledged is known to be up to Last;
	// zero when it never was, because its changes were all read late.
	Until time.Time `json:"until,omitzero"`
	// Changes is how many there are, of keys; Leases are those that keys were put with.
	Changes int `json:"changes"`
	Leases  int `json:"leases,omitempty"`
	// Member is the endpoint that told of them.
	Member string `json:"member"`
	// Size and SHA256 are of the changes before they were compressed and sealed.
	Size      fleet.Bytes `json:"size,omitempty"`
	SHA256    string      `json:"sha256,omitempty"`
	Recipient string      `json:"recipient"`
	// Lock keeps it from being removed until then; nil where it is not locked.
	Lock    *objectstore.Lock `json:"lock,omitempty"`
	Objects []Object          `json:"objects,omitempty"`
}

// String names the segment for a person.
func (s Segment) String() string {
	return fmt.Sprintf("changes %d to %d of %s (%s)", s.First, s.Last, s.Cluster, s.ID)
}

// Empty says that it holds no changes, and only says that there were none.
func (s Segment) Empty() bool { return s.Last < s.First }

// LockedAt says whether it may not be removed at a time.
func (s Segment) LockedAt(t time.Time) bool { return locked(s.Lock, t) }

// StoredSize is what the segment takes in the store, without its manifest.
func (s Segment) StoredSize() (total fleet.Bytes) {
	for _, o := range s.Objects {
		total += o.Size
	}
	return total
}

// changesOf is where the changes of a cluster are, of all its histories.
func changesOf(cluster, uid string) string {
	return fmt.Sprintf("%s%s/%s/changes/", Root, cluster, uid)
}

func (s Segment) prefix() string { return changesOf(s.Cluster, s.UID) + s.History + "/" + s.ID + "/" }

// newSegmentID names a segment by its first revision, so that IDs sort by it, and by
// nothing that another one has.
func newSegmentID(first int64) string {
	return fmt.Sprintf("%019d-%s", first, strings.ToLower(rand.Text()[:12]))
}

// saveSegment stores a segment: its changes, which are read back, and then the manifest,
// which makes it count. about says all but the sizes and digests. Errors: as of the store.
func (v Vault) saveSegment(ctx context.Context, s Segment, plain []byte) (Segment, error) {
	s.Format, s.Recipient = formatVersion, v.Key.Recipient()
	if !s.Empty() {
		sum := sha256.Sum256(plain)
		s.Size, s.SHA256 = fleet.Bytes(len(plain)), hex.EncodeToString(sum[:])
		var sealed bytes.Buffer
		w, err := v.sealer(&sealed)
		if err == nil {
			_, err = w.Write(plain)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			return s, err
		}
		sum = sha256.Sum256(sealed.Bytes())
		s.Objects = []Object{{Key: s.prefix() + "data" + segmentSuffix, Size: fleet.Bytes(sealed.Len()), SHA256: hex.EncodeToString(sum[:])}}
		if err := v.Store.Put(ctx, s.Objects[0].Key, bytes.NewReader(sealed.Bytes()), int64(sealed.Len())); err != nil {
			return s, err
		}
		if err := v.readBack(ctx, s.String(), s.Objects, nil); err != nil {
			v.dropObjects(ctx, s.Objects)
			return s, err
		}
		if err := lockKeys(ctx, v.Store, s.Lock, keysOf(s.Objects)...); err != nil { // what the manifest says must be so
			v.dropObjects(ctx, s.Objects)
			return s, err
		}
	}
	text, err := encode(s)
	if err != nil {
		return s, err
	}
	manifest := s.prefix() + manifestName
	err = v.Store.PutIfAbsent(ctx, manifest, text)
	switch {
	case err == nil:
	case !fleet.Is(err, fleet.Conflict) && !fleet.Is(err, fleet.Unavailable):
		return s, err
	default: // it may have been written, though the answer was lost: the ID is nobody else's
		if _, look := v.segment(ctx, s.Cluster, s.UID, s.History, s.ID); look != nil {
			return s, err
		}
	}
	if err := lockKeys(ctx, v.Store, s.Lock, manifest); err != nil {
		v.dropObjects(ctx, []Object{{Key: manifest}}) // it is recorded anew
		return s, err
	}
	return s, nil
}

// segment reads the manifest of one segment. Errors: as of Manifest.
func (v Vault) segment(ctx context.Context, cluster, uid, history, id string) (Segment, error) {
	return segmentIn(ctx, v.Store, cluster, uid, history, id)
}

func segmentIn(ctx context.Context, store objectstore.Store, cluster, uid, history, id string) (Segment, error) {
	var s Segment
	key := Segment{Cluster: cluster, UID: uid, History: history, ID: id}.prefix() + manifestName
	if err := readDocument(ctx, store, key, &s); err != nil {
		return Segment{}, err
	}
	if err := s.check(cluster, uid, history, id); err != nil {
		return Segment{}, damaged(key, "%w", err)
	}
	return s, nil
}

// check says why a manifest is none of this segment.
func (s Segment) check(cluster, uid, history, id string) error {
	switch {
	case s.Format != formatVersion:
		return fleet.Errorf(fleet.Invalid, "", "it is of format %d, and this version reads %d", s.Format, formatVersion)
	case s.Cluster != cluster, s.UID != uid, s.History != history, s.ID != id:
		return fleet.Errorf(fleet.Invalid, "", "it is that of %s (UID %s), and was put here", s, s.UID)
	case s.First < 2, s.Last < s.First-1, s.Empty() && s.Until.IsZero(), s.Empty() != (len(s.Objects) == 0), s.Empty() != (s.Changes == 0):
		return fleet.Errorf(fleet.Invalid, "", "it does not say what was stored")
	case slices.ContainsFunc(s.Objects, func(o Object) bool { return !isDigest(o.SHA256) || !strings.HasPrefix(o.Key, s.prefix()) }):
		return fleet.Errorf(fleet.Invalid, "", "it names objects that are not its own")
	case !s.Empty() && (!isDigest(s.SHA256) || s.Earliest.IsZero() || s.Latest.Before(s.Earliest)):
		return fleet.Errorf(fleet.Invalid, "", "it does not say what its changes are")
	}
	return nil
}

// SegmentEntry is one segment in a list.
type SegmentEntry struct {
	ID      string
	History string
	Segment Segment // only when Err is nil
	// Err says why it does not count, as in an Entry.
	Err error
	// Modified is when the store got its manifest.
	Modified time.Time
	// InStore says that the first store has its manifest.
	InStore bool
}

// Segments gives the segments of a cluster, by history and then by their first revision.
// One that is damaged is in the list and says so. Errors: as of the store.
func (v Vault) Segments(ctx context.Context, cluster, uid string) ([]SegmentEntry, error) {
	return v.segments(ctx, cluster, uid, func([]segmentKey) int { return 0 })
}

// SegmentsSince gives the segments of one history that may hold revisions from this one
// on, without reading the manifests of those before. Errors: as of the store.
func (v Vault) SegmentsSince(ctx context.Context, cluster, uid, history string, revision int64) ([]SegmentEntry, error) {
	entries, err := v.segments(ctx, cluster, uid, func(keys []segmentKey) (skip int) {
		for i, k := range keys {
			if k.first() <= revision {
				skip = i
			}
		}
		return skip
	})
	return slices.DeleteFunc(entries, func(e SegmentEntry) bool { return e.History != history }), err
}

// segmentKey is what the name of a manifest says.
type segmentKey struct {
	history, id string
	modified    time.Time
}

// first is the segment's first revision; zero for a name that no segment has.
func (k segmentKey) first() int64 {
	number, _, _ := strings.Cut(k.id, "-")
	n, _ := strconv.ParseInt(number, 10, 64)
	return n
}

// segments lists those of each history but so many that skip says.
func (v Vault) segments(ctx context.Context, cluster, uid string, skip func([]segmentKey) int) ([]SegmentEntry, error) {
	prefix := changesOf(cluster, uid)
	found, err := v.look(ctx, prefix)
	if err != nil {
		return nil, err
	}
	all := map[string][]segmentKey{}
	var histories []string
	for _, o := range found.objects { // keys sort by history and first revision
		if path.Base(o.Key) != manifestName {
			continue
		}
		history, _, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		if len(all[history]) == 0 {
			histories = append(histories, history)
		}
		all[history] = append(all[history], segmentKey{history, idOf(o.Key), o.Modified})
	}
	var keys []segmentKey
	for _, history := range histories {
		keys = append(keys, all[history][skip(all[history]):]...)
	}
	const atOnce = 8 // small objects: their number counts, not their size
	entries := make([]SegmentEntry, len(keys))
	reading, readCtx := errgroup.WithContext(ctx)
	reading.SetLimit(atOnce)
	for i, k := range keys {
		reading.Go(func() error {
			e := SegmentEntry{ID: k.id, History: k.history, Modified: k.modified}
			_, e.InStore = found.first[prefix+k.history+"/"+k.id+"/"+manifestName]
			e.Segment, e.Err = found.segment(readCtx, v, cluster, uid, k)
			if e.Err != nil && !fleet.Is(e.Err, fleet.Lost) && !fleet.Is(e.Err, fleet.NotFound) {
				return e.Err
			}
			if e.Err == nil {
				e.Err = found.lacks(e.Segment.String(), e.Segment.Objects)
			}
			entries[i] = e
			return nil
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	// What was deleted while we looked is none.
	return slices.DeleteFunc(entries, func(e SegmentEntry) bool { return fleet.Is(e.Err, fleet.NotFound) }), nil
}

// DeleteSegment removes a segment, its manifest first. Absent is a success.
func (v Vault) DeleteSegment(ctx context.Context, cluster, uid, history, id string) error {
	prefix := Segment{Cluster: cluster, UID: uid, History: history, ID: id}.prefix()
	for _, key := range []string{prefix + manifestName, prefix + "data" + segmentSuffix} {
		if err := v.Store.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// SweepSegments removes data that no manifest names, once it is older than age, as Sweep
// does for snapshots. It gives the keys that it removed.
func (v Vault) SweepSegments(ctx context.Context, cluster, uid string, age time.Duration) ([]string, error) {
	objects, err := v.Store.List(ctx, changesOf(cluster, uid))
	if err != nil {
		return nil, err
	}
	manifests := map[string]bool{}
	for _, o := range objects {
		if path.Base(o.Key) == manifestName {
			manifests[path.Dir(o.Key)] = true
		}
	}
	var removed []string
	for _, o := range objects {
		if manifests[path.Dir(o.Key)] || time.Since(o.Modified) < age {
			continue
		}
		switch err := v.Store.Delete(ctx, o.Key); {
		case fleet.Is(err, fleet.Blocked): // it is locked, and swept when it is not
		case err != nil:
			return removed, err
		default:
			removed = append(removed, o.Key)
		}
	}
	aborted, err := objectstore.SweepUploads(ctx, v.Store, changesOf(cluster, uid), age)
	return append(removed, aborted...), err
}
