package backup

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
)

func entryAt(at time.Time, err error) Entry {
	return Entry{ID: NewID(at, "op"), Manifest: Manifest{Taken: at}, Err: err}
}

func keptOf(entries []Entry, keep fleet.Keep) (kept []string) {
	gone := map[string]bool{}
	for _, e := range Expired(entries, keep) {
		gone[e.ID] = true
	}
	for _, e := range entries {
		if !gone[e.ID] {
			kept = append(kept, e.Manifest.Taken.Format("02T15:04"))
		}
	}
	return kept
}

func TestRetention(t *testing.T) {
	begin := time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC) // a Sunday
	var entries []Entry
	for h := 0; h < 10*24; h += 6 {
		entries = append(entries, entryAt(begin.Add(time.Duration(h)*time.Hour), nil))
	}
	for _, c := range []struct {
		keep fleet.Keep
		want []string
	}{
		{fleet.Keep{Last: 2}, []string{"10T12:30", "10T18:30"}},
		{fleet.Keep{Daily: 3}, []string{"08T18:30", "09T18:30", "10T18:30"}},
		{fleet.Keep{Last: 2, Daily: 2}, []string{"09T18:30", "10T12:30", "10T18:30"}},
		{fleet.Keep{Weekly: 5}, []string{"01T18:30", "08T18:30", "10T18:30"}},
		{fleet.Keep{Monthly: 5}, []string{"10T18:30"}},
		{fleet.Keep{Hourly: 2}, []string{"10T12:30", "10T18:30"}},
	} {
		require.Equal(t, c.want, keptOf(entries, c.keep), "%+v", c.keep)
	}
	require.Empty(t, Expired(entries, fleet.Keep{}), "without a rule all are kept")
}

// Whatever the rules and whatever is damaged: the newest whole backup stays, a damaged
// one takes no place of a whole one, and what is removed once more is nothing.
func TestRetentionNeverTakesTheLastWholeOne(t *testing.T) {
	dice := rand.New(rand.NewPCG(7, 11))
	for range 2000 {
		var entries []Entry
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		for range dice.IntN(40) {
			at = at.Add(time.Duration(1+dice.IntN(100)) * time.Hour)
			var err error
			if dice.IntN(3) == 0 {
				err = errors.New("damaged")
			}
			entries = append(entries, entryAt(at, err))
		}
		keep := fleet.Keep{Last: dice.IntN(3), Hourly: dice.IntN(3), Daily: dice.IntN(3), Weekly: dice.IntN(3), Monthly: 1 + dice.IntN(3)}
		gone := map[string]bool{}
		for _, e := range Expired(entries, keep) {
			gone[e.ID] = true
		}
		var whole, left []Entry
		for _, e := range entries {
			if e.Err == nil {
				whole = append(whole, e)
			}
			if !gone[e.ID] {
				left = append(left, e)
			}
		}
		if len(whole) == 0 {
			require.Empty(t, gone, "nothing is whole, so nothing may go")
			continue
		}
		for i := range min(max(keep.Last, 1), len(whole)) {
			require.False(t, gone[whole[len(whole)-1-i].ID])
		}
		require.Empty(t, Expired(left, keep), "twice is as once")
	}
}

// A backup that was made for a point in time takes no place of another one, and goes.
func TestRetentionOfWhatWasMadeForAPointInTime(t *testing.T) {
	begin := time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC)
	made := func(at, of time.Time) Entry {
		return Entry{ID: NewID(at, "op"), Manifest: Manifest{Base: "x", Taken: of, Stored: at}}
	}
	hours := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Hour) }
	keep := fleet.Keep{Last: 1, Daily: 1}
	alone := []Entry{made(hours(1), begin)}
	require.Empty(t, Expired(alone, keep), "there is nothing newer")
	entries := []Entry{entryAt(begin, nil), made(hours(3), hours(-40)), made(hours(4), hours(1)), entryAt(hours(27), nil)}
	require.Equal(t, []string{"27T08:30", "01T01:30", "02T03:30"}, keptOf(entries, keep))
	entries = append(entries, entryAt(hours(29), nil))
	require.Equal(t, []string{"02T05:30"}, keptOf(entries, keep))
	entries = append(entries, made(hours(30), hours(2)))
	require.Equal(t, []string{"02T05:30", "01T02:30"}, keptOf(entries, keep), "the newest that a member gave stays")
}
