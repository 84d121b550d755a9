package fleet

import (
	"maps"
	"slices"
	"time"
)

// Class is a QoS class, after the classes of Kubernetes pods: it says which
// pool of hosts a cluster lives in and whether it shares them.
type Class string

// The QoS classes.
const (
	Guaranteed Class = "Guaranteed"
	Burstable  Class = "Burstable"
	BestEffort Class = "BestEffort"
)

// Spec is what a cluster should be: the document that a person writes.
type Spec struct {
	// Name is the cluster's name, unique in the fleet.
	Name string `yaml:"name" json:"name"`
	// Provider is whose hosts it runs on: local, aws or aliyun.
	Provider string `yaml:"provider" json:"provider"`
	// Region is the provider's region; its workers serve the task queue of that name.
	Region string `yaml:"region" json:"region"`
	// Zones are where its members go, in turn.
	Zones []string `yaml:"zones" json:"zones"`
	// Voters is the number of voting members: 1, 3, 5 or 7.
	Voters int `yaml:"voters" json:"voters"`
	// Learners is the number of members that follow without a vote.
	Learners int `yaml:"learners,omitempty" json:"learners,omitempty"`
	// Standby is where the learners go, apart from the voters.
	Standby StandbySpec `yaml:"standby,omitempty" json:"standby,omitzero"`
	Etcd    EtcdSpec    `yaml:"etcd" json:"etcd"`
	Machine MachineSpec `yaml:"machine" json:"machine"`
	Class   Class       `yaml:"class" json:"class"`
	// Policy is how operations on it are run.
	Policy Policy `yaml:"policy,omitempty" json:"policy,omitzero"`
	// Backup is how often it is backed up, and what is kept.
	Backup BackupPolicy `yaml:"backup,omitempty" json:"backup,omitzero"`
	// Clients is the name that clients connect by.
	Clients ClientsSpec `yaml:"clients,omitempty" json:"clients,omitzero"`
	// Labels are the user's own, for finding clusters.
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
	// DeletionProtection makes a decommission refuse until it is turned off.
	DeletionProtection bool `yaml:"deletionProtection,omitempty" json:"deletionProtection,omitempty"`
}

// EtcdSpec is which etcd runs, and how.
type EtcdSpec struct {
	// Version is a release in the catalogue, as in 3.7.3.
	Version      string `yaml:"version" json:"version"`
	EtcdSettings `yaml:",inline"`
}

// EtcdSettings are the settings of etcd that a user may choose. They are named
// as etcd's own flags are; every member of a cluster has the same.
type EtcdSettings struct {
	// Quota is the limit of the store (--quota-backend-bytes).
	Quota Bytes `yaml:"quota" json:"quota"`
	// SnapshotCount is after how many applied entries raft's log is snapshotted (--snapshot-count).
	SnapshotCount int64 `yaml:"snapshotCount" json:"snapshotCount"`
	// HeartbeatInterval and ElectionTimeout pace raft.
	HeartbeatInterval Duration `yaml:"heartbeatInterval" json:"heartbeatInterval"`
	ElectionTimeout   Duration `yaml:"electionTimeout" json:"electionTimeout"`
	// AutoCompaction is what history etcd drops by itself; mode "off" keeps all.
	AutoCompaction AutoCompaction `yaml:"autoCompaction" json:"autoCompaction"`
	// MaxLearners is how many learners the cluster may have at a time (--max-learners).
	// It must be equal on every member, and 3.5 knows only 1.
	MaxLearners int `yaml:"maxLearners" json:"maxLearners"`
	// MaxRequest is the largest request (--max-request-bytes).
	MaxRequest Bytes `yaml:"maxRequest" json:"maxRequest"`
	// MaxTxnOps is how many operations one transaction may have (--max-txn-ops).
	MaxTxnOps int `yaml:"maxTxnOps" json:"maxTxnOps"`
}

// AutoCompaction is etcd's own compaction.
type AutoCompaction struct {
	// Mode is off, periodic or revision.
	Mode string `yaml:"mode" json:"mode"`
	// Retention is how much history is kept in mode periodic.
	Retention Duration `yaml:"retention,omitempty" json:"retention,omitempty"`
	// Revisions is how many revisions are kept in mode revision.
	Revisions int64 `yaml:"revisions,omitempty" json:"revisions,omitempty"`
}

// MachineSpec is what each member runs on.
type MachineSpec struct {
	// Type is a VM type of the provider.
	Type string `yaml:"type" json:"type"`
	// Change is how the type of a running member is changed.
	Change MachineChange `yaml:"change,omitempty" json:"change,omitempty"`
	Disk   DiskSpec      `yaml:"disk" json:"disk"`
}

// MachineChange is how the machine type of a running member is changed.
type MachineChange string

// The ways to change a machine type. The default is to replace: its members go on
// serving while a new one catches up.
const (
	// ReplaceMachine: through a learner on a new host.
	ReplaceMachine MachineChange = "replace"
	// ResizeMachine: stop the host, change its type, start it again.
	ResizeMachine MachineChange = "inPlace"
)

// DiskSpec is a member's data disk.
type DiskSpec struct {
	Size     Bytes  `yaml:"size" json:"size"`
	Category string `yaml:"category" json:"category"`
}

// The defaults of a spec, in one place.
const (
	DefaultVoters        = 3
	DefaultClass         = Burstable
	DefaultQuota         = 2 * GiB    // etcd's own
	DefaultSnapshotCount = 10000      // etcd's own since 3.6; keeps memory flat on 3.5 too
	DefaultMaxLearners   = 1          // etcd's own
	DefaultMaxRequest    = 1536 * KiB // etcd's own
	DefaultMaxTxnOps     = 128        // etcd's own
	DefaultHeartbeat     = Duration(100 * time.Millisecond)
	DefaultElection      = Duration(time.Second)
	DefaultDiskSize      = 20 * GiB
)

// WithDefaults returns the spec with everything filled in that was left out.
// Provider, region, zones, etcd version and machine type depend on where a
// cluster runs and are never guessed.
func (s Spec) WithDefaults() Spec {
	s = s.Clone()
	orDefault(&s.Voters, DefaultVoters)
	orDefault(&s.Class, DefaultClass)
	orDefault(&s.Machine.Disk.Size, DefaultDiskSize)
	e := &s.Etcd
	orDefault(&e.Quota, DefaultQuota)
	orDefault(&e.SnapshotCount, DefaultSnapshotCount)
	orDefault(&e.HeartbeatInterval, DefaultHeartbeat)
	orDefault(&e.ElectionTimeout, DefaultElection)
	orDefault(&e.AutoCompaction.Mode, "off")
	if s.Learners > 0 && Minor(e.Version) != "3.5" {
		orDefault(&e.MaxLearners, s.Learners+1) // one more, for a voter that is being replaced
	}
	orDefault(&e.MaxLearners, max(DefaultMaxLearners, s.Learners))
	orDefault(&e.MaxRequest, DefaultMaxRequest)
	orDefault(&e.MaxTxnOps, DefaultMaxTxnOps)
	return s
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Clone returns a copy that shares nothing with s.
func (s Spec) Clone() Spec {
	s.Zones, s.Standby = slices.Clone(s.Zones), s.Standby.clone()
	s.Policy.Windows = slices.Clone(s.Policy.Windows)
	s.Labels = maps.Clone(s.Labels)
	return s
}

// Equal says whether two specs ask for the same. It goes over a map, but what it
// says does not depend on the order.
//
//workflowcheck:ignore
func (s Spec) Equal(other Spec) bool {
	return s.Name == other.Name && s.Provider == other.Provider && s.Region == other.Region &&
		slices.Equal(s.Zones, other.Zones) && s.Standby.equal(other.Standby) && s.Voters == other.Voters && s.Learners == other.Learners &&
		s.Etcd == other.Etcd && s.Machine == other.Machine && s.Class == other.Class && s.Policy.Equal(other.Policy) && s.Backup == other.Backup && s.Clients == other.Clients &&
		maps.Equal(s.Labels, other.Labels) && s.DeletionProtection == other.DeletionProtection
}
