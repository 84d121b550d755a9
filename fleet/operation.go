package fleet

import (
	"encoding/json"
	"slices"
	"time"
)

// OperationKind names what is done to a cluster. It is also the name of the
// workflow type, so that a person recognises it in Temporal's UI.
type OperationKind string

// The operations.
const (
	CreateCluster       OperationKind = "CreateCluster"
	DecommissionCluster OperationKind = "DecommissionCluster"
	// UpscaleCluster changes machine type, disk and quota, up or down.
	UpscaleCluster OperationKind = "UpscaleCluster"
	// ScaleCluster changes the number of voters and learners.
	ScaleCluster OperationKind = "ScaleCluster"
	// FailoverMember replaces members that are dead.
	FailoverMember OperationKind = "FailoverMember"
	// MigrateByLearner moves members to new hosts, through learners.
	MigrateByLearner OperationKind = "MigrateByLearner"
	// StopCluster saves a snapshot and stops members and hosts; disks stay.
	StopCluster OperationKind = "StopCluster"
	// StartCluster starts a stopped cluster.
	StartCluster OperationKind = "StartCluster"
	// UpgradeCluster changes the release of etcd, up or down.
	UpgradeCluster OperationKind = "UpgradeCluster"
	// RollCluster restarts members with new settings, or renews certificates.
	RollCluster OperationKind = "RollCluster"
	// ChangeLeader has another member lead.
	ChangeLeader OperationKind = "ChangeLeader"
	// AdoptCluster takes over a cluster that something else created.
	AdoptCluster OperationKind = "AdoptCluster"
	// BackupCluster stores a snapshot. It changes nothing of the cluster, so it does not
	// go through the cluster's own workflow and may run beside another operation.
	BackupCluster OperationKind = "BackupCluster"
	// RecoverQuorum makes a cluster that has lost its quorum one again, from the data of
	// one of its members.
	RecoverQuorum OperationKind = "RecoverQuorum"
	// RestoreCluster brings a cluster back to a backup, on the hosts and disks that it has.
	RestoreCluster OperationKind = "RestoreCluster"
	// RestorePrefixes puts the keys below some prefixes back into a running cluster, as a
	// backup has them.
	RestorePrefixes OperationKind = "RestorePrefixes"
	// DiscardSetAside deletes the data that restores and recoveries put aside.
	DiscardSetAside OperationKind = "DiscardSetAside"
)

// OperationKinds are all of them, in the order in which people meet them.
var OperationKinds = []OperationKind{
	CreateCluster, AdoptCluster, UpscaleCluster, ScaleCluster, MigrateByLearner, FailoverMember, UpgradeCluster,
	RollCluster, ChangeLeader, BackupCluster, StopCluster, StartCluster, RecoverQuorum, RestoreCluster, RestorePrefixes, DiscardSetAside, DecommissionCluster,
}

// Beside says whether an operation runs beside those that change the cluster, instead
// of one after another with them.
func (k OperationKind) Beside() bool { return k == BackupCluster }

// Planned says whether an operation can wait for a maintenance window: people ask
// for it when they like. What repairs or brings back does not wait.
func (k OperationKind) Planned() bool {
	switch k {
	case UpscaleCluster, ScaleCluster, MigrateByLearner, UpgradeCluster, RollCluster, StopCluster, AdoptCluster:
		return true
	}
	return false
}

// Phase is where a cluster is in its life.
type Phase string

// The phases of a cluster.
const (
	// PhaseCreating: it is being created for the first time.
	PhaseCreating Phase = "Creating"
	// PhaseIncomplete: creating it failed or was cancelled half way. Create it
	// again to go on, or decommission it to undo.
	PhaseIncomplete Phase = "Incomplete"
	// PhaseRunning: it serves.
	PhaseRunning Phase = "Running"
	// PhaseDecommissioning: it is being taken down, or that stopped half way.
	PhaseDecommissioning Phase = "Decommissioning"
	// PhaseStopping: it is being stopped, or that stopped half way.
	PhaseStopping Phase = "Stopping"
	// PhaseStopped: its members and hosts do not run; its disks are kept.
	PhaseStopped Phase = "Stopped"
	// PhaseStarting: it is being started again, or that stopped half way.
	PhaseStarting Phase = "Starting"
	// PhaseGone: nothing is left of it.
	PhaseGone Phase = "Gone"
)

// Options are what a user may choose for one operation.
type Options struct {
	// SkipFinalSnapshot waives the snapshot of a decommission or of a stop. After a
	// decommission the data is gone.
	SkipFinalSnapshot bool `json:"skipFinalSnapshot,omitempty"`
	// Members are the ones to act on. Empty means all (migrate, roll), those that are
	// dead (failover), or any that is fit (change of leader).
	Members []string `json:"members,omitempty"`
	// Leave is the member that is not to lead any more, where Members names none.
	Leave string `json:"leave,omitempty"`
	// AllowDowntime lets the only voter of a cluster be restarted.
	AllowDowntime bool `json:"allowDowntime,omitempty"`
	// Certificates is what a roll does to certificates.
	Certificates CertificateChange `json:"certificates,omitempty"`
	// AnyTime lets it run outside of the maintenance windows.
	AnyTime bool `json:"anyTime,omitempty"`
	// Policy overrides the spec's and the fleet's, field by field.
	Policy Policy `json:"policy,omitzero"`
	// Adopt is what an adoption takes over.
	Adopt *Adoption `json:"adopt,omitempty"`
	// Without are the members that a recovery goes on without, though nothing is seen of
	// their data: their user says that they do not serve, and gives the data up.
	Without []string `json:"without,omitempty"`
	// Survivor is the member to recover from, where it is not to be the one that is furthest.
	Survivor string `json:"survivor,omitempty"`
	// FromBackup has a recovery go on from a backup, though members may have whole data:
	// NewestBackup, or the ID of one or how it begins.
	FromBackup string `json:"fromBackup,omitempty"`
	// Restore is the backup that a cluster begins with, is brought back to, or gets keys from.
	Restore *Restore `json:"restore,omitempty"`
	// At has a backup made of a point in time; nil means of now.
	At *PointInTime `json:"at,omitempty"`
	// ToStandby has a recovery make the standby's place the cluster's home, and its workers
	// do it: what its own place has is out of reach, and may be for long.
	ToStandby bool `json:"toStandby,omitempty"`
	// AcceptLoss lets a recovery or a restore go on without a person's approval of what may be lost.
	AcceptLoss bool `json:"acceptLoss,omitempty"`
}

// CertificateChange is what a RollCluster does to certificates.
type CertificateChange string

// The changes of certificates. Replacing an authority takes the last three, in
// their order: clients have to learn of the new one in between.
const (
	// RenewLeaves signs all members' certificates anew, without a restart.
	RenewLeaves CertificateChange = "leaves"
	// TrustNewCA makes a second authority and has members and clients trust both.
	TrustNewCA CertificateChange = "trust-new-ca"
	// UseNewCA has the second one sign members' and clients' certificates.
	UseNewCA CertificateChange = "use-new-ca"
	// DropOldCA has nobody trust the first one any more.
	DropOldCA CertificateChange = "drop-old-ca"
)

// Equal says whether two calls choose the same.
func (o Options) Equal(other Options) bool {
	return o.SkipFinalSnapshot == other.SkipFinalSnapshot && slices.Equal(o.Members, other.Members) && o.Leave == other.Leave &&
		o.AllowDowntime == other.AllowDowntime && o.Certificates == other.Certificates && o.AnyTime == other.AnyTime &&
		o.Policy.Equal(other.Policy) && o.Adopt.equal(other.Adopt) &&
		slices.Equal(o.Without, other.Without) && o.Survivor == other.Survivor && o.FromBackup == other.FromBackup && o.AcceptLoss == other.AcceptLoss && o.ToStandby == other.ToStandby &&
		o.Restore.equal(other.Restore) && o.At.equal(other.At)
}

func (a *Adoption) equal(other *Adoption) bool {
	if a == nil || other == nil {
		return a == other
	}
	return slices.Equal(a.Members, other.Members) // the authority is sealed anew each time
}

// Adoption is a cluster that something else created.
type Adoption struct {
	// Members are all of its members.
	Members []AdoptedMember `json:"members"`
	// Authority is its certificate authority with its key, sealed to the fleet.
	Authority []byte `json:"authority"`
}

// AdoptedMember is where something else runs a member, and how.
type AdoptedMember struct {
	Name     string   `json:"name"`
	HostID   string   `json:"hostId"`
	DiskID   string   `json:"diskId"`
	Endpoint Endpoint `json:"endpoint"`
	// DataDir is where its data is on the host; it must be on the disk.
	DataDir string `json:"dataDir"`
	// Unit is the service that runs it, empty when it is a process of its own.
	Unit string `json:"unit,omitempty"`
}

// Operation is one thing being done to one cluster.
type Operation struct {
	ID      string        `json:"id"`
	Kind    OperationKind `json:"kind"`
	Cluster string        `json:"cluster"`
	UID     string        `json:"uid"` // incarnation of the cluster
	// By is who asked for it.
	By string `json:"by,omitempty"`
	// Spec is what the cluster is to be afterwards, Before what it was.
	Spec    Spec    `json:"spec"`
	Before  *Spec   `json:"before,omitempty"`
	Options Options `json:"options"`
	// Generation is the first of the operations that this one resumes, or its own ID.
	Generation string `json:"generation,omitempty"`
	// Since is the number of the first member that did not exist when the first of the
	// operations that this one resumes began: members below it are the old ones.
	Since int `json:"since,omitempty"`
	// NextMember is the number of the first member that did not exist when this one
	// began. What those before it bought is below it.
	NextMember int `json:"nextMember,omitempty"`
	// Elsewhere are the places other than the spec's where something of the cluster may be:
	// where it moves from, or where a move that was not finished went to.
	Elsewhere []Place `json:"elsewhere,omitempty"`
	// Purchases are the hosts that were bought by those before it and are not members
	// yet, as the steps that bought them.
	Purchases []Step `json:"purchases,omitempty"`
	// Keys is what those before it compared and put back, once that was begun.
	Keys *KeyRestore `json:"keys,omitempty"`
	// Asked is when it was asked for, where that is part of a name: of a backup. Of a
	// recovery it bounds for how long writes may be lost.
	Asked time.Time `json:"asked,omitzero"`
	// Seen is how far the cluster was when it was looked at last; nil when it never was.
	// A recovery tells by it what is lost.
	Seen *Sighting `json:"seen,omitempty"`
}

// Failure is a step that did not succeed and will not be tried again as it is.
type Failure struct {
	Step    Step   `json:"step"`
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
}

// Verdict is what the planner says of an operation after one look.
type Verdict string

// The verdicts.
const (
	// VerdictAct: run the wave, then look again.
	VerdictAct Verdict = "act"
	// VerdictDone: the world is as the operation wants it.
	VerdictDone Verdict = "done"
	// VerdictBlocked: going on would break a rule, or cannot succeed.
	VerdictBlocked Verdict = "blocked"
	// VerdictWait: what was seen is not enough to decide by. Look again later.
	VerdictWait Verdict = "wait"
)

// Decision is the planner's answer: the steps that may run together now, or why
// there are none.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	Wave    []Step  `json:"wave,omitempty"`
	// Reason is one sentence for a person; set unless the verdict is act.
	Reason string `json:"reason,omitempty"`
	// Kind is the kind of error when blocked.
	Kind Kind `json:"kind,omitempty"`
}

// StepState is where a step is.
type StepState string

// The states of a step.
const (
	StepRunning StepState = "running"
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
)

// StepProgress is how one step stands.
type StepProgress struct {
	Wave    int       `json:"wave"` // from 1
	Step    Step      `json:"step"`
	State   StepState `json:"state"`
	Note    string    `json:"note,omitempty"`    // what it is doing or what it found
	Percent *int      `json:"percent,omitempty"` // where there is one
	Attempt int       `json:"attempt,omitempty"`
	Error   string    `json:"error,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
}

// OperationState is where an operation is.
type OperationState string

// The states of an operation.
const (
	OperationRunning   OperationState = "running"
	OperationDone      OperationState = "done"
	OperationFailed    OperationState = "failed"
	OperationCancelled OperationState = "cancelled"
)

// Progress is how an operation stands: the answer to the query "progress".
type Progress struct {
	Operation  string         `json:"operation"` // its ID
	Kind       OperationKind  `json:"kind"`
	Cluster    string         `json:"cluster"`
	By         string         `json:"by,omitempty"` // who asked for it
	State      OperationState `json:"state"`
	Wave       int            `json:"wave"`
	WavesAhead int            `json:"wavesAhead"` // forecast after the current one
	Doing      string         `json:"doing,omitempty"`
	Steps      []StepProgress `json:"steps,omitempty"`
	LastError  string         `json:"lastError,omitempty"`
	// Waiting is what it waits for, other than its steps.
	Waiting *Waiting `json:"waiting,omitempty"`
	// Marks are what people did to it: who approved, paused, resumed it, and why.
	Marks   []Mark    `json:"marks,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
}

// WaitKind is what an operation waits for.
type WaitKind string

// What an operation may wait for.
const (
	WaitApproval WaitKind = "approval" // of its plan, by a person
	WaitWindow   WaitKind = "window"   // the next maintenance window
	WaitPaused   WaitKind = "paused"   // to be resumed
	WaitPerson   WaitKind = "person"   // to say whether it goes on after a failed step
)

// Waiting is what an operation waits for, in words, and until when.
type Waiting struct {
	For   WaitKind  `json:"for"`
	Why   string    `json:"why"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // when it stops waiting; zero: never
	// Plan are the waves that an approver decides about.
	Plan [][]Step `json:"plan,omitempty"`
}

// MarkKind is what a person did to an operation.
type MarkKind string

// What people do to operations.
const (
	MarkApproved MarkKind = "approved"
	MarkRejected MarkKind = "rejected"
	MarkPaused   MarkKind = "paused"
	MarkResumed  MarkKind = "resumed"
)

// Mark is what a person did to an operation, for its record.
type Mark struct {
	Kind MarkKind  `json:"kind"`
	By   string    `json:"by"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
}

// StepBeat is what a step's heartbeat carries: its progress, and where a next
// attempt may take it up.
type StepBeat struct {
	Note    string          `json:"note"`
	Percent *int            `json:"percent,omitempty"`
	Resume  json.RawMessage `json:"resume,omitempty"`
}

// Summary is a cluster in one row, as the fleet's list shows it. The counts are
// of the moment At.
type Summary struct {
	Name     string `json:"name"`
	Phase    Phase  `json:"phase"`
	UID      string `json:"uid"`
	Provider string `json:"provider"`
	Region   string `json:"region"`
	Etcd     string `json:"etcd"`
	Class    Class  `json:"class"`
	Voters   int    `json:"voters"`
	Healthy  int    `json:"healthy"`
	Members  int    `json:"members"`
	// Learners are those of them without a vote, and Lag is how many raft entries the last
	// of those that answer is behind.
	Learners int    `json:"learners,omitempty"`
	Lag      uint64 `json:"lag,omitempty"`
	// Behind is how long the last learner took to get what the voters had when it was
	// looked for, or MaxLag if it took longer or does not answer; in live counts only.
	Behind Duration `json:"behind,omitempty"`
	// MaxLag is from when on the standby is behind; zero for a cluster without one.
	MaxLag    Duration  `json:"maxLag,omitempty"`
	Leader    string    `json:"leader,omitempty"`
	DBSize    Bytes     `json:"dbSize,omitempty"`
	Revision  int64     `json:"revision,omitempty"`
	At        time.Time `json:"at,omitzero"` // when the counts were taken
	Created   time.Time `json:"created"`
	Operation string    `json:"operation,omitempty"` // the running one, if any
	LastError string    `json:"lastError,omitempty"`
	// Backup is the spec's, where there is one: whoever takes backups lists it.
	Backup *BackupPolicy `json:"backup,omitempty"`
	// Rehearse is on what its backups are rehearsed, where its spec says that they are to be.
	Rehearse *RehearseOn `json:"rehearse,omitempty"`
}

// StandbyIsBehind says that the standby did not get in time what the voters had.
func (s Summary) StandbyIsBehind() bool { return s.MaxLag > 0 && s.Behind >= s.MaxLag }

// RehearseOn is what a rehearsal of a cluster's backups needs of its spec.
type RehearseOn struct {
	Zones   []string    `json:"zones"`
	Machine MachineSpec `json:"machine"`
	Quota   Bytes       `json:"quota,omitempty"`
}
