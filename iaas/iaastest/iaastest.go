// Package iaastest is the suite that every provider of iaas must pass. It speaks
// to a provider through the interface alone and assumes neither speed nor
// immediate consistency: what should become true is asked for until it is, or
// until patience ends.
package iaastest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Env is a provider and what the suite must know to judge it.
type Env struct {
	Provider iaas.Provider
	// Patience is how long a state may take to come. 30 s if zero.
	Patience time.Duration
	// Poll is the pause between two looks. 25 ms if zero.
	Poll time.Duration
	// NoCommands leaves out what needs hosts that run commands.
	NoCommands bool
	// Lacks names what an emulator does not do that the cloud does. What needs it is
	// skipped by its name; the rest of its group is tested.
	Lacks []Ability
	// AbsentHost, AbsentDisk and AbsentSnapshot are well-formed IDs of what never existed.
	AbsentHost, AbsentDisk, AbsentSnapshot string
}

// Ability is what a cloud does and an emulator of it may not.
type Ability string

// The abilities that emulators may lack.
const (
	// RemembersTokens: what was bought with a token is given again.
	RemembersTokens Ability = "tokens"
	// KnowsWhatItSells: types, zones and categories that there are none of are refused.
	KnowsWhatItSells Ability = "catalogue"
	// ChecksTags: what does not exist, and a tag without a key, are refused.
	ChecksTags Ability = "tags"
	// DetachesByDisk: a disk is detached without naming the host that has it.
	DetachesByDisk Ability = "detach"
	// KeepsSnapshots: disk snapshots go through their states, and disks are made from them.
	KeepsSnapshots Ability = "snapshots"
)

// Abilities are all of them.
func Abilities() []Ability {
	return []Ability{RemembersTokens, KnowsWhatItSells, ChecksTags, DetachesByDisk, KeepsSnapshots}
}

// Run holds a provider to its promises. open is called for each group of tests
// and may give the same provider each time: the suite tells its own resources
// by tags, and ends them.
func Run(t *testing.T, open func(t *testing.T) Env) {
	groups := []struct {
		name string
		test func(t *testing.T, s *suite)
	}{
		{"Capacity", testCapacity},
		{"LaunchIsIdempotent", testLaunchIsIdempotent},
		{"LaunchConcurrently", testLaunchConcurrently},
		{"LaunchRefused", testLaunchRefused},
		{"HostLifecycle", testHostLifecycle},
		{"HostTags", testHostTags},
		{"HostIsTagged", testHostIsTagged},
		{"AbsentHost", testAbsentHost},
		{"CreateIsIdempotent", testCreateIsIdempotent},
		{"CreateConcurrently", testCreateConcurrently},
		{"CreateRefused", testCreateRefused},
		{"DiskLifecycle", testDiskLifecycle},
		{"DiskRetype", testDiskRetype},
		{"DiskTags", testDiskTags},
		{"DiskIsTagged", testDiskIsTagged},
		{"AbsentDisk", testAbsentDisk},
		{"Attach", testAttach},
		{"AttachAcrossZones", testAttachAcrossZones},
		{"TerminateKeepsDisks", testTerminateKeepsDisks},
		{"Snapshot", testSnapshot},
		{"SnapshotConcurrently", testSnapshotConcurrently},
		{"SnapshotOutlivesDisk", testSnapshotOutlivesDisk},
		{"SnapshotRefused", testSnapshotRefused},
		{"Commands", testCommands},
		{"CommandsOfStoppedHost", testCommandsOfStoppedHost},
		{"Context", testContext},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			s := newSuite(t, open(t))
			if s.NoCommands && strings.HasPrefix(g.name, "Commands") {
				t.Skip("commands are left out")
			}
			if strings.HasPrefix(g.name, "Snapshot") {
				s.needs(KeepsSnapshots)
			}
			g.test(t, s)
		})
	}
}

// suite is one group of tests at work.
type suite struct {
	Env
	t   *testing.T
	ctx context.Context
	// run tells what this group bought from what anybody else did.
	run string
}

func newSuite(t *testing.T, env Env) *suite {
	if env.Patience == 0 {
		env.Patience = 30 * time.Second
	}
	if env.Poll == 0 {
		env.Poll = 25 * time.Millisecond
	}
	if env.AbsentHost == "" {
		env.AbsentHost = "absent"
	}
	if env.AbsentDisk == "" {
		env.AbsentDisk = "absent"
	}
	if env.AbsentSnapshot == "" {
		env.AbsentSnapshot = "absent"
	}
	return &suite{Env: env, t: t, ctx: t.Context(), run: random()}
}

// within is the same group for a test inside it.
func (s *suite) within(t *testing.T) *suite {
	inner := *s
	inner.t, inner.ctx = t, t.Context()
	return &inner
}

// needs skips what is under way where the ability is lacked.
func (s *suite) needs(a Ability) {
	s.t.Helper()
	if slices.Contains(s.Lacks, a) {
		s.t.Skipf("the endpoint lacks %q", a)
	}
}

// needing makes a test inside the group, of what needs an ability; none if empty.
func (s *suite) needing(a Ability, name string, test func(s *suite)) {
	s.t.Helper()
	s.t.Run(name, func(t *testing.T) {
		inner := s.within(t)
		inner.needs(a)
		test(inner)
	})
}

func random() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// tags are those of this group, and one member's.
func (s *suite) tags(member string) iaas.Tags {
	tags := iaas.Tags{fleet.TagCluster: s.run}
	if member != "" {
		tags[fleet.TagMember] = member
	}
	return tags
}

func (s *suite) zone() string {
	zones, err := s.Provider.Zones(s.ctx)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, zones, "a region has zones")
	return zones[0]
}

// types gives the names of two machine types.
func (s *suite) types() (string, string) {
	types, err := s.Provider.MachineTypes(s.ctx)
	require.NoError(s.t, err)
	require.GreaterOrEqual(s.t, len(types), 2, "a region has machine types to resize between")
	return types[0].Name, types[1].Name
}

func (s *suite) category() string {
	categories, err := s.Provider.DiskCategories(s.ctx)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, categories, "a region has disk categories")
	return categories[0]
}

func (s *suite) launchRequest(member string) iaas.LaunchHostRequest {
	small, _ := s.types()
	return iaas.LaunchHostRequest{
		Token: s.run + "/" + member + "/host", Name: s.run + "-" + member, Zone: s.zone(), Type: small, Tags: s.tags(member),
	}
}

func (s *suite) createRequest(member string) iaas.CreateDiskRequest {
	return iaas.CreateDiskRequest{
		Token: s.run + "/" + member + "/disk", Name: s.run + "-" + member, Zone: s.zone(), Size: 20 * fleet.GiB,
		Category: s.category(), Tags: s.tags(member),
	}
}

// launch buys a host and ends it when the test is over.
func (s *suite) launch(req iaas.LaunchHostRequest) fleet.Host {
	s.t.Helper()
	h, err := s.Provider.LaunchHost(s.ctx, req)
	require.NoError(s.t, err, "launch host %s", req.Name)
	require.NotEmpty(s.t, h.ID)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		s.eventually("host "+h.ID+" terminates at the end", func() bool {
			if err := s.Provider.TerminateHost(ctx, h.ID); err != nil {
				return false
			}
			h, err := s.Provider.Host(ctx, h.ID)
			return fleet.Is(err, fleet.NotFound) || err == nil && h.State == fleet.HostTerminated
		})
	})
	return h
}

// launched buys a host and waits until it runs.
func (s *suite) launched(req iaas.LaunchHostRequest) fleet.Host {
	s.t.Helper()
	return s.awaitHost(s.launch(req).ID, fleet.HostRunning)
}

// create buys a disk, waits until it is there, and ends it when the test is over.
func (s *suite) create(req iaas.CreateDiskRequest) fleet.Disk {
	s.t.Helper()
	d, err := s.Provider.CreateDisk(s.ctx, req)
	require.NoError(s.t, err, "create disk %s", req.Name)
	require.NotEmpty(s.t, d.ID)
	s.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.Patience)
		defer cancel()
		s.eventually("disk "+d.ID+" is deleted at the end", func() bool {
			_ = s.Provider.DetachDisk(ctx, d.ID) // the delete tells whether it worked
			return s.Provider.DeleteDisk(ctx, d.ID) == nil
		})
	})
	return s.awaitDisk(d.ID, fleet.DiskAvailable)
}

func (s *suite) awaitHost(id string, state fleet.HostState) fleet.Host {
	s.t.Helper()
	var h fleet.Host
	s.eventually("host "+id+" is "+string(state), func() bool {
		var err error
		h, err = s.Provider.Host(s.ctx, id)
		return s.passing(err) && err == nil && h.State == state
	})
	return h
}

func (s *suite) awaitHostGone(id string) {
	s.t.Helper()
	s.eventually("host "+id+" is terminated", func() bool {
		h, err := s.Provider.Host(s.ctx, id)
		return fleet.Is(err, fleet.NotFound) || s.passing(err) && err == nil && h.State == fleet.HostTerminated
	})
}

func (s *suite) awaitDisk(id string, state fleet.DiskState) fleet.Disk {
	s.t.Helper()
	var d fleet.Disk
	s.eventually("disk "+id+" is "+string(state), func() bool {
		var err error
		d, err = s.Provider.Disk(s.ctx, id)
		return s.passing(err) && err == nil && d.State == state
	})
	return d
}

// passing fails the test at an error that no waiting mends.
func (s *suite) passing(err error) bool {
	s.t.Helper()
	if err != nil && !transient(err) {
		require.NoError(s.t, err)
	}
	return true
}

// transient says that an error may be due to a list or a state that lags behind.
func transient(err error) bool {
	switch fleet.KindOf(err) {
	case fleet.NotFound, fleet.Throttled, fleet.Unavailable:
		return true
	}
	return false
}

// succeeds asks until it is done, as what was just bought may not be seen yet.
func (s *suite) succeeds(what string, call func() error) {
	s.t.Helper()
	s.eventually(what, func() bool {
		err := call()
		return s.passing(err) && err == nil
	})
}

// refused wants an error of this kind from a call, whatever passes before.
func (s *suite) refused(kind fleet.Kind, what string, call func() error) {
	s.t.Helper()
	var err error
	s.eventually(what+" is "+string(kind), func() bool {
		err = call()
		require.Error(s.t, err, "%s must be refused as %s", what, kind)
		return fleet.Is(err, kind) || !transient(err)
	})
	require.Equal(s.t, kind, fleet.KindOf(err), "%s: %v", what, err)
}

// eventually looks until something is so.
func (s *suite) eventually(what string, so func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(s.Patience)
	defer deadline.Stop()
	tick := time.NewTicker(s.Poll)
	defer tick.Stop()
	for !so() {
		select {
		case <-deadline.C:
			require.FailNow(s.t, "patience has ended", "%s: not within %v", what, s.Patience)
		case <-tick.C:
		}
	}
}
