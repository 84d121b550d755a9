package ec2sim

import (
	"encoding/xml"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

type snapshotXML struct {
	ID          string   `xml:"snapshotId"`
	Volume      string   `xml:"volumeId"`
	Status      string   `xml:"status"`
	Started     string   `xml:"startTime"`
	Progress    string   `xml:"progress"`
	Owner       string   `xml:"ownerId"`
	Size        int      `xml:"volumeSize"`
	Full        int64    `xml:"fullSnapshotSizeInBytes,omitempty"`
	Description string   `xml:"description"`
	Encrypted   bool     `xml:"encrypted"`
	Key         string   `xml:"kmsKeyId,omitempty"`
	Tier        string   `xml:"storageTier"`
	Tags        []tagXML `xml:"tagSet>item"`
}

// account is who owns all that there is.
const account = "111122223333"

// snapshotStatus is a snapshot's status and progress.
func snapshotStatus(s fleet.DiskSnapshotState) (status, progress string) {
	switch s {
	case fleet.DiskSnapshotCompleted:
		return "completed", "100%"
	case fleet.DiskSnapshotFailed:
		return "error", ""
	}
	return "pending", "40%"
}

func snapshotAs(s cloudsim.Snapshot) snapshotXML {
	x := snapshotXML{
		ID: s.ID, Volume: s.DiskID, Started: timeOf(s.Created), Owner: account, Size: int(s.Size / fleet.GiB), Description: s.Description,
		Encrypted: s.Encrypted, Key: s.Key, Tier: "standard", Tags: tagsOf(s.Tags),
	}
	x.Status, x.Progress = snapshotStatus(s.State)
	if s.State == fleet.DiskSnapshotCompleted {
		x.Full = int64(s.Written)
	}
	return x
}

type createSnapshotResponse struct {
	XMLName   xml.Name `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ CreateSnapshotResponse"`
	RequestID string   `xml:"requestId"`
	snapshotXML
}

// createSnapshot takes no client token, as CreateSnapshot: asked twice, it makes two.
func (f *Face) createSnapshot(q *query) (any, error) {
	disk, err := q.required("VolumeId")
	if err != nil {
		return nil, err
	}
	tags, err := q.specifiedTags("snapshot")
	if err != nil {
		return nil, err
	}
	req := cloudsim.CreateSnapshotRequest{Name: tags["Name"], Description: q.Text("Description"), DiskID: disk, Tags: tags}
	if err := q.rest(); err != nil {
		return nil, err
	}
	s, err := f.world.CreateSnapshot(req)
	x := createSnapshotResponse{RequestID: requestID(), snapshotXML: snapshotAs(s)}
	x.Progress = "" // as the reference's example has it
	return x, err
}

type describeSnapshotsResponse struct {
	XMLName   xml.Name      `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ DescribeSnapshotsResponse"`
	RequestID string        `xml:"requestId"`
	Snapshots []snapshotXML `xml:"snapshotSet>item"`
	Next      string        `xml:"nextToken,omitempty"`
}

func (f *Face) describeSnapshots(q *query) (any, error) {
	ids, owners := q.List("SnapshotId"), q.List("Owner")
	filters, err := q.filters()
	if err != nil {
		return nil, err
	}
	size, token, err := q.page(ids)
	if err != nil {
		return nil, err
	}
	if err := matchFilters(filters, []string{"status", "volume-id", "snapshot-id"}); err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(owners, func(owner string) bool { return owner != "self" && owner != account }) {
		return nil, faultf("InvalidUserID.Malformed", "Invalid user id: there is one account here")
	}
	all, err := f.world.Snapshots(ids, func(s cloudsim.Snapshot) bool {
		status, _ := snapshotStatus(s.State)
		return matches(filters, map[string]string{"status": status, "volume-id": s.DiskID, "snapshot-id": s.ID}, s.Tags)
	})
	if err != nil {
		return nil, err
	}
	page, next, ok := cloudsim.Page(all, size, token, func(s cloudsim.Snapshot) int64 { return s.Sequence })
	if !ok {
		return nil, faultf("InvalidPaginationToken", "The pagination token is not valid")
	}
	x := describeSnapshotsResponse{RequestID: requestID(), Next: next}
	for _, s := range page {
		x.Snapshots = append(x.Snapshots, snapshotAs(s))
	}
	return x, nil
}

func (f *Face) deleteSnapshot(q *query) (any, error) {
	id, err := q.required("SnapshotId")
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	return done("DeleteSnapshot"), f.world.DeleteSnapshot(id, true) // volumes that were made from it do not mind
}
