package simtest

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// LostAnswers loses the answer of each action in turn, once or as often as often says, in a
// life of a host and a disk: nothing is done twice. open gives a region of its own.
func LostAnswers(t *testing.T, actions []string, often map[string]int, open func(*testing.T) Stand) {
	for _, action := range actions {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s, times := open(t), max(1, often[action])
			s.World.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer, Target: cloudsim.Target{Action: action}, Times: times})
			s.Live()
			require.Equal(t, times, s.World.Struck(cloudsim.LoseAnswer), "answers were lost")
		})
	}
}

// RetypesOnce makes a disk in use a larger one of another category, with the answer of each
// of the actions lost in turn that it takes: none of them is done twice.
func RetypesOnce(t *testing.T, actions []string, open func(*testing.T) Stand) {
	for _, lost := range actions {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			s, size := open(t), 30*fleet.GiB
			h, err := s.LaunchHost(t.Context(), s.Request("host"))
			require.NoError(t, err)
			d, err := s.CreateDisk(t.Context(), iaas.CreateDiskRequest{
				Token: "disk", Name: "m1", Zone: s.Goods.Zone, Size: 20 * fleet.GiB, Category: s.Goods.Category,
			})
			require.NoError(t, err)
			s.Await("the host runs", func(ctx context.Context) (bool, error) {
				now, err := s.Host(ctx, h.ID)
				return now.State == fleet.HostRunning, err
			})
			s.Insist("attach", func(ctx context.Context) error { return s.AttachDisk(ctx, d.ID, h.ID) })
			s.Await("the disk is in use", func(ctx context.Context) (bool, error) {
				now, err := s.Disk(ctx, d.ID)
				return now.State == fleet.DiskInUse, err
			})
			s.World.Inject(cloudsim.Fault{Kind: cloudsim.LoseAnswer, Target: cloudsim.Target{Action: lost}, Times: 1})
			s.Await("it is another one", func(ctx context.Context) (bool, error) {
				if err := s.RetypeDisk(ctx, d.ID, s.Goods.Other, size); err != nil {
					return false, err
				}
				now, err := s.Disk(ctx, d.ID)
				return now.Category == s.Goods.Other && now.Size == size && now.State == fleet.DiskInUse && now.HostID == h.ID, err
			})
			require.Equal(t, 1, s.World.Struck(cloudsim.LoseAnswer), "an answer was lost")
			for _, action := range actions {
				require.Equal(t, 1, s.World.Done(action), "%s was done", action)
			}
		})
	}
}

// NoStock says that a zone without stock, and a type that a zone does not sell, are told
// from everything else at once and not asked for again; a new token in another zone buys.
func (s Stand) NoStock(elsewhere, rareThere string) {
	t := s.T
	t.Helper()
	heal := s.World.Inject(cloudsim.Fault{Kind: cloudsim.NoStockLeft, Target: cloudsim.Target{Zone: s.Goods.Zone}})
	defer heal()
	_, err := s.LaunchHost(t.Context(), s.Request("one"))
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(err), "%v", err)
	require.Equal(t, 1, s.World.Count("RunInstances"))
	other := s.Request("two")
	other.Zone = elsewhere
	h, err := s.LaunchHost(t.Context(), other)
	require.NoError(t, err)
	require.Equal(t, elsewhere, h.Zone)
	rare := s.Request("three")
	rare.Zone, rare.Type = elsewhere, rareThere
	_, err = s.LaunchHost(t.Context(), rare)
	require.Equal(t, fleet.OutOfCapacity, fleet.KindOf(err), "a type that the zone does not sell: %v", err)
}

// LaunchesAgain says that a purchase which is asked for again by a worker with a newer
// configuration is the one that was made: what the image or the user data is now changes
// nothing about it. configure sets the user data of the worker; the cloud is named in what
// it says of one that is too long.
func (s Stand) LaunchesAgain(cloud string, configure func(userData string)) {
	t := s.T
	t.Helper()
	configure("#cloud-config\n# link 1")
	h, err := s.LaunchHost(t.Context(), s.Request("one"))
	require.NoError(t, err)
	configure("#cloud-config\n# link 2")
	var again fleet.Host
	s.Await("it is found", func(ctx context.Context) (bool, error) { // lists lag
		again, err = s.LaunchHost(ctx, s.Request("one"))
		return !fleet.Is(err, fleet.Invalid), nil
	})
	require.NoError(t, err)
	require.Equal(t, h.ID, again.ID)
	other := s.Request("one")
	other.Type = s.Goods.Larger
	_, err = s.LaunchHost(t.Context(), other)
	require.Equal(t, fleet.Invalid, fleet.KindOf(err), "another request: %v", err)
	hosts, _ := s.World.Bought()
	require.Equal(t, 1, hosts)
	configure(strings.Repeat("long", 5000))
	_, err = s.LaunchHost(t.Context(), s.Request("two"))
	require.ErrorContains(t, err, cloud+" takes 16384")
}
