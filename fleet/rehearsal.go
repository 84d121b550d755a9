package fleet

import "time"

// RehearseRequest asks for a backup to be restored for real, on a host that is bought for
// it and released afterwards.
type RehearseRequest struct {
	// ID names the rehearsal, and what is bought for it.
	ID string `json:"id"`
	// Spec is that of the cluster; its place, machine and etcd are used.
	Spec Spec   `json:"spec"`
	UID  string `json:"uid"`
	// Backup may be empty, which means the newest that counts, or the beginning of an ID.
	Backup string `json:"backup,omitempty"`
	By     string `json:"by,omitempty"`
}

// Scratch is the cluster of one that a backup is restored into: tagged and named as what
// it is, and in no list of clusters.
func (r RehearseRequest) Scratch(b Backup) Operation {
	spec := r.Spec.Clone()
	spec.Name, spec.Voters, spec.Learners = "rehearsal-"+r.ID, 1, 0
	spec.Backup, spec.Policy, spec.DeletionProtection = BackupPolicy{}, Policy{}, false
	restore := RestoreOf(b)
	restore.Rehearsal = true
	return Operation{
		ID: r.ID, Generation: r.ID, Kind: CreateCluster, Cluster: spec.Name, UID: r.ID, By: r.By, Spec: spec, Since: 1, NextMember: 1,
		Options: Options{Restore: restore, Policy: Policy{Approval: ApprovalNever}},
	}
}

// RehearsalDue says whether a cluster's backups are to be rehearsed now: when the newest that counts
// never was, and the last rehearsal of any is older than the policy says.
func (p BackupPolicy) RehearsalDue(backups []Backup, now time.Time) bool {
	var newest *Backup
	var last time.Time
	for i, b := range backups {
		if b.Damaged == "" {
			newest = &backups[i]
		}
		if b.Rehearsal != nil && b.Rehearsal.When.After(last) {
			last = b.Rehearsal.When
		}
	}
	return p.Rehearse > 0 && newest != nil && newest.Rehearsal == nil && now.Sub(last) >= time.Duration(p.Rehearse)
}

// ActivityCompareRehearsal compares what a rehearsal restored with the manifest, and
// records what became of it: RehearsalRequest → Rehearsal.
const ActivityCompareRehearsal = "CompareRehearsal"

// RehearsalRequest says what was restored, and how long it took or why it could not be.
type RehearsalRequest struct {
	Scratch Operation `json:"scratch"`
	Began   time.Time `json:"began"`
	Took    Duration  `json:"took"`
	Failed  string    `json:"failed,omitempty"`
}
