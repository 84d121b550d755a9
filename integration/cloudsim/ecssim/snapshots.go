package ecssim

import (
	"net/http"
	"strconv"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// snapshotStatus gives a snapshot's status and progress (DescribeSnapshots).
func snapshotStatus(s fleet.DiskSnapshotState) (status, progress string) {
	switch s {
	case fleet.DiskSnapshotCompleted:
		return "accomplished", "100%"
	case fleet.DiskSnapshotFailed:
		return "failed", "0%"
	}
	return "progressing", "40%"
}

func (f *Face) snapshot(s cloudsim.Snapshot) map[string]any {
	status, progress := snapshotStatus(s.State)
	return map[string]any{
		"SnapshotId": s.ID, "SnapshotName": s.Name, "SourceDiskId": s.DiskID, "SourceDiskSize": strconv.Itoa(int(s.Size / fleet.GiB)),
		"SourceDiskType": "data", "SnapshotType": "user", "Status": status, "Progress": progress, "Encrypted": s.Encrypted, "KMSKeyId": s.Key,
		"RegionId": f.world.Region(), "Available": status == "accomplished", "CreationTime": timeOf(s.Created), "Tags": tagsOf(s.Tags),
	}
}

func (f *Face) createSnapshot(q *query) (map[string]any, error) {
	disk, err := q.required("DiskId")
	if err != nil {
		return nil, err
	}
	tags, err := q.tags()
	if err != nil {
		return nil, err
	}
	req := cloudsim.CreateSnapshotRequest{
		Token: q.Text("ClientToken"), Fingerprint: q.fingerprint(), Name: q.Text("SnapshotName"), DiskID: disk, Tags: tags,
	}
	if req.Name != "" && !nameable.MatchString(req.Name) {
		return nil, faultf(http.StatusBadRequest, "InvalidSnapshotName.Malformed", "The specified SnapshotName is wrongly formed.")
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	disks, _ := f.world.Disks(nil, func(d cloudsim.Disk) bool { return d.ID == disk }) // without IDs nothing is missing
	if len(disks) == 1 && disks[0].Attached.IsZero() {
		return nil, faultf(http.StatusForbidden, "IncorrectDiskStatus.NeverAttached", "The specified disk has never been attached to any instance.")
	}
	if len(disks) == 1 && f.between(disks[0].InstanceID) {
		return nil, &cloudsim.Refusal{Code: cloudsim.InstanceState, Resource: disks[0].InstanceID}
	}
	s, err := f.world.CreateSnapshot(req)
	return map[string]any{"SnapshotId": s.ID}, err
}

// between says that there is such an instance, which neither runs nor is stopped.
func (f *Face) between(instance string) bool {
	found, _ := f.world.Instances(nil, func(i cloudsim.Instance) bool {
		return i.ID == instance && i.State != fleet.HostRunning && i.State != fleet.HostStopped
	})
	return len(found) > 0
}

// describeSnapshots lists those that exist: an ID that does not is passed over.
func (f *Face) describeSnapshots(q *query) (map[string]any, error) {
	only, err := q.filter("SnapshotIds", "DiskId")
	if err != nil {
		return nil, err
	}
	all, err := f.world.Snapshots(nil, func(s cloudsim.Snapshot) bool { return only.shows(s.ID, s.Tags, "", s.DiskID) })
	if err != nil {
		return nil, err
	}
	page, next, ok := cloudsim.Page(all, only.size, only.token, func(s cloudsim.Snapshot) int64 { return s.Sequence })
	if !ok {
		return nil, invalid("NextToken")
	}
	list := []any{}
	for _, s := range page {
		list = append(list, f.snapshot(s))
	}
	return map[string]any{"Snapshots": map[string]any{"Snapshot": list}, "NextToken": next, "TotalCount": len(all)}, nil
}

func (f *Face) deleteSnapshot(q *query) (map[string]any, error) {
	id, err := q.required("SnapshotId")
	if err != nil {
		return nil, err
	}
	force := q.Bool("Force")
	if err := q.rest(); err != nil {
		return nil, err
	}
	return map[string]any{}, f.world.DeleteSnapshot(id, force)
}
