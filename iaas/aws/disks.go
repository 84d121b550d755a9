package aws

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// CreateDisk creates a volume, encrypted, of whole GiB.
func (p *Provider) CreateDisk(ctx context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	resource := "disk " + req.Name
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return fleet.Disk{}, err
	}
	if req.Size <= 0 {
		return fleet.Disk{}, fleet.Errorf(fleet.Invalid, resource, "a size of %s is no size", req.Size)
	}
	in := &ec2.CreateVolumeInput{
		ClientToken: aws.String(req.Token), AvailabilityZone: aws.String(req.Zone), Size: gib(req.Size),
		VolumeType: types.VolumeType(req.Category), Encrypted: aws.Bool(true),
		TagSpecifications: bought(types.ResourceTypeVolume, req.Name, req.Token, req.Tags),
	}
	if req.SnapshotID != "" {
		in.SnapshotId = aws.String(req.SnapshotID)
	}
	if p.cfg.KMSKey != "" {
		in.KmsKeyId = aws.String(p.cfg.KMSKey)
	}
	if in.VolumeType == types.VolumeTypeGp3 {
		in.Iops, in.Throughput = positive(p.cfg.IOPS), positive(p.cfg.Throughput)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.CreateVolume(ctx, in)
	if err != nil {
		return fleet.Disk{}, translate(resource, err)
	}
	return p.disk(types.Volume{
		VolumeId: out.VolumeId, AvailabilityZone: out.AvailabilityZone, Size: out.Size, VolumeType: out.VolumeType, State: out.State,
		Tags: out.Tags, CreateTime: out.CreateTime, Attachments: out.Attachments,
	}), nil
}

// gib is a size in the unit that EBS sells.
func gib(size fleet.Bytes) *int32 { return aws.Int32(int32(cloud.GiB(size))) } //nolint:gosec // at most 64 Ti

func positive(n int) *int32 {
	if n <= 0 {
		return nil
	}
	return aws.Int32(int32(n)) //nolint:gosec // an IOPS figure
}

// Disk gives one disk.
func (p *Provider) Disk(ctx context.Context, id string) (fleet.Disk, error) {
	resource := cloud.Label("disk", "", id)
	if id == "" {
		return fleet.Disk{}, fleet.Errorf(fleet.NotFound, resource, "a disk without an ID does not exist")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{id}})
	if err != nil {
		return fleet.Disk{}, translate(resource, err)
	}
	for _, v := range out.Volumes {
		if aws.ToString(v.VolumeId) == id {
			return p.disk(v), nil
		}
	}
	return fleet.Disk{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
}

// ListDisks gives the disks with these tags, page by page.
func (p *Provider) ListDisks(ctx context.Context, tags iaas.Tags) ([]fleet.Disk, error) {
	disks := []fleet.Disk{}
	pages := ec2.NewDescribeVolumesPaginator(p.ec2, &ec2.DescribeVolumesInput{
		MaxResults: aws.Int32(pageSize), Filters: filtersFor(tags),
	})
	for pages.HasMorePages() {
		out, err := nextPage(ctx, pages.NextPage)
		if err != nil {
			return nil, translate("list of disks", err)
		}
		for _, v := range out.Volumes {
			if d := p.disk(v); cloud.Matches(d.Tags, tags) && d.State != fleet.DiskDeleted {
				disks = append(disks, d)
			}
		}
	}
	slices.SortStableFunc(disks, func(a, b fleet.Disk) int { return a.Created.Compare(b.Created) })
	return disks, nil
}

// AttachDisk attaches a volume under a device name that the instance has free. On Nitro
// the name means nothing on the host: the volume is found by its ID there
// (/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol…).
func (p *Provider) AttachDisk(ctx context.Context, diskID, hostID string) error {
	d, err := p.Disk(ctx, diskID)
	if err != nil {
		return err
	}
	resource := cloud.Label("disk", d.Name, diskID)
	if done, err := cloud.AttachedTo(d, hostID); done || err != nil {
		return err
	}
	i, err := p.instance(ctx, hostID)
	if err != nil {
		return err
	}
	h := p.host(i)
	if err := cloud.SameZone(d, h); err != nil {
		return err
	}
	if h.State == fleet.HostTerminated {
		return fleet.Errorf(fleet.NotFound, cloud.Label("host", h.Name, hostID), "it was terminated")
	}
	device, ok := freeDevice(i)
	if !ok {
		return fleet.Errorf(fleet.Denied, cloud.Label("host", "", hostID), "it has all the disks that an instance takes").
			WithRemedy("detach one that is not needed, or use another host")
	}
	call, cancel := bounded(ctx)
	defer cancel()
	_, err = p.ec2.AttachVolume(call, &ec2.AttachVolumeInput{
		VolumeId: aws.String(diskID), InstanceId: aws.String(hostID), Device: aws.String(device),
	})
	switch {
	case is(err, "VolumeInUse"): // somebody was faster, perhaps this very request
		return p.awaitAttachment(ctx, diskID, hostID)
	case is(err, "InvalidParameterValue") && strings.Contains(err.Error(), "already in use"):
		return fleet.Errorf(fleet.Conflict, resource, "%s at %s was just taken by another disk", device, hostID)
	}
	return translate(resource, err)
}

// seenWithin is how long a look may lag behind a change that another call met: seconds
// as a rule ("Eventual consistency in the Amazon EC2 API").
const seenWithin = 10 * time.Second

// awaitAttachment looks until it can be seen who has a disk that is said to be in use.
func (p *Provider) awaitAttachment(ctx context.Context, diskID, hostID string) error {
	resource := cloud.Label("disk", "", diskID)
	done, err := cloud.Await(ctx, seenWithin, func(ctx context.Context) (bool, error) {
		d, err := p.Disk(ctx, diskID)
		if err != nil {
			return false, err
		}
		return cloud.AttachedTo(d, hostID)
	})
	if err == nil && !done {
		return fleet.Errorf(fleet.Conflict, resource, "EC2 says that it is in use, and does not say by whom yet")
	}
	return translate(resource, err)
}

// freeDevice gives a device name that an instance has free. The names are those of
// "Device names for volumes on Amazon EC2 instances", and more than attachments.
func freeDevice(i types.Instance) (string, bool) {
	taken := map[string]bool{}
	for _, m := range i.BlockDeviceMappings {
		taken[aws.ToString(m.DeviceName)] = true
	}
	for c := 'f'; c <= 'p'; c++ {
		if name := "/dev/sd" + string(c); !taken[name] {
			return name, true
		}
	}
	for c := 'a'; c <= 'z'; c++ {
		if name := "/dev/xvdb" + string(c); !taken[name] {
			return name, true
		}
	}
	return "", false
}

// DetachDisk detaches a volume, without force: the host's file system must let go of it.
func (p *Provider) DetachDisk(ctx context.Context, diskID string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := p.ec2.DetachVolume(ctx, &ec2.DetachVolumeInput{VolumeId: aws.String(diskID)})
	if is(err, "IncorrectState") || is(err, "InvalidAttachment.NotFound") {
		return nil // not attached, or on its way
	}
	return translate(cloud.Label("disk", "", diskID), err)
}

// GrowDisk modifies a volume's size, also in use. EBS takes one modification at a time
// and four within 24 hours ("Request Amazon EBS volume modifications").
func (p *Provider) GrowDisk(ctx context.Context, diskID string, size fleet.Bytes) error {
	d, err := p.Disk(ctx, diskID)
	if err != nil {
		return err
	}
	resource := cloud.Label("disk", d.Name, diskID)
	switch {
	case d.State == fleet.DiskDeleting || d.State == fleet.DiskDeleted:
		return fleet.Errorf(fleet.NotFound, resource, "it was deleted")
	case size < d.Size:
		return fleet.Errorf(fleet.Invalid, resource, "it has %s, and a disk cannot shrink to %s", d.Size, size)
	case size == d.Size:
		return nil
	}
	call, cancel := bounded(ctx)
	defer cancel()
	_, err = p.ec2.ModifyVolume(call, &ec2.ModifyVolumeInput{VolumeId: aws.String(diskID), Size: gib(size)})
	return p.refusedModification(ctx, resource, d, "", size, err)
}

// retypes gives the volume types that one becomes where it is ("Requirements for volume
// modifications"). Those that want a figure of IOPS are not among them: none is configured.
func (p *Provider) retypes(now types.VolumeType) []string {
	if now == types.VolumeTypeStandard {
		return nil
	}
	var others []string
	for _, category := range p.cfg.Categories {
		if t := types.VolumeType(category); t != now && (t == types.VolumeTypeGp3 || t == types.VolumeTypeGp2) {
			others = append(others, category)
		}
	}
	return others
}

// RetypeDisk modifies a volume's type and size in one, as EBS takes the next
// modification only after this one is completed, which may take hours.
func (p *Provider) RetypeDisk(ctx context.Context, diskID, category string, size fleet.Bytes) error {
	d, err := p.Disk(ctx, diskID)
	if err != nil {
		return err
	}
	resource := cloud.Label("disk", d.Name, diskID)
	switch {
	case d.State == fleet.DiskDeleting || d.State == fleet.DiskDeleted:
		return fleet.Errorf(fleet.NotFound, resource, "it was deleted")
	case d.Category == category:
		return p.GrowDisk(ctx, diskID, max(size, d.Size))
	case !d.Becomes(category):
		return fleet.Errorf(fleet.Invalid, resource, "it is %s, and does not become %s where it is", d.Category, category)
	}
	in := &ec2.ModifyVolumeInput{VolumeId: aws.String(diskID), VolumeType: types.VolumeType(category)}
	if size > d.Size {
		in.Size = gib(size)
	}
	if in.VolumeType == types.VolumeTypeGp3 {
		in.Iops, in.Throughput = positive(p.cfg.IOPS), positive(p.cfg.Throughput)
	}
	call, cancel := bounded(ctx)
	defer cancel()
	_, err = p.ec2.ModifyVolume(call, in)
	return p.refusedModification(ctx, resource, d, category, size, err)
}

// refusedModification tells a modification that was asked for before from another one
// that goes before it. It is about a category, if that is not empty, and a size.
func (p *Provider) refusedModification(ctx context.Context, resource string, d fleet.Disk, category string, size fleet.Bytes, err error) error {
	if !is(err, "IncorrectModificationState") {
		return translate(resource, err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, looked := p.ec2.DescribeVolumesModifications(ctx, &ec2.DescribeVolumesModificationsInput{VolumeIds: []string{d.ID}})
	if looked == nil && slices.ContainsFunc(out.VolumesModifications, func(m types.VolumeModification) bool {
		return m.ModificationState != types.VolumeModificationStateFailed && fleet.Bytes(aws.ToInt32(m.TargetSize))*fleet.GiB >= size &&
			(category == "" || m.TargetVolumeType == types.VolumeType(category))
	}) {
		return nil // asked for before
	}
	return fleet.Errorf(fleet.Conflict, resource, "its last modification is not completed; EBS takes the next one after that")
}

// TagDisk adds tags to a volume.
func (p *Provider) TagDisk(ctx context.Context, diskID string, tags iaas.Tags) error {
	if len(tags) == 0 {
		_, err := p.Disk(ctx, diskID)
		return err
	}
	return p.tag(ctx, cloud.Label("disk", "", diskID), diskID, tags)
}

// DeleteDisk deletes a volume that is not attached.
func (p *Provider) DeleteDisk(ctx context.Context, diskID string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := p.ec2.DeleteVolume(ctx, &ec2.DeleteVolumeInput{VolumeId: aws.String(diskID)})
	err = translate(cloud.Label("disk", "", diskID), err)
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

// disk gives a volume in our words.
func (p *Provider) disk(v types.Volume) fleet.Disk {
	d := fleet.Disk{
		ID: aws.ToString(v.VolumeId), Zone: aws.ToString(v.AvailabilityZone), Size: fleet.Bytes(aws.ToInt32(v.Size)) * fleet.GiB,
		Category: string(v.VolumeType), Created: aws.ToTime(v.CreateTime), State: fleet.DiskUnknown,
	}
	d.Tags, d.Name = unlisted(v.Tags)
	d.Retypes = p.retypes(v.VolumeType)
	switch v.State {
	case types.VolumeStateCreating:
		d.State = fleet.DiskCreating
	case types.VolumeStateAvailable:
		d.State = fleet.DiskAvailable
	case types.VolumeStateDeleting:
		d.State = fleet.DiskDeleting
	case types.VolumeStateDeleted:
		d.State = fleet.DiskDeleted
	}
	// A volume is in-use from the first moment of an attachment to its last.
	for _, a := range v.Attachments {
		switch a.State {
		case types.VolumeAttachmentStateAttaching:
			d.State = fleet.DiskAttaching
		case types.VolumeAttachmentStateAttached:
			d.State = fleet.DiskInUse
		case types.VolumeAttachmentStateDetaching, types.VolumeAttachmentStateBusy:
			d.State = fleet.DiskDetaching
		default:
			continue
		}
		d.HostID = aws.ToString(a.InstanceId)
	}
	return d
}
