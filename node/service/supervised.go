package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node/internal/durable"
)

const (
	// initPatience is how long a wish waits for the supervisor to come up and take
	// it: a host that boots right now has it within a second.
	initPatience = 5 * time.Second
	// wishPoll is how often a waiting verb looks at what the supervisor wrote.
	wishPoll = 25 * time.Millisecond
)

// Supervised is the Manager of hosts without systemd. It writes what is wanted
// to files and waits for the supervisor (flotilla-node init) to do it.
type Supervised struct{ files files }

// NewSupervised gives the manager of the services below root.
func NewSupervised(root string) *Supervised { return &Supervised{files{root}} }

func failed(name, action string, err error) error {
	return fleet.Errorf(fleet.Unavailable, "service "+name, "could not be %s: %w", action, err)
}

// Install is Manager's.
func (m *Supervised) Install(_ context.Context, s Service) error {
	if err := m.files.make(); err != nil {
		return failed(s.Name, "installed", err)
	}
	d, _, err := m.files.readDesired(s.Name)
	if err != nil {
		return failed(s.Name, "installed", err)
	}
	if reflect.DeepEqual(d.Service, s) {
		return nil
	}
	d.Service = s
	d.Since = d.Generation + 1
	if err := durable.WriteJSON(m.files.desired(s.Name), d, 0o644); err != nil {
		return failed(s.Name, "installed", err)
	}
	return nil
}

// Start is Manager's.
func (m *Supervised) Start(ctx context.Context, name string) error { return m.start(ctx, name, false) }

// Restart is Manager's.
func (m *Supervised) Restart(ctx context.Context, name string) error { return m.start(ctx, name, true) }

func (m *Supervised) start(ctx context.Context, name string, anew bool) error {
	status, err := m.Status(ctx, name)
	if err != nil {
		return err
	}
	if !status.Installed {
		return fleet.Errorf(fleet.Conflict, "service "+name, "is not installed")
	}
	// First of all: a wish that nobody hears would come true at some later boot.
	if err := m.awaitInit(ctx, name); err != nil {
		return err
	}
	if status.Wanted && status.Running && status.Current && !anew {
		return nil
	}
	return m.wish(ctx, name, true)
}

// wish writes a new generation of what is wanted and waits until it is so.
func (m *Supervised) wish(ctx context.Context, name string, run bool) error {
	d, found, err := m.files.readDesired(name)
	if err != nil || !found {
		return failed(name, "changed", errors.Join(err, errors.New("its desired state cannot be read")))
	}
	d.Run = run
	d.Generation++
	if err := durable.WriteJSON(m.files.desired(name), d, 0o644); err != nil {
		return failed(name, "changed", err)
	}
	patience, cancel := context.WithTimeout(ctx, StopTimeout+initPatience)
	defer cancel()
	ticker := time.NewTicker(wishPoll)
	defer ticker.Stop()
	for {
		switch {
		case m.files.readRecord(name).Generation >= d.Generation:
			return nil
		case !m.initRuns():
			return m.withoutInit(ctx, name, run)
		}
		select {
		case <-patience.Done():
			return failed(name, "changed", errors.New("the supervisor does not react"))
		case <-ticker.C:
		}
	}
}

// withoutInit does what can be done while no supervisor runs. What is wanted is
// written already: the next one begins with it.
func (m *Supervised) withoutInit(ctx context.Context, name string, run bool) error {
	if run {
		return noInit(name)
	}
	rec, found, err := m.files.find(name)
	if err != nil {
		return failed(name, "stopped", err)
	}
	if found {
		if err := endProcess(ctx, rec.PID, rec.Identity); err != nil {
			return failed(name, "stopped", err)
		}
	}
	return nil
}

func noInit(name string) error {
	return fleet.Errorf(fleet.Unavailable, "service "+name, "the supervisor does not run on this host").
		WithRemedy("start it with: flotilla-node init")
}

// awaitInit waits until the supervisor runs, for a while.
func (m *Supervised) awaitInit(ctx context.Context, name string) error {
	patience, cancel := context.WithTimeout(ctx, initPatience)
	defer cancel()
	ticker := time.NewTicker(wishPoll)
	defer ticker.Stop()
	for !m.initRuns() {
		select {
		case <-patience.Done():
			return noInit(name)
		case <-ticker.C:
		}
	}
	return nil
}

// initRuns says whether a supervisor runs: it writes itself into its lock. The
// lock is not tried, because that could make a supervisor that starts just now
// believe that it is the second one.
func (m *Supervised) initRuns() bool {
	text, err := os.ReadFile(m.files.lock())
	if err != nil {
		return false
	}
	var pid int
	var id string
	if _, err := fmt.Fscan(strings.NewReader(string(text)), &pid, &id); err != nil {
		return false
	}
	return alive(pid, identity(id))
}

// Stop is Manager's. It also works while no supervisor runs.
func (m *Supervised) Stop(ctx context.Context, name string) error {
	status, err := m.Status(ctx, name)
	if err != nil {
		return err
	}
	if !status.Installed || !status.Wanted && !status.Running {
		return nil
	}
	return m.wish(ctx, name, false)
}

// Status is Manager's.
func (m *Supervised) Status(_ context.Context, name string) (Status, error) {
	d, found, err := m.files.readDesired(name)
	if err != nil {
		return Status{}, failed(name, "looked at", err)
	}
	if !found {
		return Status{}, nil
	}
	s := Status{Installed: true, Wanted: d.Run}
	rec := m.files.readRecord(name)
	if s.Running = alive(rec.PID, rec.Identity); !s.Running {
		if rec, s.Running, err = m.files.find(name); err != nil {
			return Status{}, failed(name, "looked at", err)
		}
	}
	if s.Running {
		s.PID, s.Started, s.Began = rec.PID, rec.Started, began(rec.PID)
		s.Current = rec.Generation >= d.Since
	}
	s.Restarts, s.LastExit, s.LastOutput = rec.Restarts, rec.LastExit, rec.LastOutput
	return s, nil
}

// Remove is Manager's.
func (m *Supervised) Remove(ctx context.Context, name string) error {
	if err := m.Stop(ctx, name); err != nil {
		return err
	}
	for _, path := range []string{
		m.files.desired(name), m.files.status(name), m.files.log(name), rotated(m.files.log(name)),
	} {
		if err := durable.Remove(path); err != nil {
			return failed(name, "removed", err)
		}
	}
	return nil
}
