package fleet

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// BackupPolicy is how often a cluster is backed up without being asked, and which of its
// backups are kept.
type BackupPolicy struct {
	// Every is from one backup to the next; zero means only when somebody asks.
	Every Duration `yaml:"every,omitempty" json:"every,omitempty"`
	Keep  Keep     `yaml:"keep,omitempty" json:"keep,omitzero"`
	// Changes has what is written between backups recorded, and stored so long after it
	// was written at the latest; zero means that it is not.
	Changes Duration `yaml:"changes,omitempty" json:"changes,omitempty"`
	// KeepChanges is how long they are kept; zero means DefaultKeepChanges. Those behind
	// the newest backup are kept in any case.
	KeepChanges Duration `yaml:"keepChanges,omitempty" json:"keepChanges,omitempty"`
	// Rehearse is how old the last rehearsal may become before the newest backup is
	// restored for real on a host that is bought for it; zero: only when somebody asks.
	Rehearse Duration `yaml:"rehearse,omitempty" json:"rehearse,omitempty"`
}

// DefaultKeepChanges is how long changes are kept where the spec does not say.
const DefaultKeepChanges = Duration(7 * 24 * time.Hour)

// KeptChanges is how long recorded changes are kept.
func (p BackupPolicy) KeptChanges() time.Duration {
	return time.Duration(cmp.Or(p.KeepChanges, DefaultKeepChanges))
}

// Keep says which backups are kept: each rule keeps some, and what no rule keeps is
// removed. Without any rule all are kept.
type Keep struct {
	// Last keeps the newest so many.
	Last int `yaml:"last,omitempty" json:"last,omitempty"`
	// Hourly keeps the newest of each of the newest so many hours that have one; Daily,
	// Weekly (from Monday) and Monthly likewise, all in UTC.
	Hourly  int `yaml:"hourly,omitempty" json:"hourly,omitempty"`
	Daily   int `yaml:"daily,omitempty" json:"daily,omitempty"`
	Weekly  int `yaml:"weekly,omitempty" json:"weekly,omitempty"`
	Monthly int `yaml:"monthly,omitempty" json:"monthly,omitempty"`
}

// Bounds of a backup policy.
const (
	// minEvery is how often the schedule looks.
	minEvery       = Duration(time.Minute)
	maxEvery       = Duration(31 * 24 * time.Hour)
	maxKept        = 1000
	minChanges     = Duration(time.Second)
	maxChanges     = Duration(time.Hour)
	maxKeepChanges = Duration(366 * 24 * time.Hour)
	// minRehearse is longer than a rehearsal of a large backup takes.
	minRehearse = Duration(time.Hour)
)

// Validate gives everything that is wrong with the policy, below path.
func (p BackupPolicy) Validate(path string) Problems {
	var ps Problems
	if p.Every != 0 && (p.Every < minEvery || p.Every > maxEvery) {
		ps.add(path+".every", "%s must be between %s and %s; leave it out for none", p.Every, minEvery, maxEvery)
	}
	switch {
	case p.Changes != 0 && (p.Changes < minChanges || p.Changes > maxChanges):
		ps.add(path+".changes", "%s must be between %s and %s; leave it out for none", p.Changes, minChanges, maxChanges)
	case p.Changes != 0 && p.Every == 0:
		ps.add(path+".changes", "changes follow on backups: say how often one is taken, as %s.every", path)
	}
	if p.KeepChanges < 0 || p.KeepChanges > maxKeepChanges {
		ps.add(path+".keepChanges", "%s must be between 0s and %s", p.KeepChanges, maxKeepChanges)
	}
	if p.Rehearse != 0 && (p.Rehearse < minRehearse || p.Rehearse > maxEvery) {
		ps.add(path+".rehearse", "%s must be between %s and %s; leave it out for none", p.Rehearse, minRehearse, maxEvery)
	}
	for _, rule := range []struct {
		name string
		n    int
	}{
		{"last", p.Keep.Last}, {"hourly", p.Keep.Hourly}, {"daily", p.Keep.Daily}, {"weekly", p.Keep.Weekly}, {"monthly", p.Keep.Monthly},
	} {
		if rule.n < 0 || rule.n > maxKept {
			ps.add(path+".keep."+rule.name, "%d must be between 0 and %d", rule.n, maxKept)
		}
	}
	return ps
}

// Due gives the newest time after one and not after another at which a backup of a
// cluster was to be taken. Clusters have a place of their own in the interval, which
// follows from the UID, so that those of a fleet are not all taken at once; and the
// times follow from nothing else, so that nobody has to remember them.
func (p BackupPolicy) Due(uid string, after, until time.Time) (time.Time, bool) {
	every := time.Duration(p.Every)
	if every <= 0 {
		return time.Time{}, false
	}
	sum := sha256.Sum256([]byte(uid))
	offset := time.Duration(binary.BigEndian.Uint64(sum[:8]) % uint64(every))
	slot := until.Add(-offset).Truncate(every).Add(offset)
	return slot.UTC(), slot.After(after) && !slot.After(until)
}

// ActivityDueBackups says whose backup is due.
const ActivityDueBackups = "DueBackups"

// DueRequest asks for the clusters of a region whose backup was to be taken after one
// time and not after another.
type DueRequest struct {
	Provider string    `json:"provider"`
	Region   string    `json:"region"`
	After    time.Time `json:"after"`
	Until    time.Time `json:"until"`
}

// DueReply are the backups to be taken, as operations, the one that waits longest first.
type DueReply struct {
	Due []Operation `json:"due,omitempty"`
	// Rehearse are the rehearsals that are due.
	Rehearse []RehearseRequest `json:"rehearse,omitempty"`
	// AtOnce is how many backups of the region may run at a time.
	AtOnce int `json:"atOnce"`
}

// ActivityRecordChanges records the changes of some of a region's clusters: RecordRequest
// → RecordReply, after an hour or when its worker ends.
const ActivityRecordChanges = "RecordChanges"

// ActivityCopyBackups copies the backups and changes of some of a region's clusters into the
// second store: RecordRequest → RecordReply, likewise.
const ActivityCopyBackups = "CopyBackups"

// RecordRequest asks for the changes of a share of a region's clusters to be recorded.
type RecordRequest struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
	// Share is which of Of shares: a cluster's follows from its UID.
	Share int `json:"share"`
	Of    int `json:"of"`
}

// RecordReply says how that stood at the end.
type RecordReply struct {
	Clusters int `json:"clusters"`
}
