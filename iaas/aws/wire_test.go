package aws_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/aws"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/ec2sim"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim/simtest"
)

const ec2 = "http://ec2.amazonaws.com/doc/2016-11-15/"

// described is an instance as in the API reference (DescribeInstances, Instance), with
// what we do not read left in.
const described = `<instanceId>i-1234567890abcdef0</instanceId><imageId>ami-bff32ccc</imageId>
<instanceState><code>16</code><name>%s</name></instanceState><privateDnsName>ip-192-168-1-88.ec2.internal</privateDnsName>
<dnsName/><reason/><keyName>my_keypair</keyName><amiLaunchIndex>0</amiLaunchIndex><productCodes/><instanceType>m7g.medium</instanceType>
<launchTime>2026-05-08T16:46:19.000Z</launchTime><placement><availabilityZone>us-east-1c</availabilityZone><groupName/><tenancy>default</tenancy></placement>
<monitoring><state>disabled</state></monitoring><privateIpAddress>192.168.1.88</privateIpAddress><architecture>arm64</architecture>
<rootDeviceType>ebs</rootDeviceType><blockDeviceMapping/><virtualizationType>hvm</virtualizationType>
<tagSet><item><key>Name</key><value>m1</value></item><item><key>flotilla:token</key><value>t1</value></item><item><key>flotilla:member</key><value>m1</value></item></tagSet>
<hypervisor>xen</hypervisor><networkInterfaceSet/><ebsOptimized>false</ebsOptimized>`

func instances(action, state string) string {
	list := `<instancesSet><item>` + fmt.Sprintf(described, state) + `</item></instancesSet>`
	if action == "DescribeInstances" {
		list = `<reservationSet><item><reservationId>r-1234567890abcdef0</reservationId><ownerId>123456789012</ownerId><groupSet/>` + list + `</item></reservationSet>`
	}
	return `<` + action + `Response xmlns="` + ec2 + `"><requestId>8f7724cf-496f-496e-8fe3-example</requestId>` + list + `</` + action + `Response>`
}

// volumes is a volume as in the API reference (DescribeVolumes, Volume, VolumeAttachment).
func volumes(state, attachment string) string {
	if attachment != "" {
		attachment = `<item><volumeId>vol-1234567890abcdef0</volumeId><instanceId>i-1234567890abcdef0</instanceId><device>/dev/sdf</device>
<status>` + attachment + `</status><attachTime>2026-05-08T17:00:00.000Z</attachTime><deleteOnTermination>false</deleteOnTermination></item>`
	}
	return `<DescribeVolumesResponse xmlns="` + ec2 + `"><requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId><volumeSet><item>
<volumeId>vol-1234567890abcdef0</volumeId><size>80</size><snapshotId/><availabilityZone>us-east-1a</availabilityZone><status>` + state + `</status>
<createTime>2026-05-08T16:50:00.000Z</createTime><attachmentSet>` + attachment + `</attachmentSet><volumeType>gp3</volumeType><iops>3000</iops>
<throughput>125</throughput><encrypted>true</encrypted><multiAttachEnabled>false</multiAttachEnabled></item></volumeSet></DescribeVolumesResponse>`
}

// snapshots is a snapshot as in the API reference (DescribeSnapshots, Snapshot).
func snapshots(state, progress string) string {
	return `<DescribeSnapshotsResponse xmlns="` + ec2 + `"><requestId>59dbff89-35bd-4eac-99ed-be587EXAMPLE</requestId><snapshotSet><item>
<snapshotId>snap-1234567890abcdef0</snapshotId><volumeId>vol-1234567890abcdef0</volumeId><status>` + state + `</status>
<startTime>2026-05-08T18:00:00.000Z</startTime><progress>` + progress + `</progress><ownerId>111122223333</ownerId><volumeSize>80</volumeSize><fullSnapshotSizeInBytes>2099249152</fullSnapshotSizeInBytes>
<description>Daily Backup</description><encrypted>true</encrypted><storageTier>standard</storageTier>
<tagSet><item><key>Name</key><value>m1</value></item><item><key>flotilla:token</key><value>t9</value></item></tagSet></item></snapshotSet></DescribeSnapshotsResponse>`
}

// onWire opens the provider at an endpoint with fixed answers.
func onWire(t *testing.T) (*simtest.Wire, *aws.Provider) {
	w := simtest.NewWire(t)
	return w, open(t, config(w.URL, ec2sim.Region(region)))
}

// The states are those of InstanceState, Volume and VolumeAttachment in the API reference.
func TestAnswers(t *testing.T) {
	w, p := onWire(t)
	for state, want := range map[string]fleet.HostState{
		"pending": fleet.HostPending, "running": fleet.HostRunning, "shutting-down": fleet.HostTerminating, "terminated": fleet.HostTerminated,
		"stopping": fleet.HostStopping, "stopped": fleet.HostStopped, "a-new-one": fleet.HostUnknown,
	} {
		w.Answers("DescribeInstances", instances("DescribeInstances", state))
		h, err := p.Host(t.Context(), "i-1234567890abcdef0")
		require.NoError(t, err)
		require.Equal(t, fleet.Host{
			ID: "i-1234567890abcdef0", Name: "m1", Region: region, Zone: "us-east-1c", Type: "m7g.medium", State: want, Address: "192.168.1.88",
			Ports: fleet.PortRange{First: 2379, Count: 100}, Launched: time.Date(2026, 5, 8, 16, 46, 19, 0, time.UTC),
			Tags: map[string]string{fleet.TagToken: "t1", fleet.TagMember: "m1"},
		}, h, state)
	}
	for states, want := range map[[2]string]fleet.DiskState{
		{"creating", ""}: fleet.DiskCreating, {"available", ""}: fleet.DiskAvailable, {"in-use", "attaching"}: fleet.DiskAttaching,
		{"in-use", "attached"}: fleet.DiskInUse, {"in-use", "detaching"}: fleet.DiskDetaching, {"in-use", "busy"}: fleet.DiskDetaching,
		{"available", "detached"}: fleet.DiskAvailable, {"deleting", ""}: fleet.DiskDeleting, {"deleted", ""}: fleet.DiskDeleted, {"error", ""}: fleet.DiskUnknown,
	} {
		w.Answers("DescribeVolumes", volumes(states[0], states[1]))
		d, err := p.Disk(t.Context(), "vol-1234567890abcdef0")
		require.NoError(t, err)
		require.Equal(t, want, d.State, "%v", states)
		require.Equal(t, states[1] != "" && states[1] != "detached", d.HostID == "i-1234567890abcdef0", "%v", states)
		require.Equal(t, [3]any{80 * fleet.GiB, "gp3", "us-east-1a"}, [3]any{d.Size, d.Category, d.Zone})
	}
}

// The states are those of Snapshot in the API reference.
func TestSnapshotAnswers(t *testing.T) {
	w, p := onWire(t)
	for state, want := range map[string]fleet.DiskSnapshotState{
		"pending": fleet.DiskSnapshotPending, "completed": fleet.DiskSnapshotCompleted, "error": fleet.DiskSnapshotFailed, "recovering": fleet.DiskSnapshotUnknown,
	} {
		w.Answers("DescribeSnapshots", snapshots(state, "80%"))
		s, err := p.DiskSnapshot(t.Context(), "snap-1234567890abcdef0")
		require.NoError(t, err)
		percent := 80
		if want == fleet.DiskSnapshotCompleted {
			percent = 100
		}
		require.Equal(t, fleet.DiskSnapshot{
			ID: "snap-1234567890abcdef0", Name: "m1", DiskID: "vol-1234567890abcdef0", Size: 80 * fleet.GiB, Written: 2099249152, State: want, Percent: percent,
			Created: time.Date(2026, 5, 8, 18, 0, 0, 0, time.UTC), Tags: map[string]string{fleet.TagToken: "t9"},
		}, s, state)
	}
}

// testdata/requests.txt is what is asked for, to be held against the API references: every
// parameter of the calls that buy and change.
func TestRequests(t *testing.T) {
	w, p := onWire(t)
	const host, disk = "i-1234567890abcdef0", "vol-1234567890abcdef0"
	done := func(_ any, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	tags := iaas.Tags{fleet.TagCluster: "c", fleet.TagMember: "m1"}
	w.Answers("RunInstances", instances("RunInstances", "pending"))
	done(p.LaunchHost(t.Context(), iaas.LaunchHostRequest{Token: "t1", Name: "m1", Zone: "us-east-1a", Type: "m7g.medium", Tags: tags}))
	w.Answers("CreateVolume", `<CreateVolumeResponse xmlns="`+ec2+`"><volumeId>`+disk+`</volumeId><status>creating</status></CreateVolumeResponse>`)
	done(p.CreateDisk(t.Context(), iaas.CreateDiskRequest{Token: "t2", Name: "m1", Zone: "us-east-1a", Size: 20 * fleet.GiB, Category: "gp3", Tags: tags}))
	w.Answers("DescribeSnapshots", `<DescribeSnapshotsResponse xmlns="`+ec2+`"><snapshotSet/></DescribeSnapshotsResponse>`)
	w.Answers("CreateSnapshot", `<CreateSnapshotResponse xmlns="`+ec2+`"><snapshotId>snap-1234567890abcdef0</snapshotId><volumeId>`+disk+`</volumeId>
		<status>pending</status><startTime>2026-05-08T18:00:00.000Z</startTime><progress/><volumeSize>20</volumeSize></CreateSnapshotResponse>`)
	done(p.SnapshotDisk(t.Context(), iaas.SnapshotDiskRequest{Token: "t9", Name: "m1", DiskID: disk, Tags: tags}))
	done(p.CreateDisk(t.Context(), iaas.CreateDiskRequest{
		Token: "t10", Name: "m1", Zone: "us-east-1a", Size: 20 * fleet.GiB, Category: "gp3", SnapshotID: "snap-1234567890abcdef0", Tags: tags,
	}))
	require.NoError(t, p.DeleteDiskSnapshot(t.Context(), "snap-1234567890abcdef0"))
	w.Answers("DescribeInstances", instances("DescribeInstances", "running"))
	require.NoError(t, p.StopHost(t.Context(), host))
	require.NoError(t, p.StartHost(t.Context(), host))
	w.Answers("DescribeInstances", instances("DescribeInstances", "stopped"))
	require.NoError(t, p.ResizeHost(t.Context(), host, "m7g.large"))
	w.Answers("DescribeVolumes", volumes("in-use", "attached"))
	require.NoError(t, p.GrowDisk(t.Context(), disk, 100*fleet.GiB))
	require.NoError(t, p.DetachDisk(t.Context(), disk))
	require.NoError(t, p.TagDisk(t.Context(), disk, iaas.Tags{"colour": "red"}))
	require.NoError(t, p.DeleteDisk(t.Context(), disk))
	require.NoError(t, p.TerminateHost(t.Context(), host))
	w.Answers("SendCommand", `{"Command": {"CommandId": "ef7fdfd8-9b57-4151-a15c-db9a12345678", "Status": "Pending"}}`)
	done(p.RunCommand(t.Context(), iaas.CommandRequest{HostID: host, Token: "t3", Script: "true", Timeout: time.Minute}))
	w.Answers("GetCommandInvocation", `{"CommandId": "ef7fdfd8-9b57-4151-a15c-db9a12345678", "InstanceId": "`+host+`", "Comment": "",
		"DocumentName": "AWS-RunShellScript", "PluginName": "aws:runShellScript", "ResponseCode": 3, "ExecutionElapsedTime": "PT0.004S",
		"Status": "Failed", "StatusDetails": "Failed", "StandardOutputContent": "out", "StandardErrorContent": "err"}`)
	c, err := p.Command(t.Context(), host, "ef7fdfd8-9b57-4151-a15c-db9a12345678")
	require.NoError(t, err)
	require.Equal(t, iaas.Command{ID: c.ID, HostID: host, State: iaas.CommandFailed, ExitCode: 3, Stdout: "out", Stderr: "err"}, c)
	w.Asked("testdata/requests.txt")
}
