package backup

import (
	"context"
	"errors"
	"path"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Copier has the second store follow the first with one cluster's backups and recorded
// changes. It looks again and again: at first at all that both stores have, and then only at
// what came since. Snapshots and changes are looked at apart, and may be at once, so that
// changes do not wait for a large snapshot.
type Copier struct {
	Vault   Vault
	Cluster string
	UID     string

	// taken is when the snapshots were that the second store has; nil before the first look.
	taken map[string]time.Time
	// badges are, for each rehearsal's record, the ETag of the first store's that the second
	// has; likewise.
	badges map[string]string
	// tails are, for each history, what was seen of its changes last; likewise.
	tails map[string]*tail

	mu sync.Mutex
	// histories are those that snapshots are of.
	histories map[string]bool
}

// segmentsAtOnce bounds the copying of segments, of some MiB each.
const segmentsAtOnce = 4

// Snapshots copies the backups that the second store lacks, oldest first, and gives how many
// that were and when the newest was taken that it has. One that is damaged in the first
// store is not copied, and is in the error; the others are copied.
func (c *Copier) Snapshots(ctx context.Context, tell Tell) (copied int, newest time.Time, err error) {
	if c.taken == nil {
		entries, away, err := c.Vault.ListBoth(ctx, c.Cluster, c.UID)
		if err = errors.Join(err, away.Store, away.Second); err != nil {
			return 0, time.Time{}, err
		}
		c.taken = map[string]time.Time{}
		for _, e := range entries {
			c.know(e.Manifest.History)
			if e.InSecond {
				c.taken[e.ID] = e.Manifest.Taken
			}
		}
	}
	objects, err := c.Vault.Store.List(ctx, prefixOf(c.Cluster, c.UID))
	if err != nil {
		return 0, c.newest(), err
	}
	var failed []error
	for _, o := range objects { // by ID, and so by time
		id := idOf(o.Key)
		if _, there := c.taken[id]; there || path.Base(o.Key) != manifestName {
			continue
		}
		m, err := c.Vault.copySnapshot(ctx, c.Cluster, c.UID, id, tell)
		switch {
		case fleet.Is(err, fleet.NotFound): // deleted while we looked
			continue
		case fleet.Is(err, fleet.Lost):
			failed = append(failed, err)
			continue
		case err != nil:
			return copied, c.newest(), errors.Join(append(failed, err)...)
		}
		c.know(m.History)
		c.taken[id], copied = m.Taken, copied+1
	}
	return copied, c.newest(), errors.Join(append(failed, c.copyBadges(ctx, objects))...)
}

// copyBadges copies the records of rehearsals that came since, each beside a backup that the
// second store has.
func (c *Copier) copyBadges(ctx context.Context, objects []objectstore.Object) error {
	if c.badges == nil {
		second, err := c.Vault.Second.List(ctx, prefixOf(c.Cluster, c.UID))
		if err != nil {
			return err
		}
		there := map[string]objectstore.Object{}
		for _, o := range second {
			there[o.Key] = o
		}
		c.badges = map[string]string{}
		for _, o := range objects {
			if copied, is := there[o.Key]; is && copied.Size == o.Size && copied.Modified.After(o.Modified) {
				c.badges[o.Key] = o.ETag
			}
		}
	}
	for _, o := range objects {
		if _, copied := c.taken[idOf(o.Key)]; !copied || path.Base(o.Key) != rehearsalName || c.badges[o.Key] == o.ETag {
			continue
		}
		switch err := c.Vault.copyBadge(ctx, o.Key); {
		case fleet.Is(err, fleet.Lost), fleet.Is(err, fleet.NotFound): // a badge that cannot be read is none
		case err != nil:
			return err
		}
		c.badges[o.Key] = o.ETag
	}
	return nil
}

func (c *Copier) newest() (newest time.Time) {
	for _, taken := range c.taken {
		if taken.After(newest) {
			newest = taken
		}
	}
	return newest
}

// know takes note of a history. Changes of one that no snapshot is of lead from nowhere.
func (c *Copier) know(history string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.histories == nil {
		c.histories = map[string]bool{}
	}
	c.histories[history] = true
}

func (c *Copier) known() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for history := range c.histories {
		all = append(all, history)
	}
	return all
}

// Changes copies the segments that the second store lacks, and gives how many. What is
// damaged in the first store is not copied, and is in the error. A segment that another
// recorder stored later than overlap, and that begins before those, is found by the next
// Copier only.
func (c *Copier) Changes(ctx context.Context, tell Tell) (copied int, err error) {
	prefix := changesOf(c.Cluster, c.UID)
	if c.tails == nil {
		return c.allChanges(ctx, prefix, tell)
	}
	for _, history := range c.known() {
		if c.tails[history] == nil {
			c.tails[history] = &tail{}
		}
	}
	var damage []error
	for history, tail := range c.tails {
		objects, err := c.Vault.Store.ListAfter(ctx, prefix+history+"/", tail.from())
		if err != nil {
			return copied, err
		}
		lacking := tail.unseen(manifests(objects, nil))
		n, err := c.copySegments(ctx, prefix, lacking, tell)
		copied += n
		if err != nil && !fleet.Is(err, fleet.Lost) {
			return copied, err
		}
		tail.see(lacking, time.Now())
		damage = append(damage, err)
	}
	return copied, errors.Join(damage...)
}

// allChanges looks at all that both stores have.
func (c *Copier) allChanges(ctx context.Context, prefix string, tell Tell) (copied int, err error) {
	found, err := c.Vault.look(ctx, prefix)
	if err = errors.Join(err, found.away.Store, found.away.Second); err != nil {
		return 0, err
	}
	seen, lacking := map[string][]string{}, map[string]bool{}
	for _, o := range found.objects { // by key: a segment's data, and then its manifest
		if _, there := found.first[o.Key]; !there {
			continue
		}
		if size, there := found.second[o.Key]; !there || size != o.Size {
			lacking[path.Dir(o.Key)] = true
		}
		if path.Base(o.Key) == manifestName {
			history := historyOf(prefix, o.Key)
			seen[history] = append(seen[history], o.Key)
		}
	}
	copied, err = c.copySegments(ctx, prefix, manifests(found.objects, lacking), tell)
	if err == nil || fleet.Is(err, fleet.Lost) { // else all is looked at again
		c.tails = map[string]*tail{}
		for history, keys := range seen {
			c.tails[history] = &tail{}
			c.tails[history].see(keys[max(0, len(keys)-overlapping):], time.Now())
		}
	}
	return copied, err
}

// historyOf gives the history that the key of a segment is of.
func historyOf(prefix, key string) string {
	history, _, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	return history
}

// manifests gives the keys of the manifests among objects; of those in some directories,
// unless that is nil.
func manifests(objects []objectstore.Object, in map[string]bool) (keys []string) {
	for _, o := range objects {
		if path.Base(o.Key) == manifestName && (in == nil || in[path.Dir(o.Key)]) {
			keys = append(keys, o.Key)
		}
	}
	return keys
}

// copySegments copies those of these manifests. The error is the first that is not fleet.Lost,
// which ends it, or else what is damaged.
func (c *Copier) copySegments(ctx context.Context, prefix string, keys []string, tell Tell) (int, error) {
	copied, damage := make([]bool, len(keys)), make([]error, len(keys))
	copying, ctx := errgroup.WithContext(ctx)
	copying.SetLimit(segmentsAtOnce)
	for i, key := range keys {
		copying.Go(func() error {
			err := c.Vault.copySegment(ctx, c.Cluster, c.UID, historyOf(prefix, key), idOf(key), tell)
			switch {
			case err == nil:
				copied[i] = true
			case fleet.Is(err, fleet.Lost):
				damage[i] = err
			case !fleet.Is(err, fleet.NotFound): // else deleted while we looked
				return err
			}
			return nil
		})
	}
	err := copying.Wait()
	n := 0
	for _, done := range copied {
		if done {
			n++
		}
	}
	if err != nil {
		return n, err
	}
	return n, errors.Join(damage...)
}

// Expire removes from the second store what the first has no more and no rule keeps, by all
// that either has, and what broken copies left there that is older than age. What the first
// has lost otherwise stays. It gives how many backups, pieces of changes and leftovers that
// were. Errors: as of the stores.
func (c *Copier) Expire(ctx context.Context, policy fleet.BackupPolicy, age time.Duration) (backups, changes, leftovers int, err error) {
	second := Vault{Store: c.Vault.Second, Key: c.Vault.Key}
	entries, away, err := c.Vault.ListBoth(ctx, c.Cluster, c.UID)
	if err = errors.Join(err, away.Store, away.Second); err != nil {
		return 0, 0, 0, err
	}
	for _, e := range Expired(entries, policy.Keep) {
		if e.InStore || !e.InSecond || e.Manifest.LockedAt(time.Now()) {
			continue
		}
		err := second.Delete(ctx, c.Cluster, c.UID, e.ID)
		if fleet.Is(err, fleet.Blocked) {
			continue
		} else if err != nil {
			return backups, 0, 0, err
		}
		delete(c.taken, e.ID)
		backups++
	}
	segments, err := c.Vault.Segments(ctx, c.Cluster, c.UID)
	if err != nil {
		return backups, 0, 0, err
	}
	for _, e := range Unneeded(entries, segments, policy.KeptChanges(), time.Now()) {
		if e.InStore || e.Segment.LockedAt(time.Now()) {
			continue
		}
		err := second.DeleteSegment(ctx, c.Cluster, c.UID, e.History, e.ID)
		if fleet.Is(err, fleet.Blocked) {
			continue
		} else if err != nil {
			return backups, changes, 0, err
		}
		changes++
	}
	swept, err := second.Sweep(ctx, c.Cluster, c.UID, age)
	if err != nil {
		return backups, changes, len(swept), err
	}
	more, err := second.SweepSegments(ctx, c.Cluster, c.UID, age)
	return backups, changes, len(swept) + len(more), err
}
