package cloudsim

import (
	"slices"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Catalogue is what a region has to offer.
type Catalogue struct {
	Zones      []Zone
	Types      []InstanceType
	Images     []Image
	Subnets    []Subnet
	Groups     []SecurityGroup
	Placements []Placement
	Categories []Category
	// Profiles are the instance profiles or roles that an instance may have.
	Profiles []string
	// EncryptionKeys are the keys that disks may be encrypted with.
	EncryptionKeys []string
	Prices         Prices
}

// Prices are list prices of an hour, where the cloud tells them: of instance types, and of a
// GiB of disks by category, or by category and level as in "cloud_essd:PL1".
type Prices struct {
	Currency   string
	Types, GiB map[string]float64
}

// Zone is one zone: Name is what requests name it by, ID another name of some clouds'.
type Zone struct{ Name, ID string }

// InstanceType is a machine type and where it is sold; in all zones if Zones is empty.
type InstanceType struct {
	fleet.MachineType
	Architecture string
	Zones        []string
}

// SoldIn says whether a zone sells the type at all.
func (t InstanceType) SoldIn(zone string) bool {
	return len(t.Zones) == 0 || slices.Contains(t.Zones, zone)
}

// Image is what an instance boots.
type Image struct{ ID, Name, Architecture string }

// Subnet is a network in one zone.
type Subnet struct{ ID, Zone, Network, CIDR string }

// SecurityGroup belongs to a network. Its rules are shown, and filter nothing.
type SecurityGroup struct {
	ID, Name, Network string
	Rules             []Rule
}

// Rule lets TCP on some ports in, or out, from or to addresses or a security group; Deny
// keeps it from there.
type Rule struct {
	Out, Deny   bool
	From, To    int
	CIDR, Group string
	Priority    int
}

// Placement spreads instances: at most PerZone of it run in one zone; 0: any number.
type Placement struct {
	ID, Name string
	PerZone  int
}

// Category is a kind of disk with its limits. A zero limit is none.
type Category struct {
	Name     string
	Zones    []string // that sell it; all if empty
	Min, Max fleet.Bytes
	// Levels are performance levels and the least size that each needs.
	Levels map[string]fleet.Bytes
	// DefaultLevel is the one that a request without a level gets.
	DefaultLevel string
	IOPS         Range // provisioned operations per second
	IOPSPerGiB   int   // at most
	Throughput   Range // provisioned MiB/s
}

// SoldIn says whether a zone sells the category.
func (c Category) SoldIn(zone string) bool {
	return len(c.Zones) == 0 || slices.Contains(c.Zones, zone)
}

// Range is from Min to Max; Default is what a request that leaves it open gets.
type Range struct{ Default, Min, Max int }

// Limits are what the cloud allows.
type Limits struct {
	UserData   int // bytes, before base64
	Script     int // bytes
	Stdout     int // bytes that are shown
	Stderr     int
	TokenChars int // of a client token
	// Instances, Disks, VCPUs of instances that are not stopped, and Storage of disks are
	// quotas of the region; 0: none.
	Instances, Disks, VCPUs int
	Storage                 fleet.Bytes
	// Snapshots is a quota of the region, and SnapshotsOfDisk one of each disk, of which
	// PendingOfDisk may be pending at a time; 0: none.
	Snapshots, SnapshotsOfDisk, PendingOfDisk int
	// SnapshotEvery is the least time between two snapshots of a disk.
	SnapshotEvery time.Duration
	// Modifications of a disk are at most so many Within a time; 0: any number.
	Modifications int
	Within        time.Duration
	// NoIdleChange refuses to make of a disk what it is already.
	NoIdleChange bool
}

// Catalogue gives what the region has to offer.
func (w *World) Catalogue() Catalogue { return w.cfg.Catalogue }

// Limits gives what the cloud allows.
func (w *World) Limits() Limits { return w.cfg.Limits }

func find[T any](all []T, is func(T) bool) (T, bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return all[i], true
	}
	var zero T
	return zero, false
}

// Zone gives a zone by name or ID.
func (c Catalogue) Zone(name string) (Zone, bool) {
	return find(c.Zones, func(z Zone) bool { return z.Name == name || z.ID == name && name != "" })
}

// Type gives an instance type.
func (c Catalogue) Type(name string) (InstanceType, bool) {
	return find(c.Types, func(t InstanceType) bool { return t.Name == name })
}

// Image gives an image.
func (c Catalogue) Image(id string) (Image, bool) {
	return find(c.Images, func(i Image) bool { return i.ID == id })
}

// Subnet gives a subnet.
func (c Catalogue) Subnet(id string) (Subnet, bool) {
	return find(c.Subnets, func(s Subnet) bool { return s.ID == id })
}

// Group gives a security group.
func (c Catalogue) Group(id string) (SecurityGroup, bool) {
	return find(c.Groups, func(g SecurityGroup) bool { return g.ID == id })
}

// Placement gives a placement group by name or ID.
func (c Catalogue) Placement(name string) (Placement, bool) {
	return find(c.Placements, func(p Placement) bool { return p.Name == name || p.ID == name && name != "" })
}

// Category gives a category of disks.
func (c Catalogue) Category(name string) (Category, bool) {
	return find(c.Categories, func(d Category) bool { return d.Name == name })
}
