package fleet

import (
	"fmt"
	"math"
	"time"
)

// CheckState is how something that a region needs was found.
type CheckState string

// The states of a check.
const (
	CheckOK      CheckState = "ok"
	CheckMissing CheckState = "missing"
	// CheckUnknown: it could not be found out, which is no fault by itself.
	CheckUnknown CheckState = "unknown"
)

// Check is one thing that a region needs, and how it was found.
type Check struct {
	What  string     `json:"what"` // as in "image ami-1"
	State CheckState `json:"state"`
	// Found says in words what was found.
	Found string `json:"found"`
	// Remedy is what a person can do, if it is missing.
	Remedy string `json:"remedy,omitempty"`
}

// ExamineRequest asks what a region lacks for its work.
type ExamineRequest struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
}

// ExamineReply is all that was looked at.
type ExamineReply struct {
	Checks []Check `json:"checks"`
}

// Resource is a host, a disk or a copy of one that carries our tags, as a sweep sees it.
type Resource struct {
	Kind ResourceKind `json:"kind"`
	ID   string       `json:"id"`
	Zone string       `json:"zone"`
	What string       `json:"what"` // its type or category, and size
	// Of is the disk that a copy is of, Size the disk's own, and Written what had been
	// written of it, where that is known.
	Of      string    `json:"of,omitempty"`
	Size    Bytes     `json:"size,omitempty"`
	Written Bytes     `json:"written,omitempty"`
	State   string    `json:"state"`
	Cluster string    `json:"cluster"`
	UID     string    `json:"uid"`
	Member  string    `json:"member"`
	Created time.Time `json:"created"`
	// Monthly is about what it costs in a month; nil if that is not known.
	Monthly *Cost `json:"monthly,omitempty"`
}

// Cost is an amount of money at list prices, to compare by; no bill follows from it.
type Cost struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"` // ISO 4217, as USD or CNY
	// AtMost says that it may be less: what is paid for is no more than was counted.
	AtMost bool `json:"atMost,omitempty"`
}

// String gives it as "30.50 USD" or "at most 0.10 USD".
func (c Cost) String() string {
	if c.AtMost { // rounded up, but for what is noise of the arithmetic
		return fmt.Sprintf("at most %.2f %s", math.Ceil(c.Amount*100-1e-9)/100, c.Currency)
	}
	return fmt.Sprintf("%.2f %s", c.Amount, c.Currency)
}

// ResourceKind is what a resource is.
type ResourceKind string

// The kinds of resources.
const (
	HostResource ResourceKind = "host"
	DiskResource ResourceKind = "disk"
	// DiskSnapshotResource is a copy of a disk.
	DiskSnapshotResource ResourceKind = "snapshot"
)

// InventoryRequest asks for everything in a region that carries our tags, or for some of it.
type InventoryRequest struct {
	Provider string `json:"provider"`
	Region   string `json:"region"`
	// Cluster and UID narrow it to one cluster, and Kinds to some kinds. Workers of before
	// these give everything.
	Cluster string         `json:"cluster,omitempty"`
	UID     string         `json:"uid,omitempty"`
	Kinds   []ResourceKind `json:"kinds,omitempty"`
	// Elsewhere are other places that the region's workers are to look at, too.
	Elsewhere []Place `json:"elsewhere,omitempty"`
}

// InventoryReply is everything in a region that carries our tags, the oldest first.
type InventoryReply struct {
	Resources []Resource `json:"resources"`
	// Notes say why it is not known what some of them cost, and what could not be listed.
	Notes []string `json:"notes,omitempty"`
}

// RemoveRequest asks for resources to be ended for good. Each is looked at again first:
// one that carries other tags by now is left alone.
type RemoveRequest struct {
	Provider  string     `json:"provider"`
	Region    string     `json:"region"`
	Resources []Resource `json:"resources"`
}

// RemoveReply says what was ended, by ID, and why others were not.
type RemoveReply struct {
	Removed []string `json:"removed"`
	Left    []string `json:"left,omitempty"` // a sentence each
}
