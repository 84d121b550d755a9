package clouds

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// TestDoctorAndSweep asks what the region lacks, and has what belongs to no cluster
// removed from beside a cluster that runs.
func TestDoctorAndSweep(t *testing.T) {
	abreast(t)
	onAWS(t, setup{}).upkeep("TerminateInstances", " 30.73 USD ", " at most 0.01 USD ")
}

// TestDoctorAndSweepOnAlibabaCloud is the same, by the other SDK.
func TestDoctorAndSweepOnAlibabaCloud(t *testing.T) {
	abreast(t)
	onAliyun(t, setup{}).upkeep("DeleteInstance", " 426.32 CNY ", " at most 2.40 CNY ")
}

// upkeep takes the right to end hosts away, by its action, for a while. A stray host is
// said to cost so much, and so is a copy of its disk of 20 GiB, which holds a line.
func (s *stand) upkeep(end, cost, copyCost string) {
	t := s.t
	t.Helper()
	s.spec.Voters = 1
	s.create()
	doctor := []string{"doctor", "--provider", s.spec.Provider, "--region", s.spec.Region}
	a := s.CLI(doctor...)
	require.Zero(t, a.Code, "%s\n%s", a.Out, a.Err)
	require.Contains(t, a.Out, "right and means to buy a host in "+s.spec.Zones[2])
	require.Regexp(t, `(?m)^ok +members to members, port 2380 `, a.Out)
	heal := s.world.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: end}})
	a = s.CLI(doctor...)
	require.Equal(t, 1, a.Code, "%s", a.Out)
	require.Regexp(t, "right to "+end+": give the worker's (RAM )?role the permission", a.Out)
	heal()
	require.Contains(t, s.sweep().Err, "nothing belongs to no cluster")

	view, err := s.Client.Describe(t.Context(), s.spec.Name)
	require.NoError(t, err)
	old := s.stray("orders", "earlier-"+view.Summary.UID)
	lost := s.stray("ghost", "u1")
	list := s.sweep()
	for _, id := range append(old, lost...) {
		require.Contains(t, list.Out, id)
	}
	require.Contains(t, list.Out, cost, "a host of this type for a month")
	require.Contains(t, list.Out, copyCost)
	if s.spec.Provider == "aliyun" {
		heal = s.world.Inject(cloudsim.Fault{Kind: cloudsim.Deny, Target: cloudsim.Target{Action: "DescribePrice"}})
		list = s.sweep()
		require.Contains(t, list.Out, " unknown ")
		require.NotContains(t, list.Out, " CNY")
		require.Contains(t, list.Err, "Forbidden.RAM")
		heal()
	}
	require.Equal(t, [3]int{3, 3, 2}, s.alive(), "a list removes nothing")
	removed := s.sweep("--remove", "--yes")
	require.Equal(t, [3]int{2, 2, 1}, s.alive(), "%s%s", removed.Out, removed.Err)
	s.sweep("--remove", "--yes", "--unknown")
	require.Equal(t, [3]int{1, 1, 0}, s.alive())
	require.NoError(t, s.Stands(t.Context(), s.spec.Name), "what belongs to a cluster stays")
	s.decommission()
}

// stray buys a host with a disk, and a copy of that, with the tags of a cluster, and gives
// their IDs.
func (s *stand) stray(cluster, uid string) []string {
	s.t.Helper()
	tags := iaas.Tags{fleet.TagCluster: cluster, fleet.TagUID: uid, fleet.TagMember: cluster + "-1"}
	h, err := s.Cloud.LaunchHost(s.t.Context(), iaas.LaunchHostRequest{
		Token: uid + "-host", Name: cluster + "-1", Zone: s.spec.Zones[0], Type: s.spec.Machine.Type, Tags: tags,
	})
	require.NoError(s.t, err)
	d, err := s.Cloud.CreateDisk(s.t.Context(), iaas.CreateDiskRequest{
		Token: uid + "-disk", Name: cluster + "-1", Zone: s.spec.Zones[0], Size: s.spec.Machine.Disk.Size,
		Category: s.spec.Machine.Disk.Category, Tags: tags,
	})
	require.NoError(s.t, err)
	harness.Eventually(s.t, "the stray disk is attached", func(ctx context.Context) error {
		now, err := s.Cloud.Disk(ctx, d.ID)
		if err == nil && now.State != fleet.DiskInUse {
			err = errors.Join(errors.New("it is "+string(now.State)), s.Cloud.AttachDisk(ctx, d.ID, h.ID))
		}
		return err
	})
	s.write(h.ID, d.ID)
	c, err := s.Cloud.SnapshotDisk(s.t.Context(), iaas.SnapshotDiskRequest{Token: uid + "-copy", Name: cluster + "-1", DiskID: d.ID, Tags: tags})
	require.NoError(s.t, err)
	harness.Eventually(s.t, "the copy is completed", func(ctx context.Context) error {
		now, err := s.Cloud.DiskSnapshot(ctx, c.ID)
		if err == nil && now.State != fleet.DiskSnapshotCompleted {
			err = errors.New("it is " + string(now.State))
		}
		return err
	})
	return []string{h.ID, d.ID, c.ID}
}

// write has a host write a line on its disk.
func (s *stand) write(host, disk string) {
	s.t.Helper()
	harness.Eventually(s.t, "a line is written on the disk", func(ctx context.Context) error {
		c, err := s.Cloud.RunCommand(ctx, iaas.CommandRequest{HostID: host, Token: disk, Script: "echo line >$FLOTILLA_NODE_ROOT/disks/" + disk + "/file"})
		if err == nil {
			c, err = s.Cloud.Command(ctx, host, c.ID)
		}
		if err == nil && c.State != iaas.CommandSucceeded {
			err = fmt.Errorf("it %s: %s", c.State, c.Stderr)
		}
		return err
	})
}

// alive says how many instances, disks and copies of disks there are.
func (s *stand) alive() [3]int {
	s.t.Helper()
	instances, err := s.world.Instances(nil, func(i cloudsim.Instance) bool { return i.State != fleet.HostTerminated })
	require.NoError(s.t, err)
	disks, err := s.world.Disks(nil, nil)
	require.NoError(s.t, err)
	copies, err := s.world.Snapshots(nil, nil)
	require.NoError(s.t, err)
	return [3]int{len(instances), len(disks), len(copies)}
}
