package fleet

import (
	"slices"
	"time"
)

// HostState is where a host is in its life. Clouds move hosts through these
// states asynchronously; whoever asks for a change looks until it has happened.
type HostState string

// The states of a host. HostUnknown is not a synonym of any other: nothing
// destructive follows from it.
const (
	HostPending     HostState = "pending"
	HostRunning     HostState = "running"
	HostStopping    HostState = "stopping"
	HostStopped     HostState = "stopped"
	HostTerminating HostState = "terminating"
	HostTerminated  HostState = "terminated"
	HostUnknown     HostState = "unknown"
)

// DiskState is where a disk is in its life.
type DiskState string

// The states of a disk.
const (
	DiskCreating  DiskState = "creating"
	DiskAvailable DiskState = "available"
	DiskAttaching DiskState = "attaching"
	DiskInUse     DiskState = "in-use"
	DiskDetaching DiskState = "detaching"
	DiskDeleting  DiskState = "deleting"
	DiskDeleted   DiskState = "deleted"
	DiskUnknown   DiskState = "unknown"
)

// The tags that everything we buy carries. They are enough to find every
// resource of a cluster again if all else were lost.
const (
	// TagCluster is the name of the cluster that a resource belongs to.
	TagCluster = "flotilla:cluster"
	// TagUID is the incarnation of the cluster: a name may be used again after a
	// decommission, a UID never.
	TagUID = "flotilla:uid"
	// TagMember is the name of the member that a resource was bought for.
	TagMember = "flotilla:member"
	// TagToken is the idempotency token that the resource was bought with.
	TagToken = "flotilla:token"
)

// PortRange is a run of TCP ports that members on one host may use.
type PortRange struct {
	First int `json:"first"`
	Count int `json:"count"`
}

// Host is a VM that carries members.
type Host struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Region   string            `json:"region"`
	Zone     string            `json:"zone"`
	Type     string            `json:"type"`
	State    HostState         `json:"state"`
	Reason   string            `json:"reason,omitempty"` // why it is in this state, where the provider says so
	Address  string            `json:"address,omitempty"`
	Ports    PortRange         `json:"ports"`
	Tags     map[string]string `json:"tags,omitempty"`
	Launched time.Time         `json:"launched"`
}

// Member gives the name of the member that the host was bought for.
func (h Host) Member() string { return h.Tags[TagMember] }

// Disk is a data disk: it outlives the host that it is attached to.
type Disk struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Zone     string            `json:"zone"`
	Size     Bytes             `json:"size"`
	Category string            `json:"category"`
	State    DiskState         `json:"state"`
	HostID   string            `json:"hostId,omitempty"` // what it is attached to
	Tags     map[string]string `json:"tags,omitempty"`
	Created  time.Time         `json:"created"`
	// Retypes are the categories on offer that the provider makes it where it is, in use or
	// not. Those of what it has to be replaced for are not among them.
	Retypes []string `json:"retypes,omitempty"`
}

// Becomes says whether the disk has a category, or can have it where it is.
func (d Disk) Becomes(category string) bool {
	return d.Category == category || slices.Contains(d.Retypes, category)
}

// Member gives the name of the member that the disk was bought for.
func (d Disk) Member() string { return d.Tags[TagMember] }

// DiskSnapshotState is where a disk snapshot is.
type DiskSnapshotState string

// The states of a disk snapshot. Its point in time is that of the call that asked for it;
// what takes time afterwards is to store it.
const (
	DiskSnapshotPending   DiskSnapshotState = "pending"
	DiskSnapshotCompleted DiskSnapshotState = "completed"
	DiskSnapshotFailed    DiskSnapshotState = "failed"
	DiskSnapshotDeleted   DiskSnapshotState = "deleted"
	// DiskSnapshotUnknown is a state that was not understood. Nothing follows from it.
	DiskSnapshotUnknown DiskSnapshotState = "unknown"
)

// DiskSnapshot is a copy of a disk, which the cloud keeps apart from disks and zones: it
// outlives the disk.
type DiskSnapshot struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	DiskID string `json:"diskId"` // what it is a copy of
	// Size is the disk's when it was taken, and the least of a disk that is made from it.
	// What it takes to store is less: clouds store only what was written.
	Size Bytes `json:"size"`
	// Written is what had been written of the disk by then, if the provider tells; else 0.
	// What is stored for this one alone is less, where the disk has earlier ones.
	Written Bytes             `json:"written,omitempty"`
	State   DiskSnapshotState `json:"state"`
	// Percent is how much of it is stored.
	Percent int               `json:"percent"`
	Reason  string            `json:"reason,omitempty"` // why it failed
	Tags    map[string]string `json:"tags,omitempty"`
	Created time.Time         `json:"created"`
}

// Member gives the name of the member whose disk it is a copy of.
func (s DiskSnapshot) Member() string { return s.Tags[TagMember] }

// MachineType is what a provider sells as one kind of VM.
type MachineType struct {
	Name   string  `json:"name"`
	VCPUs  float64 `json:"vcpus"`
	Memory Bytes   `json:"memory"`
}
