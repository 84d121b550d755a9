// Package iaas is what Flotilla needs of a cloud: hosts, disks, commands run on
// hosts, and capacity. One Provider stands for one region of one cloud.
// Implementations live in iaas/aws, iaas/aliyun and iaas/local; iaas/iaastest is
// the suite that each of them passes. Nothing here knows of Temporal or etcd.
//
// What every implementation promises:
//
//   - Errors are *fleet.Error, so that callers decide by kind, never by cloud.
//   - A call that changes something only asks for the change: states are
//     asynchronous, and the caller looks until the state it wants has come.
//     Asking again for what is already so, or already under way, succeeds.
//   - A call that buys takes a Token. The same token with the same request gives
//     the resource that was bought before, whatever happened to the first answer,
//     also when that resource has ended since; the same token with another
//     request is fleet.Invalid. Tokens are remembered for a day at least.
//   - What is bought carries the tags asked for, and its token as fleet.TagToken.
//   - Lists and lookups may lag behind: a resource just bought may be
//     fleet.NotFound or absent from a list for a while, one just ended may still
//     show. A list that may be incomplete is an error, never a short list.
//   - No answer, or one that cannot be understood, is fleet.Unavailable or a
//     state of unknown, never "gone".
//   - The context ends every call. A call that it ended is fleet.Unavailable and
//     wraps the context's error; what it asked for may have happened.
//   - What does not exist is fleet.NotFound, to look at as well as to change,
//     unless the call says otherwise.
package iaas

import (
	"context"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Provider is one region of one cloud. It is safe for concurrent use, also by
// several processes at once.
type Provider interface {
	Hosts
	Disks
	Snapshots
	Commands
	Capacity
}

// Tags select resources: all pairs must match. An empty value matches any.
type Tags map[string]string

// LaunchHostRequest says which host to buy.
type LaunchHostRequest struct {
	Token string // idempotency token, at most 64 ASCII characters
	Name  string // for people; need not be unique
	Zone  string
	Type  string
	Tags  Tags
}

// Hosts buys, looks at and ends VMs.
type Hosts interface {
	// LaunchHost buys a host and gives it as it is now, usually pending.
	// Errors: fleet.OutOfCapacity (no such type left in this zone), fleet.Invalid
	// (unknown zone or type, no token or too long a one, token reused with another
	// request), fleet.Throttled, fleet.Denied.
	LaunchHost(ctx context.Context, req LaunchHostRequest) (fleet.Host, error)
	// Host gives one host. A terminated host is fleet.NotFound sooner or later;
	// until then its state is fleet.HostTerminated.
	Host(ctx context.Context, id string) (fleet.Host, error)
	// ListHosts gives the hosts with these tags, terminated ones left out, oldest first.
	ListHosts(ctx context.Context, tags Tags) ([]fleet.Host, error)
	// StopHost and StartHost change whether the host runs. Its disks stay.
	// fleet.Conflict while a change to the contrary is under way: look again.
	StopHost(ctx context.Context, id string) error
	StartHost(ctx context.Context, id string) error
	// ResizeHost changes the type of a stopped host; fleet.Conflict if it is not
	// stopped, fleet.Invalid for an unknown type. The type it has is a success.
	ResizeHost(ctx context.Context, id, machineType string) error
	// TagHost adds tags to a host, in place of those of the same keys. The others
	// stay. Errors: fleet.Invalid for a tag without a key.
	TagHost(ctx context.Context, id string, tags Tags) error
	// TerminateHost ends a host for good. Data disks are detached and stay. A host
	// that does not exist is a success.
	TerminateHost(ctx context.Context, id string) error
}

// CreateDiskRequest says which disk to buy.
type CreateDiskRequest struct {
	Token    string
	Name     string
	Zone     string
	Size     fleet.Bytes
	Category string
	// SnapshotID is the disk snapshot that it is made from; empty: it has nothing on it.
	// Size is the snapshot's at least.
	SnapshotID string
	Tags       Tags
}

// Disks buys, attaches and deletes data disks.
type Disks interface {
	// CreateDisk buys a disk and gives it as it is now. Errors as of LaunchHost. One that
	// is to be made from a disk snapshot is fleet.NotFound if there is none of that ID,
	// fleet.Conflict as long as it is not completed, and fleet.Invalid if it is larger.
	CreateDisk(ctx context.Context, req CreateDiskRequest) (fleet.Disk, error)
	// Disk gives one disk. A deleted disk is fleet.NotFound sooner or later; until
	// then its state is fleet.DiskDeleted.
	Disk(ctx context.Context, id string) (fleet.Disk, error)
	// ListDisks gives the disks with these tags, deleted ones left out, oldest first.
	ListDisks(ctx context.Context, tags Tags) ([]fleet.Disk, error)
	// AttachDisk gives a disk to a running or stopped host. fleet.Conflict if
	// another host has it or the host is in another state; fleet.Invalid if the
	// host is in another zone; success if this host has it.
	AttachDisk(ctx context.Context, diskID, hostID string) error
	// DetachDisk takes it from whatever host has it. Not attached is a success. A
	// disk with open files may stay fleet.DiskDetaching until they are closed.
	DetachDisk(ctx context.Context, diskID string) error
	// GrowDisk makes it larger; fleet.Invalid if size is smaller than it is.
	GrowDisk(ctx context.Context, diskID string, size fleet.Bytes) error
	// RetypeDisk makes it one of another category where it is, attached or not, and no
	// smaller than size. It may have to be asked again for the second of the two.
	// fleet.Invalid for a category that is not among its Retypes, or that does not take
	// the size; fleet.Conflict while another change of it is under way.
	RetypeDisk(ctx context.Context, diskID, category string, size fleet.Bytes) error
	// TagDisk adds tags to a disk, as TagHost does to a host.
	TagDisk(ctx context.Context, diskID string, tags Tags) error
	// DeleteDisk ends a disk that is not attached (fleet.Conflict if it is). A
	// disk that does not exist is a success.
	DeleteDisk(ctx context.Context, diskID string) error
}

// SnapshotDiskRequest says of which disk to keep a copy.
type SnapshotDiskRequest struct {
	Token  string
	Name   string
	DiskID string
	Tags   Tags
}

// Snapshots keeps copies of disks.
type Snapshots interface {
	// SnapshotDisk asks for a copy of a disk as it is at the time of the call, also while
	// it is attached and written to: then it is what the disk would hold had its host lost
	// its power. It gives the snapshot as it is now, usually pending. The token is that of
	// a purchase, but that of a snapshot which was deleted may buy another one. Errors:
	// fleet.NotFound (no such disk), fleet.Conflict (the cloud takes none of this disk
	// now: one is under way, or was just taken, or it was never attached),
	// fleet.Invalid (no token, or reused for another disk), fleet.Denied (also over quota).
	SnapshotDisk(ctx context.Context, req SnapshotDiskRequest) (fleet.DiskSnapshot, error)
	// DiskSnapshot gives one. A deleted one is fleet.NotFound sooner or later; until then
	// its state is fleet.DiskSnapshotDeleted.
	DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error)
	// ListDiskSnapshots gives the ones with these tags, deleted ones left out, oldest first.
	ListDiskSnapshots(ctx context.Context, tags Tags) ([]fleet.DiskSnapshot, error)
	// DeleteDiskSnapshot ends one, in whatever state. Disks that were made from it stay. One
	// that does not exist is a success.
	DeleteDiskSnapshot(ctx context.Context, id string) error
}

// CommandState is where a command is.
type CommandState string

// The states of a command.
const (
	CommandRunning   CommandState = "running"
	CommandSucceeded CommandState = "succeeded" // exit code 0
	CommandFailed    CommandState = "failed"    // any other exit code
	CommandTimedOut  CommandState = "timed out"
	// CommandLost: it ended without telling how; it may have run in part.
	CommandLost CommandState = "lost"
)

// Limits of what a command may carry. They are the narrowest of the clouds'
// (Alibaba Cloud Assistant's 16 KB of base64, AWS SSM's 24,000 and 8,000
// characters of output), so that what works on one works on all.
const (
	MaxScript = 12 << 10
	MaxStdout = 24000
	MaxStderr = 8000
)

// CommandRequest is a shell script to be run as root on a host.
type CommandRequest struct {
	HostID string
	// Token makes it run at most once: the same token gives the same command.
	Token  string
	Script string // for /bin/sh, at most MaxScript bytes
	// Timeout ends the script and what it started; rounded up to whole seconds
	// and to the least that the cloud takes. Zero is the provider's own default.
	Timeout time.Duration
}

// Command is a script that was sent to a host.
type Command struct {
	ID       string
	HostID   string
	State    CommandState
	ExitCode int    // of the script when it succeeded or failed; else -1
	Stdout   string // its first MaxStdout characters at most
	Stderr   string // its first MaxStderr characters at most
}

// Commands runs scripts on hosts through the cloud's own run-command service.
type Commands interface {
	// RunCommand sends a script and gives the command, usually running. It goes on
	// when the caller dies. Errors: fleet.Conflict when the host is not running,
	// fleet.Unavailable when its agent does not answer, fleet.Invalid when the
	// script is too long or the token was used on this host for another one.
	RunCommand(ctx context.Context, req CommandRequest) (Command, error)
	// Command looks at it again. Right after RunCommand it may be fleet.NotFound.
	Command(ctx context.Context, hostID, commandID string) (Command, error)
}

// Capacity says what the region has to offer.
type Capacity interface {
	Zones(ctx context.Context) ([]string, error)
	MachineTypes(ctx context.Context) ([]fleet.MachineType, error)
	DiskCategories(ctx context.Context) ([]string, error)
	// Available says whether the zone would sell a host of this type now. It is
	// advice: only LaunchHost knows.
	Available(ctx context.Context, zone, machineType string) (bool, error)
}
