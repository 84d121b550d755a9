package backup

import (
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// KeptMade is for how long a backup is kept that was made for a point in time: whoever
// asked for it restores it now.
const KeptMade = 24 * time.Hour

// Expired gives those of a cluster's backups, oldest first, that no rule keeps. Only
// backups that count are judged and only they fill a rule: one that is damaged saves no
// whole one from nothing, and stays for a person to look at until it is older than
// all that are kept. The newest whole one is never among them. One that was made of
// another for a point in time fills no rule either: it goes once a backup was taken more
// than a day after it was stored.
func Expired(entries []Entry, keep fleet.Keep) []Entry {
	if keep == (fleet.Keep{}) {
		return nil
	}
	whole := slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Err != nil || e.Manifest.Base != "" })
	slices.Reverse(whole) // newest first
	kept := map[string]bool{}
	for _, e := range entries {
		if e.Err == nil && e.Manifest.Base != "" && (len(whole) == 0 || whole[0].Manifest.Taken.Sub(e.Manifest.Stored) <= KeptMade) {
			kept[e.ID] = true
		}
	}
	for i, e := range whole {
		if i < max(keep.Last, 1) {
			kept[e.ID] = true
		}
	}
	for _, rule := range []struct {
		n      int
		period func(time.Time) string
	}{
		{keep.Hourly, func(t time.Time) string { return t.Format("2006-01-02T15") }},
		{keep.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{keep.Weekly, func(t time.Time) string { year, week := t.ISOWeek(); return fmt.Sprintf("%d-%d", year, week) }},
		{keep.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
	} {
		periods := map[string]bool{}
		for _, e := range whole {
			period := rule.period(e.Manifest.Taken.UTC())
			if periods[period] || len(periods) >= rule.n {
				continue
			}
			periods[period], kept[e.ID] = true, true
		}
	}
	oldest := "" // before all: nothing whole, nothing goes
	for _, e := range whole {
		if kept[e.ID] {
			oldest = e.ID // IDs sort by time
		}
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool {
		return kept[e.ID] || e.Err != nil && e.ID >= oldest
	})
}
