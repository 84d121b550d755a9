package fleet

import (
	"encoding/json"
	"net"
	"strconv"
	"time"
)

// OperationKind names what is done to a cluster. It is also the name of the
// workflow type, so that a person recognises it in Temporal's UI.
type OperationKind string

// The operations.
const (
	CreateCluster       OperationKind = "CreateCluster"
	DecommissionCluster OperationKind = "DecommissionCluster"
)

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
	// PhaseGone: nothing is left of it.
	PhaseGone Phase = "Gone"
)

// Options are what a user may choose for one operation.
type Options struct {
	// SkipFinalSnapshot waives the last snapshot of a decommission. The data is gone then.
	SkipFinalSnapshot bool `json:"skipFinalSnapshot,omitempty"`
}

// Operation is one thing being done to one cluster.
type Operation struct {
	ID      string        `json:"id"`
	Kind    OperationKind `json:"kind"`
	Cluster string        `json:"cluster"`
	UID     string        `json:"uid"` // incarnation of the cluster
	Spec    Spec          `json:"spec"`
	Options Options       `json:"options"`
}

// MaxToken is the length of the longest token: the narrowest idempotency token of the
// clouds (64 ASCII characters).
const MaxToken = 64

// StepKind names a step. It is also the name of the activity that does it.
type StepKind string

// The steps.
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
	// AddLearner adds a member to etcd's membership, as a learner.
	AddLearner StepKind = "AddLearner"
	// AwaitHealthy waits until the whole cluster serves.
	AwaitHealthy StepKind = "AwaitHealthy"
	// SaveFinalSnapshot stores and verifies a last snapshot.
	SaveFinalSnapshot StepKind = "SaveFinalSnapshot"
	// StopMember stops a member's process for good.
	StopMember StepKind = "StopMember"
	// CloseSnapshot records that every member was stopped after the final snapshot.
	CloseSnapshot StepKind = "CloseSnapshot"
	// ReleaseHost ends a host and waits until it is gone.
	ReleaseHost StepKind = "ReleaseHost"
	// DeleteDisk deletes a data disk.
	DeleteDisk StepKind = "DeleteDisk"
	// DestroyAuthority deletes the cluster's sealed secrets.
	DestroyAuthority StepKind = "DestroyAuthority"
)

// Step is one small thing to do. Everything that decided it is in the
// observation before it; everything needed to do it is in here, in the operation
// and in the world.
type Step struct {
	Kind   StepKind `json:"kind"`
	Member string   `json:"member,omitempty"` // which member, or empty for the cluster
	Zone   string   `json:"zone,omitempty"`
	// HostID and DiskID name what is there already.
	HostID string `json:"hostId,omitempty"`
	DiskID string `json:"diskId,omitempty"`
	// Endpoint is where the member is, or will be.
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	// Initial is the membership that a member starts with, itself included.
	Initial []Endpoint `json:"initial,omitempty"`
	// Existing says that the member joins a cluster that is there already.
	Existing bool `json:"existing,omitempty"`
	// Token is the step's idempotency token, at most MaxToken characters.
	Token string `json:"token"`
}

// Endpoint is where a member is: an address, a client port and a peer port.
type Endpoint struct {
	Member     string `json:"member"`
	Address    string `json:"address"`
	ClientPort int    `json:"clientPort"`
	PeerPort   int    `json:"peerPort"`
}

// String gives "LaunchHost orders-1".
func (s Step) String() string {
	if s.Member == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + " " + s.Member
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
	State      OperationState `json:"state"`
	Wave       int            `json:"wave"`
	WavesAhead int            `json:"wavesAhead"` // forecast after the current one
	Doing      string         `json:"doing,omitempty"`
	Steps      []StepProgress `json:"steps,omitempty"`
	LastError  string         `json:"lastError,omitempty"`
	Started    time.Time      `json:"started"`
	Ended      time.Time      `json:"ended,omitzero"`
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
	Name      string    `json:"name"`
	Phase     Phase     `json:"phase"`
	UID       string    `json:"uid"`
	Provider  string    `json:"provider"`
	Region    string    `json:"region"`
	Etcd      string    `json:"etcd"`
	Class     Class     `json:"class"`
	Voters    int       `json:"voters"`
	Healthy   int       `json:"healthy"`
	Members   int       `json:"members"`
	Leader    string    `json:"leader,omitempty"`
	DBSize    Bytes     `json:"dbSize,omitempty"`
	Revision  int64     `json:"revision,omitempty"`
	At        time.Time `json:"at,omitzero"` // when the counts were taken
	Created   time.Time `json:"created"`
	Operation string    `json:"operation,omitempty"` // the running one, if any
	LastError string    `json:"lastError,omitempty"`
}

// ClientURL is where clients of the member connect.
func (e Endpoint) ClientURL() string {
	return "https://" + net.JoinHostPort(e.Address, strconv.Itoa(e.ClientPort))
}

// PeerURL is where its peers connect.
func (e Endpoint) PeerURL() string {
	return "https://" + net.JoinHostPort(e.Address, strconv.Itoa(e.PeerPort))
}
