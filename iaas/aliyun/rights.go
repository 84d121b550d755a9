package aliyun

import (
	"cmp"
	"context"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// What rights are tried on where the region has no host of ours, and where ECS has no dry
// runs: what there is not. Who has rights to what carries our tags only is refused then,
// so that a refusal tells nothing.
const (
	noHost       = "i-00000000000000000000"
	noDisk       = "d-00000000000000000000"
	noCopy       = "s-00000000000000000000"
	noZone       = "no-such-zone"
	noInvocation = "t-00000000000000000000"
)

// launches tries what buys: hosts in every zone, with all that one is bought with. Disks
// have no dry run, so that one is asked for in a zone that does not exist.
func (e *examination) launches(ctx context.Context) {
	for _, zone := range e.p.zones() {
		what := "right and means to buy a host in " + zone
		if e.machine == "" {
			e.Add(what, fleet.CheckUnknown, "not tried: name the machine types on offer (--aliyun-machine-types)", "")
			continue
		}
		in, err := e.p.launch(ctx, what, iaas.LaunchHostRequest{Token: "doctor", Name: "doctor", Zone: zone, Type: e.machine, Tags: iaas.Tags{fleet.TagCluster: "doctor"}})
		if err == nil {
			in.DryRun, in.ClientToken = requests.NewBoolean(true), ""
			_, err = call(ctx, e.p, what, (*ecs.Client).RunInstances, in)
		}
		e.Judge(what, "a dry run says so", allowed(err))
	}
	in := ecs.CreateCreateDiskRequest()
	in.ZoneId, in.DiskCategory, in.Size = noZone, essd, requests.NewInteger(20)
	_, err := call(ctx, e.p, "disk", (*ecs.Client).CreateDisk, in)
	e.Judge("right to CreateDisk", "ECS says so, of a zone that does not exist", allowed(err))
}

// allowed takes what a call says that may be made for a success: that it would have been
// done, or that what it is about is not there or in another state.
func allowed(err error) error {
	switch kind := fleet.KindOf(err); {
	case is(err, "DryRunOperation", "InvalidZoneId"), kind == fleet.NotFound, kind == fleet.Conflict:
		return nil
	}
	return err
}

// rights tries what changes something, and the reads that no other check makes.
func (e *examination) rights(ctx context.Context) {
	id, dry := cmp.Or(e.host, noHost), requests.NewBoolean(true)
	real := e.host != ""
	start, stop, end := ecs.CreateStartInstanceRequest(), ecs.CreateStopInstanceRequest(), ecs.CreateDeleteInstanceRequest()
	start.InstanceId, start.DryRun = id, dry
	stop.InstanceId, stop.DryRun = id, dry
	end.InstanceId, end.DryRun, end.Force = id, dry, requests.NewBoolean(true)
	try(ctx, e, "StartInstance", real, (*ecs.Client).StartInstance, start)
	try(ctx, e, "StopInstance", real, (*ecs.Client).StopInstance, stop)
	try(ctx, e, "DeleteInstance", real, (*ecs.Client).DeleteInstance, end)
	resize := ecs.CreateModifyInstanceSpecRequest()
	resize.InstanceId, resize.InstanceType, resize.DryRun = id, e.machine, dry
	try(ctx, e, "ModifyInstanceSpec", real, (*ecs.Client).ModifyInstanceSpec, resize)

	attach, detach := ecs.CreateAttachDiskRequest(), ecs.CreateDetachDiskRequest()
	attach.InstanceId, attach.DiskId = noHost, noDisk
	detach.InstanceId, detach.DiskId = noHost, noDisk
	try(ctx, e, "AttachDisk", false, (*ecs.Client).AttachDisk, attach)
	try(ctx, e, "DetachDisk", false, (*ecs.Client).DetachDisk, detach)
	grow := ecs.CreateResizeDiskRequest()
	grow.DiskId, grow.NewSize = noDisk, requests.NewInteger(20)
	try(ctx, e, "ResizeDisk", false, (*ecs.Client).ResizeDisk, grow)
	retype := ecs.CreateModifyDiskSpecRequest()
	retype.DiskId, retype.PerformanceLevel = noDisk, defaultLevel
	try(ctx, e, "ModifyDiskSpec", false, (*ecs.Client).ModifyDiskSpec, retype)
	remove := ecs.CreateDeleteDiskRequest()
	remove.DiskId = noDisk
	try(ctx, e, "DeleteDisk", false, (*ecs.Client).DeleteDisk, remove)
	keep := ecs.CreateCreateSnapshotRequest()
	keep.DiskId = noDisk
	try(ctx, e, "CreateSnapshot", false, (*ecs.Client).CreateSnapshot, keep)
	list := ecs.CreateDescribeSnapshotsRequest()
	list.SnapshotIds = idList(noCopy)
	try(ctx, e, "DescribeSnapshots", true, (*ecs.Client).DescribeSnapshots, list)
	drop := ecs.CreateDeleteSnapshotRequest()
	drop.SnapshotId = noCopy
	try(ctx, e, "DeleteSnapshot", false, (*ecs.Client).DeleteSnapshot, drop)
	tag := ecs.CreateTagResourcesRequest()
	tag.ResourceType, tag.ResourceId = "disk", &[]string{noDisk}
	tag.Tag = &[]ecs.TagResourcesTag{{Key: fleet.TagCluster, Value: "doctor"}}
	try(ctx, e, "TagResources", false, (*ecs.Client).TagResources, tag)

	// A command that does nothing: RunCommand has no dry run.
	run := commandOn(cmp.Or(e.command, noHost), "true", leastTimeout)
	try(ctx, e, "RunCommand", e.command != "", (*ecs.Client).RunCommand, run)
	look := ecs.CreateDescribeInvocationResultsRequest()
	look.InvokeId, look.InstanceId = noInvocation, noHost
	try(ctx, e, "DescribeInvocationResults", true, (*ecs.Client).DescribeInvocationResults, look)
	agent := ecs.CreateDescribeCloudAssistantStatusRequest()
	agent.InstanceId = &[]string{noHost}
	try(ctx, e, "DescribeCloudAssistantStatus", true, (*ecs.Client).DescribeCloudAssistantStatus, agent)

	// No operation needs prices.
	const what = "right to DescribePrice"
	if _, err := e.p.DiskCost(ctx, fleet.Disk{Category: essd, Size: diskForRoom * fleet.GiB}); err != nil {
		e.Add(what, fleet.CheckUnknown, "flotilla sweep cannot say what things cost: "+err.Error(), "")
	} else {
		e.Add(what, fleet.CheckOK, "Alibaba Cloud says so", "")
	}
}

// try tries a right. real says that it does not hang on tags, or is tried on what has ours.
func try[Q requests.AcsRequest, A any](ctx context.Context, e *examination, action string, real bool, do func(*ecs.Client, Q) (A, error), in Q) {
	what := "right to " + action
	_, err := call(ctx, e.p, what, do, in)
	if err = allowed(err); fleet.Is(err, fleet.Denied) && !real {
		e.Add(what, fleet.CheckUnknown, "refused on what does not exist, as it is where rights hang on our tags", "")
		return
	}
	e.Judge(what, "Alibaba Cloud says so", err)
}
