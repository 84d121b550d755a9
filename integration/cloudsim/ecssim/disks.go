package ecssim

import (
	"net/http"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// diskStatus gives a disk's status ("Disk states"). A deleted one is not shown.
var diskStatus = map[fleet.DiskState]string{
	fleet.DiskCreating: "Creating", fleet.DiskAvailable: "Available", fleet.DiskAttaching: "Attaching",
	fleet.DiskInUse: "In_use", fleet.DiskDetaching: "Detaching", fleet.DiskDeleting: "Deleting",
}

func (f *Face) disk(d cloudsim.Disk) map[string]any {
	return map[string]any{
		"DiskId": d.ID, "DiskName": d.Name, "ZoneId": d.Zone, "RegionId": f.world.Region(), "Size": int(d.Size / fleet.GiB), "Type": "data",
		"Category": d.Category, "PerformanceLevel": d.Level, "Status": diskStatus[d.State], "InstanceId": d.InstanceID, "Device": d.Device, "SourceSnapshotId": d.Snapshot,
		"Encrypted": d.Encrypted, "KMSKeyId": d.Key, "DeleteWithInstance": false, "Portable": true, "DiskChargeType": "PostPaid",
		"CreationTime": timeOf(d.Created), "AttachedTime": timeOf(d.Attached), "Tags": tagsOf(d.Tags),
	}
}

// shape gives a disk's category and level.
func (q *query) shape(category string) cloudsim.Shape {
	return cloudsim.Shape{Category: category, Level: q.Text("PerformanceLevel")}
}

func (f *Face) createDisk(q *query) (map[string]any, error) {
	zone, err := q.required("ZoneId")
	if err != nil {
		return nil, err
	}
	size, err := q.number("Size")
	if err != nil || size <= 0 {
		return nil, faultf(http.StatusBadRequest, "InvalidSize.ValueNotSupported", "The specified parameter Size is not valid.")
	}
	tags, err := q.tags()
	if err != nil {
		return nil, err
	}
	category, err := q.required("DiskCategory")
	if err != nil {
		return nil, err
	}
	req := cloudsim.CreateDiskRequest{
		Token: q.Text("ClientToken"), Fingerprint: q.fingerprint(), Name: q.Text("DiskName"), Zone: zone, Shape: q.shape(category),
		Snapshot: q.Text("SnapshotId"), Encrypted: q.Bool("Encrypted"), Key: q.Text("KMSKeyId"), Tags: tags,
	}
	req.Size = fleet.Bytes(size) * fleet.GiB
	switch {
	case req.Name != "" && !nameable.MatchString(req.Name):
		return nil, faultf(http.StatusBadRequest, "InvalidDiskName.Malformed", "The specified disk name is wrongly formed.")
	case req.Key != "" && !req.Encrypted:
		return nil, faultf(http.StatusBadRequest, "InvalidParameter.EncryptedIllegal", "The specified parameter Encrypted must be true when kmsKeyId is not empty.")
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	d, err := f.world.CreateDisk(req)
	return map[string]any{"DiskId": d.ID}, err
}

// describeDisks lists those that exist: an ID that does not is passed over.
func (f *Face) describeDisks(q *query) (map[string]any, error) {
	only, err := q.filter("DiskIds", "InstanceId")
	if err != nil {
		return nil, err
	}
	all, err := f.world.Disks(nil, func(d cloudsim.Disk) bool { return only.shows(d.ID, d.Tags, d.Zone, d.InstanceID) })
	if err != nil {
		return nil, err
	}
	page, next, ok := cloudsim.Page(all, only.size, only.token, func(d cloudsim.Disk) int64 { return d.Sequence })
	if !ok {
		return nil, invalid("NextToken")
	}
	list := []any{}
	for _, d := range page {
		list = append(list, f.disk(d))
	}
	return map[string]any{"Disks": map[string]any{"Disk": list}, "NextToken": next, "TotalCount": len(all)}, nil
}

func (f *Face) attachDisk(q *query) (map[string]any, error) {
	disk, err1 := q.required("DiskId")
	instance, err2 := q.required("InstanceId")
	if q.Bool("DeleteWithInstance") {
		return nil, invalid("DeleteWithInstance") // disks of the world outlive their instances
	}
	for _, err := range []error{err1, err2, q.rest()} {
		if err != nil {
			return nil, err
		}
	}
	_, err := f.world.Attach(disk, instance, "")
	return map[string]any{}, err
}

func (f *Face) detachDisk(q *query) (map[string]any, error) {
	disk, err1 := q.required("DiskId")
	instance, err2 := q.required("InstanceId")
	for _, err := range []error{err1, err2, q.rest()} {
		if err != nil {
			return nil, err
		}
	}
	_, err := f.world.Detach(disk, instance)
	return map[string]any{}, err
}

// resizeDisk grows a disk: online for an instance that runs, offline for one that is
// stopped or none. Offline for one that runs would show after a restart, which is not modelled.
func (f *Face) resizeDisk(q *query) (map[string]any, error) {
	token, fingerprint := q.Text("ClientToken"), q.fingerprint()
	id, err := q.required("DiskId")
	if err != nil {
		return nil, err
	}
	size, err := q.number("NewSize")
	if err != nil || size <= 0 {
		return nil, invalid("NewSize")
	}
	way := q.Text("Type")
	if err := q.rest(); err != nil {
		return nil, err
	}
	return map[string]any{}, f.world.Once("ResizeDisk", token, fingerprint, func() error {
		all, err := f.world.Disks([]string{id}, nil)
		if err != nil {
			return err
		}
		d, runs := all[0], false
		if d.InstanceID != "" {
			hosts, err := f.world.Instances([]string{d.InstanceID}, nil)
			if err != nil {
				return err
			}
			runs = hosts[0].State != fleet.HostStopped
		}
		switch {
		case d.Size == fleet.Bytes(size)*fleet.GiB:
			return faultf(http.StatusForbidden, "InvalidDiskSize", "Specified new disk size is less than or equal the original disk size.")
		case way == "online" && !runs:
			return faultf(http.StatusForbidden, "IncorrectDiskStatus", "The current status of the resource does not support resize online")
		case way != "online" && runs, way != "online" && way != "offline" && way != "":
			return faultf(http.StatusBadRequest, "InvalidParam.Type", "The specified type is not supported.")
		}
		_, err = f.world.Modify(id, cloudsim.Shape{Size: fleet.Bytes(size) * fleet.GiB})
		return err
	})
}

// modifyDiskSpec changes a disk's category or performance level.
func (f *Face) modifyDiskSpec(q *query) (map[string]any, error) {
	id, err := q.required("DiskId")
	if err != nil {
		return nil, err
	}
	to := q.shape(q.Text("DiskCategory"))
	if err := q.rest(); err != nil {
		return nil, err
	}
	if to.Level == "PL0" { // a pay-as-you-go ESSD is not brought down to it
		return nil, faultf(http.StatusForbidden, "OperationDenied", "The type of the disk does not support the operation.")
	}
	_, err = f.world.Modify(id, to)
	return map[string]any{}, err
}

// deleteDisk releases a disk; one that does not exist is passed over.
func (f *Face) deleteDisk(q *query) (map[string]any, error) {
	id, err := q.required("DiskId")
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	pending, _ := f.world.Snapshots(nil, func(s cloudsim.Snapshot) bool { return s.DiskID == id && s.State == fleet.DiskSnapshotPending }) // without IDs nothing is missing
	if len(pending) > 0 {
		return nil, &cloudsim.Refusal{Code: cloudsim.Snapshotting, Resource: id}
	}
	err = f.world.DeleteDisk(id)
	if err != nil && cloudsim.Because(err).Code == cloudsim.NoDisk {
		err = nil
	}
	return map[string]any{}, err
}
