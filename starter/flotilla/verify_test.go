package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/starter/terminal"
)

// What is wrong with the changes behind a backup is named, with what it costs and what to do.
func TestChangesAreSaid(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	clock := terminal.Clock{Now: now}
	b := fleet.Backup{ID: "b1", Cluster: "orders", Revision: 100, Keys: 12, Member: "orders-2", Taken: now.Add(-3 * time.Hour)}
	require.Contains(t, verifiedText(plain, b, clock), "no changes are recorded behind it")
	b.Changes = &fleet.ChangesCheck{Segments: 41, NotCopied: 1, Reach: fleet.Reach{Revision: 900, Until: now.Add(-40 * time.Second)}}
	text := verifiedText(plain, b, clock)
	require.Contains(t, text, "b1 is whole: revision 100")
	require.Contains(t, text, "the changes behind it are whole: 41 segments, up to revision 900, 40s ago")
	require.Contains(t, text, "the second store does not have the last 1 segment of them yet")

	piece := fleet.DamagedChanges{
		ID: "s", First: 200, Last: 240, Earliest: now.Add(-2 * time.Hour), Latest: now.Add(-119 * time.Minute),
		Where: fleet.InFirst, Store: "s3://etcd/", Why: "object x is not what was stored",
	}
	b.Changes.Damaged = []fleet.DamagedChanges{piece}
	require.False(t, b.Changes.Right())
	text = verifiedText(plain, b, clock)
	require.Contains(t, text, "the changes behind it are NOT whole")
	require.Contains(t, text, "DAMAGED in the first store: revisions 200 to 240 (2026-03-14 10:00:00 to 2026-03-14 10:01:00 UTC)\n  object x is not what was stored")
	require.Contains(t, text, "flotilla verify orders b1 --repair")
	require.NotContains(t, text, "CANNOT")

	b.Changes.Damaged[0].Repaired = true
	require.True(t, b.Changes.Right())
	text = verifiedText(plain, b, clock)
	require.Contains(t, text, "repaired in the first store: revisions 200 to 240")
	require.NotContains(t, text, "--repair")

	b.Changes.Damaged[0].Repaired, b.Changes.Damaged[0].NotRepaired = false, "it is locked"
	text = verifiedText(plain, b, clock)
	require.Contains(t, text, "  it is locked")
	require.NotContains(t, text, "--repair")

	piece.Where, piece.Store = fleet.InBoth, ""
	b.Changes.Damaged = []fleet.DamagedChanges{piece}
	require.Contains(t, verifiedText(plain, b, clock), "nothing is lost")
	b.Changes.Lost = []fleet.LostRevisions{{First: 200, Last: 900, After: now.Add(-2 * time.Hour), Before: now}}
	text = verifiedText(plain, b, clock)
	require.Contains(t, text, "DAMAGED, and whole nowhere else: revisions 200 to 240")
	require.Contains(t, text, "CANNOT BE RESTORED: revisions 200 to 900 (2026-03-14 10:00:00 to 2026-03-14 12:00:00 UTC)")
	require.Contains(t, text, "flotilla backup orders")
	b.Changes.Lost[0].Healed = true
	text = verifiedText(plain, b, clock)
	require.Contains(t, text, "a backup was taken behind them")
	require.NotContains(t, text, "flotilla backup orders")
}
