package activities

import (
	"context"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// ended gives fleet.Lost if a step's host has ended for good: a cloud may take one back
// at any moment, and what is to be done on it then can never be done. Nil if it has not,
// and if that cannot be told.
func (r Region) ended(ctx context.Context, step fleet.Step) error {
	if step.HostID == "" {
		return nil
	}
	host, err := r.Provider.Host(ctx, step.HostID)
	switch {
	case fleet.Is(err, fleet.NotFound):
		return fleet.Errorf(fleet.Lost, "host of "+step.Member, "%s does not exist any more", step.HostID)
	case err == nil && (host.State == fleet.HostTerminating || host.State == fleet.HostTerminated):
		return fleet.Errorf(fleet.Lost, "host "+host.Name, "%s was terminated %s", host.ID, host.Reason)
	}
	return nil
}

// orEnded gives what became of a step's host in place of an error that its end explains.
func (r Region) orEnded(ctx context.Context, step fleet.Step, err error) error {
	if !fleet.Is(err, fleet.NotFound) && !fleet.Is(err, fleet.Conflict) && !fleet.Is(err, fleet.Unavailable) {
		return err
	}
	if lost := r.ended(ctx, step); lost != nil {
		return lost
	}
	return err
}

// endedEvery is how often a wait for what a host does looks whether there still is one.
const endedEvery = 5 * time.Second
