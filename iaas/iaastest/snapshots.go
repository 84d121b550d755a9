package iaastest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

func (s *suite) snapshotRequest(diskID string) iaas.SnapshotDiskRequest {
	return iaas.SnapshotDiskRequest{Token: s.run + "/m1/snapshot", Name: s.run + "-m1", DiskID: diskID, Tags: s.tags("m1")}
}

// used gives a disk that a host has: some clouds take no snapshot of one that none ever had.
func (s *suite) used(member string) (fleet.Disk, fleet.Host) {
	s.t.Helper()
	d, h := s.create(s.createRequest(member)), s.launched(s.launchRequest(member))
	s.succeeds("attach", func() error { return s.Provider.AttachDisk(s.ctx, d.ID, h.ID) })
	return s.awaitDisk(d.ID, fleet.DiskInUse), h
}

// snapshot takes a snapshot, and ends it when the test is over.
func (s *suite) snapshot(req iaas.SnapshotDiskRequest) fleet.DiskSnapshot {
	s.t.Helper()
	var taken fleet.DiskSnapshot
	s.eventually("snapshot "+req.Name, func() bool {
		var err error
		taken, err = s.Provider.SnapshotDisk(s.ctx, req)
		return !fleet.Is(err, fleet.Conflict) && s.passing(err) && err == nil // one was just taken
	})
	require.NotEmpty(s.t, taken.ID)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		s.eventually("disk snapshot "+taken.ID+" is deleted at the end", func() bool { return s.Provider.DeleteDiskSnapshot(ctx, taken.ID) == nil })
	})
	return taken
}

func (s *suite) stored(id string) fleet.DiskSnapshot {
	s.t.Helper()
	var found fleet.DiskSnapshot
	s.eventually("disk snapshot "+id+" is completed", func() bool {
		var err error
		found, err = s.Provider.DiskSnapshot(s.ctx, id)
		return s.passing(err) && err == nil && found.State == fleet.DiskSnapshotCompleted
	})
	return found
}

func testSnapshot(t *testing.T, s *suite) {
	p := s.Provider
	d, _ := s.used("m1")
	req := s.snapshotRequest(d.ID)
	taken := s.snapshot(req)
	require.Contains(t, []fleet.DiskSnapshotState{fleet.DiskSnapshotPending, fleet.DiskSnapshotCompleted}, taken.State)
	again, err := p.SnapshotDisk(s.ctx, req)
	require.NoError(t, err)
	require.Equal(t, taken.ID, again.ID, "the same token and request is the same snapshot")

	done := s.stored(taken.ID)
	require.Equal(t, [3]any{req.Name, d.ID, d.Size}, [3]any{done.Name, done.DiskID, done.Size})
	require.Equal(t, 100, done.Percent)
	require.False(t, done.Created.IsZero())
	require.Equal(t, req.Token, done.Tags[fleet.TagToken])
	require.Equal(t, "m1", done.Member())

	from := s.createRequest("m2")
	from.SnapshotID, from.Size = taken.ID, d.Size/2
	refused := func(kind fleet.Kind, what string, req iaas.CreateDiskRequest) {
		s.refused(kind, what, func() error { _, err := p.CreateDisk(s.ctx, req); return err })
	}
	refused(fleet.Invalid, "a disk that is smaller than its snapshot", from)
	from.Size, from.Token = d.Size+10*fleet.GiB, from.Token+"/larger"
	made := s.create(from)
	require.Equal(t, from.Size, made.Size)
	require.Empty(t, made.HostID)

	s.succeeds("delete", func() error { return p.DeleteDiskSnapshot(s.ctx, taken.ID) })
	s.succeeds("delete again", func() error { return p.DeleteDiskSnapshot(s.ctx, taken.ID) })
	s.eventually("disk snapshot "+taken.ID+" is deleted", func() bool {
		found, err := p.DiskSnapshot(s.ctx, taken.ID)
		return fleet.Is(err, fleet.NotFound) || s.passing(err) && err == nil && found.State == fleet.DiskSnapshotDeleted
	})
	s.eventually("the list is empty", func() bool {
		all, err := p.ListDiskSnapshots(s.ctx, s.tags(""))
		return s.passing(err) && err == nil && len(all) == 0
	})
	require.Equal(t, made.ID, s.awaitDisk(made.ID, fleet.DiskAvailable).ID, "a disk outlives its snapshot")
	from.Token += "/later"
	refused(fleet.NotFound, "a disk from a snapshot that was deleted", from)
}

func testSnapshotConcurrently(t *testing.T, s *suite) {
	d, _ := s.used("m1")
	req := s.snapshotRequest(d.ID)
	ids := concurrently(t, func() (string, error) {
		taken, err := s.Provider.SnapshotDisk(s.ctx, req)
		return taken.ID, err
	})
	taken := s.snapshot(req)
	for _, id := range ids {
		require.Equal(t, taken.ID, id, "one token takes one snapshot")
	}
	s.stored(taken.ID)
	all, err := s.Provider.ListDiskSnapshots(s.ctx, s.tags(""))
	require.NoError(t, err)
	require.Len(t, all, 1)
}

func testSnapshotOutlivesDisk(t *testing.T, s *suite) {
	p := s.Provider
	d, h := s.used("m1")
	one := s.snapshot(s.snapshotRequest(d.ID))
	s.stored(one.ID)
	other := s.snapshotRequest(d.ID)
	other.Token += "/second"
	two := s.snapshot(other)
	require.NotEqual(t, one.ID, two.ID)
	for name, c := range map[string]struct {
		tags iaas.Tags
		want []string
	}{
		"all of the cluster": {s.tags(""), []string{one.ID, two.ID}},
		"any member":         {iaas.Tags{fleet.TagCluster: s.run, fleet.TagMember: ""}, []string{one.ID, two.ID}},
		"by token":           {iaas.Tags{fleet.TagToken: other.Token}, []string{two.ID}},
		"no such member":     {s.tags("m3"), nil},
	} {
		s.eventually("the list of "+name, func() bool {
			all, err := p.ListDiskSnapshots(s.ctx, c.tags)
			ids := map[string]bool{}
			for _, found := range all {
				ids[found.ID] = true
			}
			return s.passing(err) && err == nil && sameIDs(ids, c.want)
		})
	}
	s.stored(two.ID)
	s.succeeds("terminate", func() error { return p.TerminateHost(s.ctx, h.ID) })
	s.awaitHostGone(h.ID)
	s.awaitDisk(d.ID, fleet.DiskAvailable)
	s.succeeds("delete the disk", func() error { return p.DeleteDisk(s.ctx, d.ID) })
	s.awaitDiskGone(d.ID)
	s.stored(one.ID)
	other.Token += "/third"
	s.refused(fleet.NotFound, "snapshot of a deleted disk", func() error { _, err := p.SnapshotDisk(s.ctx, other); return err })
}

func testSnapshotRefused(t *testing.T, s *suite) {
	p := s.Provider
	take := func(req iaas.SnapshotDiskRequest) func() error {
		return func() error { _, err := p.SnapshotDisk(s.ctx, req); return err }
	}
	s.refused(fleet.NotFound, "snapshot of an absent disk", take(s.snapshotRequest(s.AbsentDisk)))
	one, _ := s.used("m1")
	two, _ := s.used("m2")
	req := s.snapshotRequest(one.ID)
	taken := s.snapshot(req)
	req.DiskID = two.ID
	s.refused(fleet.Invalid, "the same token for another disk", take(req))
	req.Token = ""
	s.refused(fleet.Invalid, "no token", take(req))
	s.stored(taken.ID)

	require.NoError(t, p.DeleteDiskSnapshot(s.ctx, s.AbsentSnapshot), "what does not exist is deleted")
	_, err := p.DiskSnapshot(s.ctx, s.AbsentSnapshot)
	require.Equal(t, fleet.NotFound, fleet.KindOf(err), "%v", err)
	from := s.createRequest("m3")
	from.SnapshotID = s.AbsentSnapshot
	s.refused(fleet.NotFound, "a disk from an absent snapshot", func() error { _, err := p.CreateDisk(s.ctx, from); return err })
}
