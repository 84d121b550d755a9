package aws

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

// snapshotEvery is the least time between two snapshots of a volume ("Error codes for the
// Amazon EC2 API": SnapshotCreationPerVolumeRateExceeded).
const snapshotEvery = 15 * time.Second

// SnapshotDisk creates a snapshot of a volume. CreateSnapshot takes no client token, so that
// the tag of the token is looked for first, and the SDK does not ask again by itself. An
// answer that was lost is looked for as long as looks may lag; so is the snapshot of a worker
// that died before it had one, since EC2 takes no second one of a volume so soon. One that was
// taken with another token is not taken for this one: the disk may have changed since. Then
// the error asks to wait until EC2 takes the next one.
func (p *Provider) SnapshotDisk(ctx context.Context, req iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	resource := "snapshot of disk " + req.DiskID
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return fleet.DiskSnapshot{}, err
	}
	entry, unlock := p.copied.hold("", req.Token)
	defer unlock()
	found, err := p.snapshotBy(ctx, resource, req)
	if err == nil && found == nil && entry.asked {
		found, err = p.awaitSnapshot(ctx, resource, req)
	}
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	if found != nil {
		return *found, nil
	}
	call, cancel := bounded(ctx)
	defer cancel()
	entry.asked = true
	out, err := p.ec2.CreateSnapshot(call, &ec2.CreateSnapshotInput{
		VolumeId: aws.String(req.DiskID), Description: aws.String("Flotilla: " + req.Name),
		TagSpecifications: bought(types.ResourceTypeSnapshot, req.Name, req.Token, req.Tags),
	}, func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} })
	if is(err, "SnapshotCreationPerVolumeRateExceeded") {
		entry.asked = false
		return p.justTaken(ctx, resource, req, err)
	}
	if err != nil {
		err = translate(resource, err)
		entry.asked = fleet.Is(err, fleet.Unavailable) // any other answer says that it was not done
		return fleet.DiskSnapshot{}, err
	}
	return snapshotOf(types.Snapshot{
		SnapshotId: out.SnapshotId, VolumeId: out.VolumeId, VolumeSize: out.VolumeSize, State: out.State, Progress: out.Progress,
		StartTime: out.StartTime, Tags: out.Tags,
	}), nil
}

// justTaken gives the snapshot that EC2 refuses another one for, if its token is this one's.
func (p *Provider) justTaken(ctx context.Context, resource string, req iaas.SnapshotDiskRequest, refused error) (fleet.DiskSnapshot, error) {
	found, err := p.awaitSnapshot(ctx, resource, req)
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	if found != nil {
		return *found, nil
	}
	var e *fleet.Error
	if err = translate(resource, refused); errors.As(err, &e) {
		e.RetryAfter = snapshotEvery - seenWithin
	}
	return fleet.DiskSnapshot{}, err
}

// snapshotBy gives the snapshot that a token bought, the first if there are several; nil if
// none is seen. It is fleet.Invalid if the token was used for another request.
func (p *Provider) snapshotBy(ctx context.Context, resource string, req iaas.SnapshotDiskRequest) (*fleet.DiskSnapshot, error) {
	all, err := p.ListDiskSnapshots(ctx, iaas.Tags{fleet.TagToken: req.Token})
	if err != nil || len(all) == 0 {
		return nil, translate(resource, err)
	}
	found := all[0]
	if found.DiskID != req.DiskID || !cloud.Matches(found.Tags, req.Tags) {
		return nil, fleet.Errorf(fleet.Invalid, resource, "its token was used for %s of disk %s", found.ID, found.DiskID).
			WithRemedy("use a new token for each thing that is bought")
	}
	return &found, nil
}

// awaitSnapshot is snapshotBy for as long as looks may lag.
func (p *Provider) awaitSnapshot(ctx context.Context, resource string, req iaas.SnapshotDiskRequest) (found *fleet.DiskSnapshot, err error) {
	_, err = cloud.Await(ctx, seenWithin, func(ctx context.Context) (bool, error) {
		found, err = p.snapshotBy(ctx, resource, req)
		return found != nil, err
	})
	return found, translate(resource, err)
}

// DiskSnapshot gives one disk snapshot.
func (p *Provider) DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error) {
	resource := cloud.Label("disk snapshot", "", id)
	if id == "" {
		return fleet.DiskSnapshot{}, fleet.Errorf(fleet.NotFound, resource, "a disk snapshot without an ID does not exist")
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.DescribeSnapshots(ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: []string{id}})
	if err != nil {
		return fleet.DiskSnapshot{}, translate(resource, err)
	}
	for _, s := range out.Snapshots {
		if aws.ToString(s.SnapshotId) == id {
			return snapshotOf(s), nil
		}
	}
	return fleet.DiskSnapshot{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
}

// ListDiskSnapshots gives the disk snapshots with these tags, page by page: those of the
// account's own, as everybody's public ones are shown too.
func (p *Provider) ListDiskSnapshots(ctx context.Context, tags iaas.Tags) ([]fleet.DiskSnapshot, error) {
	snapshots := []fleet.DiskSnapshot{}
	pages := ec2.NewDescribeSnapshotsPaginator(p.ec2, &ec2.DescribeSnapshotsInput{
		OwnerIds: []string{"self"}, MaxResults: aws.Int32(pageSize), Filters: filtersFor(tags),
	})
	for pages.HasMorePages() {
		out, err := nextPage(ctx, pages.NextPage)
		if err != nil {
			return nil, translate("list of disk snapshots", err)
		}
		for _, s := range out.Snapshots {
			if seen := snapshotOf(s); cloud.Matches(seen.Tags, tags) {
				snapshots = append(snapshots, seen)
			}
		}
	}
	slices.SortStableFunc(snapshots, func(a, b fleet.DiskSnapshot) int { return a.Created.Compare(b.Created) })
	return snapshots, nil
}

// DeleteDiskSnapshot deletes a snapshot, also one that is being stored.
func (p *Provider) DeleteDiskSnapshot(ctx context.Context, id string) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	_, err := p.ec2.DeleteSnapshot(ctx, &ec2.DeleteSnapshotInput{SnapshotId: aws.String(id)})
	err = translate(cloud.Label("disk snapshot", "", id), err)
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

// snapshotOf gives a snapshot in our words. Those that are in the recycle bin are not
// listed, and so not recoverable or recovering here.
func snapshotOf(s types.Snapshot) fleet.DiskSnapshot {
	seen := fleet.DiskSnapshot{
		ID: aws.ToString(s.SnapshotId), DiskID: aws.ToString(s.VolumeId), Size: fleet.Bytes(aws.ToInt32(s.VolumeSize)) * fleet.GiB,
		State: fleet.DiskSnapshotUnknown, Created: aws.ToTime(s.StartTime), Reason: aws.ToString(s.StateMessage), Written: fleet.Bytes(aws.ToInt64(s.FullSnapshotSizeInBytes)),
	}
	seen.Tags, seen.Name = unlisted(s.Tags)
	seen.Percent, _ = strconv.Atoi(strings.TrimSuffix(aws.ToString(s.Progress), "%")) // empty at first
	switch s.State {
	case types.SnapshotStatePending:
		seen.State = fleet.DiskSnapshotPending
	case types.SnapshotStateCompleted:
		seen.State, seen.Percent = fleet.DiskSnapshotCompleted, 100
	case types.SnapshotStateError:
		seen.State = fleet.DiskSnapshotFailed
	}
	return seen
}
