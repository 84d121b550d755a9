package fleet

import (
	"cmp"
	"strconv"
	"time"
)

// NewestBackup is what Options.FromBackup says to have the newest backup, with the changes
// recorded since.
const NewestBackup = "newest"

// Sighting is how far a cluster was when somebody looked.
type Sighting struct {
	Revision int64     `json:"revision"`
	At       time.Time `json:"at"`
}

// Stored is what the object store has to recover a cluster from: the newest backup that
// counts, with how far the changes recorded since lead, or the one that was named, as it is.
type Stored struct {
	Backup Backup `json:"backup"`
	// History is the ID that etcd gave the cluster, in hex. Revisions can be compared only
	// within one: a restore begins another.
	History string `json:"history"`
	// Away says why the first of two stores could not be asked, which may have newer ones.
	Away string `json:"away,omitempty"`
}

// Revision is the last one that can be had.
func (s Stored) Revision() int64 {
	if s.Backup.Reach != nil {
		return max(s.Backup.Revision, s.Backup.Reach.Revision)
	}
	return s.Backup.Revision
}

// Until is a time by which every write that was acknowledged can be had.
func (s Stored) Until() time.Time {
	if s.Backup.Reach != nil && s.Backup.Reach.Until.After(s.Backup.Taken) {
		return s.Backup.Reach.Until
	}
	return s.Backup.Taken
}

// SameHistory says whether a member's data is of the cluster that was backed up.
func (s Stored) SameHistory(r DataReport) bool {
	a, errA := strconv.ParseUint(s.History, 16, 64)
	b, errB := strconv.ParseUint(r.ClusterID, 16, 64)
	return errA == nil && errB == nil && a == b
}

// SourceKind is what a cluster that lost its quorum is recovered from.
type SourceKind string

// The kinds of sources.
const (
	SourceSurvivor SourceKind = "survivor" // the disk of a voter
	SourceStandby  SourceKind = "standby"  // the disk of a learner
	SourceBackup   SourceKind = "backup"   // a backup, and the changes recorded since
)

// Source is one thing that a cluster may be recovered from, and what is lost by it.
type Source struct {
	Kind SourceKind `json:"kind"`
	// Name is a member's name, or a backup's ID.
	Name string `json:"name"`
	// Revision is what the cluster will have at least.
	Revision int64 `json:"revision"`
	// Missing is how many revisions are known of that it may not have: that was the last
	// which any look, any recorder, any backup or any disk saw.
	Missing int64 `json:"missing,omitempty"`
	// Until is by when every acknowledged write is in it; zero where that is not known.
	Until time.Time `json:"until,omitzero"`
	// Over is how long after that it was until the recovery was asked for: what was
	// acknowledged meanwhile is lost. Zero where that is not known.
	Over Duration `json:"over,omitempty"`
	// Sure says that nothing that was acknowledged can be missing.
	Sure bool `json:"sure,omitempty"`
	// Unasked says that a store which may have more could not be asked.
	Unasked bool `json:"unasked,omitempty"`
	// Words say it for a person.
	Words string `json:"words"`
}

// OverAtMost is Over in whole seconds, rounded up.
func (s Source) OverAtMost() time.Duration {
	return (time.Duration(s.Over) + time.Second - 1).Truncate(time.Second)
}

// Newest is the last revision that anybody saw.
func (s Source) Newest() int64 { return s.Revision + s.Missing }

// LossAnswer says from what a recovery may go on without asking a person.
type LossAnswer string

// The answers.
const (
	// LossAsk: it always asks.
	LossAsk LossAnswer = "never"
	// LossOfVoters: it goes on from the disk of a voter or a learner, and loses what voters
	// had acknowledged that are not there.
	LossOfVoters LossAnswer = "survivor"
	// LossAny: also from a backup, and loses what was written since.
	LossAny LossAnswer = "any"
)

// Accepts says whether a recovery may go on from a source without asking a person. No policy
// answers while nobody can tell whether a store has more.
func (p Policy) Accepts(s Source) bool {
	if s.Unasked {
		return false
	}
	switch cmp.Or(p.AcceptLoss, LossAsk) {
	case LossAny:
		return true
	case LossOfVoters:
		return s.Kind != SourceBackup
	}
	return false
}
