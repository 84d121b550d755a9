package fleet

import (
	"fmt"
	"time"
)

// BackupFinding is something that is wrong with the backups of a cluster.
type BackupFinding struct {
	Cluster string            `json:"cluster"`
	Kind    BackupFindingKind `json:"kind"`
	// Text says what is wrong, and Remedy what a person can do.
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
}

// BackupFindingKind is what kind of thing is wrong.
type BackupFindingKind string

// What may be wrong with the backups of a cluster.
const (
	// BackupMissing: the newest that counts is older than the schedule allows, or there
	// is none.
	BackupMissing BackupFindingKind = "BackupMissing"
	// RehearsalFailed: what was restored the last time was not what the manifest says.
	RehearsalFailed BackupFindingKind = "RehearsalFailed"
	// RehearsalMissing: the last one is older than the policy allows, or there was none.
	RehearsalMissing BackupFindingKind = "RehearsalMissing"
	// ChangesGap: nothing leads to some revisions, and no backup was taken behind them.
	ChangesGap BackupFindingKind = "ChangesGap"
	// ChangesBehind: what was written lately is not recorded.
	ChangesBehind BackupFindingKind = "ChangesBehind"
	// CopyMissing: the second store does not have the newest backup yet, though there was time.
	CopyMissing BackupFindingKind = "CopyMissing"
	// StoreAway: one of the two stores cannot be asked.
	StoreAway BackupFindingKind = "StoreAway"
	// StoreLost: the first store does not have a backup that the second has.
	StoreLost BackupFindingKind = "StoreLost"
)

const (
	// lateAfter is after how much of an interval something is late: a schedule looks once
	// a minute (backups) or an hour (rehearsals), and others may be in front.
	lateAfter = 1.5
	// leastLate is what is never late: a backup takes its time too.
	leastLate = 15 * time.Minute
	// copyWithin is how long a backup may take into the second store: 16 GiB at 10 MB/s, there
	// and back.
	copyWithin = time.Hour
	// ChangesQuiet is how often a recording says that nothing was written.
	ChangesQuiet = time.Hour
)

func late(every Duration) time.Duration {
	return max(time.Duration(float64(every)*lateAfter), time.Duration(every)+leastLate)
}

// BackupsSeen is what was seen of the backups of one cluster.
type BackupsSeen struct {
	Cluster string
	// Created is when the cluster was.
	Created time.Time
	// Backups are oldest first; the newest alone will do, but then Changes must be zero in
	// the policy, because how far they reach is not known.
	Backups []Backup
	Gaps    []Gap
	// Rehearsed is the last rehearsal of any of them; nil if there was none.
	Rehearsed *Rehearsal
	// Away says why a store cannot be asked, where there are two.
	Away StoresAway
}

// Findings says what is wrong with the backups of a cluster by its policy, the worst first.
func (p BackupPolicy) Findings(seen BackupsSeen, now time.Time) (all []BackupFinding) {
	add := func(kind BackupFindingKind, remedy, format string, args ...any) {
		all = append(all, BackupFinding{Cluster: seen.Cluster, Kind: kind, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	ago := func(t time.Time) string { return now.Sub(t).Round(time.Minute).String() }
	var newest *Backup
	recorded := time.Time{} // until when everything written is in a backup or in changes
	for i, b := range seen.Backups {
		if b.Damaged != "" || b.Base != "" {
			continue
		}
		newest = &seen.Backups[i]
		if recorded = later(recorded, b.Taken); b.Reach != nil {
			recorded = later(recorded, b.Reach.Until)
		}
	}
	again := "see why with flotilla operations " + seen.Cluster + "; flotilla backup " + seen.Cluster + " takes one now"
	switch {
	case p.Every <= 0:
	case newest == nil && now.Sub(seen.Created) > late(p.Every):
		add(BackupMissing, again, "there is no backup that counts, and one is to be taken every %s", p.Every)
	case newest != nil && now.Sub(newest.Taken) > late(p.Every):
		add(BackupMissing, again, "the newest backup that counts is %s old, and one is to be taken every %s", ago(newest.Taken), p.Every)
	}
	last := seen.Rehearsed
	rehearse := "flotilla rehearse " + seen.Cluster + " does it now"
	switch {
	case last != nil && !last.OK:
		add(RehearsalFailed, "flotilla backup "+seen.Cluster+" takes another one, and "+rehearse, "the last rehearsal failed %s ago: %s", ago(last.When), last.Why)
	case p.Rehearse <= 0 || newest == nil || newest.Rehearsal != nil:
	case last == nil && now.Sub(seen.Backups[0].Taken) > late(p.Rehearse) && now.Sub(seen.Created) > late(p.Rehearse):
		add(RehearsalMissing, rehearse, "no backup was ever rehearsed, and one is to be every %s", p.Rehearse)
	case last != nil && now.Sub(last.When) > late(p.Rehearse):
		add(RehearsalMissing, rehearse, "the last rehearsal was %s ago, and one is to be every %s", ago(last.When), p.Rehearse)
	}
	for _, g := range seen.Gaps {
		if !g.Healed {
			add(ChangesGap, "a backup was asked for; "+again, "nothing leads to revisions %d to %d, and there is no backup behind them", g.First, g.Last)
		}
	}
	if p.Changes > 0 && !recorded.IsZero() && now.Sub(recorded) > late(Duration(ChangesQuiet)+p.Changes) {
		add(ChangesBehind, "see what the workers of its region log of changes; flotilla backup "+seen.Cluster+" brings what there is into safety now",
			"what was written in the last %s is not recorded, and it is to be within %s", ago(recorded), p.Changes)
	}
	p.copyFindings(seen, newest, now, add)
	return all
}

// copyFindings says what is wrong with the second store, where there is one.
func (BackupPolicy) copyFindings(seen BackupsSeen, newest *Backup, now time.Time, add func(kind BackupFindingKind, remedy, format string, args ...any)) {
	const look = "see what flotilla doctor and the workers of its region say; backups are taken and copies are tried meanwhile"
	if seen.Away.First != "" {
		add(StoreAway, look, "the object store cannot be asked, and what is shown is the second store's: %s", seen.Away.First)
	}
	if seen.Away.Second != "" {
		add(StoreAway, look, "the second store cannot be asked: %s", seen.Away.Second)
	}
	switch {
	case newest == nil:
	case newest.Where == InSecond:
		add(StoreLost, "it is restored from there; flotilla backup "+seen.Cluster+" takes one that both have", "the newest backup is in the second store alone: the first has lost it")
	case newest.Where == InFirst && now.Sub(newest.Stored) > copyWithin:
		add(CopyMissing, look, "the newest backup is not in the second store, %s after it was stored", now.Sub(newest.Stored).Round(time.Minute))
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
