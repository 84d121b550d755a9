package fleet

import "time"

// SyncLag is how many raft entries a member may be behind the leader and still count as
// in sync. Both are asked within milliseconds, in which a busy cluster commits tens of
// entries and a slow disk makes a follower late by hundreds. etcd itself refuses requests
// at a member only when it has 5,000 committed entries still to apply.
const SyncLag = 1000

// Observation is what one look at a cluster saw: the cloud's resources, what the
// hosts say, and what etcd itself answers. Nothing in it is remembered.
type Observation struct {
	At time.Time `json:"at"`
	// Hosts are the hosts that carry the cluster's tags and are not gone.
	Hosts []ObservedHost `json:"hosts,omitempty"`
	// Disks are the disks that carry the cluster's tags and are not gone.
	Disks []Disk `json:"disks,omitempty"`
	// DiskSnapshots are the copies of its disks, oldest first. Only operations that take or
	// delete some look.
	DiskSnapshots []DiskSnapshot `json:"diskSnapshots,omitempty"`
	// CopiesUnknown says why they could not be listed.
	CopiesUnknown string `json:"copiesUnknown,omitempty"`
	// Authority says whether the cluster's certificate authority exists.
	Authority bool `json:"authority"`
	// Members is etcd's own membership, as a quorum of it answered. Empty
	// when none answered or when there is no cluster yet.
	Members []ObservedMember `json:"members,omitempty"`
	// Quorum says that a linearizable read was answered.
	Quorum bool `json:"quorum"`
	// Leader is the name of the leader, if there is one.
	Leader string `json:"leader,omitempty"`
	// Revision is the store's revision, by the member that is furthest.
	Revision int64 `json:"revision,omitempty"`
	// FinalSnapshot is the verified last snapshot of the cluster, if there is one.
	FinalSnapshot *Snapshot `json:"finalSnapshot,omitempty"`
	// Backup is the one that a BackupCluster is to take, once it counts.
	Backup *Backup `json:"backup,omitempty"`
	// ExpiredBackups are the older ones that no rule of the spec keeps, by their IDs.
	ExpiredBackups []string `json:"expiredBackups,omitempty"`
	// Secrets says that something sealed for this cluster is still in the store.
	Secrets bool `json:"secrets"`
	// Trust are the authorities that the cluster's own certificates may come from.
	Trust Trust `json:"trust,omitzero"`
	// Downgrade is the minor that etcd has a downgrade enabled for, or empty.
	Downgrade string `json:"downgrade,omitempty"`
	// Alarms are what members raised: NOSPACE, CORRUPT.
	Alarms []Alarm `json:"alarms,omitempty"`
	// Evidence is what witnesses say, over a while, of members that do not answer. Only
	// a failover gathers it.
	Evidence []Evidence `json:"evidence,omitempty"`
	// Unanswered is for how long no quorum has answered, at every look. Only a recovery looks
	// so long, and only while something runs that might.
	Unanswered Unanswered `json:"unanswered,omitzero"`
	// Data is what stopped members have on their disks. Only a recovery looks.
	Data []DataReport `json:"data,omitempty"`
	// Unreached are the places elsewhere whose cloud does not answer: what is there of the
	// cluster, if anything, is not in Hosts and Disks.
	Unreached []Unreached `json:"unreached,omitempty"`
	// Stored is what the object store has to recover from; nil when it has nothing. Only a
	// recovery looks, and only while no quorum answers.
	Stored *Stored `json:"stored,omitempty"`
	// Unknowns are the things that could not be seen, each in words. What is in
	// here is not evidence of absence: what would follow from absence waits.
	Unknowns []string `json:"unknowns,omitempty"`
}

// Trust are the fingerprints of a cluster's authorities.
type Trust struct {
	// Signer is the one that signs.
	Signer string `json:"signer,omitempty"`
	// Other is the one beside it while authorities are replaced: the next one before
	// the switch, the last one after it.
	Other string `json:"other,omitempty"`
	// Switched says that Other is the last one, not the next one.
	Switched bool `json:"switched,omitempty"`
	// OtherUntil is when the last client certificate that Other signed ends.
	OtherUntil time.Time `json:"otherUntil,omitzero"`
}

// Alarm is an alarm of etcd's, by the member that raised it.
type Alarm struct {
	Member string `json:"member"`
	Alarm  string `json:"alarm"`
}

// Testimony is what a witness says of a member.
type Testimony string

// What witnesses say. Silence is never death: a witness that could not be asked, or
// cannot tell, says unknown.
const (
	SaysAlive   Testimony = "alive"
	SaysDead    Testimony = "dead"
	SaysUnknown Testimony = "unknown"
)

// Evidence is what four witnesses said of a member, each at every look of a while.
// A witness counts as saying alive if it did so once, and as saying dead only if it
// did so every time.
type Evidence struct {
	Member string `json:"member"`
	// Cloud is the cloud's word on its host: dead if it is terminated, failed or
	// stopped, or absent from a list that is known to be whole.
	Cloud Testimony `json:"cloud"`
	// Host is the word of the host's own side: dead if it says that the process does
	// not run, unknown if it does not answer.
	Host Testimony `json:"host"`
	// Peers is the word of the other voters: alive if one heard from it, dead if most
	// answered and either none has a connection to it or the leader heard nothing.
	Peers Testimony `json:"peers"`
	// Client is its client port: dead if nothing answered there, alive if it did.
	Client Testimony `json:"client"`
	// Disk says that its data disk cannot be used any more: it is gone, or its zone is.
	DiskLost bool `json:"diskLost,omitempty"`
	// Looks is how often they were asked, and Over for how long in all.
	Looks int      `json:"looks"`
	Over  Duration `json:"over"`
	// Words say it for a person.
	Words string `json:"words"`
}

// MinLooks is how often witnesses must have been asked.
const MinLooks = 3

// Dead judges the witnesses: for as long as the policy asks, nothing answered at the
// member's port, no peer had a connection to it, and either its host's own side or
// the cloud said that it does not run. Whoever says that it lives outweighs them; a
// running host proves nothing of the process on it.
func (e Evidence) Dead(over Duration) bool {
	return e.Looks >= MinLooks && e.Over >= over && e.Client == SaysDead && e.Peers == SaysDead && e.Host != SaysAlive &&
		(e.Host == SaysDead || e.Cloud == SaysDead)
}

// Unreached is a place whose cloud did not answer, and what came instead.
type Unreached struct {
	Place Place  `json:"place"`
	Why   string `json:"why"`
}

// Unanswered is how often in a row a read was asked for that no quorum answered, and over which
// time: from when the first of them was sent until the last was.
type Unanswered struct {
	Looks int       `json:"looks"`
	Over  Duration  `json:"over"`
	Since time.Time `json:"since,omitzero"`
}

// Again adds a read that was sent at a time and not answered.
func (u Unanswered) Again(sent time.Time) Unanswered {
	if u.Looks == 0 {
		u.Since = sent
	}
	u.Looks++
	u.Over = Duration(sent.Sub(u.Since))
	return u
}

// ObservedHost is a host with what its own side says.
type ObservedHost struct {
	Host
	// Report is nil when the host could not be asked; Silent says why.
	Report *HostReport `json:"report,omitempty"`
	Silent string      `json:"silent,omitempty"`
}

// ObservedMember is a member as etcd lists it, and what it answered itself.
type ObservedMember struct {
	ID         uint64   `json:"id,string"`
	Name       string   `json:"name"`
	Learner    bool     `json:"learner,omitempty"`
	PeerURLs   []string `json:"peerUrls,omitempty"`
	ClientURLs []string `json:"clientUrls,omitempty"`
	// Answers says that its status call was answered; the rest is from that.
	Answers  bool   `json:"answers"`
	Silent   string `json:"silent,omitempty"` // why it did not answer
	Version  string `json:"version,omitempty"`
	Leader   bool   `json:"leader,omitempty"`
	DBSize   Bytes  `json:"dbSize,omitempty"`
	Applied  uint64 `json:"applied,omitempty"` // raft applied index
	Revision int64  `json:"revision,omitempty"`
	// Term is the raft term that it is in.
	Term uint64 `json:"term,omitempty"`
	// Storage is the version of its data's format, as in 3.6.0. 3.5 does not tell.
	Storage string `json:"storage,omitempty"`
	// Errors are what it complains of: that it has no leader, and alarms of any member.
	Errors []string `json:"errors,omitempty"`
}

// Snapshot is a copy of a cluster's data in the object store.
type Snapshot struct {
	Key string `json:"key"` // where in the object store
	// Operation is the ID of the operation that took it.
	Operation string    `json:"operation"`
	Revision  int64     `json:"revision"`
	Keys      int       `json:"keys"`
	Hash      uint32    `json:"hash"` // etcd's hash of the store
	Size      Bytes     `json:"size"` // unsealed
	SHA256    string    `json:"sha256"`
	Taken     time.Time `json:"taken"`
	Verified  time.Time `json:"verified"` // when it was really restored; zero if never
	// Closed is when every member was known to be stopped after it; zero before
	// that. Only then is it the last word on the data for operations to come.
	Closed time.Time `json:"closed,omitzero"`
}

// Host gives the host that was bought for a member, or nil.
func (o Observation) Host(member string) *ObservedHost {
	for i := range o.Hosts {
		if o.Hosts[i].Member() == member {
			return &o.Hosts[i]
		}
	}
	return nil
}

// DataOf gives what a stopped member has on its disk, or nil.
func (o Observation) DataOf(member string) *DataReport {
	for i := range o.Data {
		if o.Data[i].Member == member {
			return &o.Data[i]
		}
	}
	return nil
}

// Disk gives the disk that was bought for a member, or nil.
func (o Observation) Disk(member string) *Disk {
	for i := range o.Disks {
		if o.Disks[i].Member() == member {
			return &o.Disks[i]
		}
	}
	return nil
}

// EvidenceOn gives what witnesses said of a member, or nil if they were not asked.
func (o Observation) EvidenceOn(member string) *Evidence {
	for i := range o.Evidence {
		if o.Evidence[i].Member == member {
			return &o.Evidence[i]
		}
	}
	return nil
}

// Member gives etcd's view of a member, or nil.
func (o Observation) Member(name string) *ObservedMember {
	for i := range o.Members {
		if o.Members[i].Name == name {
			return &o.Members[i]
		}
	}
	return nil
}
