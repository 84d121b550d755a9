package ecssim_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"
	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

const region = "cn-hangzhou"

// client is the SDK as it comes, at a face of a world without a machine.
func client(t *testing.T) (*ecs.Client, *cloudsim.World) {
	t.Helper()
	cfg := ecssim.Region(region)
	w := simtest.Bodiless(t, cfg)
	s := httptest.NewServer(ecssim.New(w))
	t.Cleanup(s.Close)
	c, err := ecs.NewClientWithAccessKey(region, "LTAIEXAMPLE", cfg.Keys["LTAIEXAMPLE"])
	require.NoError(t, err)
	c.Domain = strings.TrimPrefix(s.URL, "http://")
	return c, w
}

func run(token string) *ecs.RunInstancesRequest {
	cfg := ecssim.Region(region)
	r := ecs.CreateRunInstancesRequest()
	r.ClientToken, r.Amount, r.InstanceChargeType, r.InstanceName = token, requests.NewInteger(1), "PostPaid", "host"
	r.ImageId, r.InstanceType, r.VSwitchId = cfg.Images[0].ID, cfg.Types[0].Name, cfg.Subnets[0].ID
	r.SecurityGroupIds = &[]string{cfg.Groups[0].ID}
	return r
}

// refused wants the code and the status that a page of the reference has.
func refused(t *testing.T, status int, code string, err error) {
	t.Helper()
	var e *errors.ServerError
	require.ErrorAs(t, err, &e, code)
	require.Equal(t, code, e.ErrorCode())
	require.Equal(t, status, e.HttpStatus(), code)
	require.NotEmpty(t, e.RequestId())
	require.NotEmpty(t, e.Message())
}

func TestRunInstancesRefused(t *testing.T) {
	c, w := client(t)
	for _, r := range []struct {
		status int
		code   string
		change func(*ecs.RunInstancesRequest)
	}{
		{404, "InvalidZoneId.NotFound", func(r *ecs.RunInstancesRequest) { r.ZoneId = "x" }},
		{400, "InvalidParameter.Mismatch", func(r *ecs.RunInstancesRequest) { r.ZoneId = region + "-h" }},
		{400, "InvalidInstanceType.ValueNotSupported", func(r *ecs.RunInstancesRequest) { r.InstanceType = "x" }},
		{403, "InvalidInstanceType.ZoneNotSupported", func(r *ecs.RunInstancesRequest) {
			r.InstanceType, r.VSwitchId = "ecs.r8y.large", "vsw-bp1a2b3c4d5e6f7g8h9w2"
		}},
		{403, "ImageNotSupportInstanceType", func(r *ecs.RunInstancesRequest) { r.InstanceType = "ecs.g8i.large" }},
		{404, "InvalidImageId.NotFound", func(r *ecs.RunInstancesRequest) { r.ImageId = "x" }},
		{404, "InvalidVSwitchId.NotFound", func(r *ecs.RunInstancesRequest) { r.VSwitchId = "x" }},
		{404, "InvalidSecurityGroupId.NotFound", func(r *ecs.RunInstancesRequest) { r.SecurityGroupIds = &[]string{"x"} }},
		{403, "OperationDenied.InconsistentNetwork", func(r *ecs.RunInstancesRequest) { r.SecurityGroupIds = &[]string{"sg-bp1a2b3c4d5e6f7g8h9s2"} }},
		{404, "InvalidRamRole.NotFound", func(r *ecs.RunInstancesRequest) { r.RamRoleName = "x" }},
		{404, "DeploymentSet.NotFound", func(r *ecs.RunInstancesRequest) { r.DeploymentSetId = "x" }},
		{400, "InvalidUserData.Base64FormatInvalid", func(r *ecs.RunInstancesRequest) { r.UserData = "!" }},
		{400, "InvalidUserData.SizeExceeded", func(r *ecs.RunInstancesRequest) { r.UserData = strings.Repeat("AAAA", 6000) }},
		{400, "InvalidClientToken.ValueNotSupported", func(r *ecs.RunInstancesRequest) { r.ClientToken = strings.Repeat("x", 65) }},
		{400, "InvalidInstanceName.Malformed", func(r *ecs.RunInstancesRequest) { r.InstanceName = "1" }},
		{400, "InvalidTagKey.Malformed", func(r *ecs.RunInstancesRequest) { r.Tag = &[]ecs.RunInstancesTag{{Key: "acs:x", Value: "x"}} }},
		{400, "DryRunOperation", func(r *ecs.RunInstancesRequest) { r.DryRun = requests.NewBoolean(true) }},
		{400, "InvalidParameter", func(r *ecs.RunInstancesRequest) { r.Password = "x" }}, // is not modelled
		{404, "InvalidRegionId.NotFound", func(r *ecs.RunInstancesRequest) { r.RegionId = "cn-shanghai" }},
	} {
		request := run(r.code)
		r.change(request)
		_, err := c.RunInstances(request)
		refused(t, r.status, r.code, err)
	}
	instances, _ := w.Bought()
	require.Zero(t, instances, "what is refused is not sold")
}

func TestTokens(t *testing.T) {
	c, w := client(t)
	one, err := c.RunInstances(run("token"))
	require.NoError(t, err)
	again, err := c.RunInstances(run("token"))
	require.NoError(t, err)
	require.Equal(t, one.InstanceIdSets, again.InstanceIdSets)
	other := run("token")
	other.InstanceName = "other"
	_, err = c.RunInstances(other)
	refused(t, 400, "IdempotentParameterMismatch", err)
	instances, _ := w.Bought()
	require.Equal(t, 1, instances)
}

// What ECS refuses because of a state, though it is where the caller wants it.
func TestStates(t *testing.T) {
	c, w := client(t)
	out, err := c.RunInstances(run("one"))
	require.NoError(t, err)
	id := out.InstanceIdSets.InstanceIdSet[0]
	start, stop, end := ecs.CreateStartInstanceRequest(), ecs.CreateStopInstanceRequest(), ecs.CreateDeleteInstanceRequest()
	start.InstanceId, stop.InstanceId, end.InstanceId = id, id, id
	is := func(state fleet.HostState) {
		require.Eventually(t, func() bool {
			all, err := w.Instances([]string{id}, nil)
			return err == nil && all[0].State == state
		}, 10e9, 5e6)
	}
	is(fleet.HostPending)
	force := ecs.CreateDeleteInstanceRequest()
	force.InstanceId, force.Force = id, requests.NewBoolean(true)
	_, err = c.DeleteInstance(force)
	refused(t, 403, "IncorrectInstanceStatus.Initializing", err)
	is(fleet.HostRunning)
	_, err = c.StartInstance(start)
	refused(t, 403, "IncorrectInstanceStatus", err)
	_, err = c.DeleteInstance(end)
	refused(t, 403, "IncorrectInstanceStatus", err)
	dry := ecs.CreateStopInstanceRequest()
	dry.InstanceId, dry.DryRun = id, requests.NewBoolean(true)
	_, err = c.StopInstance(dry)
	refused(t, 400, "DryRunOperation", err)
	_, err = c.StopInstance(stop)
	require.NoError(t, err)
	is(fleet.HostStopped)
	_, err = c.StopInstance(stop)
	refused(t, 403, "IncorrectInstanceStatus", err)

	create := ecs.CreateCreateDiskRequest()
	create.ZoneId, create.DiskCategory, create.Size = region+"-g", "cloud_essd", requests.NewInteger(20)
	disk, err := c.CreateDisk(create)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		all, err := w.Disks([]string{disk.DiskId}, nil)
		return err == nil && all[0].State == fleet.DiskAvailable
	}, 10e9, 5e6)
	resize := ecs.CreateResizeDiskRequest()
	resize.DiskId, resize.NewSize, resize.Type = disk.DiskId, requests.NewInteger(30), "online"
	_, err = c.ResizeDisk(resize)
	refused(t, 403, "IncorrectDiskStatus", err)
	resize.Type, resize.NewSize = "offline", requests.NewInteger(20)
	_, err = c.ResizeDisk(resize)
	refused(t, 403, "InvalidDiskSize", err)
	resize.NewSize = requests.NewInteger(19)
	_, err = c.ResizeDisk(resize)
	refused(t, 403, "InvalidDiskSize.TooSmall", err)
	detach := ecs.CreateDetachDiskRequest()
	detach.DiskId, detach.InstanceId = disk.DiskId, id
	_, err = c.DetachDisk(detach)
	refused(t, 403, "DependencyViolation", err)
	spec := ecs.CreateModifyDiskSpecRequest()
	spec.DiskId, spec.PerformanceLevel = disk.DiskId, "PL3"
	_, err = c.ModifyDiskSpec(spec)
	refused(t, 403, "OperationDenied.PerformanceLevelNotMatch", err)
	for _, level := range []string{"PL0", "PL1"} { // no ESSD is brought down to it, and this one is so already
		spec.PerformanceLevel = level
		_, err = c.ModifyDiskSpec(spec)
		refused(t, 403, "OperationDenied", err)
	}

	_, err = c.DeleteInstance(end)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		look := ecs.CreateDescribeInstancesRequest()
		look.InstanceIds = `["` + id + `"]`
		out, err := c.DescribeInstances(look)
		return err == nil && len(out.Instances.Instance) == 0
	}, 10e9, 20e6, "a released instance is shown to nobody")
	_, err = c.DeleteInstance(end)
	refused(t, 404, "InvalidInstanceId.NotFound", err)
	none := ecs.CreateDeleteDiskRequest()
	none.DiskId = "d-none"
	_, err = c.DeleteDisk(none)
	require.NoError(t, err, "a disk that does not exist is passed over")
}

func TestFaults(t *testing.T) {
	c, w := client(t)
	for kind, want := range map[cloudsim.FaultKind]struct {
		status int
		code   string
	}{
		cloudsim.Throttle: {400, "Throttling.User"}, cloudsim.ServerError: {500, "InternalError"}, cloudsim.Deny: {403, "Forbidden.RAM"},
	} {
		heal := w.Inject(cloudsim.Fault{Kind: kind})
		_, err := c.DescribeZones(ecs.CreateDescribeZonesRequest())
		refused(t, want.status, want.code, err)
		heal()
	}
	w.Inject(cloudsim.Fault{Kind: cloudsim.NoStockLeft})
	_, err := c.RunInstances(run("one"))
	refused(t, 403, "OperationDenied.NoStock", err)
}

// Codes and statuses are those of the page of DescribePrice.
func TestDescribePriceRefused(t *testing.T) {
	c, w := client(t)
	for _, r := range []struct {
		status int
		code   string
		change func(*ecs.DescribePriceRequest)
	}{
		{404, "InvalidInstanceType.Missing", func(r *ecs.DescribePriceRequest) { r.InstanceType = "" }},
		{400, "InvalidInstanceType.ValueNotSupported", func(r *ecs.DescribePriceRequest) { r.InstanceType = "x" }},
		{400, "PriceNotFound", func(r *ecs.DescribePriceRequest) { r.InstanceType = "ecs.r8y.large" }},
		{400, "InvalidSystemDiskCategory.ValueNotSupported", func(r *ecs.DescribePriceRequest) { r.SystemDiskCategory = "x" }},
		{404, "InvalidSystemDiskSize.ValueNotSupported", func(r *ecs.DescribePriceRequest) { r.SystemDiskSize = "501" }},
		{400, "InvalidPriceUnit.ValueNotSupported", func(r *ecs.DescribePriceRequest) { r.PriceUnit = "Decade" }},
		{400, "InvalidPeriod", func(r *ecs.DescribePriceRequest) { r.Period = "2" }},
		{400, "InvalidResourceType.ValueNotSupported", func(r *ecs.DescribePriceRequest) { r.ResourceType = "x" }},
		{400, "InvalidResourceType.ValueNotSupported", func(r *ecs.DescribePriceRequest) { r.ResourceType = "snapshot" }},
		{404, "InvalidDiskCategory.Missing", func(r *ecs.DescribePriceRequest) { r.ResourceType, r.DataDisk1Size = "disk", "20" }},
		{400, "InvalidDataDiskCategory.ValueNotSupported", func(r *ecs.DescribePriceRequest) {
			r.ResourceType, r.DataDisk1Category, r.DataDisk1Size = "disk", "x", "20"
		}},
		{400, "InvalidDataDiskCategory.ValueNotSupported", func(r *ecs.DescribePriceRequest) {
			r.ResourceType, r.DataDisk1Category, r.DataDisk1PerformanceLevel, r.DataDisk1Size = "disk", "cloud_essd", "PL9", "20"
		}},
		{400, "InvalidDataDiskSize.ValueNotSupported", func(r *ecs.DescribePriceRequest) {
			r.ResourceType, r.DataDisk1Category = "disk", "cloud_essd"
		}},
		{400, "InvalidDataDiskSize.ValueNotSupported", func(r *ecs.DescribePriceRequest) {
			r.ResourceType, r.DataDisk1Category, r.DataDisk1PerformanceLevel, r.DataDisk1Size = "disk", "cloud_essd", "PL2", "460"
		}},
		{400, "InvalidParameter", func(r *ecs.DescribePriceRequest) { r.SpotStrategy = "SpotAsPriceGo" }}, // is not modelled
	} {
		in := ecs.CreateDescribePriceRequest()
		in.InstanceType = "ecs.g8y.large"
		r.change(in)
		if in.ResourceType == "disk" {
			in.InstanceType = ""
		}
		_, err := c.DescribePrice(in)
		refused(t, r.status, r.code, err)
	}
	in := ecs.CreateDescribePriceRequest()
	in.InstanceType, in.SystemDiskSize = "ecs.g8y.large", "100"
	out, err := c.DescribePrice(in)
	require.NoError(t, err)
	require.Equal(t, "CNY", out.PriceInfo.Price.Currency)
	require.InDelta(t, 0.55, out.PriceInfo.Price.OriginalPrice, 1e-9, "with cloud_efficiency, which is the default")
	require.InDelta(t, 0.495, out.PriceInfo.Price.TradePrice, 1e-9)
	require.Len(t, w.Calls(), 16)
}

// Which parameters go together is said on the page of DescribeAvailableResource.
func TestDataDisksOnOffer(t *testing.T) {
	c, _ := client(t)
	in := ecs.CreateDescribeAvailableResourceRequest()
	in.DestinationResource, in.ResourceType, in.InstanceChargeType, in.ZoneId = "DataDisk", "instance", "PostPaid", region+"-h"
	_, err := c.DescribeAvailableResource(in)
	refused(t, 400, "InvalidParameter", err)
	in.ResourceType = "disk"
	out, err := c.DescribeAvailableResource(in)
	require.NoError(t, err)
	require.Len(t, out.AvailableZones.AvailableZone, 1)
	offer := out.AvailableZones.AvailableZone[0].AvailableResources.AvailableResource[0]
	require.Equal(t, "DataDisk", offer.Type)
	require.Len(t, offer.SupportedResources.SupportedResource, 2)
	require.Equal(t, "cloud_essd", offer.SupportedResources.SupportedResource[0].Value)
	require.Equal(t, 65536, offer.SupportedResources.SupportedResource[0].Max)
}
