package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// TaskQueue is where the workflows run. Activities run on the queue of the
// cluster's region, so that only workers inside it need to reach its hosts.
const TaskQueue = "flotilla"

// RegionQueue is the task queue of a region's activities.
func RegionQueue(provider, region string) string { return TaskQueue + "." + provider + "." + region }

// ChangesQueue is the task queue of the activities that record a region's changes. They
// go on for an hour, so they have slots of their own beside those of steps.
func ChangesQueue(provider, region string) string { return RegionQueue(provider, region) + ".changes" }

// CopiesQueue is the task queue of the activities that copy a region's backups into the second
// store, likewise. Only workers that have one serve it.
func CopiesQueue(provider, region string) string { return RegionQueue(provider, region) + ".copies" }

// ClusterID is the ID of the entity workflow of a cluster.
func ClusterID(cluster string) string { return "cluster/" + cluster }

// OperationID is the ID of the child workflow that does an operation.
func OperationID(cluster string, kind fleet.OperationKind, id string) string {
	return ClusterID(cluster) + "/" + string(kind) + "/" + id
}

// The workflow types that are not operations. An operation's workflow type is its kind.
const (
	// ClusterType is the entity workflow: one for each cluster, for its whole life.
	ClusterType = "Cluster"
	// PlanType forecasts an operation and changes nothing: PlanRequest → PlanReply.
	PlanType = "PlanOperation"
	// SurveyType looks at many clusters of one region: SurveyRequest → SurveyReply.
	SurveyType = "SurveyClusters"
	// CertificateType signs a client's certificate request: CertificateRequest → CertificateReply.
	CertificateType = "IssueClientCertificate"
	// BackupsType lists backups of one region: BackupsRequest → BackupsReply.
	BackupsType = "ListBackups"
	// VerifyBackupType reads one to its last byte: BackupRequest → fleet.Backup.
	VerifyBackupType = "VerifyBackup"
	// CompareKeysType says what putting keys back would do: fleet.Operation → fleet.KeyRestore.
	CompareKeysType = "CompareKeys"
	// RehearseType restores one for real: fleet.RehearseRequest → fleet.Backup.
	RehearseType = "RehearseBackup"
	// ScheduleType takes the backups of a region that specs ask for: ScheduleState.
	ScheduleType = "ScheduleBackups"
	// ChangesType records the changes of a region's clusters between backups: ChangesState.
	ChangesType = "RecordChanges"
	// CopiesType copies the backups of a region's clusters into the second store: ChangesState.
	CopiesType = "CopyBackups"
	// RecipientType says whom to seal to: RecipientRequest → RecipientReply.
	RecipientType = "FleetRecipient"
	// ExamineType says what a region lacks for its work: ExamineRequest → ExamineReply.
	ExamineType = "ExamineRegion"
	// InventoryType lists what carries our tags in a region: InventoryRequest → InventoryReply.
	InventoryType = "ListResources"
	// RemoveType ends hosts and disks for good: RemoveRequest → RemoveReply.
	RemoveType = "RemoveResources"
)

// What the entity workflow and the operations understand.
const (
	// UpdateSubmit asks the entity for an operation: SubmitRequest → SubmitReply.
	// Refused with the field that is wrong, or because another operation runs.
	UpdateSubmit = "submit"
	// UpdateCancel asks the entity to cancel its running operation: CancelRequest → SubmitReply.
	UpdateCancel = "cancel"
	// UpdateProtect turns a cluster's deletion protection on or off: ProtectRequest → nothing.
	UpdateProtect = "protect"
	// UpdateAmend changes of a cluster's spec what needs no operation: AmendRequest → nothing.
	UpdateAmend = "amend"
	// QueryDescribe asks the entity how it stands: → ClusterView.
	QueryDescribe = "describe"
	// QueryEndpoints asks the entity where clients should connect now: → []fleet.Endpoint.
	QueryEndpoints = "endpoints"
	// SignalEndpoints tells the entity where clients should connect from now on:
	// EndpointsSignal. Its operation sends it, before it takes a member away.
	SignalEndpoints = "endpoints"
)

// What the operations understand, each sent to the operation's own workflow.
const (
	// UpdateApprove lets an operation that waits for approval begin: MarkRequest →
	// nothing. Refused unless it waits for that; approved twice is approved.
	UpdateApprove = "approve"
	// UpdateReject ends an operation that waits for approval: MarkRequest → nothing.
	UpdateReject = "reject"
	// UpdatePause has an operation wait after the steps in hand: MarkRequest → nothing.
	UpdatePause = "pause"
	// UpdateResume has an operation go on that is paused or that waits for a person after
	// a failed step: MarkRequest → nothing. Refused unless it is. An operation that has
	// ended is gone on with by another one (SubmitRequest.Resume).
	UpdateResume = "resume"
	// QueryProgress asks an operation how it stands: → fleet.Progress.
	QueryProgress = "progress"
)

// The search attributes that clusters and operations carry, all keywords, so
// that the fleet lists from Temporal's visibility.
var (
	AttrCluster   = temporal.NewSearchAttributeKeyKeyword("FlotillaCluster")
	AttrPhase     = temporal.NewSearchAttributeKeyKeyword("FlotillaPhase")
	AttrProvider  = temporal.NewSearchAttributeKeyKeyword("FlotillaProvider")
	AttrRegion    = temporal.NewSearchAttributeKeyKeyword("FlotillaRegion")
	AttrEtcd      = temporal.NewSearchAttributeKeyKeyword("FlotillaEtcd")
	AttrClass     = temporal.NewSearchAttributeKeyKeyword("FlotillaClass")
	AttrOperation = temporal.NewSearchAttributeKeyKeyword("FlotillaOperation")
)

// SearchAttributes are the names of all of them.
func SearchAttributes() []string {
	keys := []temporal.SearchAttributeKeyKeyword{AttrCluster, AttrPhase, AttrProvider, AttrRegion, AttrEtcd, AttrClass, AttrOperation}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = key.GetName()
	}
	return names
}

// The memo fields.
const (
	// MemoSummary is a cluster's fleet.Summary, on the entity workflow.
	MemoSummary = "summary"
	// MemoProgress is an operation's fleet.Progress, as of its last wave.
	MemoProgress = "progress"
)

// SubmitRequest asks for an operation on a cluster.
type SubmitRequest struct {
	// RequestID makes the request idempotent: the same one twice is one operation.
	RequestID string              `json:"requestId"`
	Kind      fleet.OperationKind `json:"kind,omitempty"`
	// Spec is what the cluster should be after it, as a whole. CreateCluster,
	// AdoptCluster and the kinds of fleet.Changes take one. Of a cluster that exists it
	// may change only what its kind changes: anything else that differs makes it a
	// fleet.Conflict, because somebody else changed it meanwhile. What needs no operation
	// is amended before (UpdateAmend). RollCluster and MigrateByLearner may leave it
	// out: then it is as it is.
	Spec    *fleet.Spec   `json:"spec,omitempty"`
	Options fleet.Options `json:"options"`
	// Resume goes on with the operation that did not end well (ClusterView.Unfinished):
	// Kind, Spec and Options are that one's and are left out here, and so is Then.
	Resume bool `json:"resume,omitempty"`
	// Then are operations of the kinds of fleet.Changes to run after this one, in their
	// order, each when the one before it is done. If one fails or is cancelled, those
	// after it are dropped. They get the Policy, AnyTime and AllowDowntime of Options.
	Then []fleet.Change `json:"then,omitempty"`
	// By is who asks, for the record.
	By string `json:"by,omitempty"`
}

// SubmitReply says which operation does what was asked for.
type SubmitReply struct {
	Operation  string              `json:"operation"`
	Kind       fleet.OperationKind `json:"kind"`
	WorkflowID string              `json:"workflowId"`
	// Joined is set when the operation was there already.
	Joined bool `json:"joined,omitempty"`
	// Then are the operations that were queued to run after it.
	Then []OperationRef `json:"then,omitempty"`
}

// OperationRef is which operation is meant, and where it is found.
type OperationRef struct {
	Operation  string              `json:"operation"` // its ID
	Kind       fleet.OperationKind `json:"kind"`
	WorkflowID string              `json:"workflowId"`
}

// CancelRequest asks the running operation to stop after the steps in hand.
type CancelRequest struct {
	// Operation must be the running one's ID; empty means whichever runs.
	Operation string `json:"operation,omitempty"`
	By        string `json:"by,omitempty"`
	Why       string `json:"why,omitempty"`
}

// ProtectRequest turns deletion protection on or off.
type ProtectRequest struct {
	Protected bool   `json:"protected"`
	By        string `json:"by,omitempty"`
}

// AmendRequest changes of a cluster's spec what needs no operation.
type AmendRequest struct {
	// Spec is the whole one; its labels, policy, deletion protection and machine.change
	// are taken (fleet.Spec.Amended), and nothing else of it.
	Spec fleet.Spec `json:"spec"`
	By   string     `json:"by,omitempty"`
}

// MarkRequest is who does something to an operation, and why; an approval and a
// rejection have to say who.
type MarkRequest struct {
	By  string `json:"by,omitempty"`
	Why string `json:"why,omitempty"`
}

// EndpointsSignal says where the clients of a cluster should connect from now on.
type EndpointsSignal struct {
	// Operation is the ID of the one that says so; only the running one is heard.
	Operation string           `json:"operation"`
	Endpoints []fleet.Endpoint `json:"endpoints"`
}

// OperationRecord is one operation in a cluster's record.
type OperationRecord struct {
	ID         string               `json:"id"`
	RequestID  string               `json:"requestId"`
	Kind       fleet.OperationKind  `json:"kind"`
	WorkflowID string               `json:"workflowId"`
	State      fleet.OperationState `json:"state"`
	By         string               `json:"by,omitempty"`
	Started    time.Time            `json:"started"`
	Ended      time.Time            `json:"ended,omitzero"`
	Error      string               `json:"error,omitempty"`
	ErrorKind  fleet.Kind           `json:"errorKind,omitempty"`
	Cancelled  string               `json:"cancelled,omitempty"` // who cancelled it and why
	// Resumes is the ID of the first of the operations that this one goes on with.
	Resumes string `json:"resumes,omitempty"`
	// Marks are what people did to it: who approved, paused, resumed it, and why.
	Marks []fleet.Mark `json:"marks,omitempty"`
	// Left are the things that it left half done, each in words.
	Left []string `json:"left,omitempty"`
	// Lost is what it lost of the data, in words.
	Lost string `json:"lost,omitempty"`
	// Dropped are the operations that were to run after it and do not, because it
	// did not end well.
	Dropped []OperationRef `json:"dropped,omitempty"`
}

// ClusterView is how a cluster stands: the answer to QueryDescribe.
type ClusterView struct {
	Summary fleet.Summary `json:"summary"`
	Spec    fleet.Spec    `json:"spec"`
	// Operations are the latest ones, newest first.
	Operations []OperationRecord `json:"operations,omitempty"`
	// Endpoints are where clients connect.
	Endpoints []fleet.Endpoint `json:"endpoints,omitempty"`
	// FinalSnapshot is the last snapshot of a decommissioned cluster.
	FinalSnapshot *fleet.Snapshot `json:"finalSnapshot,omitempty"`
	// Unfinished is the operation that did not end well and can be gone on with, as it
	// was asked for. Its Spec is the target, and Spec above is still what was before.
	Unfinished *fleet.Operation `json:"unfinished,omitempty"`
	// Queue are the operations that run after the running one, next first.
	Queue []QueuedOperation `json:"queue,omitempty"`
	// AsideUntil is when what restores and recoveries put aside is discarded, by the
	// policy; zero: not before a person does.
	AsideUntil time.Time `json:"asideUntil,omitzero"`
	// NextMember is the number of the first member that never existed: what a new
	// operation gets as fleet.Operation's Since and NextMember.
	NextMember int `json:"nextMember,omitempty"`
	// Elsewhere are the places other than the spec's where something of the cluster may be.
	Elsewhere []fleet.Place `json:"elsewhere,omitempty"`
}

// QueuedOperation is an operation that runs when those before it are done.
type QueuedOperation struct {
	OperationRef
	RequestID string        `json:"requestId"`
	Spec      fleet.Spec    `json:"spec"`
	Options   fleet.Options `json:"options"`
	By        string        `json:"by,omitempty"`
}

// OperationResult is what an operation's workflow returns.
type OperationResult struct {
	Progress  fleet.Progress   `json:"progress"`
	Summary   fleet.Summary    `json:"summary"`
	Endpoints []fleet.Endpoint `json:"endpoints,omitempty"`
	// FinalSnapshot is set by a decommission that took one.
	FinalSnapshot *fleet.Snapshot `json:"finalSnapshot,omitempty"`
	// Backup is the one that a BackupCluster took.
	Backup *fleet.Backup `json:"backup,omitempty"`
	// Lost is what a decommission destroyed that is in no snapshot, or what a recovery did
	// not bring back, in words.
	Lost string `json:"lost,omitempty"`
	// Clean says that nothing of the cluster exists: there is nothing to undo.
	Clean bool `json:"clean,omitempty"`
	// Left are the things that it left half done, each in words.
	Left []string `json:"left,omitempty"`
	// Purchases are the hosts that it bought and did not release, as the steps that
	// bought them: for the operation that resumes it.
	Purchases []fleet.Step `json:"purchases,omitempty"`
	// Keys is what keys were compared and put back.
	Keys *fleet.KeyRestore `json:"keys,omitempty"`
	// HighestMember is the highest number of a member that it saw or bought for.
	HighestMember int `json:"highestMember,omitempty"`
	// KeepAside is how long the policy has kept what the operation put aside; zero: until
	// a person discards it.
	KeepAside fleet.Duration `json:"keepAside,omitempty"`
	// Elsewhere are the places other than the operation's where something of the cluster
	// was seen at the end.
	Elsewhere []fleet.Place `json:"elsewhere,omitempty"`
}

// RecipientRequest asks whose workers are to be able to read what is sealed.
type RecipientRequest struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
}

// What the short workflows take and give is the vocabulary's.
type (
	// PlanRequest asks what an operation would do.
	PlanRequest = fleet.PlanRequest
	// PlanReply is the forecast of an operation.
	PlanReply = fleet.PlanReply
	// SurveyRequest asks how clusters of one provider and region are now.
	SurveyRequest = fleet.SurveyRequest
	// SurveyReply gives the summaries with fresh counts, in the order asked.
	SurveyReply = fleet.SurveyReply
	// CertificateRequest asks for a client certificate.
	CertificateRequest = fleet.CertificateRequest
	// CertificateReply is a client certificate and what it is good for.
	CertificateReply = fleet.CertificateReply
	// BackupsRequest asks for the backups of clusters of one region.
	BackupsRequest = fleet.BackupsRequest
	// BackupsReply are backups, by cluster and then oldest first.
	BackupsReply = fleet.BackupsReply
	// BackupRequest names one backup.
	BackupRequest = fleet.BackupRequest
	// RecipientReply is the public part of the fleet's key.
	RecipientReply = fleet.RecipientReply
	// ExamineRequest asks what a region lacks for its work.
	ExamineRequest = fleet.ExamineRequest
	// ExamineReply is all that was looked at.
	ExamineReply = fleet.ExamineReply
	// InventoryRequest asks for everything in a region that carries our tags.
	InventoryRequest = fleet.InventoryRequest
	// InventoryReply is everything in a region that carries our tags.
	InventoryReply = fleet.InventoryReply
	// RemoveRequest asks for resources to be ended for good.
	RemoveRequest = fleet.RemoveRequest
	// RemoveReply says what was ended.
	RemoveReply = fleet.RemoveReply
)
