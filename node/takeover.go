package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
	"github.com/flotilla-etcd/flotilla/node/service"
)

// takeover is the part of an adoption that moves the data. Everything that can be
// refused is refused before the old process is touched.
type takeover struct {
	n    *Node
	m    member
	from string        // the "member" directory
	unit *service.Unit // what runs it, or nil
}

func (t takeover) resource() string { return resourceOf(t.m.Member) }
func (t takeover) store() string    { return filepath.Join(t.from, "snap/db") }

func (t takeover) run(ctx context.Context, start StartRequest) error {
	if err := durable.CanExchange(t.m.dataDir(t.n)); err != nil {
		return fleet.Errorf(fleet.Denied, "disk "+t.m.DiskID, "its file system cannot exchange two names in one step, which an adoption needs: %w", err).
			WithRemedy("use ext4, xfs or btrfs")
	}
	running, err := t.strangers()
	if err != nil {
		return err
	}
	if err := t.checkRunBy(ctx, running); err != nil {
		return err
	}
	if err := t.checkPortsBefore(ctx, start, running); err != nil {
		return err
	}
	// From here on until the data is ours, nothing else is done with the member.
	t.m.Adopting = filepath.Dir(t.from)
	if err := t.n.writeMember(t.m); err != nil {
		return err
	}
	if err := t.n.layTombstone(t.m); err != nil {
		return onHost("data of "+t.resource(), err)
	}
	if err := t.end(ctx, running); err != nil {
		return err
	}
	return t.move(ctx)
}

// strangers gives the processes that have the store open.
func (t takeover) strangers() ([]service.Stranger, error) {
	found, err := service.Strangers(t.store())
	if errors.Is(err, service.ErrCannotLook) {
		return nil, nil // the lock says whether there are any
	}
	return found, onHost("data of "+t.resource(), err)
}

// checkRunBy refuses processes that are no etcd, or are run by something else than
// the request says: they would come back as soon as they are ended.
func (t takeover) checkRunBy(ctx context.Context, running []service.Stranger) error {
	main := 0
	if t.unit != nil {
		var err error
		if main, err = t.unit.MainPID(ctx); err != nil {
			return err
		}
	}
	if main != 0 && len(running) == 0 {
		return fleet.Errorf(fleet.Invalid, t.resource(), "%s runs and does not have this data open", t.unit).
			WithRemedy("give the unit that runs it, or none")
	}
	for _, s := range running {
		switch {
		case !s.Holds(filepath.Join(t.from, "wal")):
			return fleet.Errorf(fleet.Conflict, t.resource(), "process %d has its store open and is not an etcd server", s.PID).
				WithRemedy("end it, or wait until it is done")
		case t.unit != nil && (main == 0 || !s.ComesFrom(main)):
			return fleet.Errorf(fleet.Invalid, t.resource(), "it is run by process %d, which is not of %s", s.PID, t.unit).
				WithRemedy("give the unit that runs it, or none")
		case t.unit == nil && s.Manager != "":
			return fleet.Errorf(fleet.Conflict, t.resource(), "process %d is kept running by %s", s.PID, s.Manager).
				WithRemedy("give that unit, or end the process by what keeps it running, and adopt the member then")
		}
	}
	return nil
}

// checkPortsBefore refuses ports that will not be free once the old process ends.
func (t takeover) checkPortsBefore(ctx context.Context, start StartRequest, running []service.Stranger) error {
	freed := map[int]bool{}
	for _, s := range running {
		for port := range s.Ports() {
			freed[port] = true
		}
	}
	for _, port := range []int{start.ClientPort, start.PeerPort} {
		if !freed[port] {
			if err := checkPort(ctx, start, port); err != nil {
				return err
			}
		}
	}
	return nil
}

// end ends whatever runs.
func (t takeover) end(ctx context.Context, running []service.Stranger) error {
	if t.unit != nil {
		if err := t.unit.Stop(ctx); err != nil {
			return err
		}
	}
	patience, cancel := context.WithTimeout(ctx, endPatience)
	defer cancel()
	for _, s := range running {
		if err := s.End(patience); err != nil {
			return fleet.Errorf(fleet.Unavailable, t.resource(), "process %d, which runs it, does not end", s.PID).
				WithRemedy("look what it waits for, or kill it, and adopt the member again")
		}
	}
	return nil
}

// move makes the data ours, while no etcd can have it open.
func (t takeover) move(ctx context.Context) error {
	lock, err := durable.LockExisting(t.store())
	if errors.Is(err, durable.ErrLocked) {
		who, err := t.strangers()
		if err != nil {
			return err
		}
		return t.cameBack(who)
	}
	if err != nil {
		return onHost("data of "+t.resource(), err)
	}
	defer func() { _ = lock.Unlock() }()
	if err := t.watch(ctx); err != nil {
		return err
	}
	if err := durable.Exchange(t.from, filepath.Join(t.m.dataDir(t.n), "member")); err != nil {
		return onHost("data of "+t.resource(), err)
	}
	return nil
}

// watch looks for an etcd that comes back. It waits for our lock and runs on as soon
// as that is given back, so that a refusal leaves a member that runs.
func (t takeover) watch(ctx context.Context) error {
	for deadline := time.Now().Add(comebackWatch); ; {
		back, err := t.strangers()
		if err != nil {
			return err
		}
		if len(back) > 0 {
			return t.cameBack(back)
		}
		// A unit that was stopped stays so.
		if t.unit != nil || time.Now().After(deadline) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fleet.Errorf(fleet.Unavailable, t.resource(), "the call was ended early: %w", ctx.Err())
		case <-time.After(startPoll):
		}
	}
}

// cameBack is the refusal to take the data from what was started again.
func (t takeover) cameBack(who []service.Stranger) error {
	words := "something" // where the platform does not show what
	if len(who) > 0 {
		words = fmt.Sprintf("process %d", who[0].PID)
		if who[0].Manager != "" {
			words += " of " + who[0].Manager
		}
	}
	return fleet.Errorf(fleet.Conflict, t.resource(), "%s runs it again after it was ended", words).
		WithRemedy("keep it from being started again, and adopt the member then")
}
