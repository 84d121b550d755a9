package fleet

import (
	"net"
	"strconv"
)

// MaxToken is the length of the longest token: the narrowest idempotency token of the
// clouds (64 ASCII characters).
const MaxToken = 64

// StepKind names a step. It is also the name of the activity that does it.
type StepKind string

// The steps that make a cluster.
const (
	// CreateAuthority makes the cluster's certificate authority and seals its key.
	CreateAuthority StepKind = "CreateAuthority"
	// LaunchHost buys a member's host and waits until it runs.
	LaunchHost StepKind = "LaunchHost"
	// AttachDisk buys a member's data disk and attaches it to its host.
	AttachDisk StepKind = "AttachDisk"
	// PrepareHost installs the release, makes keys and brings certificates.
	PrepareHost StepKind = "PrepareHost"
	// StartMember writes a member's configuration and starts it.
	StartMember StepKind = "StartMember"
	// AwaitHealthy waits until the whole cluster serves.
	AwaitHealthy StepKind = "AwaitHealthy"
)

// The steps that change the membership.
const (
	// AddLearner adds a member to etcd's membership, as a learner.
	AddLearner StepKind = "AddLearner"
	// AwaitInSync waits until a member has what the leader has.
	AwaitInSync StepKind = "AwaitInSync"
	// Promote gives a learner that is in sync its vote.
	Promote StepKind = "Promote"
	// MoveLeader moves the leader away from a member, to Step.To.
	MoveLeader StepKind = "MoveLeader"
	// RemoveMember takes a member out of etcd's membership.
	RemoveMember StepKind = "RemoveMember"
	// UpdateMember tells etcd that a member is at another address.
	UpdateMember StepKind = "UpdateMember"
)

// The steps that change a member where it is.
const (
	// AwaitSettled waits until all members have been healthy and in sync for a while
	// (Policy.Soak).
	AwaitSettled StepKind = "AwaitSettled"
	// RestartMember restarts a member as Step.Run says and waits until it is in sync.
	RestartMember StepKind = "RestartMember"
	// RollBackMember restarts a member as it ran before, after it did not come back.
	RollBackMember StepKind = "RollBackMember"
	// StopHost stops a host; its disks stay.
	StopHost StepKind = "StopHost"
	// StartHost starts a stopped host and waits until it runs.
	StartHost StepKind = "StartHost"
	// ResizeHost changes the machine type of a stopped host.
	ResizeHost StepKind = "ResizeHost"
	// GrowDisk makes a data disk larger, and then the file system on it.
	GrowDisk StepKind = "GrowDisk"
	// RetypeDisk makes a data disk one of Step.Category where it is, and no smaller than
	// Step.Size.
	RetypeDisk StepKind = "RetypeDisk"
	// RenewCertificates signs a member's certificates anew; it serves them without a restart.
	RenewCertificates StepKind = "RenewCertificates"
)

// The steps of upgrades, downgrades and certificate authorities.
const (
	// TakeRaftSnapshot has every member write a raft snapshot, so that its log holds
	// nothing of an older minor any more.
	TakeRaftSnapshot StepKind = "TakeRaftSnapshot"
	// EnableDowngrade has etcd lower its storage version for Step.Version's minor.
	EnableDowngrade StepKind = "EnableDowngrade"
	// CancelDowngrade takes that back.
	CancelDowngrade StepKind = "CancelDowngrade"
	// ExtendAuthority makes a second certificate authority beside the first one.
	ExtendAuthority StepKind = "ExtendAuthority"
	// SwitchAuthority has the second one sign from now on.
	SwitchAuthority StepKind = "SwitchAuthority"
	// RetireAuthority forgets the first one.
	RetireAuthority StepKind = "RetireAuthority"
)

// The steps that save, stop and end.
const (
	// SaveBackup stores a snapshot as a backup and makes it count.
	SaveBackup StepKind = "SaveBackup"
	// ExpireBackups removes the backups that no rule keeps, and what attempts left.
	ExpireBackups StepKind = "ExpireBackups"
	// SaveFinalSnapshot stores and verifies a snapshot before all members stop.
	SaveFinalSnapshot StepKind = "SaveFinalSnapshot"
	// StopMember stops a member's process for good.
	StopMember StepKind = "StopMember"
	// CloseSnapshot records that every member was stopped after the final snapshot.
	CloseSnapshot StepKind = "CloseSnapshot"
	// ReopenSnapshot records that members may be started after it, so that it is not
	// the last word on the data any more.
	ReopenSnapshot StepKind = "ReopenSnapshot"
	// ReleaseHost ends a host and waits until it is gone.
	ReleaseHost StepKind = "ReleaseHost"
	// DeleteDisk deletes a data disk.
	DeleteDisk StepKind = "DeleteDisk"
	// DestroyAuthority deletes the cluster's sealed secrets.
	DestroyAuthority StepKind = "DestroyAuthority"
)

// The steps that bring back what was lost.
const (
	// SnapshotDisk asks the cloud for a copy of a member's disk, before what is on it changes.
	SnapshotDisk StepKind = "SnapshotDisk"
	// DeleteDiskSnapshot deletes such a copy.
	DeleteDiskSnapshot StepKind = "DeleteDiskSnapshot"
	// RecoverMember makes a stopped member a cluster of its own, with all that it has.
	RecoverMember StepKind = "RecoverMember"
	// VerifyBackup reads the backup to its end, before anything is stopped for it.
	VerifyBackup StepKind = "VerifyBackup"
	// RestoreMember makes a stopped member's data from a backup.
	RestoreMember StepKind = "RestoreMember"
	// DiscardData deletes what a restore or a recovery put aside on a member's disk.
	DiscardData StepKind = "DiscardData"
	// CompareKeys compares the keys below the operation's prefixes with the backup's.
	CompareKeys StepKind = "CompareKeys"
	// RestoreKeys puts them back. It may be stopped at any moment, and is gone on with.
	RestoreKeys StepKind = "RestoreKeys"
)

// The steps that take over what something else created.
const (
	// ImportAuthority stores the sealed authority that came with the request.
	ImportAuthority StepKind = "ImportAuthority"
	// AdoptHost tags a host and its disk as the cluster's.
	AdoptHost StepKind = "AdoptHost"
	// AdoptMember takes a running member's data directory over from whatever runs it.
	AdoptMember StepKind = "AdoptMember"
)

// Step is one small thing to do. Everything that decided it is in the
// observation before it; everything needed to do it is in here, in the operation
// and in the world.
type Step struct {
	Kind   StepKind `json:"kind"`
	Member string   `json:"member,omitempty"` // which member, or empty for the cluster
	Zone   string   `json:"zone,omitempty"`
	// HostID, DiskID and SnapshotID name what is there already.
	HostID     string `json:"hostId,omitempty"`
	DiskID     string `json:"diskId,omitempty"`
	SnapshotID string `json:"snapshotId,omitempty"`
	// Endpoint is where the member is, or will be.
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	// Initial is the membership that a member starts with, itself included.
	Initial []Endpoint `json:"initial,omitempty"`
	// After is who starts before the member, of those that are started together: it waits
	// until they serve their peers.
	After []Endpoint `json:"after,omitempty"`
	// Differs says that the member is not to be started, because its data is not the cluster's,
	// and how that shows.
	Differs string `json:"differs,omitempty"`
	// Existing says that the member joins a cluster that is there already.
	Existing bool `json:"existing,omitempty"`
	// MemberID is etcd's ID of the member, for what is done to the membership.
	MemberID uint64 `json:"memberId,omitempty,string"`
	// To is the member that is to lead.
	To string `json:"to,omitempty"`
	// Run is how the member is to run, where that is not as the operation's spec says.
	Run *MemberConfig `json:"run,omitempty"`
	// Was is how it ran before, where that was seen: what it is rolled back to.
	Was *MemberConfig `json:"was,omitempty"`
	// Type is the machine type that a host is to have, and Size its disk's size.
	Type string `json:"type,omitempty"`
	Size Bytes  `json:"size,omitempty"`
	// Category is what a disk is to become.
	Category string `json:"category,omitempty"`
	// Restore is the backup that the step restores, where that is not the operation's, or
	// brings forward; At is how far.
	Restore *Restore     `json:"restore,omitempty"`
	At      *PointInTime `json:"at,omitempty"`
	// Version is a release of etcd, where the step is about one.
	Version string `json:"version,omitempty"`
	// Token is the step's idempotency token, at most MaxToken characters.
	Token string `json:"token"`
}

// MemberConfig is how a member runs, as far as it may be changed.
type MemberConfig struct {
	Version  string       `json:"version"`
	Settings EtcdSettings `json:"settings"`
	// Generation is the operation that had it restarted last; another one restarts it again.
	Generation string `json:"generation,omitempty"`
	// AnyPeer lets it accept any peer of the cluster's authority, whatever its name, as
	// long as members of a cluster that is being adopted have names of their own.
	AnyPeer bool `json:"anyPeer,omitempty"`
}

// Endpoint is where a member is: an address, a client port and a peer port.
type Endpoint struct {
	Member     string `json:"member"`
	Address    string `json:"address"`
	ClientPort int    `json:"clientPort"`
	PeerPort   int    `json:"peerPort"`
}

// ClientURL is where clients of the member connect.
func (e Endpoint) ClientURL() string {
	return "https://" + net.JoinHostPort(e.Address, strconv.Itoa(e.ClientPort))
}

// PeerURL is where its peers connect.
func (e Endpoint) PeerURL() string {
	return "https://" + net.JoinHostPort(e.Address, strconv.Itoa(e.PeerPort))
}

// String gives "LaunchHost orders-1".
func (s Step) String() string {
	if s.Member == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + " " + s.Member
}

// DisturbsMember says whether a step takes a running member away from its
// clients: they are told of other endpoints before it.
func (s Step) DisturbsMember() bool {
	switch s.Kind {
	case StopMember, RestartMember, RollBackMember, RemoveMember, StopHost, AdoptMember:
		return true
	}
	return false
}

// Looks says whether a step only looks at something, or keeps a copy of it, so that nobody
// needs to approve of it.
func (s Step) Looks() bool {
	return s.Kind == VerifyBackup || s.Kind == CompareKeys || s.Kind == SnapshotDisk
}

// Stoppable says whether a step may be stopped at any moment and gone on with later,
// for a pause.
func (s Step) Stoppable() bool { return s.Kind == RestoreKeys }

// Destroys says whether a step gives up something that no later step brings back.
func (s Step) Destroys() bool {
	switch s.Kind {
	case ReleaseHost, DeleteDisk, DestroyAuthority, DiscardData, DeleteDiskSnapshot:
		return true
	}
	return false
}
