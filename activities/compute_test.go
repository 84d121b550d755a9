package activities

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// shy is a cloud that shows a host for a while only, and says of it what it knows when its
// token is used again.
type shy struct {
	iaas.Provider
	from, until time.Duration // since it was bought
	ended       bool          // what is said when its token is used again
	bought      time.Time
	asked       int
}

func (s *shy) LaunchHost(_ context.Context, req iaas.LaunchHostRequest) (fleet.Host, error) {
	if s.asked++; s.asked == 1 {
		s.bought = time.Now()
		return fleet.Host{ID: "i-1", State: fleet.HostPending}, nil
	}
	h := fleet.Host{ID: "i-1", Name: req.Name, State: fleet.HostPending}
	if s.ended {
		h.State, h.Reason = fleet.HostTerminated, "it was released"
	}
	return h, nil
}

func (s *shy) Host(context.Context, string) (fleet.Host, error) {
	since := time.Since(s.bought)
	if since < s.from || since >= s.until {
		return fleet.Host{}, fleet.Errorf(fleet.NotFound, "host i-1", "there is none")
	}
	h := fleet.Host{ID: "i-1", State: fleet.HostPending, Zone: "a", Address: "10.0.0.1"}
	if since >= s.from+time.Second {
		h.State = fleet.HostRunning
	}
	return h, nil
}

// A host that is taken back before anybody has looked is not waited for as one that looks
// lag behind; one that is late is.
func TestHostThatIsNotSeen(t *testing.T) {
	const forever = time.Hour
	for name, c := range map[string]struct {
		cloud shy
		held  bool // it is there already
		fails string
		after time.Duration // at most
	}{
		"at once":            {cloud: shy{until: forever}, after: 5 * time.Second},
		"late":               {cloud: shy{from: 40 * time.Second, until: forever}, after: 50 * time.Second},
		"never, and ended":   {cloud: shy{until: 0, ended: true}, fails: "was terminated it was released", after: flicker + 5*time.Second},
		"never":              {cloud: shy{until: 0}, fails: "does not exist any more", after: settling + 5*time.Second},
		"for a moment":       {cloud: shy{until: 500 * time.Millisecond}, fails: "does not exist any more", after: flicker + 5*time.Second},
		"there before, gone": {cloud: shy{until: 0}, held: true, fails: "does not exist any more", after: flicker + 5*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, began := c.cloud, time.Now()
				compute := &Compute{Region{Provider: &cloud}}
				step := fleet.Step{Kind: fleet.LaunchHost, Member: "orders-1", Zone: "a", Token: "t"}
				if cloud.bought = began; c.held {
					step.HostID = "i-1"
				}
				_, err := as(t, func(ctx context.Context) error {
					_, err := compute.LaunchHost(ctx, fleet.StepRequest{Operation: operation(), Step: step})
					return err
				})
				require.LessOrEqual(t, time.Since(began), c.after)
				if c.fails == "" {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, "i-1 "+c.fails)
				require.Contains(t, kindAndFinality(t, err), "lost, final")
				require.True(t, !c.held || cloud.asked == 0, "nothing is bought")
			})
		})
	}
}

// shyDisk is shy of a disk, which is attached at once when it is seen.
type shyDisk struct {
	shy
	attached bool
}

func (s *shyDisk) CreateDisk(_ context.Context, req iaas.CreateDiskRequest) (fleet.Disk, error) {
	if s.asked++; s.asked == 1 {
		s.bought = time.Now()
	}
	d := fleet.Disk{ID: "d-1", Name: req.Name, State: fleet.DiskCreating}
	if s.asked > 1 && s.ended {
		d.State = fleet.DiskDeleted
	}
	return d, nil
}

func (s *shyDisk) Disk(context.Context, string) (fleet.Disk, error) {
	since := time.Since(s.bought)
	if since < s.from || since >= s.until {
		return fleet.Disk{}, fleet.Errorf(fleet.NotFound, "disk d-1", "there is none")
	}
	d := fleet.Disk{ID: "d-1", State: fleet.DiskCreating}
	switch {
	case s.attached:
		d.State, d.HostID = fleet.DiskInUse, "i-1"
	case since >= s.from+time.Second:
		d.State = fleet.DiskAvailable
	}
	return d, nil
}

func (s *shyDisk) AttachDisk(context.Context, string, string) error {
	s.attached = true
	return nil
}

// A disk that is deleted before anybody has looked is not waited for either.
func TestDiskThatIsNotSeen(t *testing.T) {
	const forever = time.Hour
	for name, c := range map[string]struct {
		cloud shy
		held  bool // it is there already
		fails bool
		after time.Duration // at most
	}{
		"at once":            {cloud: shy{until: forever}, after: 5 * time.Second},
		"late":               {cloud: shy{from: 40 * time.Second, until: forever}, after: 50 * time.Second},
		"there before, late": {cloud: shy{from: 5 * time.Second, until: forever}, held: true, after: 15 * time.Second},
		"never, and deleted": {cloud: shy{until: 0, ended: true}, fails: true, after: flicker + 5*time.Second},
		"never":              {cloud: shy{until: 0}, fails: true, after: settling + 5*time.Second},
		"for a moment":       {cloud: shy{until: 500 * time.Millisecond}, fails: true, after: flicker + 5*time.Second},
		"there before, gone": {cloud: shy{until: 0}, held: true, fails: true, after: flicker + 5*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cloud, began := &shyDisk{shy: c.cloud}, time.Now()
				step := fleet.Step{Kind: fleet.AttachDisk, Member: "orders-1", Zone: "a", HostID: "i-1", Token: "t"}
				if cloud.bought = began; c.held {
					step.DiskID = "d-1"
				}
				_, err := as(t, func(ctx context.Context) error {
					_, err := (&Compute{Region{Provider: cloud}}).AttachDisk(ctx, fleet.StepRequest{Operation: operation(), Step: step})
					return err
				})
				require.LessOrEqual(t, time.Since(began), c.after)
				require.True(t, !c.held || cloud.asked == 0, "nothing is bought")
				if !c.fails {
					require.NoError(t, err)
					return
				}
				require.ErrorContains(t, err, "d-1 does not exist any more")
				require.Contains(t, kindAndFinality(t, err), "lost, final")
			})
		})
	}
}
