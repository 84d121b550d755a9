package iaastest

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

func testCapacity(t *testing.T, s *suite) {
	small, _ := s.types()
	s.category()
	ok, err := s.Provider.Available(s.ctx, s.zone(), small)
	require.NoError(t, err)
	require.True(t, ok, "zone %s sells %s", s.zone(), small)

	types, err := s.Provider.MachineTypes(s.ctx)
	require.NoError(t, err)
	for _, m := range types {
		require.NotEmpty(t, m.Name)
		require.Positive(t, m.VCPUs, m.Name)
		require.Positive(t, m.Memory, m.Name)
	}
}

func testLaunchIsIdempotent(t *testing.T, s *suite) {
	s.needs(RemembersTokens)
	req := s.launchRequest("m1")
	h := s.launch(req)

	again, err := s.Provider.LaunchHost(s.ctx, req)
	require.NoError(t, err)
	require.Equal(t, h.ID, again.ID, "the same token and request is the same host")

	_, large := s.types()
	changes := map[string]func(*iaas.LaunchHostRequest){
		"type": func(r *iaas.LaunchHostRequest) { r.Type = large },
		"tags": func(r *iaas.LaunchHostRequest) { r.Tags = s.tags("other") },
		"name": func(r *iaas.LaunchHostRequest) { r.Name += "x" },
	}
	for name, change := range changes {
		other := req
		change(&other)
		s.refused(fleet.Invalid, "the same token with another "+name, func() error {
			_, err := s.Provider.LaunchHost(s.ctx, other)
			return err
		})
	}

	s.awaitHost(h.ID, fleet.HostRunning)
	require.NoError(t, s.Provider.TerminateHost(s.ctx, h.ID))
	s.awaitHostGone(h.ID)
	ended, err := s.Provider.LaunchHost(s.ctx, req)
	require.NoError(t, err, "a token whose host has ended is still good for that host")
	require.Equal(t, h.ID, ended.ID)
	require.Contains(t, []fleet.HostState{fleet.HostTerminated, fleet.HostTerminating}, ended.State)
}

func testLaunchConcurrently(t *testing.T, s *suite) {
	s.needs(RemembersTokens)
	req := s.launchRequest("m1")
	ids := concurrently(t, func() (string, error) {
		h, err := s.Provider.LaunchHost(s.ctx, req)
		return h.ID, err
	})
	h := s.launched(req)
	for _, id := range ids {
		require.Equal(t, h.ID, id, "one token buys one host")
	}
	hosts, err := s.Provider.ListHosts(s.ctx, s.tags("m1"))
	require.NoError(t, err)
	require.Len(t, hosts, 1)
}

// concurrently makes a call eight times at once.
func concurrently(t *testing.T, call func() (string, error)) []string {
	const callers = 8
	ids, errs := make([]string, callers), make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { ids[i], errs[i] = call() })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	return ids
}

func testLaunchRefused(t *testing.T, s *suite) {
	cases := map[string]func(*iaas.LaunchHostRequest){
		"unknown zone":     func(r *iaas.LaunchHostRequest) { r.Zone = "nowhere" },
		"unknown type":     func(r *iaas.LaunchHostRequest) { r.Type = "no-such-type" },
		"no token":         func(r *iaas.LaunchHostRequest) { r.Token = "" },
		"too long a token": func(r *iaas.LaunchHostRequest) { r.Token = strings.Repeat("x", 65) },
	}
	needs := map[string]Ability{"unknown type": KnowsWhatItSells}
	for name, change := range cases {
		s.needing(needs[name], name, func(s *suite) {
			req := s.launchRequest("refused")
			change(&req)
			s.refused(fleet.Invalid, name, func() error {
				_, err := s.Provider.LaunchHost(s.ctx, req)
				return err
			})
		})
	}
	hosts, err := s.Provider.ListHosts(s.ctx, s.tags(""))
	require.NoError(t, err)
	require.Empty(t, hosts, "what was refused was not bought")
}

func testHostLifecycle(t *testing.T, s *suite) {
	req := s.launchRequest("m1")
	_, large := s.types()
	first := s.launch(req)
	require.Contains(t, []fleet.HostState{fleet.HostPending, fleet.HostRunning}, first.State)

	h := s.awaitHost(first.ID, fleet.HostRunning)
	require.Equal(t, req.Name, h.Name)
	require.Equal(t, req.Zone, h.Zone)
	require.Equal(t, req.Type, h.Type)
	require.NotEmpty(t, h.Region)
	require.NotEmpty(t, h.Address, "a running host has an address")
	require.Positive(t, h.Ports.First)
	require.GreaterOrEqual(t, h.Ports.Count, 2, "a member needs two ports")
	require.False(t, h.Launched.IsZero())

	s.succeeds("start of a running host", func() error { return s.Provider.StartHost(s.ctx, h.ID) })
	s.refused(fleet.Conflict, "resize of a running host", func() error { return s.Provider.ResizeHost(s.ctx, h.ID, large) })

	s.succeeds("stop", func() error { return s.Provider.StopHost(s.ctx, h.ID) })
	s.succeeds("stop again", func() error { return s.Provider.StopHost(s.ctx, h.ID) })
	s.awaitHost(h.ID, fleet.HostStopped)
	s.succeeds("stop of a stopped host", func() error { return s.Provider.StopHost(s.ctx, h.ID) })

	s.needing(KnowsWhatItSells, "resize to no type", func(s *suite) {
		s.refused(fleet.Invalid, "resize to no type", func() error { return s.Provider.ResizeHost(s.ctx, h.ID, "no-such-type") })
	})
	s.succeeds("resize", func() error { return s.Provider.ResizeHost(s.ctx, h.ID, large) })
	s.succeeds("resize again", func() error { return s.Provider.ResizeHost(s.ctx, h.ID, large) })
	s.eventually("host has its new type", func() bool { return s.awaitHost(h.ID, fleet.HostStopped).Type == large })

	s.succeeds("start", func() error { return s.Provider.StartHost(s.ctx, h.ID) })
	h = s.awaitHost(h.ID, fleet.HostRunning)
	require.Equal(t, large, h.Type)
	s.needing(RemembersTokens, "its token again", func(s *suite) {
		again, err := s.Provider.LaunchHost(s.ctx, req)
		require.NoError(s.t, err, "the token is that of the request, not of what became of the host")
		require.Equal(s.t, h.ID, again.ID)
	})

	s.succeeds("terminate", func() error { return s.Provider.TerminateHost(s.ctx, h.ID) })
	s.succeeds("terminate again", func() error { return s.Provider.TerminateHost(s.ctx, h.ID) })
	s.awaitHostGone(h.ID)
	s.succeeds("terminate of a terminated host", func() error { return s.Provider.TerminateHost(s.ctx, h.ID) })
	s.eventually("the list is empty", func() bool {
		hosts, err := s.Provider.ListHosts(s.ctx, s.tags(""))
		return s.passing(err) && err == nil && len(hosts) == 0
	})
}

func testHostTags(t *testing.T, s *suite) {
	one, two := s.launch(s.launchRequest("m1")), s.launch(s.launchRequest("m2"))
	cases := map[string]struct {
		tags iaas.Tags
		want []string
	}{
		"all of the cluster": {s.tags(""), []string{one.ID, two.ID}},
		"one member":         {s.tags("m2"), []string{two.ID}},
		"any member":         {iaas.Tags{fleet.TagCluster: s.run, fleet.TagMember: ""}, []string{one.ID, two.ID}},
		"by token":           {iaas.Tags{fleet.TagToken: s.run + "/m1/host"}, []string{one.ID}},
		"no such member":     {s.tags("m3"), nil},
		"no such key":        {iaas.Tags{fleet.TagCluster: s.run, "no-such-key": ""}, nil},
	}
	for name, c := range cases {
		s.eventually("the list of "+name, func() bool {
			hosts, err := s.Provider.ListHosts(s.ctx, c.tags)
			ids := map[string]bool{}
			for _, h := range hosts {
				ids[h.ID] = true
				require.Equal(t, s.run, h.Tags[fleet.TagCluster])
				require.NotEmpty(t, h.Member())
			}
			for i := 1; i < len(hosts); i++ {
				require.False(t, hosts[i].Launched.Before(hosts[i-1].Launched), "the oldest comes first")
			}
			return s.passing(err) && err == nil && sameIDs(ids, c.want)
		})
	}
}

func testHostIsTagged(t *testing.T, s *suite) {
	req := s.launchRequest("m1")
	h := s.launched(req)
	more := iaas.Tags{fleet.TagMember: "m7", "colour": "red"}
	s.succeeds("tag", func() error { return s.Provider.TagHost(s.ctx, h.ID, more) })
	s.succeeds("tag again", func() error { return s.Provider.TagHost(s.ctx, h.ID, more) })
	s.succeeds("no tags", func() error { return s.Provider.TagHost(s.ctx, h.ID, nil) })
	s.eventually("the host is found by its new tags", func() bool {
		hosts, err := s.Provider.ListHosts(s.ctx, iaas.Tags{fleet.TagCluster: s.run, fleet.TagMember: "m7", "colour": "red"})
		return s.passing(err) && err == nil && len(hosts) == 1 && hosts[0].ID == h.ID
	})
	s.eventually("the host is not found by its old tag", func() bool {
		hosts, err := s.Provider.ListHosts(s.ctx, s.tags("m1"))
		return s.passing(err) && err == nil && len(hosts) == 0
	})
	require.Equal(t, req.Token, s.awaitHost(h.ID, fleet.HostRunning).Tags[fleet.TagToken], "other tags stay")
	s.needing(RemembersTokens, "its token again", func(s *suite) {
		again, err := s.Provider.LaunchHost(s.ctx, req)
		require.NoError(s.t, err, "the token is that of the request, not of the tags")
		require.Equal(s.t, h.ID, again.ID)
	})
	s.needing(ChecksTags, "a tag without a key", func(s *suite) {
		s.refused(fleet.Invalid, "a tag without a key", func() error {
			return s.Provider.TagHost(s.ctx, h.ID, iaas.Tags{"": "x"})
		})
	})
}

func sameIDs(have map[string]bool, want []string) bool {
	for _, id := range want {
		if !have[id] {
			return false
		}
	}
	return len(have) == len(want)
}

func testAbsentHost(t *testing.T, s *suite) {
	id := s.AbsentHost
	_, large := s.types()
	require.NoError(t, s.Provider.TerminateHost(s.ctx, id), "what does not exist is terminated")
	calls := map[string]func() error{
		"look":   func() error { _, err := s.Provider.Host(s.ctx, id); return err },
		"stop":   func() error { return s.Provider.StopHost(s.ctx, id) },
		"start":  func() error { return s.Provider.StartHost(s.ctx, id) },
		"resize": func() error { return s.Provider.ResizeHost(s.ctx, id, large) },
		"tag":    func() error { return s.Provider.TagHost(s.ctx, id, s.tags("m1")) },
		"command": func() error {
			_, err := s.Provider.RunCommand(s.ctx, iaas.CommandRequest{HostID: id, Token: s.run, Script: "true"})
			return err
		},
	}
	if s.NoCommands {
		delete(calls, "command")
	}
	needs := map[string]Ability{"tag": ChecksTags}
	for name, call := range calls {
		s.needing(needs[name], name, func(s *suite) {
			require.Equal(s.t, fleet.NotFound, fleet.KindOf(call()), "%s of an absent host", name)
		})
	}
}

func testContext(t *testing.T, s *suite) {
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	p := s.Provider
	launch, create := s.launchRequest("m1"), s.createRequest("m1")
	for name, call := range map[string]func() error{
		"launch": func() error { _, err := p.LaunchHost(ctx, launch); return err },
		"host":   func() error { _, err := p.Host(ctx, s.AbsentHost); return err },
		"hosts":  func() error { _, err := p.ListHosts(ctx, nil); return err },
		"stop":   func() error { return p.StopHost(ctx, s.AbsentHost) },
		"create": func() error { _, err := p.CreateDisk(ctx, create); return err },
		"disks":  func() error { _, err := p.ListDisks(ctx, nil); return err },
		"zones":  func() error { _, err := p.Zones(ctx); return err },
		"command": func() error {
			_, err := p.RunCommand(ctx, iaas.CommandRequest{HostID: s.AbsentHost, Token: s.run, Script: "true"})
			return err
		},
	} {
		err := call()
		require.ErrorIs(t, err, context.Canceled, name)
		require.Equal(t, fleet.Unavailable, fleet.KindOf(err), name)
	}
	hosts, err := p.ListHosts(s.ctx, s.tags(""))
	require.NoError(t, err)
	require.Empty(t, hosts, "nothing was bought")
}
