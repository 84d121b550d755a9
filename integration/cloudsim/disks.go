package cloudsim

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Disk is a data disk as it is, or as it is seen.
type Disk struct {
	ID         string
	Name       string
	Zone       string
	Size       fleet.Bytes
	Category   string
	Level      string // performance level
	IOPS       int
	Throughput int // MiB/s
	Encrypted  bool
	Key        string
	State      fleet.DiskState
	InstanceID string
	Device     string // name at its instance
	Attached   time.Time
	Snapshot   string // that it was made from
	Token      string
	Tags       map[string]string
	Created    time.Time
	Attributes map[string]string
	// Modification is the last one; its zero State is none.
	Modification Modification

	Sequence int64 // order in which things were bought
}

// Modification is a change of a disk's size or performance.
type Modification struct {
	State   ModificationState
	From    Shape
	To      Shape
	Started time.Time
	Ended   time.Time
}

// Shape is what a modification may change.
type Shape struct {
	Size       fleet.Bytes
	Category   string
	Level      string
	IOPS       int
	Throughput int
}

// ModificationState is where a modification is.
type ModificationState string

// The states of a modification. From Optimizing on the disk has its new size.
const (
	ModificationModifying  ModificationState = "modifying"
	ModificationOptimizing ModificationState = "optimizing"
	ModificationCompleted  ModificationState = "completed"
)

type disk struct {
	seen[Disk]
	seed     string
	change   int // counts what it was told
	modified []time.Time
	copied   time.Time // when its last snapshot was taken
	busy     sync.Mutex
}

func (d Disk) shape() Shape { return Shape{d.Size, d.Category, d.Level, d.IOPS, d.Throughput} }

// CreateDiskRequest asks for a disk.
type CreateDiskRequest struct {
	Token       string
	Fingerprint string
	Name        string
	Zone        string
	Shape
	Snapshot   string // that it is to be made from
	Encrypted  bool
	Key        string
	Tags       map[string]string
	Attributes map[string]string
	DryRun     bool
}

// CreateDisk buys a disk, or gives the one that the token bought before as it is now.
func (w *World) CreateDisk(req CreateDiskRequest) (Disk, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, err := w.usedFor("disk", req.Token, req.Fingerprint)
	if err != nil {
		return Disk{}, err
	}
	if ids != nil {
		return w.disks[ids[0]].now, nil
	}
	if err := w.checkDisk(&req); err != nil {
		return Disk{}, err
	}
	if req.DryRun {
		return Disk{}, refuse(DryRun, req.Name, "it would be created")
	}
	id := w.buyDisk(req)
	w.remember("disk", req.Token, req.Fingerprint, []string{id})
	return w.disks[id].now, nil
}

// checkDisk refuses a request. w.mu is held.
func (w *World) checkDisk(req *CreateDiskRequest) error {
	zone, ok := w.cfg.Zone(req.Zone)
	if !ok {
		return refuse(NoZone, req.Zone, "there is no such zone")
	}
	req.Zone = zone.Name
	if err := w.checkShape(&req.Shape); err != nil {
		return err
	}
	if c, _ := w.cfg.Category(req.Category); !c.SoldIn(req.Zone) {
		return refuse(NoCategory, req.Category, "zone %s does not sell it", req.Zone)
	}
	if err := w.checkSource(req); err != nil {
		return err
	}
	if req.Key != "" && !slices.Contains(w.cfg.EncryptionKeys, req.Key) {
		return refuse(NoKey, req.Key, "there is no such key")
	}
	alive, storage := 0, fleet.Bytes(0)
	for _, d := range w.disks {
		if d.now.State != fleet.DiskDeleted {
			alive, storage = alive+1, storage+d.now.Size
		}
	}
	if limit := w.cfg.Limits.Disks; limit > 0 && alive >= limit {
		return refuse(OverQuota, req.Category, "the region's quota is %d disks", limit)
	}
	if limit := w.cfg.Limits.Storage; limit > 0 && storage+req.Size > limit {
		return refuse(OverQuota, req.Category, "the region's quota is %s", limit)
	}
	if w.zoneDown(req.Zone) {
		return refuse(ZoneDown, req.Zone, "zone %s does not answer", req.Zone)
	}
	return nil
}

// checkShape refuses what a category does not offer, and fills in its defaults.
func (w *World) checkShape(s *Shape) error {
	c, ok := w.cfg.Category(s.Category)
	if !ok {
		return refuse(NoCategory, s.Category, "there is no such category")
	}
	if s.Size < c.Min || s.Size <= 0 || c.Max > 0 && s.Size > c.Max {
		return refuse(BadSize, s.Category, "%s is not from %s to %s", s.Size, c.Min, c.Max)
	}
	if s.Level == "" {
		s.Level = c.DefaultLevel
	}
	if least, ok := c.Levels[s.Level]; s.Level != "" && (!ok || s.Size < least) {
		return refuse(BadShape, s.Category, "there is no level %q for a disk of %s", s.Level, s.Size)
	}
	if !c.IOPS.take(&s.IOPS) || c.IOPSPerGiB > 0 && s.IOPS > max(c.IOPS.Default, c.IOPSPerGiB*int(s.Size/fleet.GiB)) {
		return refuse(BadShape, s.Category, "%d IOPS for %s are not from %d to %d, at most %d for each GiB",
			s.IOPS, s.Size, c.IOPS.Min, c.IOPS.Max, c.IOPSPerGiB)
	}
	if !c.Throughput.take(&s.Throughput) || s.Throughput > 0 && s.IOPS > 0 && 4*s.Throughput > s.IOPS {
		return refuse(BadShape, s.Category, "a throughput of %d is not from %d to %d, at most a quarter of the IOPS",
			s.Throughput, c.Throughput.Min, c.Throughput.Max)
	}
	return nil
}

// take fills in the default, and says whether the value is within the range.
func (r Range) take(value *int) bool {
	if *value == 0 {
		*value = r.Default
		return true
	}
	return *value >= r.Min && *value <= r.Max
}

func (w *World) buyDisk(req CreateDiskRequest) string {
	w.sequence++
	seed := w.randomHex()
	id := w.cfg.Names.Disk + seed
	if w.machine != nil {
		id = w.machine.DiskID(seed)
	}
	d := &disk{seed: seed}
	d.set(Disk{
		ID: id, Name: req.Name, Zone: req.Zone, Size: req.Size, Category: req.Category, Level: req.Level, IOPS: req.IOPS,
		Throughput: req.Throughput, Encrypted: req.Encrypted, Key: req.Key, State: fleet.DiskCreating, Snapshot: req.Snapshot, Token: req.Token,
		Tags: maps.Clone(req.Tags), Created: time.Now().UTC(), Attributes: maps.Clone(req.Attributes), Sequence: w.sequence,
	}, w.lag())
	w.disks[id] = d
	w.work(d, w.cfg.Delays.Create, func(ctx context.Context) (bool, error) {
		if w.machine == nil {
			return true, nil
		}
		_, err := w.machine.CreateDisk(ctx, iaas.CreateDiskRequest{
			Token: seed, Name: req.Name, Zone: req.Zone, Size: req.Size, Category: req.Category, SnapshotID: req.Snapshot,
		})
		return err == nil, err
	}, func(v *Disk) { v.State = fleet.DiskAvailable })
	return id
}

// work is live for disks. While their zone is out, they stay as they are.
func (w *World) work(d *disk, after time.Duration, do func(ctx context.Context) (bool, error), arrive func(*Disk)) {
	d.change++
	mine, id := d.change, d.now.ID
	w.drive(after, func(ctx context.Context) bool {
		d.busy.Lock()
		defer d.busy.Unlock()
		w.mu.Lock()
		overtaken, stuck := d.change != mine, w.zoneDown(d.now.Zone)
		w.mu.Unlock()
		if overtaken || stuck {
			return overtaken
		}
		if done, err := do(ctx); err != nil || !done {
			if err != nil && ctx.Err() == nil {
				w.log.Warn("a change of a disk did not get further", zap.String("disk", id), zap.Error(err))
			}
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if d.change == mine {
			w.updateDisk(d, arrive)
		}
		return true
	})
}

func (w *World) updateDisk(d *disk, change func(*Disk)) {
	now := d.now
	now.Tags = maps.Clone(now.Tags)
	change(&now)
	d.set(now, w.lag())
}

// toldDisk is told for disks. w.mu is held.
func (w *World) toldDisk(id string) (*disk, error) {
	d, ok := w.disks[id]
	if ok {
		if _, ok = d.visible(time.Now()); ok && d.now.State != fleet.DiskDeleted {
			return d, nil
		}
	}
	return nil, &Refusal{Code: NoDisk, Resource: id, Message: "there is none", Missing: []string{id}}
}

// Disks gives the disks as they are seen, oldest first; IDs and match as of Instances.
func (w *World) Disks(ids []string, match func(Disk) bool) ([]Disk, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Disk
	found := map[string]bool{}
	for id, d := range w.disks {
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		view, ok := d.visible(time.Now())
		if !ok || view.State == fleet.DiskDeleted {
			continue
		}
		found[id] = true
		if match == nil || match(view) {
			all = append(all, view)
		}
	}
	if missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return found[id] }); len(missing) > 0 {
		return nil, &Refusal{Code: NoDisk, Resource: strings.Join(missing, ", "), Message: "not all exist", Missing: missing}
	}
	slices.SortFunc(all, func(a, b Disk) int { return int(a.Sequence - b.Sequence) })
	return all, nil
}

// TagDisk adds and removes tags.
func (w *World) TagDisk(id string, add map[string]string, remove []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	d, err := w.toldDisk(id)
	if err != nil {
		return err
	}
	w.updateDisk(d, func(v *Disk) { v.Tags = retagged(v.Tags, add, remove) })
	return nil
}
