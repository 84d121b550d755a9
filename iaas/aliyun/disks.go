package aliyun

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// An ESSD has a performance level, which is part of its category here: cloud_essd is
// PL1, the API's own default, and cloud_essd:PL2 is PL2.
const (
	essd         = "cloud_essd"
	defaultLevel = "PL1"
)

// parseCategory gives a category and its performance level, empty for other than ESSDs.
func parseCategory(text string) (category, level string, err error) {
	category, level, has := strings.Cut(text, ":")
	switch {
	case category == essd && !has:
		return essd, defaultLevel, nil
	case category == essd && slices.Contains([]string{"PL0", "PL2", "PL3"}, level):
		return essd, level, nil
	case has || !strings.HasPrefix(category, "cloud"):
		return "", "", fleet.Errorf(fleet.Invalid, "disk category "+text, "is none").
			WithRemedy("choose %s (which is PL1), %s:PL0, %s:PL2, %s:PL3 or another category of Alibaba Cloud", essd, essd, essd, essd)
	}
	return category, "", nil
}

// categoryOf is the other way.
func categoryOf(category, level string) string {
	if category != essd || level == "" || level == defaultLevel {
		return category
	}
	return category + ":" + level
}

// CreateDisk creates a disk, encrypted, of whole GiB. Its answer is as LaunchHost's.
func (p *Provider) CreateDisk(ctx context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	resource := "disk " + req.Name
	in, err := p.create(resource, req)
	if err != nil {
		return fleet.Disk{}, err
	}
	out, err := call(ctx, p, resource, (*ecs.Client).CreateDisk, in)
	if err != nil {
		return fleet.Disk{}, err
	}
	var d fleet.Disk
	seen, err := p.await(ctx, func(ctx context.Context) (err error) { d, err = p.Disk(ctx, out.DiskId); return err })
	if err != nil || seen {
		return d, translate(resource, err)
	}
	d = fleet.Disk{
		ID: out.DiskId, Name: req.Name, Zone: req.Zone, Size: req.Size, Category: req.Category, State: fleet.DiskDeleted,
		Tags: map[string]string{fleet.TagToken: req.Token},
	}
	for key, value := range req.Tags {
		d.Tags[key] = value
	}
	return d, nil
}

func (p *Provider) create(resource string, req iaas.CreateDiskRequest) (*ecs.CreateDiskRequest, error) {
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return nil, err
	}
	if req.Size <= 0 {
		return nil, fleet.Errorf(fleet.Invalid, resource, "a size of %s is no size", req.Size)
	}
	category, level, err := parseCategory(req.Category)
	if err != nil {
		return nil, err
	}
	tags, err := bought(resource, req.Name, req.Token, req.Tags)
	if err != nil {
		return nil, err
	}
	in := ecs.CreateCreateDiskRequest()
	in.ClientToken, in.DiskName, in.ZoneId = req.Token, shown(req.Name), req.Zone
	in.Size, in.DiskCategory, in.PerformanceLevel = requests.NewInteger(cloud.GiB(req.Size)), category, level
	in.SnapshotId = req.SnapshotID
	in.Encrypted, in.KMSKeyId = requests.NewBoolean(true), p.cfg.KMSKey
	in.Tag = &[]ecs.CreateDiskTag{}
	for _, t := range tags {
		*in.Tag = append(*in.Tag, ecs.CreateDiskTag{Key: t.key, Value: t.value})
	}
	return in, nil
}

// Disk gives one disk.
func (p *Provider) Disk(ctx context.Context, id string) (fleet.Disk, error) {
	resource := cloud.Label("disk", "", id)
	if id == "" {
		return fleet.Disk{}, fleet.Errorf(fleet.NotFound, resource, "a disk without an ID does not exist")
	}
	in := ecs.CreateDescribeDisksRequest()
	in.DiskIds = idList(id)
	out, err := call(ctx, p, resource, (*ecs.Client).DescribeDisks, in)
	if err != nil {
		return fleet.Disk{}, err
	}
	for _, d := range out.Disks.Disk {
		if d.DiskId == id {
			return p.diskOf(d), nil
		}
	}
	return fleet.Disk{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
}

// ListDisks gives the disks with these tags, page by page.
func (p *Provider) ListDisks(ctx context.Context, tags iaas.Tags) ([]fleet.Disk, error) {
	disks := []fleet.Disk{}
	for next := ""; ; {
		in := ecs.CreateDescribeDisksRequest()
		in.MaxResults, in.NextToken = requests.NewInteger(pageSize), next
		in.Tag = &[]ecs.DescribeDisksTag{}
		for _, t := range filters(tags) {
			*in.Tag = append(*in.Tag, ecs.DescribeDisksTag{Key: t.key, Value: t.value})
		}
		out, err := call(ctx, p, "list of disks", (*ecs.Client).DescribeDisks, in)
		if err != nil {
			return nil, err
		}
		for _, found := range out.Disks.Disk {
			if d := p.diskOf(found); ours(d.Tags, tags) {
				disks = append(disks, d)
			}
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	slices.SortStableFunc(disks, func(a, b fleet.Disk) int { return a.Created.Compare(b.Created) })
	return disks, nil
}

// AttachDisk attaches a disk. ECS chooses the device's name; on the host the disk is
// found by its serial number, its ID without "d-" (/dev/disk/by-id/virtio-…).
func (p *Provider) AttachDisk(ctx context.Context, diskID, hostID string) error {
	d, err := p.Disk(ctx, diskID)
	if err != nil {
		return err
	}
	resource := cloud.Label("disk", d.Name, diskID)
	if done, err := cloud.AttachedTo(d, hostID); done || err != nil {
		return err
	}
	h, err := p.Host(ctx, hostID)
	if err != nil {
		return err
	}
	if err := cloud.SameZone(d, h); err != nil {
		return err
	}
	in := ecs.CreateAttachDiskRequest()
	in.DiskId, in.InstanceId, in.DeleteWithInstance = diskID, hostID, requests.NewBoolean(false)
	_, err = call(ctx, p, resource, (*ecs.Client).AttachDisk, in)
	if !is(err, "InvalidDisk.InUse", "IncorrectDiskStatus", "DiskError", "DiskId.StatusNotSupported") {
		return err
	}
	// Somebody was faster, perhaps this very request: look until it can be seen who.
	done, looked := cloud.Await(ctx, p.cfg.Lag, func(ctx context.Context) (bool, error) {
		d, err := p.Disk(ctx, diskID)
		if err != nil {
			return false, err
		}
		return cloud.AttachedTo(d, hostID)
	})
	if looked != nil || done {
		return translate(resource, looked)
	}
	return err
}

// DetachDisk detaches a disk from the host that is seen to have it.
func (p *Provider) DetachDisk(ctx context.Context, diskID string) error {
	d, err := p.Disk(ctx, diskID)
	if err != nil || d.HostID == "" || d.State == fleet.DiskDetaching {
		return err
	}
	resource := cloud.Label("disk", d.Name, diskID)
	in := ecs.CreateDetachDiskRequest()
	in.DiskId, in.InstanceId = diskID, d.HostID
	_, err = call(ctx, p, resource, (*ecs.Client).DetachDisk, in)
	if !is(err, "DependencyViolation", "IncorrectDiskStatus", "DiskError") {
		return err
	}
	done, looked := cloud.Await(ctx, p.cfg.Lag, func(ctx context.Context) (bool, error) {
		d, err := p.Disk(ctx, diskID)
		return d.HostID == "" || d.State == fleet.DiskDetaching, err
	})
	if looked != nil || done {
		return translate(resource, looked)
	}
	return err
}

// GrowDisk resizes a disk: without a restart if its host runs (ResizeDisk: online), and
// else so that it has its new size when it is next used (offline).
func (p *Provider) GrowDisk(ctx context.Context, diskID string, size fleet.Bytes) error {
	d, err := p.Disk(ctx, diskID)
	if err != nil {
		return err
	}
	resource := cloud.Label("disk", d.Name, diskID)
	switch {
	case size < d.Size:
		return fleet.Errorf(fleet.Invalid, resource, "it has %s, and a disk cannot shrink to %s", d.Size, size)
	case size == d.Size:
		return nil
	}
	in := ecs.CreateResizeDiskRequest()
	in.DiskId, in.NewSize, in.Type = diskID, requests.NewInteger(cloud.GiB(size)), "offline"
	if d.HostID != "" {
		h, err := p.Host(ctx, d.HostID)
		if err != nil {
			return err
		}
		if h.State != fleet.HostStopped {
			in.Type = "online"
		}
	}
	// A disk only ever grows, so that there is one request for each size and way.
	in.ClientToken = digest("resize", diskID, strconv.Itoa(cloud.GiB(size)), in.Type)
	_, err = call(ctx, p, resource, (*ecs.Client).ResizeDisk, in)
	return err
}

// lowest is the performance level that no pay-as-you-go ESSD is brought down to
// (ModifyDiskSpec).
const lowest = "PL0"

// RetypeDisk gives an ESSD another performance level, once it has the size: each level
// has a least one (ModifyDiskSpec). What is answered to one that it has already, while looks
// lag behind, is not said there.
func (p *Provider) RetypeDisk(ctx context.Context, diskID, category string, size fleet.Bytes) error {
	d, err := p.Disk(ctx, diskID)
	if err != nil {
		return err
	}
	resource := cloud.Label("disk", d.Name, diskID)
	switch {
	case !d.Becomes(category):
		return fleet.Errorf(fleet.Invalid, resource, "it is %s, and does not become %s where it is", d.Category, category)
	case d.Size < size:
		return p.GrowDisk(ctx, diskID, size)
	case d.Category == category:
		return nil
	}
	_, level, err := parseCategory(category)
	if err != nil {
		return err
	}
	in := ecs.CreateModifyDiskSpecRequest()
	in.DiskId, in.PerformanceLevel = diskID, level
	_, err = call(ctx, p, resource, (*ecs.Client).ModifyDiskSpec, in)
	if !fleet.Is(err, fleet.Invalid) {
		return err
	}
	done, looked := cloud.Await(ctx, p.cfg.Lag, func(ctx context.Context) (bool, error) {
		d, err := p.Disk(ctx, diskID)
		return d.Category == category, err
	})
	if looked != nil || done {
		return translate(resource, looked)
	}
	return err
}

// TagDisk adds tags to a disk.
func (p *Provider) TagDisk(ctx context.Context, diskID string, tags iaas.Tags) error {
	if len(tags) == 0 {
		_, err := p.Disk(ctx, diskID)
		return err
	}
	return p.tag(ctx, cloud.Label("disk", "", diskID), "disk", diskID, tags)
}

// DeleteDisk releases a disk that is not attached. ECS ignores one that does not exist.
func (p *Provider) DeleteDisk(ctx context.Context, diskID string) error {
	in := ecs.CreateDeleteDiskRequest()
	in.DiskId = diskID
	_, err := call(ctx, p, cloud.Label("disk", "", diskID), (*ecs.Client).DeleteDisk, in)
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

// diskOf gives a disk in our words.
func (p *Provider) diskOf(d ecs.Disk) fleet.Disk {
	disk := fleet.Disk{
		ID: d.DiskId, Zone: d.ZoneId, Size: fleet.Bytes(d.Size) * fleet.GiB, Category: categoryOf(d.Category, d.PerformanceLevel),
		Created: parseTime(d.CreationTime), State: fleet.DiskUnknown, HostID: d.InstanceId,
	}
	disk.Tags, disk.Name = unlisted(d.Tags.Tag, d.DiskName)
	if state, ok := diskStates[d.Status]; ok {
		disk.State = state
	}
	if d.Category == essd {
		for _, category := range p.cfg.Categories {
			if family, level, err := parseCategory(category); err == nil && family == essd && level != lowest && category != disk.Category {
				disk.Retypes = append(disk.Retypes, category)
			}
		}
	}
	return disk
}

// diskStates are those of a disk ("Disk states").
var diskStates = map[string]fleet.DiskState{
	"Creating":  fleet.DiskCreating,
	"Available": fleet.DiskAvailable,
	"Attaching": fleet.DiskAttaching,
	"In_use":    fleet.DiskInUse,
	"Detaching": fleet.DiskDetaching,
	"Deleting":  fleet.DiskDeleting,
}
