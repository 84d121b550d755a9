package cloudsim

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// CommandRequest asks for a script to be run on instances.
type CommandRequest struct {
	Token       string // of clouds that take one
	Fingerprint string
	InstanceIDs []string
	Script      string
	Timeout     time.Duration
	// DeliverWithin is how long it may take to reach a host; zero: any time.
	DeliverWithin time.Duration
	Comment       string
	Attributes    map[string]string
}

// Command is a script that was sent.
type Command struct {
	ID string
	CommandRequest
	Sent     time.Time
	Sequence int64 // order in which things were bought
}

// Invocation is a command on one of its instances.
type Invocation struct {
	Command
	InstanceID string
	// Delivered says that the script reached the host.
	Delivered bool
	State     iaas.CommandState
	ExitCode  int // -1 unless it ended by itself
	Stdout    string
	Stderr    string
}

type command struct {
	Command
	visible     time.Time
	invocations map[string]*invocation // by instance
}

type invocation struct {
	machineID string // of the command on the machine; empty until it is delivered
	undone    bool   // the script did not reach its host in time, or never will
}

// Send sends a script. Every instance must run, with an agent that answers.
func (w *World) Send(req CommandRequest) (Command, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ids, err := w.usedFor("command", req.Token, req.Fingerprint)
	if err != nil {
		return Command{}, err
	}
	if ids != nil {
		return w.commands[ids[0]].Command, nil
	}
	if limit := w.cfg.Limits.Script; limit > 0 && len(req.Script) > limit {
		return Command{}, refuse(ScriptLong, "", "a script of %d bytes is longer than %d", len(req.Script), limit)
	}
	for _, id := range req.InstanceIDs {
		i, err := w.told(id)
		if err != nil {
			return Command{}, err
		}
		if i.now.State != fleet.HostRunning {
			return Command{}, refuse(InstanceState, id, "it is %s", i.now.State)
		}
		if !w.agentAnswers(i) {
			return Command{}, refuse(AgentAway, id, "its agent does not answer")
		}
	}
	w.sequence++
	c := &command{
		Command:     Command{ID: w.cfg.Names.Command(w.randomBytes()), CommandRequest: req, Sent: time.Now().UTC(), Sequence: w.sequence},
		visible:     w.lag(),
		invocations: map[string]*invocation{},
	}
	w.commands[c.ID] = c
	w.remember("command", req.Token, req.Fingerprint, []string{c.ID})
	for _, id := range req.InstanceIDs {
		c.invocations[id] = &invocation{}
		w.deliver(c, id)
	}
	return c.Command, nil
}

// AgentAnswers says whether an instance would take a command now.
func (w *World) AgentAnswers(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.instances[id]
	return ok && i.now.State == fleet.HostRunning && w.agentAnswers(i)
}

func (w *World) agentAnswers(i *instance) bool {
	v := i.now
	return w.machine != nil && !w.zoneDown(v.Zone) && time.Since(i.since) >= w.cfg.Delays.Agent &&
		!w.holds(Agentless, Target{Zone: v.Zone, Type: v.Type, ID: v.ID})
}

// deliver brings a script to its host. w.mu is held.
func (w *World) deliver(c *command, instanceID string) {
	w.drive(w.cfg.Delays.Deliver, func(ctx context.Context) bool {
		w.mu.Lock()
		i := w.instances[instanceID]
		state, away := i.now.State, !w.agentAnswers(i)
		late := c.DeliverWithin > 0 && time.Since(c.Sent) > c.DeliverWithin
		undone := late || state == fleet.HostTerminating || state == fleet.HostTerminated
		c.invocations[instanceID].undone = undone
		w.mu.Unlock()
		if undone || state != fleet.HostRunning || away {
			return undone
		}
		sent, err := w.machine.RunCommand(ctx, iaas.CommandRequest{
			HostID: instanceID, Token: c.ID, Script: c.Script, Timeout: c.Timeout,
		})
		if err != nil {
			w.log.Warn("a command was not delivered", zap.String("instance", instanceID), zap.Error(err))
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		c.invocations[instanceID].machineID = sent.ID
		return true
	})
}

// Invocation gives a command on an instance as it is seen: what an agent that is away
// does not tell is as it was before.
func (w *World) Invocation(commandID, instanceID string) (Invocation, error) {
	w.mu.Lock()
	c, ok := w.commands[commandID]
	if !ok || time.Now().Before(c.visible) || c.invocations[instanceID] == nil {
		w.mu.Unlock()
		return Invocation{}, refuse(NoCommand, commandID, "there is none on %q", instanceID)
	}
	inv := *c.invocations[instanceID]
	i := w.instances[instanceID]
	heard := i.now.State != fleet.HostRunning || w.agentAnswers(i)
	gone := i.now.State == fleet.HostTerminated
	w.mu.Unlock()
	view := Invocation{
		Command: c.Command, InstanceID: instanceID, Delivered: inv.machineID != "", State: iaas.CommandRunning, ExitCode: -1,
	}
	switch {
	case inv.undone || gone: // whatever was on the host is gone with it
		view.State = iaas.CommandLost
	case view.Delivered && heard:
		got, err := w.machine.Command(w.ctx, instanceID, inv.machineID)
		if err != nil {
			return Invocation{}, refuse(Failing, commandID, "%v", err)
		}
		limits := w.cfg.Limits
		view.State, view.ExitCode = got.State, got.ExitCode
		view.Stdout, view.Stderr = cut(got.Stdout, limits.Stdout), cut(got.Stderr, limits.Stderr)
	}
	return view, nil
}

// CommandsOf gives the commands that were sent to an instance as they are seen, the
// newest first; all commands if it has no ID.
func (w *World) CommandsOf(instanceID string) []Command {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []Command
	for _, c := range w.commands {
		if !time.Now().Before(c.visible) && (instanceID == "" || c.invocations[instanceID] != nil) {
			all = append(all, c.Command)
		}
	}
	slices.SortFunc(all, func(a, b Command) int { return int(b.Sequence - a.Sequence) })
	return all
}

func cut(s string, limit int) string {
	if limit > 0 && len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "")
	}
	return s
}
