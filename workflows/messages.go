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
	// QueryDescribe asks the entity how it stands: → ClusterView.
	QueryDescribe = "describe"
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
	Kind      fleet.OperationKind `json:"kind"`
	// Spec is what the cluster should be; only CreateCluster takes one.
	Spec    *fleet.Spec   `json:"spec,omitempty"`
	Options fleet.Options `json:"options"`
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
}

// OperationResult is what an operation's workflow returns.
type OperationResult struct {
	Progress  fleet.Progress   `json:"progress"`
	Summary   fleet.Summary    `json:"summary"`
	Endpoints []fleet.Endpoint `json:"endpoints,omitempty"`
	// FinalSnapshot is set by a decommission that took one.
	FinalSnapshot *fleet.Snapshot `json:"finalSnapshot,omitempty"`
	// Lost is what a decommission destroyed that is in no snapshot, in words.
	Lost string `json:"lost,omitempty"`
	// Clean says that nothing of the cluster exists: there is nothing to undo.
	Clean bool `json:"clean,omitempty"`
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
)
