package fleet

import "cmp"

// LogPosition is a place in a cluster's raft log.
type LogPosition struct {
	Term  uint64 `json:"term"`
	Index uint64 `json:"index"`
}

// Compare orders places as raft's election does: by term, then by index (Raft, section
// 5.4.1). Of two logs of one cluster, the one whose last entry is greater has whatever
// was committed that the other has.
func (p LogPosition) Compare(other LogPosition) int {
	return cmp.Or(cmp.Compare(p.Term, other.Term), cmp.Compare(p.Index, other.Index))
}

// DataMember is a member as a data directory has it. IDs are as etcdctl shows them.
type DataMember struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"` // empty for one that was added and never started
	Peers   []string `json:"peers,omitempty"`
	Learner bool     `json:"learner,omitempty"`
}

// DataReport is what a stopped member's data directory holds, as it lies on its disk.
// Whatever could not be read is zero, and Damage says why.
type DataReport struct {
	Member    string `json:"member"`
	ClusterID string `json:"clusterId"`
	MemberID  string `json:"memberId"`
	// Members are the voters and learners at the end of the log, whether or not the last
	// changes were ever committed.
	Members []DataMember `json:"members,omitempty"`
	// Last is the last entry of the log, and Commit up to where this member knew that a
	// quorum had it (HardState). HardTerm is the term it was in: one that was cut off may
	// have campaigned through many, so it says nothing of whose log is further.
	Last     LogPosition `json:"last"`
	Commit   uint64      `json:"commit"`
	HardTerm uint64      `json:"hardTerm"`
	// Applied is the last entry that the store has (its consistent index).
	Applied LogPosition `json:"applied"`
	// RaftSnapshot is where the log begins that a start would read.
	RaftSnapshot LogPosition `json:"raftSnapshot,omitzero"`
	// Revision is the store's, before what the log has beyond Applied. Compacted is the
	// revision below which history is gone; Hash is what HashKV answers at Revision, and
	// Keys how many exist there.
	Revision  int64  `json:"revision"`
	Compacted int64  `json:"compacted,omitempty"`
	Hash      uint32 `json:"hash"`
	Keys      int    `json:"keys"`
	// Version is the release that the member was run with last, and ClusterVersion the one
	// that the cluster worked at, as the store has it. StorageVersion is that of the store's
	// schema; etcd writes it from 3.6 on.
	Version        string `json:"version,omitempty"`
	ClusterVersion string `json:"clusterVersion,omitempty"`
	StorageVersion string `json:"storageVersion,omitempty"`
	// DBSize and Size are in bytes: of the store, and of the whole directory.
	DBSize Bytes `json:"dbSize"`
	Size   Bytes `json:"size"`
	// Torn says that the log ends within a record, as after a loss of power. etcd cuts that
	// off when it starts; what was synced to disk before is whole.
	Torn string `json:"torn,omitempty"`
	// Damage is what makes that no etcd can start from it, or that what it starts with is
	// not what the cluster had.
	Damage []string `json:"damage,omitempty"`
}

// Proven is the index up to which it is known, from this directory alone, that a quorum
// had the log's entries.
func (r DataReport) Proven() uint64 { return max(r.Commit, r.Applied.Index) }

// Unproven is how many entries the log has beyond that: each of them was acknowledged to
// a client, or may never be, and this member cannot tell which.
func (r DataReport) Unproven() uint64 {
	if r.Last.Index <= r.Proven() {
		return 0
	}
	return r.Last.Index - r.Proven()
}

// Voters are the members that have a vote.
func (r DataReport) Voters() []DataMember {
	var voters []DataMember
	for _, m := range r.Members {
		if !m.Learner {
			voters = append(voters, m)
		}
	}
	return voters
}

// Votes says whether the directory's own member is a voter, Learns whether it is a
// learner. One that was removed is neither.
func (r DataReport) Votes() bool {
	m := r.self()
	return m != nil && !m.Learner
}

// Learns says whether the directory's own member is a learner.
func (r DataReport) Learns() bool {
	m := r.self()
	return m != nil && m.Learner
}

func (r DataReport) self() *DataMember {
	for i, m := range r.Members {
		if m.ID == r.MemberID {
			return &r.Members[i]
		}
	}
	return nil
}
