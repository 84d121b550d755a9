package aliyun_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aliyun"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ecssim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

const (
	aHost = "i-bp67acfmxazb4ph****"
	aDisk = "d-bp18um4r4f2fve24****"
)

// instances is an answer as in the API reference (DescribeInstances), with what we do not
// read left in.
func instances(status, locks string) string {
	return fmt.Sprintf(`{"RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3C83E", "PageNumber": 1, "PageSize": 10, "TotalCount": 1, "NextToken": "",
"Instances": {"Instance": [{"InstanceId": "%s", "InstanceName": "flotilla-m1", "HostName": "iZbp1", "RegionId": "cn-hangzhou", "ZoneId": "cn-hangzhou-g",
"InstanceType": "ecs.g8y.large", "Status": "%s", "CreationTime": "2026-12-10T04:04Z", "Cpu": 2, "Memory": 8192, "OSType": "linux",
"InstanceNetworkType": "vpc", "InstanceChargeType": "PostPaid", "StoppedMode": "Not-applicable", "PublicIpAddress": {"IpAddress": []},
"OperationLocks": {"LockReason": [%s]}, "Tags": {"Tag": [{"TagKey": "flotilla:token", "TagValue": "t1"}, {"TagKey": "flotilla:name", "TagValue": "m1"}]},
"VpcAttributes": {"VpcId": "vpc-1", "VSwitchId": "vsw-1", "NatIpAddress": "", "PrivateIpAddress": {"IpAddress": ["172.17.0.5"]}}}]}}`, aHost, status, locks)
}

// disks is likewise (DescribeDisks).
func disks(status, host, level string) string {
	return fmt.Sprintf(`{"RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3****", "PageNumber": 1, "PageSize": 10, "TotalCount": 1, "NextToken": "",
"Disks": {"Disk": [{"DiskId": "%s", "DiskName": "flotilla-m1", "RegionId": "cn-hangzhou", "ZoneId": "cn-hangzhou-g", "Status": "%s", "Type": "data",
"Size": 40, "Category": "cloud_essd", "PerformanceLevel": "%s", "InstanceId": "%s", "Device": "/dev/xvdb", "Encrypted": true, "Portable": true,
"DeleteWithInstance": false, "CreationTime": "2026-12-10T04:04:05Z", "AttachedTime": "", "Tags": {"Tag": []}}]}}`, aDisk, status, level, host)
}

// snapshots is likewise (DescribeSnapshots).
func snapshots(status, progress string) string {
	return fmt.Sprintf(`{"RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3****", "PageNumber": 1, "PageSize": 10, "TotalCount": 1, "NextToken": "",
"Snapshots": {"Snapshot": [{"SnapshotId": "s-bp17441ohwka0yuh****", "SnapshotName": "flotilla-m1", "SourceDiskId": "%s", "SourceDiskSize": "40",
"SourceDiskType": "data", "SnapshotType": "user", "Status": "%s", "Progress": "%s", "CreationTime": "2026-12-10T05:06:07Z", "Encrypted": true, "Usage": "none",
"RetentionDays": 0, "InstantAccess": false, "Available": true, "Tags": {"Tag": [{"TagKey": "flotilla:name", "TagValue": "m1"}, {"TagKey": "flotilla:token", "TagValue": "t9"}]}}]}}`, aDisk, status, progress)
}

func onWire(t *testing.T) (*simtest.Wire, *aliyun.Provider) {
	w := simtest.NewWire(t)
	return w, open(t, config(w.URL, ecssim.Region(region)))
}

// The statuses are those of "Instance lifecycle" and of DescribeDisks.
func TestAnswers(t *testing.T) {
	w, p := onWire(t)
	for status, want := range map[string]fleet.HostState{
		"Pending": fleet.HostPending, "Starting": fleet.HostPending, "Running": fleet.HostRunning, "Stopping": fleet.HostStopping,
		"Stopped": fleet.HostStopped, "ANewOne": fleet.HostUnknown,
	} {
		w.Answers("DescribeInstances", instances(status, ""))
		h, err := p.Host(t.Context(), aHost)
		require.NoError(t, err)
		require.Equal(t, fleet.Host{
			ID: aHost, Name: "m1", Region: region, Zone: "cn-hangzhou-g", Type: "ecs.g8y.large", State: want, Address: "172.17.0.5",
			Ports: fleet.PortRange{First: 2379, Count: 100}, Launched: time.Date(2026, 12, 10, 4, 4, 0, 0, time.UTC), Tags: map[string]string{fleet.TagToken: "t1"},
		}, h, status)
	}
	w.Answers("DescribeInstances", instances("Stopped", `{"LockReason": "financial", "LockMsg": "overdue"}`))
	h, err := p.Host(t.Context(), aHost)
	require.NoError(t, err)
	require.Equal(t, "locked: financial overdue", h.Reason)
	for status, want := range map[string]fleet.DiskState{
		"Creating": fleet.DiskCreating, "Available": fleet.DiskAvailable, "Attaching": fleet.DiskAttaching, "In_use": fleet.DiskInUse,
		"Detaching": fleet.DiskDetaching, "ReIniting": fleet.DiskUnknown,
	} {
		w.Answers("DescribeDisks", disks(status, aHost, "PL2"))
		d, err := p.Disk(t.Context(), aDisk)
		require.NoError(t, err)
		require.Equal(t, want, d.State, status)
		require.Equal(t, [4]any{40 * fleet.GiB, "cloud_essd:PL2", "cn-hangzhou-g", aHost}, [4]any{d.Size, d.Category, d.Zone, d.HostID})
	}
}

// The statuses are those of DescribeSnapshots.
func TestSnapshotAnswers(t *testing.T) {
	w, p := onWire(t)
	for status, want := range map[string]fleet.DiskSnapshotState{
		"progressing": fleet.DiskSnapshotPending, "accomplished": fleet.DiskSnapshotCompleted, "failed": fleet.DiskSnapshotFailed, "aNewOne": fleet.DiskSnapshotUnknown,
	} {
		w.Answers("DescribeSnapshots", snapshots(status, "80%"))
		s, err := p.DiskSnapshot(t.Context(), "s-bp17441ohwka0yuh****")
		require.NoError(t, err)
		require.Equal(t, fleet.DiskSnapshot{
			ID: "s-bp17441ohwka0yuh****", Name: "m1", DiskID: aDisk, Size: 40 * fleet.GiB, State: want, Percent: 80,
			Created: time.Date(2026, 12, 10, 5, 6, 7, 0, time.UTC), Tags: map[string]string{fleet.TagToken: "t9"},
		}, s, status)
	}
}

// testdata/requests.txt is what is asked for, to be held against the API reference: every
// parameter of the calls that buy and change.
func TestRequests(t *testing.T) {
	w, p := onWire(t)
	done := func(_ any, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	tags := iaas.Tags{fleet.TagCluster: "c", fleet.TagMember: "m1"}
	w.Answers("RunInstances", `{"RequestId": "04F0F334-1335-436C-A1D7-6C044FE7****", "InstanceIdSets": {"InstanceIdSet": ["`+aHost+`"]}}`)
	w.Answers("DescribeInstances", instances("Running", ""))
	done(p.LaunchHost(t.Context(), iaas.LaunchHostRequest{Token: "t1", Name: "m1", Zone: region + "-g", Type: "ecs.g8y.large", Tags: tags}))
	w.Answers("CreateDisk", `{"RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3****", "DiskId": "`+aDisk+`", "OrderId": ""}`)
	w.Answers("DescribeDisks", disks("Available", "", "PL1"))
	done(p.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "t2", Name: "m1", Zone: region + "-g", Size: 40 * fleet.GiB, Category: "cloud_essd", Tags: tags}))
	w.Answers("CreateSnapshot", `{"RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3****", "SnapshotId": "s-bp17441ohwka0yuh****"}`)
	w.Answers("DescribeSnapshots", snapshots("progressing", "40%"))
	done(p.SnapshotDisk(t.Context(), iaas.SnapshotDiskRequest{Token: "t9", Name: "m1", DiskID: aDisk, Tags: tags}))
	done(p.CreateDisk(t.Context(), iaas.CreateDiskRequest{
		Token: "t10", Name: "m1", Zone: region + "-g", Size: 40 * fleet.GiB, Category: "cloud_essd", SnapshotID: "s-bp17441ohwka0yuh****", Tags: tags,
	}))
	for _, action := range []string{"DeleteSnapshot", "AttachDisk", "ResizeDisk", "DetachDisk", "DeleteDisk", "StopInstance", "StartInstance", "ModifyInstanceSpec", "DeleteInstance", "TagResources"} {
		w.Answers(action, `{"RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3****"}`)
	}
	require.NoError(t, p.DeleteDiskSnapshot(t.Context(), "s-bp17441ohwka0yuh****"))
	require.NoError(t, p.AttachDisk(t.Context(), aDisk, aHost))
	w.Answers("DescribeDisks", disks("In_use", aHost, "PL1"))
	require.NoError(t, p.GrowDisk(t.Context(), aDisk, 60*fleet.GiB))
	require.NoError(t, p.DetachDisk(t.Context(), aDisk))
	require.NoError(t, p.TagDisk(t.Context(), aDisk, iaas.Tags{"colour": "red"}))
	require.NoError(t, p.DeleteDisk(t.Context(), aDisk))
	require.NoError(t, p.StopHost(t.Context(), aHost))
	w.Answers("DescribeInstances", instances("Stopped", ""))
	require.NoError(t, p.ResizeHost(t.Context(), aHost, "ecs.g8y.xlarge"))
	require.NoError(t, p.StartHost(t.Context(), aHost))
	require.NoError(t, p.TerminateHost(t.Context(), aHost))
	w.Answers("DescribeCloudAssistantStatus", `{"RequestId": "R", "TotalCount": 1, "InstanceCloudAssistantStatusSet": {"InstanceCloudAssistantStatus":
		[{"InstanceId": "`+aHost+`", "CloudAssistantStatus": "true", "CloudAssistantVersion": "2.2.0.106", "OSType": "Linux", "ActiveTaskCount": 0}]}}`)
	w.Answers("RunCommand", `{"RequestId": "473469C7-AA6F-4DC5-B3DB-A3DC0DE3****", "CommandId": "c-7d2a745b412b4601b2d47f6a768d****", "InvokeId": "t-7d2a745b412b4601b2d47f6a768d1234"}`)
	done(p.RunCommand(t.Context(), iaas.CommandRequest{HostID: aHost, Token: "t3", Script: "true", Timeout: time.Minute}))
	w.Answers("DescribeInvocationResults", `{"RequestId": "R", "Invocation": {"PageNumber": 1, "PageSize": 1, "TotalCount": 1, "InvocationResults": {"InvocationResult":
		[{"CommandId": "c-1", "InvokeId": "t-7d2a745b412b4601b2d47f6a768d1234", "InstanceId": "`+aHost+`", "InvokeRecordStatus": "Finished", "InvocationStatus": "Failed",
		"ErrorCode": "ExitCodeNonzero", "ErrorInfo": "the exit code is not 0", "ExitCode": 3, "Dropped": 0, "Output": "T3V0UHV0VGVzdG1zZw==", "Repeats": 1, "Username": "root"}]}}}`)
	c, err := p.Command(t.Context(), aHost, "t-7d2a745b412b4601b2d47f6a768d1234")
	require.NoError(t, err)
	require.Equal(t, iaas.Command{ID: c.ID, HostID: aHost, State: iaas.CommandFailed, ExitCode: 3, Stdout: "OutPutTestmsg"}, c)
	// The answer is the one of the API reference (DescribePrice).
	w.Answers("DescribePrice", `{"RequestId": "04F0F334-1335-436C-A1D7-6C044FE7****", "PriceInfo": {"Price": {"Currency": "CNY", "DiscountPrice": 655.2,
		"OriginalPrice": 4368, "TradePrice": 3712.8}, "Rules": {"Rule": [{"Description": "15 % off for a year", "RuleId": 587}]}}}`)
	host, err := p.HostCost(t.Context(), fleet.Host{Type: "ecs.g8y.large", State: fleet.HostRunning})
	require.NoError(t, err)
	require.Equal(t, fleet.Cost{Amount: 730 * 4368, Currency: "CNY"}, host)
	done(p.DiskCost(t.Context(), fleet.Disk{Category: "cloud_essd:PL2", Size: 500 * fleet.GiB}))
	w.Asked("testdata/requests.txt")
}
