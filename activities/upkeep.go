package activities

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Upkeep is what people ask of a whole region.
type Upkeep struct{ Region }

// Inventory lists everything in the region that carries the tag of a cluster, or some of it.
func (u *Upkeep) Inventory(ctx context.Context, r fleet.InventoryRequest) (fleet.InventoryReply, error) {
	return reply(u.inventory(ctx, r))
}

func (u *Upkeep) inventory(ctx context.Context, r fleet.InventoryRequest) (fleet.InventoryReply, error) {
	all, err := inventoryOf(ctx, u.Provider, r)
	if err != nil {
		return fleet.InventoryReply{}, err
	}
	for _, place := range r.Elsewhere {
		var there fleet.InventoryReply
		region, err := u.span.Elsewhere(place)
		if err == nil {
			there, err = inventoryOf(ctx, region, r)
		}
		if err != nil {
			there.Notes = []string{"what is in " + place.String() + " could not be listed: " + err.Error()}
		}
		all.Resources, all.Notes = append(all.Resources, there.Resources...), append(all.Notes, there.Notes...)
	}
	slices.SortStableFunc(all.Resources, func(a, b fleet.Resource) int { return a.Created.Compare(b.Created) })
	return all, ctx.Err()
}

// inventoryOf lists what one place has.
func inventoryOf(ctx context.Context, region iaas.Provider, r fleet.InventoryRequest) (fleet.InventoryReply, error) {
	tags := iaas.Tags{fleet.TagCluster: r.Cluster}
	if r.UID != "" {
		tags[fleet.TagUID] = r.UID
	}
	wanted := func(kind fleet.ResourceKind) bool { return len(r.Kinds) == 0 || slices.Contains(r.Kinds, kind) }
	all, cost := []fleet.Resource{}, newCosts(region)
	add := func(resource fleet.Resource, tags map[string]string) {
		resource.Cluster, resource.UID, resource.Member = tags[fleet.TagCluster], tags[fleet.TagUID], tags[fleet.TagMember]
		all = append(all, resource)
	}
	if wanted(fleet.HostResource) {
		hosts, err := region.ListHosts(ctx, tags)
		if err != nil {
			return fleet.InventoryReply{}, err
		}
		for _, h := range hosts {
			add(fleet.Resource{
				Kind: fleet.HostResource, ID: h.ID, Zone: h.Zone, What: h.Type, State: string(h.State), Created: h.Launched, Monthly: cost.ofHost(ctx, h),
			}, h.Tags)
		}
	}
	if wanted(fleet.DiskResource) {
		disks, err := region.ListDisks(ctx, tags)
		if err != nil {
			return fleet.InventoryReply{}, err
		}
		for _, d := range disks {
			add(fleet.Resource{
				Kind: fleet.DiskResource, ID: d.ID, Zone: d.Zone, What: d.Size.Human() + " " + d.Category, Size: d.Size,
				State: string(d.State), Created: d.Created, Monthly: cost.ofDisk(ctx, d),
			}, d.Tags)
		}
	}
	if wanted(fleet.DiskSnapshotResource) {
		copies, err := region.ListDiskSnapshots(ctx, tags)
		if fleet.Is(err, fleet.Denied) { // rights of before there were any
			cost.notes, err = append(cost.notes, "copies of disks could not be listed: "+err.Error()), nil
		}
		if err != nil {
			return fleet.InventoryReply{}, err
		}
		for _, c := range copies {
			what := "of " + c.DiskID + ", " + c.Size.Human()
			if c.Written > 0 {
				what += ", " + c.Written.Human() + " written"
			}
			add(fleet.Resource{
				Kind: fleet.DiskSnapshotResource, ID: c.ID, What: what, Of: c.DiskID, Size: c.Size, Written: c.Written,
				State: string(c.State), Created: c.Created, Monthly: cost.ofDiskSnapshot(ctx, c),
			}, c.Tags)
		}
	}
	return fleet.InventoryReply{Resources: all, Notes: cost.notes}, ctx.Err()
}

// removedAbreast is how many resources are ended side by side.
const removedAbreast = 16

// RemoveResources ends hosts, waits until they are gone, and then ends disks, and copies of
// disks. Who asks
// has made sure that they belong to nothing; what carries other tags than were said is
// left alone, and so is a disk that a host has which is not among them.
func (u *Upkeep) RemoveResources(ctx context.Context, r fleet.RemoveRequest) (fleet.RemoveReply, error) {
	c := &Compute{u.Region}
	var answer fleet.RemoveReply
	for _, kind := range []fleet.ResourceKind{fleet.HostResource, fleet.DiskResource, fleet.DiskSnapshotResource} {
		results := make([]string, len(r.Resources)) // a sentence each; empty: removed
		var group errgroup.Group
		group.SetLimit(removedAbreast)
		for i, resource := range r.Resources {
			if resource.Kind != kind {
				continue
			}
			group.Go(func() error {
				if err := c.remove(ctx, resource); err != nil {
					results[i] = err.Error()
				}
				beat(ctx, -1, resource.ID)
				return ctx.Err()
			})
		}
		if err := group.Wait(); err != nil {
			return answer, decide(err)
		}
		for i, resource := range r.Resources {
			switch {
			case resource.Kind != kind:
			case results[i] == "":
				answer.Removed = append(answer.Removed, resource.ID)
			default:
				answer.Left = append(answer.Left, results[i])
			}
		}
	}
	return answer, nil
}

// remove ends one resource and waits until it is gone.
func (c *Compute) remove(ctx context.Context, r fleet.Resource) error {
	step := fleet.StepRequest{Step: fleet.Step{HostID: r.ID, DiskID: r.ID, SnapshotID: r.ID}}
	resource := fmt.Sprintf("%s %s", r.Kind, r.ID)
	same := func(tags map[string]string) error {
		if tags[fleet.TagCluster] != r.Cluster || tags[fleet.TagUID] != r.UID {
			return fleet.Errorf(fleet.Blocked, resource, "it carries other tags by now, and is left alone").WithRemedy("look again")
		}
		return nil
	}
	if r.Kind == fleet.HostResource {
		h, err := c.Provider.Host(ctx, r.ID)
		if fleet.Is(err, fleet.NotFound) {
			return nil
		}
		if err == nil {
			err = same(h.Tags)
		}
		if err == nil {
			_, err = c.ReleaseHost(ctx, step)
		}
		return err
	}
	if r.Kind == fleet.DiskSnapshotResource {
		s, err := c.Provider.DiskSnapshot(ctx, r.ID)
		if fleet.Is(err, fleet.NotFound) {
			return nil
		}
		if err == nil {
			err = same(s.Tags)
		}
		if err == nil {
			_, err = c.DeleteDiskSnapshot(ctx, step)
		}
		return err
	}
	d, err := c.Provider.Disk(ctx, r.ID)
	switch {
	case fleet.Is(err, fleet.NotFound):
		return nil
	case err != nil:
		return err
	}
	if err := same(d.Tags); err != nil {
		return err
	}
	if d.HostID != "" {
		ends, err := c.ends(ctx, d.HostID)
		if err != nil {
			return err
		}
		if !ends {
			return fleet.Errorf(fleet.Blocked, resource, "host %s has it, and goes on", d.HostID).WithRemedy("remove the host first, or detach the disk by hand")
		}
	}
	_, err = c.DeleteDisk(ctx, step)
	return err
}

// Examine says what the region lacks for its work: what its cloud was configured with,
// and the way of workers and hosts to the object store.
func (u *Upkeep) Examine(ctx context.Context, _ fleet.ExamineRequest) (fleet.ExamineReply, error) {
	var answer fleet.ExamineReply
	beating, stop := context.WithCancel(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { // the checks are short calls, each with its own end
		for beating.Err() == nil {
			beat(ctx, -1, "examining")
			select {
			case <-beating.Done():
			case <-time.After(beatEvery):
			}
		}
	})
	defer beats.Wait()
	defer stop()
	if examiner, ok := iaas.As[iaas.Examiner](u.Provider); ok {
		answer.Checks = examiner.Examine(ctx)
	} else {
		_, err := u.Provider.ListHosts(ctx, nil)
		answer.Checks = append(answer.Checks, checked("hosts of the region", "can be listed", err))
	}
	answer.Checks = append(answer.Checks, u.examineReleases(), u.examineStore(ctx, "object store, from workers", u.Store), u.examineWay(ctx))
	if u.Lock.Mode != "" {
		answer.Checks = append(answer.Checks, u.examineLock(ctx))
	}
	if u.Second != nil {
		answer.Checks = append(answer.Checks, u.examineStore(ctx, "second store, from workers", u.Second))
	}
	return reply(answer, ctx.Err())
}

// checked is a check that an error decides.
func checked(what, found string, err error) fleet.Check {
	if err == nil {
		return fleet.Check{What: what, State: fleet.CheckOK, Found: found}
	}
	c := fleet.Check{What: what, State: fleet.CheckMissing, Found: err.Error()}
	switch fleet.KindOf(err) {
	case fleet.Unavailable, fleet.Throttled, "":
		c.State = fleet.CheckUnknown
	}
	return c
}

func (u *Upkeep) examineReleases() fleet.Check {
	catalogue, err := u.catalogue()
	return checked("catalogue of releases", fmt.Sprintf("%d releases of etcd", len(catalogue.Releases)), err)
}

// examineLock says whether backups can be locked, by locking a probe for a second: rights
// and the bucket's configuration show by nothing else.
func (u *Upkeep) examineLock(ctx context.Context) fleet.Check {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	const what = "object lock of the object store"
	locker, ok := u.Store.(objectstore.Locker)
	if !ok {
		return checked(what, "", fleet.Errorf(fleet.Invalid, u.Store.String(), "it cannot lock objects").WithRemedy("leave --object-lock out"))
	}
	err := locker.CanLock(ctx)
	key := probeKey()
	if err == nil {
		err = u.Store.Put(ctx, key, strings.NewReader(key), int64(len(key)))
	}
	if err == nil {
		err = locker.Lock(ctx, key, objectstore.Lock{Mode: objectstore.Governance, Until: time.Now().Add(2 * time.Second)})
	}
	if err == nil {
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
		}
		err = u.Store.Delete(ctx, key)
	}
	return checked(what, u.Store.String()+" can lock objects", err)
}

// storePatience bounds the checks of a store: a few small requests.
const storePatience = 30 * time.Second

// probeKey is where the doctor writes: an object of each examination's own.
func probeKey() string { return "doctor/" + rand.Text() }

// examineStore writes an object, lists, reads and deletes it.
func (u *Upkeep) examineStore(ctx context.Context, what string, store objectstore.Store) fleet.Check {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	key := probeKey()
	err := store.Put(ctx, key, strings.NewReader(key), int64(len(key)))
	if err == nil {
		_, err = store.List(ctx, key)
	}
	if err == nil {
		var r io.ReadCloser
		if r, err = store.Get(ctx, key); err == nil {
			_, err = io.Copy(io.Discard, r)
			err = errors.Join(err, r.Close())
		}
	}
	if err == nil {
		err = store.Delete(ctx, key)
	}
	c := checked(what, store.String()+" can be written, listed, read and deleted in", err)
	if err != nil {
		c.State = fleet.CheckMissing // here it does not matter why: nothing works without it
	}
	return c
}

// examineWay has a host that runs fetch an object, as flotilla-node fetches releases.
func (u *Upkeep) examineWay(ctx context.Context) fleet.Check {
	const what = "object store, from hosts"
	unknown := func(why string) fleet.Check { return fleet.Check{What: what, State: fleet.CheckUnknown, Found: why} }
	linker, ok := u.Store.(interface {
		Link(ctx context.Context, key string, validFor time.Duration) (string, error)
	})
	if !ok {
		return unknown("not tried: " + u.Store.String() + " gives no links that hosts could follow")
	}
	hosts, err := u.Provider.ListHosts(ctx, iaas.Tags{fleet.TagCluster: ""})
	if err != nil {
		return checked(what, "", err)
	}
	i := slices.IndexFunc(hosts, func(h fleet.Host) bool { return h.State == fleet.HostRunning })
	if i < 0 {
		return unknown("not tried: no host runs that could")
	}
	key := probeKey()
	if err := u.Store.Put(ctx, key, strings.NewReader(key), int64(len(key))); err != nil {
		return checked(what, "", err)
	}
	defer func() { _ = u.Store.Delete(context.WithoutCancel(ctx), key) }()
	link, err := linker.Link(ctx, key, wayPatience)
	if err != nil {
		return checked(what, "", err)
	}
	got, err := u.fetchOn(ctx, hosts[i], link)
	c := checked(what, "host "+hosts[i].Name+" can fetch from "+u.Store.String(), err)
	if err == nil && got != key {
		c = fleet.Check{What: what, State: fleet.CheckMissing, Found: "host " + hosts[i].Name + " cannot fetch from " + u.Store.String() + ": " + got,
			Remedy: "give hosts a way to it: a gateway endpoint of the network, a NAT gateway, or a proxy"}
	}
	return c
}

// wayPatience bounds the fetch of a few bytes, the wait for the host's agent included.
const wayPatience = time.Minute

// fetchOn has a host fetch a link, and gives what it got or why it did not.
func (u *Upkeep) fetchOn(ctx context.Context, host fleet.Host, link string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wayPatience)
	defer cancel()
	script := "#!/bin/sh\ncurl --config - --silent --show-error --fail --max-time 20 2>&1 <<'EOF'\nurl = \"" + link + "\"\nEOF\n"
	command, err := u.Provider.RunCommand(ctx, iaas.CommandRequest{HostID: host.ID, Token: rand.Text(), Script: script, Timeout: wayPatience})
	if err != nil {
		return "", err
	}
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		latest, err := u.Provider.Command(ctx, host.ID, command.ID)
		if fleet.Is(err, fleet.NotFound) {
			return false, -1, "", nil
		}
		if err == nil {
			command = latest
		}
		return command.State != iaas.CommandRunning, -1, "", err
	})
	return strings.TrimSpace(command.Stdout), err
}
