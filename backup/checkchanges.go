package backup

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

const (
	// listedDamage bounds what is told of one check, and listedObjects what is recorded of a
	// repair. The figures count all.
	listedDamage, listedObjects = 64, 16
	// copiedWithin is for how long a segment may be missing from the second store: whoever
	// copies looks once a minute, and an hour later at all that there is.
	copiedWithin = 2 * time.Hour
)

// ChangesAsk is what is asked for of a check of changes.
type ChangesAsk struct {
	// Repair has what is wrong in one of two stores replaced by what the other has; By is who
	// asks for that.
	Repair bool
	By     string
	// Keep is how long changes are kept; zero is for ever.
	Keep time.Duration
}

// CheckChanges reads the changes recorded behind a backup to their last byte, in each store
// that is to have them, and says which segments are missing or altered where, and which
// revisions cannot be restored because of that. Where it is asked for, what is wrong in one of
// two stores is replaced by what the other has, as Repair does with a backup, and recorded
// beside the backup. Segments that are locked, and those that are whole in neither store, stay
// as they are and are told of.
//
// Errors: as of the stores: one that does not answer proves nothing.
func (v Vault) CheckChanges(ctx context.Context, m Manifest, ask ChangesAsk, tell Tell) (fleet.ChangesCheck, []fleet.BackupRepair, error) {
	v.FellBack = nil // each store is asked
	var check fleet.ChangesCheck
	entries, segments, err := v.behind(ctx, m, ask.Keep)
	if err != nil {
		return check, nil, err
	}
	found := make([]segmentFound, len(segments))
	var mu sync.Mutex
	done := int64(0)
	reading, readCtx := errgroup.WithContext(ctx)
	reading.SetLimit(segmentsAtOnce)
	for i, e := range segments {
		reading.Go(func() (err error) {
			if found[i], err = v.checkSegment(readCtx, m, e, ask); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			done++
			tell.of("reading changes")(done)
			return nil
		})
	}
	err = reading.Wait() // what was repaired until then is recorded in any case
	var repaired []fleet.BackupRepair
	for i, f := range found {
		segments[i] = f.entry
		repaired = append(repaired, f.repaired...)
		check.Damaged = append(check.Damaged, f.damaged...)
		switch {
		case f.gone:
			continue
		case f.late:
			check.NotCopied++
		}
		check.Segments++
	}
	repaired = together(repaired)
	if len(repaired) > 0 {
		err = errors.Join(err, v.recordRepairs(ctx, m.Cluster, m.UID, m.ID, repaired))
	}
	if err != nil {
		return check, repaired, err
	}
	segments = slices.DeleteFunc(segments, func(e SegmentEntry) bool { return e.ID == "" })
	differ, err := v.differing(ctx, segments)
	if err != nil {
		return check, repaired, err
	}
	check.Damaged = append(check.Damaged, differ...)
	slices.SortStableFunc(check.Damaged, func(a, b fleet.DamagedChanges) int {
		switch {
		case a.Repaired == b.Repaired:
			return cmp.Compare(a.First, b.First)
		case a.Repaired: // what is wrong still is told first
			return 1
		}
		return -1
	})
	check.Reach, check.Lost = lostBehind(m, entries, segments, differ)
	check.More = max(0, len(check.Damaged)-listedDamage)
	check.Damaged = check.Damaged[:len(check.Damaged)-check.More]
	return check, repaired, nil
}

// behind gives all backups, and the segments that are to follow on one. What retention has
// removed from the first store, and the second is about to, is not among them.
func (v Vault) behind(ctx context.Context, m Manifest, keep time.Duration) ([]Entry, []SegmentEntry, error) {
	entries, away, err := v.ListBoth(ctx, m.Cluster, m.UID)
	if err = errors.Join(err, away.Store, away.Second); err != nil {
		return nil, nil, err
	}
	segments, err := v.Segments(ctx, m.Cluster, m.UID)
	if err != nil {
		return nil, nil, err
	}
	expired := map[string]bool{}
	for _, e := range Unneeded(entries, segments, keep, time.Now()) {
		expired[e.ID] = !e.InStore
	}
	segments = slices.DeleteFunc(segments, func(e SegmentEntry) bool { return e.History != m.History || expired[e.ID] })
	var left []SegmentEntry
	for i, e := range segments { // by their first revision
		s := e.Segment
		before := s.Last < m.Revision || s.Last == m.Revision && !s.Empty()
		if e.Err != nil { // then its name tells, and that of the next one
			before = i+1 < len(segments) && segmentKey{id: segments[i+1].ID}.first() <= m.Revision+1
		}
		if !before {
			left = append(left, e)
		}
	}
	return entries, left, nil
}

// segmentFound is what reading a segment in each store showed.
type segmentFound struct {
	// entry is the segment, with an error when it is whole in no store.
	entry    SegmentEntry
	damaged  []fleet.DamagedChanges
	repaired []fleet.BackupRepair
	late     bool // the second store does not have it yet
	gone     bool // it was deleted meanwhile
}

// checkSegment reads one segment in each store, and repairs it where that is asked for.
func (v Vault) checkSegment(ctx context.Context, m Manifest, e SegmentEntry, ask ChangesAsk) (found segmentFound, err error) {
	var s Segment
	key := Segment{Cluster: m.Cluster, UID: m.UID, History: m.History, ID: e.ID}.prefix() + manifestName
	is, sides, err := v.compare(ctx, key, func(ctx context.Context, in objectstore.Store) (piece, error) {
		one, err := segmentIn(ctx, in, m.Cluster, m.UID, m.History, e.ID)
		if err == nil {
			s = one
		}
		return piece{name: one.String(), manifest: key, objects: one.Objects, lock: one.Lock, read: func(ctx context.Context, from objectstore.Store, _ Object) error {
			_, err := Vault{Store: from, Key: v.Key}.readSegment(ctx, one)
			return err
		}}, err
	})
	if s.ID == "" { // nobody can read its manifest
		s = Segment{First: segmentKey{id: e.ID}.first()}
	}
	found.entry = SegmentEntry{ID: e.ID, History: e.History, Segment: s, Modified: e.Modified, InStore: e.InStore}
	bad := fleet.DamagedChanges{ID: e.ID, First: s.First, Last: s.Last, Earliest: s.Earliest, Latest: s.ended()}
	switch {
	case fleet.Is(err, fleet.NotFound): // by retention
		return segmentFound{gone: true}, nil
	case fleet.Is(err, fleet.Lost), fleet.Is(err, fleet.Conflict):
		bad.Where, bad.Why, found.entry.Err = fleet.InBoth, cause(err), err
		if fleet.Is(err, fleet.Lost) {
			bad.Why = whyOf(is, sides)
		}
		found.damaged = append(found.damaged, bad)
		return found, nil
	case err != nil:
		return found, err
	}
	if len(sides) == 2 && fleet.Is(sides[1].wrong[key], fleet.NotFound) && time.Since(e.Modified) < copiedWithin {
		found.late = true // it is on its way, and no damage
		clear(sides[1].wrong)
	}
	for i, side := range sides {
		if len(side.wrong) == 0 {
			continue
		}
		bad.Where, bad.Store = []fleet.Where{fleet.InFirst, fleet.InSecond}[i], side.store.String()
		_, bad.Why = side.why(is)
		found.damaged = append(found.damaged, bad)
	}
	if len(found.damaged) == 0 || !ask.Repair {
		return found, nil
	}
	found.repaired, err = v.mend(ctx, is, sides, ask.By, nil)
	for i := range found.damaged {
		at := &found.damaged[i]
		at.Repaired = slices.ContainsFunc(found.repaired, func(r fleet.BackupRepair) bool { return r.Store == at.Store })
		if !at.Repaired && err != nil {
			at.NotRepaired = err.Error()
		}
	}
	if fleet.Is(err, fleet.Blocked) {
		err = nil
	}
	return found, err
}

// whyOf says what of a segment is wrong in each store.
func whyOf(is piece, sides []side) string {
	var all []string
	for _, s := range sides {
		if _, why := s.why(is); why != "" {
			all = append(all, why)
		}
	}
	return strings.Join(all, "; in the other store: ")
}

// together makes one record for each store of what was replaced there.
func together(repairs []fleet.BackupRepair) (all []fleet.BackupRepair) {
	for _, r := range repairs {
		i := slices.IndexFunc(all, func(a fleet.BackupRepair) bool { return a.Store == r.Store })
		switch {
		case i < 0:
			all = append(all, r)
		case len(all[i].Objects)+len(r.Objects) > listedObjects:
			all[i].More += len(r.Objects)
		default:
			all[i].Objects = append(all[i].Objects, r.Objects...)
			all[i].Why += "; " + r.Why
		}
	}
	return all
}

// differing looks for two records of a revision that are each right and differ.
func (v Vault) differing(ctx context.Context, segments []SegmentEntry) (all []fleet.DamagedChanges, err error) {
	whole := slices.DeleteFunc(slices.Clone(segments), func(e SegmentEntry) bool { return e.Err != nil || e.Segment.Empty() })
	for len(whole) > 0 { // of those that overlap, one after another
		n, last := 1, whole[0].Segment.Last
		for ; n < len(whole) && whole[n].Segment.First <= last; n++ {
			last = max(last, whole[n].Segment.Last)
		}
		if n > 1 {
			of, err := v.differingOf(ctx, whole[:n], last)
			if err != nil {
				return nil, err
			}
			all = append(all, of...)
		}
		whole = whole[n:]
	}
	return all, nil
}

func (v Vault) differingOf(ctx context.Context, segments []SegmentEntry, last int64) (all []fleet.DamagedChanges, err error) {
	c := &changeReader{ctx: ctx, vault: v, resource: "changes of " + segments[0].Segment.Cluster, next: segments[0].Segment.First}
	for _, e := range segments {
		c.left = append(c.left, e.Segment)
	}
	for c.next <= last {
		at := c.next
		revision, _, err := c.read()
		switch {
		case fleet.Is(err, fleet.Lost):
			all = append(all, fleet.DamagedChanges{ID: segments[0].ID, First: at, Last: at, Where: fleet.InBoth, Why: err.Error()})
			c.next = at + 1
		case err != nil:
			return nil, err
		case revision == nil:
			return all, nil
		}
	}
	return all, nil
}

// lostBehind gives how far a backup can be brought by segments that were read, and which
// revisions behind it neither they nor another backup lead to. differ are revisions whose
// records differ, which end every way.
func lostBehind(m Manifest, entries []Entry, segments []SegmentEntry, differ []fleet.DamagedChanges) (reach fleet.Reach, lost []fleet.LostRevisions) {
	reachOf := func(m Manifest) fleet.Reach {
		is := ReachOf(m, segments)
		reach := fleet.Reach{Revision: is.Revision, Until: is.Until}
		for _, d := range differ {
			if m.Revision < d.First && d.First <= reach.Revision {
				reach = fleet.Reach{Revision: d.First - 1, Until: later(m.Taken, is.UntilOf(d.First-1))}
			}
		}
		return reach
	}
	var newest time.Time // that is known of any change
	last := m.Revision
	for _, e := range segments {
		last, newest = max(last, e.Segment.Last), later(newest, e.Segment.ended())
		if e.Err != nil {
			last = max(last, e.Segment.First) // no more may be known of it
		}
	}
	bases := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		return e.Err != nil || e.Manifest.History != m.History || e.Manifest.Revision <= m.Revision
	})
	slices.SortFunc(bases, func(a, b Entry) int { return cmp.Compare(a.Manifest.Revision, b.Manifest.Revision) })
	reach = reachOf(m)
	for at := reach; at.Revision < last; {
		gone := fleet.LostRevisions{First: at.Revision + 1, Last: last, After: at.Until, Before: newest}
		next := slices.IndexFunc(bases, func(e Entry) bool { return e.Manifest.Revision > at.Revision })
		if next < 0 {
			return reach, append(lost, gone)
		}
		base := bases[next].Manifest
		gone.Last, gone.Before, gone.Healed = base.Revision-1, base.Taken, true
		if gone.First <= gone.Last {
			lost = append(lost, gone)
		}
		at = reachOf(base)
	}
	return reach, lost
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
