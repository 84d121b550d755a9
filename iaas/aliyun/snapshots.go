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

// SnapshotDisk creates a snapshot of a disk. Its answer is as LaunchHost's. ECS takes one of
// a disk at a time, and none of one that was never attached (CreateSnapshot).
func (p *Provider) SnapshotDisk(ctx context.Context, req iaas.SnapshotDiskRequest) (fleet.DiskSnapshot, error) {
	resource := "snapshot of disk " + req.DiskID
	in, err := snapshot(resource, req)
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	out, err := call(ctx, p, resource, (*ecs.Client).CreateSnapshot, in)
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	var s fleet.DiskSnapshot
	seen, err := p.await(ctx, func(ctx context.Context) (err error) { s, err = p.DiskSnapshot(ctx, out.SnapshotId); return err })
	if err != nil || seen {
		return s, translate(resource, err)
	}
	s = fleet.DiskSnapshot{
		ID: out.SnapshotId, Name: req.Name, DiskID: req.DiskID, State: fleet.DiskSnapshotDeleted, Tags: map[string]string{fleet.TagToken: req.Token},
	}
	for key, value := range req.Tags {
		s.Tags[key] = value
	}
	return s, nil
}

func snapshot(resource string, req iaas.SnapshotDiskRequest) (*ecs.CreateSnapshotRequest, error) {
	if err := cloud.CheckToken(resource, req.Token); err != nil {
		return nil, err
	}
	tags, err := bought(resource, req.Name, req.Token, req.Tags)
	if err != nil {
		return nil, err
	}
	in := ecs.CreateCreateSnapshotRequest()
	in.ClientToken, in.DiskId, in.SnapshotName = req.Token, req.DiskID, shown(req.Name)
	in.Tag = &[]ecs.CreateSnapshotTag{}
	for _, t := range tags {
		*in.Tag = append(*in.Tag, ecs.CreateSnapshotTag{Key: t.key, Value: t.value})
	}
	return in, nil
}

// DiskSnapshot gives one disk snapshot.
func (p *Provider) DiskSnapshot(ctx context.Context, id string) (fleet.DiskSnapshot, error) {
	resource := cloud.Label("disk snapshot", "", id)
	if id == "" {
		return fleet.DiskSnapshot{}, fleet.Errorf(fleet.NotFound, resource, "a disk snapshot without an ID does not exist")
	}
	in := ecs.CreateDescribeSnapshotsRequest()
	in.SnapshotIds = idList(id)
	out, err := call(ctx, p, resource, (*ecs.Client).DescribeSnapshots, in)
	if err != nil {
		return fleet.DiskSnapshot{}, err
	}
	for _, s := range out.Snapshots.Snapshot {
		if s.SnapshotId == id {
			return snapshotOf(s), nil
		}
	}
	return fleet.DiskSnapshot{}, fleet.Errorf(fleet.NotFound, resource, "there is none")
}

// ListDiskSnapshots gives the disk snapshots with these tags, page by page.
func (p *Provider) ListDiskSnapshots(ctx context.Context, tags iaas.Tags) ([]fleet.DiskSnapshot, error) {
	snapshots := []fleet.DiskSnapshot{}
	for next := ""; ; {
		in := ecs.CreateDescribeSnapshotsRequest()
		in.MaxResults, in.NextToken = requests.NewInteger(pageSize), next
		in.Tag = &[]ecs.DescribeSnapshotsTag{}
		for _, t := range filters(tags) {
			*in.Tag = append(*in.Tag, ecs.DescribeSnapshotsTag{Key: t.key, Value: t.value})
		}
		out, err := call(ctx, p, "list of disk snapshots", (*ecs.Client).DescribeSnapshots, in)
		if err != nil {
			return nil, err
		}
		for _, found := range out.Snapshots.Snapshot {
			if s := snapshotOf(found); ours(s.Tags, tags) {
				snapshots = append(snapshots, s)
			}
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	slices.SortStableFunc(snapshots, func(a, b fleet.DiskSnapshot) int { return a.Created.Compare(b.Created) })
	return snapshots, nil
}

// DeleteDiskSnapshot deletes a snapshot, by force: else ECS keeps one that a disk was made
// from, since that disk could not be initialized from it again (DeleteSnapshot).
func (p *Provider) DeleteDiskSnapshot(ctx context.Context, id string) error {
	in := ecs.CreateDeleteSnapshotRequest()
	in.SnapshotId, in.Force = id, requests.NewBoolean(true)
	_, err := call(ctx, p, cloud.Label("disk snapshot", "", id), (*ecs.Client).DeleteSnapshot, in)
	if fleet.Is(err, fleet.NotFound) {
		return nil
	}
	return err
}

// snapshotStates are those of a snapshot (DescribeSnapshots: Status).
var snapshotStates = map[string]fleet.DiskSnapshotState{
	"progressing":  fleet.DiskSnapshotPending,
	"accomplished": fleet.DiskSnapshotCompleted,
	"failed":       fleet.DiskSnapshotFailed,
}

// snapshotOf gives a snapshot in our words.
func snapshotOf(s ecs.Snapshot) fleet.DiskSnapshot {
	seen := fleet.DiskSnapshot{ID: s.SnapshotId, DiskID: s.SourceDiskId, Created: parseTime(s.CreationTime), State: fleet.DiskSnapshotUnknown}
	seen.Tags, seen.Name = unlisted(s.Tags.Tag, s.SnapshotName)
	if size, err := strconv.Atoi(s.SourceDiskSize); err == nil {
		seen.Size = fleet.Bytes(size) * fleet.GiB
	}
	seen.Percent, _ = strconv.Atoi(strings.TrimSuffix(s.Progress, "%"))
	if state, ok := snapshotStates[s.Status]; ok {
		seen.State = state
	}
	return seen
}
