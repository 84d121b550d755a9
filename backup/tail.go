package backup

import (
	"path"
	"strings"
	"time"
)

const (
	// overlap is for how long two recorders of a cluster may store segments beside each
	// other: one goes on a while after it was taken for dead. Their keys begin with the first
	// revision that is in them, so a segment may come whose key is before others.
	overlap = 15 * time.Minute
	// overlapping is how many of those that are there at the first look may be such.
	overlapping = 32
)

// tail is the end of the segments of one history, as far as they were seen.
type tail struct {
	// seen is when each manifest was, by key; what is older than overlap is forgotten, but
	// for the last.
	seen map[string]time.Time
	last string
}

// from gives the key behind which segments may be that were not seen: what sorts behind it
// is all that begins with the revision of any that was seen lately. A segment that tells that
// nothing was written begins with the same one as that which follows it.
func (t *tail) from() string {
	oldest := t.last
	for key := range t.seen {
		oldest = min(oldest, key)
	}
	if oldest == "" {
		return ""
	}
	histories, id := path.Split(path.Dir(oldest))
	revision, _, _ := strings.Cut(id, "-") // newSegmentID
	return histories + revision
}

// unseen gives those of some keys that were not seen.
func (t *tail) unseen(keys []string) (left []string) {
	for _, key := range keys {
		if _, was := t.seen[key]; !was {
			left = append(left, key)
		}
	}
	return left
}

// see takes note of keys, and forgets those of long ago.
func (t *tail) see(keys []string, now time.Time) {
	if t.seen == nil {
		t.seen = map[string]time.Time{}
	}
	for _, key := range keys {
		t.seen[key], t.last = now, max(t.last, key)
	}
	for key, at := range t.seen {
		if now.Sub(at) > overlap && key != t.last {
			delete(t.seen, key)
		}
	}
}
