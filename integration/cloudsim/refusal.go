package cloudsim

import (
	"errors"
	"fmt"
	"time"
)

// Code says why the world refuses something. Faces give each the code, the HTTP status
// and the words of their vendor.
type Code string

// The reasons.
const (
	NoInstance    Code = "no such instance"
	NoDisk        Code = "no such disk"
	NoSnapshot    Code = "no such snapshot"
	NoCommand     Code = "no such command"
	NoZone        Code = "no such zone"
	NoType        Code = "no such instance type"
	NotSold       Code = "type not sold in the zone"
	NoImage       Code = "no such image"
	NoSubnet      Code = "no such subnet"
	NoGroup       Code = "no such security group"
	NoPlacement   Code = "no such placement group"
	NoProfile     Code = "no such instance profile"
	NoKey         Code = "no such encryption key"
	NoCategory    Code = "no such disk category"
	Mismatched    Code = "resources do not fit together" // subnet and zone, group and network, image and type
	BadToken      Code = "malformed token"
	TokenReused   Code = "token reused with other parameters"
	InstanceState Code = "instance in another state"
	DiskState     Code = "disk in another state"
	DiskTaken     Code = "disk attached elsewhere"
	DiskFree      Code = "disk not attached"
	OtherZone     Code = "disk and instance in different zones"
	DeviceTaken   Code = "device name in use"
	BadSize       Code = "size outside of limits"
	BadShape      Code = "performance outside of limits"
	Modifying     Code = "modification under way"
	SnapshotState Code = "snapshot not completed"
	SnapshotUsed  Code = "snapshot that disks were made from"
	Snapshotting  Code = "snapshots of the disk under way"
	SnapshotSoon  Code = "snapshot of the disk was just taken"
	TooSmall      Code = "smaller than its snapshot"
	TooManyMods   Code = "modified too often"
	IdleChange    Code = "is so already"
	NoStock       Code = "no stock"
	PlacementFull Code = "placement group full"
	OverQuota     Code = "over quota"
	UserDataLong  Code = "user data too long"
	ScriptLong    Code = "script too long"
	AgentAway     Code = "run-command agent does not answer"
	NotAllowed    Code = "not allowed"
	DryRun        Code = "would have succeeded"
	Throttled     Code = "throttled"
	Failing       Code = "internal error"
	ZoneDown      Code = "zone does not answer"
)

// Refusal is the world's no.
type Refusal struct {
	Code     Code
	Resource string // what it is about, mostly an ID
	Message  string
	// Missing are the IDs that do not exist, of a question for several.
	Missing []string
	// RetryAfter is what a throttled caller is told, if the cloud tells.
	RetryAfter time.Duration
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %s (%s)", r.Resource, r.Code, r.Message)
}

func refuse(code Code, resource, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Resource: resource, Message: fmt.Sprintf(format, args...)}
}

// Because gives the refusal in an error; any other error is a failure of the cloud.
func Because(err error) *Refusal {
	var r *Refusal
	if errors.As(err, &r) {
		return r
	}
	return refuse(Failing, "", "%v", err)
}
