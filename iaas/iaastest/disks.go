package iaastest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

func testCreateIsIdempotent(t *testing.T, s *suite) {
	s.needs(RemembersTokens)
	req := s.createRequest("m1")
	d := s.create(req)
	again, err := s.Provider.CreateDisk(s.ctx, req)
	require.NoError(t, err)
	require.Equal(t, d.ID, again.ID, "the same token and request is the same disk")

	other := req
	other.Size *= 2
	s.refused(fleet.Invalid, "the same token with another size", func() error {
		_, err := s.Provider.CreateDisk(s.ctx, other)
		return err
	})

	s.succeeds("delete", func() error { return s.Provider.DeleteDisk(s.ctx, d.ID) })
	s.awaitDiskGone(d.ID)
	ended, err := s.Provider.CreateDisk(s.ctx, req)
	require.NoError(t, err, "a token whose disk has ended is still good for that disk")
	require.Equal(t, d.ID, ended.ID)
	require.Contains(t, []fleet.DiskState{fleet.DiskDeleting, fleet.DiskDeleted}, ended.State)
}

func testCreateConcurrently(t *testing.T, s *suite) {
	s.needs(RemembersTokens)
	req := s.createRequest("m1")
	ids := concurrently(t, func() (string, error) {
		d, err := s.Provider.CreateDisk(s.ctx, req)
		return d.ID, err
	})
	d := s.create(req)
	for _, id := range ids {
		require.Equal(t, d.ID, id, "one token buys one disk")
	}
}

func testCreateRefused(t *testing.T, s *suite) {
	cases := map[string]func(*iaas.CreateDiskRequest){
		"unknown zone":     func(r *iaas.CreateDiskRequest) { r.Zone = "nowhere" },
		"unknown category": func(r *iaas.CreateDiskRequest) { r.Category = "no-such-category" },
		"no size":          func(r *iaas.CreateDiskRequest) { r.Size = 0 },
		"no token":         func(r *iaas.CreateDiskRequest) { r.Token = "" },
	}
	needs := map[string]Ability{"unknown zone": KnowsWhatItSells, "unknown category": KnowsWhatItSells}
	for name, change := range cases {
		s.needing(needs[name], name, func(s *suite) {
			req := s.createRequest("refused")
			change(&req)
			s.refused(fleet.Invalid, name, func() error {
				_, err := s.Provider.CreateDisk(s.ctx, req)
				return err
			})
		})
	}
	disks, err := s.Provider.ListDisks(s.ctx, s.tags(""))
	require.NoError(t, err)
	require.Empty(t, disks, "what was refused was not bought")
}

func (s *suite) awaitDiskGone(id string) {
	s.t.Helper()
	s.eventually("disk "+id+" is deleted", func() bool {
		d, err := s.Provider.Disk(s.ctx, id)
		return fleet.Is(err, fleet.NotFound) || s.passing(err) && err == nil && d.State == fleet.DiskDeleted
	})
}

func testDiskLifecycle(t *testing.T, s *suite) {
	req := s.createRequest("m1")
	d := s.create(req)
	require.Equal(t, req.Name, d.Name)
	require.Equal(t, req.Zone, d.Zone)
	require.Equal(t, req.Size, d.Size)
	require.Equal(t, req.Category, d.Category)
	require.Empty(t, d.HostID)
	require.False(t, d.Created.IsZero())

	larger := req.Size + 10*fleet.GiB
	s.succeeds("grow", func() error { return s.Provider.GrowDisk(s.ctx, d.ID, larger) })
	s.eventually("disk has its new size", func() bool { return s.awaitDisk(d.ID, fleet.DiskAvailable).Size == larger })
	s.succeeds("grow to the size it has", func() error { return s.Provider.GrowDisk(s.ctx, d.ID, larger) })
	s.refused(fleet.Invalid, "shrink", func() error { return s.Provider.GrowDisk(s.ctx, d.ID, req.Size) })

	s.needing(DetachesByDisk, "detach of what is not attached", func(s *suite) {
		s.succeeds("detach of what is not attached", func() error { return s.Provider.DetachDisk(s.ctx, d.ID) })
	})
	s.succeeds("delete", func() error { return s.Provider.DeleteDisk(s.ctx, d.ID) })
	s.succeeds("delete again", func() error { return s.Provider.DeleteDisk(s.ctx, d.ID) })
	s.awaitDiskGone(d.ID)
	s.eventually("the list is empty", func() bool {
		disks, err := s.Provider.ListDisks(s.ctx, s.tags(""))
		return s.passing(err) && err == nil && len(disks) == 0
	})
}

func testDiskRetype(t *testing.T, s *suite) {
	d := s.create(s.createRequest("m1"))
	s.refused(fleet.Invalid, "no such category", func() error { return s.Provider.RetypeDisk(s.ctx, d.ID, "no-such-category", d.Size) })
	s.refused(fleet.NotFound, "retype of an absent disk", func() error {
		return s.Provider.RetypeDisk(s.ctx, s.AbsentDisk, d.Category, d.Size)
	})
	if len(d.Retypes) == 0 {
		t.Skipf("a disk of category %s does not become another one where it is", d.Category)
	}
	categories, err := s.Provider.DiskCategories(s.ctx)
	require.NoError(t, err)
	require.Subset(t, categories, d.Retypes)
	require.NotContains(t, d.Retypes, d.Category)

	// becomes asks until it is so, as the last change may not be over.
	becomes := func(category string, size fleet.Bytes, state fleet.DiskState) {
		s.eventually("disk "+d.ID+" is "+category, func() bool {
			err := s.Provider.RetypeDisk(s.ctx, d.ID, category, size)
			now := s.awaitDisk(d.ID, state)
			return (fleet.Is(err, fleet.Conflict) || s.passing(err)) && now.Category == category && now.Size == size
		})
	}
	larger := d.Size + 10*fleet.GiB
	becomes(d.Retypes[0], larger, fleet.DiskAvailable)

	h := s.launched(s.launchRequest("m1"))
	s.succeeds("attach", func() error { return s.Provider.AttachDisk(s.ctx, d.ID, h.ID) })
	s.awaitDisk(d.ID, fleet.DiskInUse)
	now := s.awaitDisk(d.ID, fleet.DiskInUse)
	if !now.Becomes(d.Category) {
		s.refused(fleet.Invalid, "retype to what it was", func() error { return s.Provider.RetypeDisk(s.ctx, d.ID, d.Category, larger) })
		require.NotEmpty(t, now.Retypes)
		return
	}
	becomes(d.Category, larger, fleet.DiskInUse)
	s.succeeds("retype to the category it has", func() error { return s.Provider.RetypeDisk(s.ctx, d.ID, d.Category, larger) })
}

func testDiskTags(t *testing.T, s *suite) {
	one, two := s.create(s.createRequest("m1")), s.create(s.createRequest("m2"))
	cases := map[string]struct {
		tags iaas.Tags
		want []string
	}{
		"all of the cluster": {s.tags(""), []string{one.ID, two.ID}},
		"one member":         {s.tags("m1"), []string{one.ID}},
		"any member":         {iaas.Tags{fleet.TagCluster: s.run, fleet.TagMember: ""}, []string{one.ID, two.ID}},
		"by token":           {iaas.Tags{fleet.TagToken: s.run + "/m2/disk"}, []string{two.ID}},
		"no such member":     {s.tags("m3"), nil},
	}
	for name, c := range cases {
		s.eventually("the list of "+name, func() bool {
			disks, err := s.Provider.ListDisks(s.ctx, c.tags)
			ids := map[string]bool{}
			for _, d := range disks {
				ids[d.ID] = true
			}
			return s.passing(err) && err == nil && sameIDs(ids, c.want)
		})
	}
}

func testDiskIsTagged(t *testing.T, s *suite) {
	d := s.create(s.createRequest("m1"))
	more := iaas.Tags{fleet.TagMember: "m7", "colour": "red"}
	s.succeeds("tag", func() error { return s.Provider.TagDisk(s.ctx, d.ID, more) })
	s.succeeds("tag again", func() error { return s.Provider.TagDisk(s.ctx, d.ID, more) })
	s.eventually("the disk is found by its new tags", func() bool {
		disks, err := s.Provider.ListDisks(s.ctx, iaas.Tags{fleet.TagCluster: s.run, fleet.TagMember: "m7", "colour": "red"})
		return s.passing(err) && err == nil && len(disks) == 1 && disks[0].ID == d.ID
	})
	s.eventually("the disk is not found by its old tag", func() bool {
		disks, err := s.Provider.ListDisks(s.ctx, s.tags("m1"))
		return s.passing(err) && err == nil && len(disks) == 0
	})
	require.Equal(t, s.run+"/m1/disk", s.awaitDisk(d.ID, fleet.DiskAvailable).Tags[fleet.TagToken], "other tags stay")
	s.needing(ChecksTags, "a tag without a key", func(s *suite) {
		s.refused(fleet.Invalid, "a tag without a key", func() error {
			return s.Provider.TagDisk(s.ctx, d.ID, iaas.Tags{"": "x"})
		})
	})
}

func testAbsentDisk(t *testing.T, s *suite) {
	id := s.AbsentDisk
	require.NoError(t, s.Provider.DeleteDisk(s.ctx, id), "what does not exist is deleted")
	needs := map[string]Ability{"tag": ChecksTags}
	for name, call := range map[string]func() error{
		"look":   func() error { _, err := s.Provider.Disk(s.ctx, id); return err },
		"grow":   func() error { return s.Provider.GrowDisk(s.ctx, id, fleet.TiB) },
		"tag":    func() error { return s.Provider.TagDisk(s.ctx, id, s.tags("m1")) },
		"detach": func() error { return s.Provider.DetachDisk(s.ctx, id) },
		"attach": func() error { return s.Provider.AttachDisk(s.ctx, id, s.AbsentHost) },
	} {
		s.needing(needs[name], name, func(s *suite) {
			require.Equal(s.t, fleet.NotFound, fleet.KindOf(call()), "%s of an absent disk", name)
		})
	}
}

func testAttach(t *testing.T, s *suite) {
	p := s.Provider
	d := s.create(s.createRequest("m1"))
	one, two := s.launch(s.launchRequest("m1")), s.launch(s.launchRequest("m2"))
	s.awaitHost(one.ID, fleet.HostRunning)
	s.awaitHost(two.ID, fleet.HostRunning)

	s.refused(fleet.NotFound, "attach to an absent host", func() error { return p.AttachDisk(s.ctx, d.ID, s.AbsentHost) })
	s.succeeds("attach", func() error { return p.AttachDisk(s.ctx, d.ID, one.ID) })
	s.succeeds("attach again", func() error { return p.AttachDisk(s.ctx, d.ID, one.ID) })
	require.Equal(t, one.ID, s.awaitDisk(d.ID, fleet.DiskInUse).HostID)

	s.refused(fleet.Conflict, "attach to a second host", func() error { return p.AttachDisk(s.ctx, d.ID, two.ID) })
	s.refused(fleet.Conflict, "delete of an attached disk", func() error { return p.DeleteDisk(s.ctx, d.ID) })
	larger := d.Size + 10*fleet.GiB
	s.succeeds("grow in use", func() error { return p.GrowDisk(s.ctx, d.ID, larger) })
	s.eventually("disk has its new size", func() bool { return s.awaitDisk(d.ID, fleet.DiskInUse).Size == larger })

	s.needing(DetachesByDisk, "to another host", func(s *suite) {
		s.succeeds("detach", func() error { return p.DetachDisk(s.ctx, d.ID) })
		require.Empty(s.t, s.awaitDisk(d.ID, fleet.DiskAvailable).HostID)
		s.succeeds("detach again", func() error { return p.DetachDisk(s.ctx, d.ID) })

		s.succeeds("stop", func() error { return p.StopHost(s.ctx, two.ID) })
		s.awaitHost(two.ID, fleet.HostStopped)
		s.succeeds("attach to a stopped host", func() error { return p.AttachDisk(s.ctx, d.ID, two.ID) })
		require.Equal(s.t, two.ID, s.awaitDisk(d.ID, fleet.DiskInUse).HostID)
		s.succeeds("start", func() error { return p.StartHost(s.ctx, two.ID) })
		s.awaitHost(two.ID, fleet.HostRunning)
		require.Equal(s.t, two.ID, s.awaitDisk(d.ID, fleet.DiskInUse).HostID, "a disk stays attached over stop and start")
	})
}

func testAttachAcrossZones(t *testing.T, s *suite) {
	zones, err := s.Provider.Zones(s.ctx)
	require.NoError(t, err)
	if len(zones) < 2 {
		t.Skip("the region has one zone")
	}
	req := s.createRequest("m1")
	req.Zone = zones[1]
	d, h := s.create(req), s.launched(s.launchRequest("m1"))
	s.refused(fleet.Invalid, "attach to a host of another zone", func() error {
		return s.Provider.AttachDisk(s.ctx, d.ID, h.ID)
	})
}

func testTerminateKeepsDisks(t *testing.T, s *suite) {
	d, h := s.create(s.createRequest("m1")), s.launched(s.launchRequest("m1"))
	s.succeeds("attach", func() error { return s.Provider.AttachDisk(s.ctx, d.ID, h.ID) })
	s.awaitDisk(d.ID, fleet.DiskInUse)
	s.succeeds("terminate", func() error { return s.Provider.TerminateHost(s.ctx, h.ID) })
	s.awaitHostGone(h.ID)
	require.Empty(t, s.awaitDisk(d.ID, fleet.DiskAvailable).HostID, "a data disk outlives its host")
}
