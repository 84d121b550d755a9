package backup

import (
	"cmp"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Reach is how far a backup can be brought forward, by changes that follow on it without
// a gap.
type Reach struct {
	// Revision is the last that can be restored; the backup's own where no change follows.
	Revision int64
	// Until is the newest time by which all that was acknowledged is in it.
	Until time.Time
	// Segments are those that lead there, by their first revision.
	Segments []Segment
}

// ReachOf gives how far a backup can be brought forward.
func ReachOf(m Manifest, segments []SegmentEntry) Reach {
	reach := Reach{Revision: m.Revision, Until: m.Taken}
	for _, e := range segments { // by their first revision
		s := e.Segment
		switch {
		case e.Err != nil, e.History != m.History, s.Last < m.Revision:
			continue
		case s.First > reach.Revision+1:
			return reach
		}
		reach.Segments = append(reach.Segments, s)
		reach.Revision = max(reach.Revision, s.Last)
		if s.Until.After(reach.Until) {
			reach.Until = s.Until
		}
	}
	return reach
}

// UntilOf gives a time by which all that was acknowledged is in what a backup becomes by the
// changes up to a revision: when a change was seen says nothing of that, because it may
// have waited. Zero where it is not known.
func (r Reach) UntilOf(revision int64) (until time.Time) {
	for _, s := range r.Segments {
		if s.Last <= revision && s.Until.After(until) {
			until = s.Until
		}
	}
	return until
}

// Furthest gives the backup to restore all from that is stored: of those of the newest
// history that lead as far as any, the one that needs the fewest changes. False when there
// is none that counts.
func Furthest(entries []Entry, segments []SegmentEntry) (best Entry, reach Reach, found bool) {
	var newest time.Time
	for _, e := range entries {
		if e.Err == nil && (!found || e.Manifest.Taken.After(newest)) {
			newest, best, found = e.Manifest.Taken, e, true
		}
	}
	reach = ReachOf(best.Manifest, segments)
	for _, e := range entries {
		if e.Err != nil || e.Manifest.History != best.Manifest.History {
			continue
		}
		r := ReachOf(e.Manifest, segments)
		if r.Revision > reach.Revision || r.Revision == reach.Revision && e.Manifest.Revision > best.Manifest.Revision {
			best, reach = e, r
		}
	}
	return best, reach, found
}

// Gap are revisions that no backup and no changes lead to.
type Gap struct {
	History string
	// First and Last are the revisions, After and Before what is known of their time.
	First, Last   int64
	After, Before time.Time
	// Healed says that a backup was taken behind it: what comes after that can be
	// restored. One that is not healed needs a backup, because the changes behind it
	// follow on nothing.
	Healed bool
}

// Gaps gives the gaps between a cluster's backups and changes, by history and revision.
// Where nothing was recorded there is none: that changes are missing before the first
// segment follows from when it was begun.
func Gaps(entries []Entry, segments []SegmentEntry) (gaps []Gap) {
	type end struct {
		revision int64
		until    time.Time
	}
	ends := map[string]end{}
	for _, e := range segments {
		s := e.Segment
		if e.Err != nil {
			continue
		}
		last, begun := ends[e.History]
		if !begun { // what backups lead up to it
			last = end{revision: s.First - 1}
			for _, b := range entries {
				if b.Err == nil && b.Manifest.History == e.History && b.Manifest.Revision < s.First && b.Manifest.Taken.Before(s.started()) {
					last = end{b.Manifest.Revision, b.Manifest.Taken}
				}
			}
		}
		if s.First > last.revision+1 {
			gap := Gap{History: e.History, First: last.revision + 1, Last: s.First - 1, After: last.until, Before: s.started()}
			gap.Healed = slices.ContainsFunc(entries, func(b Entry) bool {
				return b.Err == nil && b.Manifest.History == gap.History && b.Manifest.Revision >= gap.Last
			})
			gaps = append(gaps, gap)
		}
		if s.Last > last.revision {
			last = end{s.Last, s.ended()}
		} else if s.Last == last.revision && s.ended().After(last.until) {
			last.until = s.ended()
		}
		ends[e.History] = last
	}
	return gaps
}

// started and ended are between which times a segment's changes were seen.
func (s Segment) started() time.Time {
	if s.Empty() {
		return s.Until
	}
	return s.Earliest
}

func (s Segment) ended() time.Time {
	if s.Until.After(s.Latest) {
		return s.Until
	}
	return s.Latest
}

// Begin says from which revision on a cluster's changes are to be recorded, so that they
// follow on what there is: now is the store's last revision. based says whether a backup
// leads there; else one has to be taken, and what is recorded from now on follows on it.
func Begin(entries []Entry, segments []SegmentEntry, history string, now int64) (from int64, based bool) {
	from = now + 1
	best := int64(0)
	for _, e := range entries {
		if e.Err != nil || e.Manifest.History != history {
			continue
		}
		if reach := ReachOf(e.Manifest, segments); reach.Revision > best {
			best = reach.Revision
		}
	}
	// What was recorded and follows on no backup yet may follow on the one being taken.
	last := int64(0)
	for _, e := range segments {
		if e.Err == nil && e.History == history {
			last = max(last, e.Segment.Last)
		}
	}
	if furthest := max(best, last); furthest > 0 && furthest <= now {
		from = furthest + 1
	}
	return from, best > 0 && best >= last
}

// Unneeded gives the segments that need not be kept: those that lead from no backup to a
// later revision, and those that are older than keep, unless it is zero. What leads on
// from the newest backup is needed in any case, and so is what came after it was taken:
// the next one may just be on its way.
func Unneeded(entries []Entry, segments []SegmentEntry, keep time.Duration, now time.Time) (unneeded []SegmentEntry) {
	leads, needed := map[string]bool{}, map[string]bool{}
	newest := Manifest{}
	for _, e := range entries {
		if e.Err == nil && e.Manifest.Taken.After(newest.Taken) {
			newest = e.Manifest
		}
	}
	for _, e := range entries {
		if e.Err != nil {
			continue
		}
		for _, s := range ReachOf(e.Manifest, segments).Segments {
			if s.Last > e.Manifest.Revision || s.Empty() {
				leads[s.ID] = true
				needed[s.ID] = needed[s.ID] || e.ID == newest.ID
			}
		}
	}
	for _, e := range segments {
		at := e.Modified
		if e.Err == nil {
			at = e.Segment.ended()
		}
		old := keep > 0 && now.Sub(at) > keep
		switch {
		case newest.Taken.IsZero(), !at.Before(newest.Taken), needed[e.ID]:
		case old, !leads[e.ID] && e.Err == nil:
			unneeded = append(unneeded, e)
		}
	}
	return unneeded
}

// Target is a point in time: a revision, or else a time, or else the newest there is.
type Target struct {
	Revision int64
	Time     time.Time
}

// Base gives the backup to restore a point in time from, the newest that leads there,
// and the segments that do. Errors: fleet.NotFound when none does, which says how far
// there is.
func Base(cluster string, entries []Entry, segments []SegmentEntry, t Target) (Manifest, Reach, error) {
	whole := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Err != nil })
	slices.SortFunc(whole, func(a, b Entry) int {
		return cmp.Or(b.Manifest.Taken.Compare(a.Manifest.Taken), cmp.Compare(b.ID, a.ID)) // newest first
	})
	var earliest, latest time.Time
	for _, e := range whole {
		reach := ReachOf(e.Manifest, segments)
		fits := true
		switch {
		case t.Revision > 0: // of the newest history that has it
			fits = e.Manifest.Revision <= t.Revision && t.Revision <= reach.Revision
		case !t.Time.IsZero():
			// It may hold what was written while it was stored.
			fits = !e.Manifest.Stored.After(t.Time) && !t.Time.After(reach.Until)
		}
		if fits {
			return e.Manifest, reach, nil
		}
		if latest.Before(reach.Until) {
			latest = reach.Until
		}
		earliest = e.Manifest.Stored
	}
	resource := "point in time of " + cluster
	if len(whole) == 0 {
		return Manifest{}, Reach{}, fleet.Errorf(fleet.NotFound, resource, "there is no backup").WithRemedy("have one taken: flotilla backup %s", cluster)
	}
	return Manifest{}, Reach{}, fleet.Errorf(fleet.NotFound, resource, "no backup and the changes behind it lead there; there are some between %s and %s",
		earliest.Format(time.RFC3339), latest.Format(time.RFC3339)).
		WithRemedy("flotilla backups %s shows from when to when each can be restored", cluster)
}
