package cloudsim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Instance is a VM as it is, or as it is seen.
type Instance struct {
	ID        string
	Name      string
	Zone      string
	Type      string
	Image     string
	Subnet    string
	Groups    []string
	Profile   string
	Placement string
	Address   string // empty until it has one
	State     fleet.HostState
	// Booted says that it has run before: the cloud only starts it again.
	Booted bool
	// Reason says who ended or stopped it: of the user, or of the cloud (Reclaim).
	Reason   string
	Token    string
	Tags     map[string]string
	Launched time.Time
	// Attributes are the face's own: what it is to show again.
	Attributes map[string]string
	UserData   []byte

	Sequence int64 // order in which things were bought
	ended    time.Time
}

// Why an instance is in its state.
const (
	ByUser  = "by user"
	ByCloud = "by the cloud"
)

type instance struct {
	seen[Instance]
	seed   string    // token of the host that it boots as
	change int       // counts what it was told; a change that was overtaken ends
	since  time.Time // when it last became running
	busy   sync.Mutex
}

// LaunchRequest asks for instances.
type LaunchRequest struct {
	Token string
	// Fingerprint is the request as the face got it: a token is good for one.
	Fingerprint string
	Count       int // 1 if zero
	Name        string
	Zone        string // may be left to the subnet
	Type        string
	Image       string
	Subnet      string // empty: of no subnet of the catalogue, if that has none
	Groups      []string
	Profile     string
	Placement   string
	UserData    []byte
	Tags        map[string]string
	Attributes  map[string]string
	// DryRun asks whether it would be done: DryRun refuses it if so.
	DryRun bool
}

// Launch buys instances, or gives those that the token bought before as they are now.
func (w *World) Launch(req LaunchRequest) ([]Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, err := w.usedFor("launch", req.Token, req.Fingerprint)
	if err != nil {
		return nil, err
	}
	if ids == nil {
		if err := w.checkLaunch(&req); err != nil {
			return nil, err
		}
		if req.DryRun {
			return nil, refuse(DryRun, req.Name, "it would be launched")
		}
		for range max(1, req.Count) {
			ids = append(ids, w.buyInstance(req))
		}
		w.remember("launch", req.Token, req.Fingerprint, ids)
	}
	var all []Instance
	for _, id := range ids {
		all = append(all, w.instances[id].now)
	}
	return all, nil
}

// checkLaunch refuses a request, in the order in which clouds look at one: what is
// wrong with it, then quota, then stock. w.mu is held.
func (w *World) checkLaunch(req *LaunchRequest) error {
	c := w.cfg.Catalogue
	if limit := w.cfg.Limits.UserData; limit > 0 && len(req.UserData) > limit {
		return refuse(UserDataLong, req.Name, "user data of %d bytes is longer than %d", len(req.UserData), limit)
	}
	kind, ok := c.Type(req.Type)
	if !ok {
		return refuse(NoType, req.Type, "there is no such type")
	}
	image, ok := c.Image(req.Image)
	if !ok && len(c.Images) > 0 {
		return refuse(NoImage, req.Image, "there is no such image")
	}
	if image.Architecture != kind.Architecture {
		return refuse(Mismatched, req.Image, "image of architecture %s does not boot on %s", image.Architecture, kind.Architecture)
	}
	subnet, ok := c.Subnet(req.Subnet)
	if !ok && (req.Subnet != "" || len(c.Subnets) > 0) {
		return refuse(NoSubnet, req.Subnet, "there is no such subnet")
	}
	if req.Zone == "" {
		req.Zone = subnet.Zone
	}
	zone, ok := c.Zone(req.Zone)
	if !ok {
		return refuse(NoZone, req.Zone, "there is no such zone")
	}
	req.Zone = zone.Name
	if subnet.ID != "" && subnet.Zone != req.Zone {
		return refuse(Mismatched, req.Subnet, "the subnet is in zone %s, not %s", subnet.Zone, req.Zone)
	}
	for _, id := range req.Groups {
		group, ok := c.Group(id)
		if !ok {
			return refuse(NoGroup, id, "there is no such security group")
		}
		if group.Network != subnet.Network {
			return refuse(Mismatched, id, "the security group and subnet %s are in different networks", subnet.ID)
		}
	}
	if req.Profile != "" && !slices.Contains(c.Profiles, req.Profile) {
		return refuse(NoProfile, req.Profile, "there is no such profile")
	}
	if !kind.SoldIn(req.Zone) {
		return refuse(NotSold, req.Type, "zone %s does not sell it", req.Zone)
	}
	return w.checkRoom(req)
}

func (w *World) checkRoom(req *LaunchRequest) error {
	count, alive, spread := max(1, req.Count), 0, 0
	for _, i := range w.instances {
		if i.now.State == fleet.HostTerminated || i.now.State == fleet.HostTerminating {
			continue
		}
		alive++
		if i.now.Placement == req.Placement && i.now.Zone == req.Zone {
			spread++
		}
	}
	if req.Placement != "" {
		placement, ok := w.cfg.Placement(req.Placement)
		if !ok {
			return refuse(NoPlacement, req.Placement, "there is no such placement group")
		}
		if placement.PerZone > 0 && spread+count > placement.PerZone {
			return refuse(PlacementFull, req.Placement, "it takes %d instances in a zone", placement.PerZone)
		}
	}
	if limit := w.cfg.Limits.Instances; limit > 0 && alive+count > limit {
		return refuse(OverQuota, req.Type, "the region's quota is %d instances", limit)
	}
	kind, _ := w.cfg.Type(req.Type)
	if limit := w.cfg.Limits.VCPUs; limit > 0 && w.vCPUs()+count*int(kind.VCPUs) > limit {
		return refuse(OverQuota, req.Type, "the region's quota is %d vCPUs", limit)
	}
	if w.zoneDown(req.Zone) {
		return refuse(NoStock, req.Zone, "zone %s does not launch now", req.Zone)
	}
	if w.strikes(NoStockLeft, Target{Zone: req.Zone, Type: req.Type}) != nil {
		return refuse(NoStock, req.Type, "zone %s has no more of it", req.Zone)
	}
	return nil
}

// vCPUs are those of instances that are not stopped. w.mu is held.
func (w *World) vCPUs() int {
	sum := 0
	for _, i := range w.instances {
		switch i.now.State {
		case fleet.HostPending, fleet.HostRunning, fleet.HostStopping:
			kind, _ := w.cfg.Type(i.now.Type)
			sum += int(kind.VCPUs)
		}
	}
	return sum
}

// VCPUs are those that count for the quota.
func (w *World) VCPUs() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.vCPUs()
}

// Sells says whether a launch of this type in this zone would find stock.
func (w *World) Sells(zone, kind string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.cfg.Type(kind)
	return ok && t.SoldIn(zone) && !w.zoneDown(zone) && !w.holds(NoStockLeft, Target{Zone: zone, Type: kind})
}

// buyInstance makes an instance of a request that was checked. w.mu is held.
func (w *World) buyInstance(req LaunchRequest) string {
	w.sequence++
	seed := w.randomHex()
	id := w.cfg.Names.Instance + seed
	if w.machine != nil {
		id = w.machine.HostID(seed) // the host that it boots as has the same ID
	}
	i := &instance{seed: seed}
	i.set(Instance{
		ID: id, Name: req.Name, Zone: req.Zone, Type: req.Type, Image: req.Image, Subnet: req.Subnet,
		Groups: slices.Clone(req.Groups), Profile: req.Profile, Placement: req.Placement, State: fleet.HostPending,
		Token: req.Token, Tags: maps.Clone(req.Tags), Launched: time.Now().UTC(), Attributes: maps.Clone(req.Attributes),
		UserData: slices.Clone(req.UserData), Sequence: w.sequence,
	}, w.lag())
	w.instances[id] = i
	w.boot(i)
	return id
}

// told finds an instance that is to change: one that is not seen yet is not there.
// w.mu is held.
func (w *World) told(id string) (*instance, error) {
	i, ok := w.instances[id]
	if ok {
		if _, ok = i.visible(time.Now()); ok && w.shown(i.now) {
			return i, nil
		}
	}
	return nil, &Refusal{Code: NoInstance, Resource: id, Message: "there is none", Missing: []string{id}}
}

// shown says whether an instance is still shown: terminated ones go after a while.
func (w *World) shown(i Instance) bool {
	return i.State != fleet.HostTerminated || time.Since(i.ended) < w.cfg.Delays.Gone
}

// update changes an instance as it is. w.mu is held.
func (w *World) update(i *instance, change func(*Instance)) {
	now := i.now
	now.Tags = maps.Clone(now.Tags)
	change(&now)
	if now.State != i.now.State {
		i.since = time.Now()
	}
	i.set(now, w.lag())
}

// Instances gives the instances as they are seen, oldest first. With IDs, one that is
// not seen is refused (NoInstance); match may leave out some.
func (w *World) Instances(ids []string, match func(Instance) bool) ([]Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Instance
	found := map[string]bool{}
	for id, i := range w.instances {
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		view, ok := i.visible(time.Now())
		if !ok || !w.shown(view) {
			continue
		}
		found[id] = true
		if match == nil || match(view) {
			all = append(all, view)
		}
	}
	if missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return found[id] }); len(missing) > 0 {
		return nil, &Refusal{Code: NoInstance, Resource: strings.Join(missing, ", "), Message: "not all exist", Missing: missing}
	}
	slices.SortFunc(all, func(a, b Instance) int { return int(a.Sequence - b.Sequence) })
	return all, nil
}

// TagInstance adds and removes tags.
func (w *World) TagInstance(id string, add map[string]string, remove []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, err := w.told(id)
	if err != nil {
		return err
	}
	w.update(i, func(v *Instance) { v.Tags = retagged(v.Tags, add, remove) })
	return nil
}

func retagged(tags, add map[string]string, remove []string) map[string]string {
	all := map[string]string{}
	maps.Copy(all, tags)
	maps.Copy(all, add)
	for _, key := range remove {
		delete(all, key)
	}
	return all
}

// Fingerprint makes a token's fingerprint of whatever parameters a face has.
func Fingerprint(parts ...string) string {
	h := fnv.New128a()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
