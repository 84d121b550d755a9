package fleet

import (
	"fmt"
	"slices"
	"time"
	"unicode/utf8"
)

// RevisionBump is how far a restore moves the revision on: beyond all that a client can
// have seen of what came after the backup. It is a week of 1,650 writes a second.
const RevisionBump = 1_000_000_000

// Restore is the backup that an operation restores.
type Restore struct {
	Cluster string `json:"cluster"`
	UID     string `json:"uid"`
	ID      string `json:"id"`
	// Rehearsal keeps the revision as it is, so that all can be compared with the manifest.
	Rehearsal bool `json:"rehearsal,omitempty"`
	// Prefixes are those below which keys are put back into a running cluster; none for
	// one that is restored as a whole. Exact deletes what the backup does not have there.
	Prefixes []string `json:"prefixes,omitempty"`
	Exact    bool     `json:"exact,omitempty"`
	// What the manifest says, for checks before anything is begun, and for people. What
	// is restored is compared with the manifest itself.
	Taken    time.Time `json:"taken,omitzero"`
	Etcd     string    `json:"etcd,omitempty"`
	Size     Bytes     `json:"size,omitempty"`
	Revision int64     `json:"revision,omitempty"`
	Keys     int       `json:"keys,omitempty"`
}

// RestoreOf is the restore of a backup.
func RestoreOf(b Backup) *Restore {
	return &Restore{
		Cluster: b.Cluster, UID: b.UID, ID: b.ID, Taken: b.Taken, Etcd: b.Etcd, Size: b.Size, Revision: b.Revision, Keys: b.Keys,
	}
}

// String names the backup for a person.
func (r Restore) String() string {
	return fmt.Sprintf("backup %s of %s, taken %s at revision %d with %d keys", r.ID, r.Cluster, r.Taken.UTC().Format(time.DateTime+" MST"), r.Revision, r.Keys)
}

func (r *Restore) equal(other *Restore) bool {
	if r == nil || other == nil {
		return r == other
	}
	return r.Cluster == other.Cluster && r.UID == other.UID && r.ID == other.ID && r.Rehearsal == other.Rehearsal &&
		slices.Equal(r.Prefixes, other.Prefixes) && r.Exact == other.Exact
}

// RoomFor is what a disk must have free for a backup to be restored on it: the store, and
// logs.
func RoomFor(size Bytes) Bytes { return size + 256*MiB }

// CheckPrefixes says what is wrong with what is to be put back. Errors: Invalid.
func (r Restore) CheckPrefixes() error {
	switch {
	case r.Cluster == "" || r.UID == "" || r.ID == "":
		return Errorf(Invalid, "request", "options.restore does not name a backup")
	case len(r.Prefixes) == 0:
		return Errorf(Invalid, "request", "options.restore.prefixes is missing: it says which keys")
	}
	for i, p := range r.Prefixes {
		switch {
		case p == "":
			return Errorf(Invalid, "request", "options.restore.prefixes[%d] is empty, which is all keys", i).
				WithRemedy("restore the cluster as a whole: flotilla restore NAME --in-place, or --to NEW")
		case !utf8.ValidString(p):
			return Errorf(Invalid, "request", "options.restore.prefixes[%d]: %q is no text (UTF-8)", i, p)
		}
	}
	return nil
}

// Check says why a cluster of this spec cannot be restored from it. Errors: Invalid.
func (r Restore) Check(spec Spec) error {
	resource := "backup " + r.ID + " of " + r.Cluster
	switch free := spec.Machine.Disk.Size / 10 * 9; { // a file system takes a part
	case r.Cluster == "" || r.UID == "" || r.ID == "":
		return Errorf(Invalid, "request", "options.restore does not name a backup")
	case len(r.Prefixes) > 0 || r.Exact:
		return Errorf(Invalid, "request", "options.restore: prefixes and exact are of %s", RestorePrefixes)
	case free < RoomFor(r.Size):
		return Errorf(Invalid, resource, "to restore %s, a disk of %s is too small: %s are needed", r.Size.Human(), spec.Machine.Disk.Size.Human(), RoomFor(r.Size).Human()).
			WithRemedy("give machine.disk.size more")
	case spec.Etcd.Quota > 0 && r.Size > spec.Etcd.Quota:
		return Errorf(Invalid, resource, "its database has %s, which is more than etcd's quota of %s", r.Size.Human(), spec.Etcd.Quota.Human()).
			WithRemedy("give etcd.quota more")
	case r.Etcd == "":
		return nil
	}
	return CheckRestorable(r.Etcd, spec.Etcd.Version)
}
