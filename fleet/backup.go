package fleet

import (
	"strings"
	"time"
)

// Backup is a copy of a cluster's data in the object store, as lists and operations
// tell of it. Package backup has its manifest, which is what makes it count.
type Backup struct {
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`
	// Taken is before the member was asked: every write that was acknowledged by then is
	// in it. Stored is when all was stored and read back.
	Taken  time.Time `json:"taken,omitzero"`
	Stored time.Time `json:"stored,omitzero"`
	// AskedBy is who or what asked for it, Operation the ID of the operation.
	AskedBy   string `json:"askedBy,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Base is the backup that this one was made of, for a point in time; empty where a
	// member gave it.
	Base string `json:"base,omitempty"`
	// Member is where it came from, and Etcd the version that it ran.
	Member  string `json:"member,omitempty"`
	Learner bool   `json:"learner,omitempty"`
	Etcd    string `json:"etcd,omitempty"`
	// Revision is the store's last, Keys those that exist there, and Hash etcd's own of
	// the store there, as HashKV gives it.
	Revision int64  `json:"revision,omitempty"`
	Keys     int    `json:"keys"`
	Hash     uint32 `json:"hash,omitempty"`
	// Size is that of the database, StoredSize what it takes in the store.
	Size       Bytes `json:"size,omitempty"`
	StoredSize Bytes `json:"storedSize,omitempty"`
	// Damaged says why it does not count, although it has a manifest.
	Damaged string `json:"damaged,omitempty"`
	// Rehearsal is what became of restoring it for real, the last time; nil if never.
	Rehearsal *Rehearsal `json:"rehearsal,omitempty"`
	// LockedUntil is until when nothing can remove it; zero where it is not locked.
	LockedUntil time.Time `json:"lockedUntil,omitzero"`
	// Where is which of two stores have it; empty where there is one, or one does not answer.
	Where Where `json:"where,omitempty"`
	// Reach is how far the changes that were recorded bring it; nil when none follow on it.
	Reach *Reach `json:"reach,omitempty"`
	// Repaired is what was replaced in one of two stores by what the other has, oldest first.
	Repaired []BackupRepair `json:"repaired,omitempty"`
	// Unasked says which of two stores could not be asked, so that what it has is not known:
	// newer backups may be there. Nil where both answered, or there is one.
	Unasked *StoresAway `json:"unasked,omitempty"`
	// Changes is what reading the changes behind it showed; nil when they were not read, or
	// none are recorded.
	Changes *ChangesCheck `json:"changes,omitempty"`
}

// BackupRepair is what was replaced of a backup in one of two stores.
type BackupRepair struct {
	When time.Time `json:"when"`
	By   string    `json:"by,omitempty"` // who asked for it
	// Store is where something was replaced, and Objects the keys, of which More are left out.
	Store   string   `json:"store"`
	Objects []string `json:"objects"`
	More    int      `json:"more,omitempty"`
	// Why says what was wrong.
	Why string `json:"why"`
}

// Where is in which of two stores something is.
type Where string

// Where a backup may be.
const (
	InBoth   Where = "both"
	InFirst  Where = "first"
	InSecond Where = "second"
)

// StoresAway says why one of two stores cannot be asked; empty when it can.
type StoresAway struct {
	First  string `json:"first,omitempty"`
	Second string `json:"second,omitempty"`
}

// Reach is how far a backup can be brought: to any revision from its own to this one, and
// any time from when it was stored to Until.
type Reach struct {
	Revision int64     `json:"revision"`
	Until    time.Time `json:"until"`
}

// Gap are revisions of a cluster that no backup and no recorded change leads to.
type Gap struct {
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`
	First   int64  `json:"first"`
	Last    int64  `json:"last"`
	// After and Before are between which times they were.
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
	// Healed says that a backup was taken behind it; else one is needed.
	Healed bool `json:"healed"`
}

// Rehearsal is what became of restoring a backup for real.
type Rehearsal struct {
	When time.Time `json:"when"`
	OK   bool      `json:"ok"`
	Took Duration  `json:"took"`
	Why  string    `json:"why,omitempty"`
}

// The activities that ask about backups, and do nothing to them.
const (
	// ActivityListBackups lists backups: BackupsRequest → BackupsReply.
	ActivityListBackups = "ListBackups"
	// ActivityCheckBackup reads a backup to its last byte: BackupRequest → Backup. The
	// error is of kind Lost when it is damaged.
	ActivityCheckBackup = "CheckBackup"
)

// BackupsRequest asks for the backups of clusters of one region.
type BackupsRequest struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
	// Clusters are those to list, by name.
	Clusters []BackupsOf `json:"clusters"`
	// Latest gives of each cluster only the newest one.
	Latest bool `json:"latest,omitempty"`
}

// BackupsOf names a cluster whose backups are meant.
type BackupsOf struct {
	Cluster string `json:"cluster"`
	// UID is the incarnation; empty means all that ever had the name.
	UID string `json:"uid,omitempty"`
}

// BackupsReply are backups, by cluster and then oldest first.
type BackupsReply struct {
	Backups []Backup `json:"backups"`
	// Second names the second store, where there is one.
	Second string `json:"second,omitempty"`
	// Away says why a store cannot be asked, where there are two, by UID.
	Away map[string]StoresAway `json:"away,omitempty"`
	// Gaps are those between the clusters' changes; not looked for where only the newest
	// backups were asked for.
	Gaps []Gap `json:"gaps,omitempty"`
	// Rehearsed is the last rehearsal of any backup of each cluster that has one, by UID.
	Rehearsed map[string]Rehearsal `json:"rehearsed,omitempty"`
}

// Seen is what a reply says of one cluster.
func (r BackupsReply) Seen(s Summary) BackupsSeen {
	seen := BackupsSeen{Cluster: s.Name, Created: s.Created, Away: r.Away[s.UID]}
	for _, b := range r.Backups {
		if b.Cluster == s.Name && b.UID == s.UID {
			seen.Backups = append(seen.Backups, b)
		}
	}
	for _, g := range r.Gaps {
		if g.Cluster == s.Name && g.UID == s.UID {
			seen.Gaps = append(seen.Gaps, g)
		}
	}
	if last, ok := r.Rehearsed[s.UID]; ok {
		seen.Rehearsed = &last
	}
	return seen
}

// BackupNamed gives the index of the backup that an ID names, an operation's ID, or the beginning
// of one ID alone. Errors: NotFound when there is none, Invalid when several begin so.
func BackupNamed(cluster string, found []Backup, named string) (int, error) {
	at := -1
	for i, b := range found {
		switch {
		case b.ID == named || b.Operation == named:
			return i, nil
		case !strings.HasPrefix(b.ID, named):
		case at >= 0:
			return -1, Errorf(Invalid, "backup "+named+" of "+cluster, "several begin so: %s and %s", found[at].ID, b.ID).
				WithRemedy("give more of the ID: flotilla backups %s shows them", cluster)
		default:
			at = i
		}
	}
	if at < 0 {
		return -1, Errorf(NotFound, "backup "+named+" of "+cluster, "there is none").
			WithRemedy("flotilla backups %s shows what there is", cluster)
	}
	return at, nil
}

// BackupRequest names one backup.
type BackupRequest struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
	Cluster  string `json:"cluster"`
	UID      string `json:"uid"`
	// ID may be empty, which means the newest.
	ID string `json:"id,omitempty"`
	// Repair has what is missing or damaged in one of two stores replaced by what the other
	// has. By is who asks for that.
	Repair bool   `json:"repair,omitempty"`
	By     string `json:"by,omitempty"`
	// KeepChanges is how long the cluster's recorded changes are kept, as its spec says: what
	// is older may be missing. Zero where there is no spec any more.
	KeepChanges Duration `json:"keepChanges,omitempty"`
}
