package backup

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Entry is one backup in a list.
type Entry struct {
	ID       string
	Manifest Manifest // as far as it can be trusted: only when Err is nil
	// Err says why it does not count although there is a manifest: it is damaged, or
	// objects are missing or of another size. That their bytes are right only reading
	// shows.
	Err error
	// Rehearsal is the last one; nil when there was none.
	Rehearsal *Rehearsal
	// Repairs are what was replaced in either store by what the other has.
	Repairs []fleet.BackupRepair
	// InStore and InSecond say in which store it is, as far as sizes show.
	InStore, InSecond bool
}

// Rehearsal is what became of restoring a backup for real, recorded beside it.
type Rehearsal struct {
	Backup string    `json:"backup"`
	When   time.Time `json:"when"`
	// OK says that hash, revision and number of keys were those of the manifest.
	OK bool `json:"ok"`
	// Took is from the first byte read to the first read answered by etcd.
	Took time.Duration `json:"took"`
	Etcd string        `json:"etcd,omitempty"` // the version that was started
	// Why says what was wrong.
	Why string `json:"why,omitempty"`
}

// List gives the backups of a cluster that either store has, oldest first. A backup that is
// damaged is in it, and says so. Errors: as of the store; a store that fails half way gives
// no list, unless the second one does.
func (v Vault) List(ctx context.Context, cluster, uid string) ([]Entry, error) {
	entries, _, err := v.ListBoth(ctx, cluster, uid)
	return entries, err
}

// ListBoth is List for who wants to know whether one of the stores did not answer.
func (v Vault) ListBoth(ctx context.Context, cluster, uid string) ([]Entry, Away, error) {
	found, err := v.look(ctx, prefixOf(cluster, uid))
	if err != nil {
		return nil, found.away, err
	}
	var entries []Entry
	for _, o := range found.objects {
		if path.Base(o.Key) != manifestName {
			continue
		}
		entry, err := v.entry(ctx, cluster, uid, idOf(o.Key), found)
		switch {
		case fleet.Is(err, fleet.NotFound): // deleted while we looked
		case err != nil:
			return nil, found.away, err
		default:
			entries = append(entries, entry)
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(a.Manifest.Taken.Compare(b.Manifest.Taken), cmp.Compare(a.ID, b.ID))
	})
	return entries, found.away, nil
}

func (v Vault) entry(ctx context.Context, cluster, uid, id string, found looked) (Entry, error) {
	e := Entry{ID: id}
	key := manifestKey(cluster, uid, id)
	e.Manifest, e.Err = readListed(ctx, found, v, key, func(from objectstore.Store) (Manifest, error) { return manifestIn(ctx, from, cluster, uid, id) })
	if e.Err != nil {
		if !fleet.Is(e.Err, fleet.Lost) {
			return Entry{}, e.Err
		}
		return e, nil
	}
	e.InStore, e.InSecond = hasAll(found.first, key, e.Manifest.Objects), hasAll(found.second, key, e.Manifest.Objects)
	if size, there := found.first[key]; there && size != found.second[key] {
		e.InSecond = false
	}
	e.Err = found.lacks(e.Manifest.String(), e.Manifest.Objects)
	key = prefixOf(cluster, uid) + id + "/" + repairsName
	if _, there := found.first[key]; there || found.second[key] > 0 {
		e.Repairs = v.repairs(ctx, key, id)
	}
	var err error
	e.Rehearsal, err = v.rehearsal(ctx, prefixOf(cluster, uid)+id+"/"+rehearsalName, id, found)
	return e, err
}

// rehearsal reads what became of the last one; nil where there was none. A badge that cannot
// be read is none.
func (v Vault) rehearsal(ctx context.Context, key, id string, found looked) (*Rehearsal, error) {
	_, first := found.first[key]
	_, second := found.second[key]
	if !first && !second {
		return nil, nil
	}
	r, err := readListed(ctx, found, v, key, func(from objectstore.Store) (*Rehearsal, error) {
		var r Rehearsal
		return &r, readDocument(ctx, from, key, &r)
	})
	switch {
	case err == nil && r.Backup == id:
		return r, nil
	case err != nil && !fleet.Is(err, fleet.Lost) && !fleet.Is(err, fleet.NotFound):
		return nil, err
	}
	return nil, nil
}

// Record writes what became of a rehearsal beside the backup, over an older one.
func (v Vault) Record(ctx context.Context, m Manifest, r Rehearsal) error {
	r.Backup = m.ID
	text, err := encode(r)
	if err != nil {
		return err
	}
	return v.Store.Put(ctx, prefixOf(m.Cluster, m.UID)+m.ID+"/"+rehearsalName, strings.NewReader(string(text)), int64(len(text)))
}

// UIDs gives the incarnations of a cluster's name that have backups in either store.
func (v Vault) UIDs(ctx context.Context, cluster string) ([]string, error) {
	prefix := Root + cluster + "/"
	found, err := v.look(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var uids []string
	for _, o := range found.objects {
		uid, _, _ := strings.Cut(strings.TrimPrefix(o.Key, prefix), "/")
		if !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	return uids, nil
}

// Delete removes a backup: its manifest first, so that what is half removed does not
// look whole. Absent is a success.
func (v Vault) Delete(ctx context.Context, cluster, uid, id string) error {
	if err := v.Store.Delete(ctx, manifestKey(cluster, uid, id)); err != nil {
		return err
	}
	objects, err := v.Store.List(ctx, prefixOf(cluster, uid)+id+"/")
	if err != nil {
		return err
	}
	for _, o := range objects {
		if err := v.Store.Delete(ctx, o.Key); err != nil {
			return err
		}
	}
	return nil
}

// Sweep removes what attempts left that led to no backup, and what a Delete left that
// died: objects that no manifest names, and parts of such, that are older than age. Age must be longer
// than any attempt may take. It gives the keys that it removed. What belongs to a
// manifest that cannot be read is left alone: a person may still want to look at it.
func (v Vault) Sweep(ctx context.Context, cluster, uid string, age time.Duration) ([]string, error) {
	objects, err := v.Store.List(ctx, prefixOf(cluster, uid))
	if err != nil {
		return nil, err
	}
	byID := map[string][]objectstore.Object{}
	for _, o := range objects {
		byID[idOf(o.Key)] = append(byID[idOf(o.Key)], o)
	}
	var removed []string
	for id, objects := range byID {
		m, err := v.Manifest(ctx, cluster, uid, id)
		if fleet.Is(err, fleet.Lost) {
			continue
		}
		if err != nil && !fleet.Is(err, fleet.NotFound) {
			return removed, err
		}
		for _, o := range objects {
			named := slices.ContainsFunc(m.Objects, func(n Object) bool { return n.Key == o.Key })
			own := err == nil && path.Ext(o.Key) == ".json"
			if named || own || time.Since(o.Modified) < age {
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
	}
	aborted, err := objectstore.SweepUploads(ctx, v.Store, prefixOf(cluster, uid), age)
	removed = append(removed, aborted...)
	slices.Sort(removed)
	return removed, err
}
