package activities

import (
	"time"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// For how long something is locked is, where the rule of the worker does not say it, for how
// long the spec surely keeps it: what is locked for longer costs space, and what is kept for
// longer can be removed by whoever gets at the store.

// backupLock is how backups of a cluster are locked that a member gives: for as long as the
// newest so many are kept.
func (r Region) backupLock(policy fleet.BackupPolicy) objectstore.LockRule {
	rule := r.Lock
	if rule.For == 0 {
		rule.For = time.Duration(policy.Every) * time.Duration(policy.Keep.Last)
	}
	return rule
}

// changesLock is how the changes of a cluster are locked: as the backup that they follow on,
// which was locked before them, because they are of use behind it alone; and not for longer
// than changes are kept.
func (r Region) changesLock(policy fleet.BackupPolicy) objectstore.LockRule {
	rule := r.backupLock(policy)
	rule.For = min(rule.For, policy.KeptChanges())
	return rule
}

// madeLock is how a backup is locked that is made for a point in time, which is kept for a
// day, and not for longer than the rule of the worker says.
func (r Region) madeLock() objectstore.LockRule {
	rule := r.Lock
	if rule.For == 0 || rule.For > backup.KeptMade {
		rule.For = backup.KeptMade
	}
	return rule
}

// lockedText says behind a note until when a backup is locked.
func lockedText(m backup.Manifest) string {
	if m.Lock == nil {
		return ""
	}
	return ", locked (" + string(m.Lock.Mode) + ") until " + m.Lock.Until.Format(time.RFC3339)
}
