package ec2sim

import (
	"encoding/xml"
	"strconv"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

type volumeXML struct {
	ID          string          `xml:"volumeId"`
	Size        int             `xml:"size"`
	Zone        string          `xml:"availabilityZone"`
	Status      string          `xml:"status"`
	Created     string          `xml:"createTime"`
	Type        string          `xml:"volumeType"`
	IOPS        int             `xml:"iops,omitempty"`
	Throughput  int             `xml:"throughput,omitempty"`
	Snapshot    string          `xml:"snapshotId"`
	Encrypted   bool            `xml:"encrypted"`
	Key         string          `xml:"kmsKeyId,omitempty"`
	Attachments []attachmentXML `xml:"attachmentSet>item"`
	Tags        []tagXML        `xml:"tagSet>item"`
}

type attachmentXML struct {
	Volume   string `xml:"volumeId"`
	Instance string `xml:"instanceId"`
	Device   string `xml:"device"`
	Status   string `xml:"status"`
	Attached string `xml:"attachTime"`
	Deletes  bool   `xml:"deleteOnTermination"`
}

// attachment is the state of an attachment, and volumeState that of a volume: EC2 has
// both, and a volume is in-use from the attachment's first moment to its last.
func attachment(s fleet.DiskState) string {
	switch s {
	case fleet.DiskAttaching:
		return "attaching"
	case fleet.DiskDetaching:
		return "detaching"
	case fleet.DiskInUse:
		return "attached"
	}
	return "detached"
}

func volumeState(s fleet.DiskState) string {
	switch s {
	case fleet.DiskAttaching, fleet.DiskDetaching, fleet.DiskInUse:
		return "in-use"
	}
	return string(s) // creating, available, deleting, deleted
}

func volume(d cloudsim.Disk) volumeXML {
	x := volumeXML{
		ID: d.ID, Size: int(d.Size / fleet.GiB), Zone: d.Zone, Status: volumeState(d.State), Created: timeOf(d.Created), Type: d.Category,
		IOPS: d.IOPS, Throughput: d.Throughput, Snapshot: d.Snapshot, Encrypted: d.Encrypted, Key: d.Key, Tags: tagsOf(d.Tags),
	}
	if d.InstanceID != "" {
		x.Attachments = []attachmentXML{attachmentOf(d)}
	}
	return x
}

func attachmentOf(d cloudsim.Disk) attachmentXML {
	return attachmentXML{Volume: d.ID, Instance: d.InstanceID, Device: d.Device, Status: attachment(d.State), Attached: timeOf(d.Attached)}
}

type createVolumeResponse struct {
	XMLName   xml.Name `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ CreateVolumeResponse"`
	RequestID string   `xml:"requestId"`
	volumeXML
}

func (f *Face) createVolume(q *query) (any, error) {
	fingerprint := q.fingerprint()
	zone, err := q.required("AvailabilityZone")
	if err != nil {
		return nil, err
	}
	shape, err := q.shape()
	if err != nil {
		return nil, err
	}
	if shape.Category == "" {
		shape.Category = "gp2" // the API's default
	}
	tags, err := q.specifiedTags("volume")
	if err != nil {
		return nil, err
	}
	req := cloudsim.CreateDiskRequest{
		Token: q.Text("ClientToken"), Fingerprint: fingerprint, Name: tags["Name"], Zone: zone, Shape: shape,
		Snapshot: q.Text("SnapshotId"), Encrypted: q.Bool("Encrypted"), Key: q.Text("KmsKeyId"), Tags: tags, DryRun: q.Bool("DryRun"),
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	if req.Key != "" && !req.Encrypted {
		return nil, faultf("InvalidParameterDependency", "The parameter KmsKeyId requires the parameter Encrypted to be set.")
	}
	d, err := f.world.CreateDisk(req)
	return createVolumeResponse{RequestID: requestID(), volumeXML: volume(d)}, err
}

// shape gives a volume's size and performance.
func (q *query) shape() (cloudsim.Shape, error) {
	size, err1 := q.number("Size")
	iops, err2 := q.number("Iops")
	throughput, err3 := q.number("Throughput")
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return cloudsim.Shape{}, err
		}
	}
	return cloudsim.Shape{Size: fleet.Bytes(size) * fleet.GiB, Category: q.Text("VolumeType"), IOPS: iops, Throughput: throughput}, nil
}

type describeVolumesResponse struct {
	XMLName   xml.Name    `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ DescribeVolumesResponse"`
	RequestID string      `xml:"requestId"`
	Volumes   []volumeXML `xml:"volumeSet>item"`
	Next      string      `xml:"nextToken,omitempty"`
}

func (f *Face) describeVolumes(q *query) (any, error) {
	disks, next, err := f.listVolumes(q, []string{"status", "availability-zone", "volume-id", "attachment.instance-id", "volume-type"}, nil)
	if err != nil {
		return nil, err
	}
	x := describeVolumesResponse{RequestID: requestID(), Next: next}
	for _, d := range disks {
		x.Volumes = append(x.Volumes, volume(d))
	}
	return x, nil
}

func (f *Face) listVolumes(q *query, known []string, which func(cloudsim.Disk) bool) ([]cloudsim.Disk, string, error) {
	ids := q.List("VolumeId")
	filters, err := q.filters()
	if err != nil {
		return nil, "", err
	}
	size, token, err := q.page(ids)
	if err != nil {
		return nil, "", err
	}
	if err := matchFilters(filters, known); err != nil {
		return nil, "", err
	}
	if err := q.rest(); err != nil {
		return nil, "", err
	}
	all, err := f.world.Disks(ids, func(d cloudsim.Disk) bool {
		return (which == nil || which(d)) && matches(filters, map[string]string{
			"status": volumeState(d.State), "availability-zone": d.Zone, "volume-id": d.ID, "attachment.instance-id": d.InstanceID,
			"volume-type":        d.Category,
			"modification-state": string(d.Modification.State),
		}, d.Tags)
	})
	if err != nil {
		return nil, "", err
	}
	page, next, ok := cloudsim.Page(all, size, token, func(d cloudsim.Disk) int64 { return d.Sequence })
	if !ok {
		return nil, "", faultf("InvalidPaginationToken", "The pagination token is not valid")
	}
	return page, next, nil
}

type attachmentResponse struct {
	XMLName   xml.Name
	RequestID string `xml:"requestId"`
	attachmentXML
}

func (f *Face) attachVolume(q *query) (any, error) {
	disk, err1 := q.required("VolumeId")
	instance, err2 := q.required("InstanceId")
	device, err3 := q.required("Device")
	for _, err := range []error{err1, err2, err3, q.rest()} {
		if err != nil {
			return nil, err
		}
	}
	d, err := f.world.Attach(disk, instance, device)
	return attachmentResponse{xml.Name{Space: namespace, Local: "AttachVolumeResponse"}, requestID(), attachmentOf(d)}, err
}

func (f *Face) detachVolume(q *query) (any, error) {
	disk, err := q.required("VolumeId")
	if err != nil {
		return nil, err
	}
	instance := q.Text("InstanceId")
	if err := q.rest(); err != nil {
		return nil, err
	}
	d, err := f.world.Detach(disk, instance)
	return attachmentResponse{xml.Name{Space: namespace, Local: "DetachVolumeResponse"}, requestID(), attachmentOf(d)}, err
}

func (f *Face) deleteVolume(q *query) (any, error) {
	disk, err := q.required("VolumeId")
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	return done("DeleteVolume"), f.world.DeleteDisk(disk)
}

type modificationXML struct {
	Volume             string `xml:"volumeId"`
	State              string `xml:"modificationState"`
	TargetSize         int    `xml:"targetSize"`
	TargetType         string `xml:"targetVolumeType"`
	TargetIOPS         int    `xml:"targetIops,omitempty"`
	TargetThroughput   int    `xml:"targetThroughput,omitempty"`
	OriginalSize       int    `xml:"originalSize"`
	OriginalType       string `xml:"originalVolumeType"`
	OriginalIOPS       int    `xml:"originalIops,omitempty"`
	OriginalThroughput int    `xml:"originalThroughput,omitempty"`
	Progress           string `xml:"progress"`
	Started            string `xml:"startTime"`
	Ended              string `xml:"endTime,omitempty"`
}

func modification(id string, m cloudsim.Modification) modificationXML {
	progress := map[cloudsim.ModificationState]int{cloudsim.ModificationOptimizing: 50, cloudsim.ModificationCompleted: 100}[m.State]
	return modificationXML{
		Volume: id, State: string(m.State), Progress: strconv.Itoa(progress), Started: timeOf(m.Started), Ended: timeOf(m.Ended),
		TargetSize: int(m.To.Size / fleet.GiB), TargetType: m.To.Category, TargetIOPS: m.To.IOPS, TargetThroughput: m.To.Throughput,
		OriginalSize: int(m.From.Size / fleet.GiB), OriginalType: m.From.Category, OriginalIOPS: m.From.IOPS, OriginalThroughput: m.From.Throughput,
	}
}

type modifyVolumeResponse struct {
	XMLName      xml.Name        `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ ModifyVolumeResponse"`
	RequestID    string          `xml:"requestId"`
	Modification modificationXML `xml:"volumeModification"`
}

func (f *Face) modifyVolume(q *query) (any, error) {
	disk, err := q.required("VolumeId")
	if err != nil {
		return nil, err
	}
	shape, err := q.shape()
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	m, err := f.world.Modify(disk, shape)
	return modifyVolumeResponse{RequestID: requestID(), Modification: modification(disk, m)}, err
}

type modificationsResponse struct {
	XMLName       xml.Name          `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ DescribeVolumesModificationsResponse"`
	RequestID     string            `xml:"requestId"`
	Modifications []modificationXML `xml:"volumeModificationSet>item"`
	Next          string            `xml:"nextToken,omitempty"`
}

func (f *Face) describeModifications(q *query) (any, error) {
	ids := q.List("VolumeId")
	disks, next, err := f.listVolumes(q, []string{"modification-state", "volume-id"}, func(d cloudsim.Disk) bool { return d.Modification.State != "" })
	if err != nil {
		return nil, err
	}
	if len(ids) == 1 && len(disks) == 0 {
		return nil, faultf("InvalidVolumeModification.NotFound", "Modification for volume '%s' does not exist.", ids[0])
	}
	x := modificationsResponse{RequestID: requestID(), Next: next}
	for _, d := range disks {
		x.Modifications = append(x.Modifications, modification(d.ID, d.Modification))
	}
	return x, nil
}
