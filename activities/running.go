package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/node"
	"github.com/flotilla-etcd/flotilla/pki"
)

// startRequest says how a step's member is to run: as the step says, or else as the
// operation's spec does.
func startRequest(op fleet.Operation, step fleet.Step) node.StartRequest {
	run := fleet.MemberConfig{Version: op.Spec.Etcd.Version, Settings: op.Spec.Etcd.EtcdSettings}
	if step.Run != nil {
		run = *step.Run
	}
	request := node.StartRequest{
		Member: step.Member, Version: run.Version, Address: step.Endpoint.Address,
		ClientPort: step.Endpoint.ClientPort, PeerPort: step.Endpoint.PeerPort,
		Token: op.Cluster + "-" + op.UID, Existing: step.Existing, Settings: run.Settings, Generation: run.Generation,
	}
	if !run.AnyPeer {
		request.PeerCN = pki.PeerName(op.Cluster, op.UID)
	}
	request.Initial, request.After = peers(step.Initial), peers(step.After)
	return request
}

func peers(places []fleet.Endpoint) (all []node.Peer) {
	for _, e := range places {
		all = append(all, node.Peer{Name: e.Member, URL: e.PeerURL()})
	}
	return all
}

// StartMember configures a member and starts it. That it serves is AwaitHealthy's, or
// AwaitInSync's. One that runs is not restarted for a generation that the step does
// not know of. A host that ended is fleet.Lost, and so is data that is not the cluster's.
func (h *Hosts) StartMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	if r.Step.Differs != "" {
		return note("", fleet.Errorf(fleet.Lost, "member "+r.Step.Member, "%s; it is not started", r.Step.Differs).
			WithRemedy("replace it: flotilla failover %s %s", r.Operation.Cluster, r.Step.Member))
	}
	text, err := h.start(ctx, r)
	return note(text, h.orEnded(ctx, r.Step, err))
}

func (h *Hosts) start(ctx context.Context, r fleet.StepRequest) (string, error) {
	host, err := h.Provider.Host(ctx, r.Step.HostID)
	if err != nil {
		return "", err
	}
	request := startRequest(r.Operation, r.Step)
	if r.Step.Run == nil && r.Operation.Kind != fleet.CreateCluster {
		report, err := call[fleet.HostReport](ctx, h.Provider, host, node.VerbReport, nil)
		if err != nil {
			return "", err
		}
		if m := report.Find(r.Step.Member); m != nil && m.Configured != nil {
			request.Generation = m.Configured.Generation
		}
	}
	member, err := call[fleet.MemberReport](ctx, h.Provider, host, node.VerbStart, request)
	if fleet.Is(err, fleet.Invalid) && request.After != nil { // by a flotilla-node of before, which knows no turns
		request.After = nil
		member, err = call[fleet.MemberReport](ctx, h.Provider, host, node.VerbStart, request)
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("pid %d at %s", member.PID, r.Step.Endpoint.ClientURL()), nil
}

// StopMember stops a member; it stays stopped. A host that is gone took its
// member with it.
func (h *Hosts) StopMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	host, err := h.Provider.Host(ctx, r.Step.HostID)
	switch {
	case fleet.Is(err, fleet.NotFound), err == nil && host.State != fleet.HostRunning:
		return note("its host does not run", nil)
	case err != nil:
		return note("", err)
	}
	_, err = call[fleet.MemberReport](ctx, h.Provider, host, node.VerbStop, node.MemberRequest{Member: r.Step.Member})
	return note("", err)
}

// RestartMember restarts a member with another release, other settings or another
// generation, and waits until it is in sync. One that is not within the policy's time
// is fleet.Lost, with what its host says of it: the planner rolls it back.
func (h *Hosts) RestartMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(h.restart(ctx, r, fleet.Lost))
}

// RollBackMember restarts a member as it ran before. There is nothing to go back to
// after that, so it is tried again for as long as the step may take.
func (h *Hosts) RollBackMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(h.restart(ctx, r, fleet.Unavailable))
}

// restart sends the start and waits for what comes of it; a member that does not
// come back in time is an error of kind.
func (h *Hosts) restart(ctx context.Context, r fleet.StepRequest, kind fleet.Kind) (string, error) {
	if r.Step.Run == nil {
		return "", fleet.Errorf(fleet.Invalid, r.Step.String(), "does not say how the member is to run")
	}
	host, err := h.Provider.Host(ctx, r.Step.HostID)
	if err != nil {
		return "", err
	}
	_, err = call[fleet.MemberReport](ctx, h.Provider, host, node.VerbStart, startRequest(r.Operation, r.Step))
	return h.awaitBack(ctx, r, host, err, kind)
}

// startedBy says that a member is configured as a step says, whether or not its
// process lives.
func startedBy(step fleet.Step, report *fleet.HostReport) bool {
	m := report.Find(step.Member)
	return m != nil && m.Configured != nil && *m.Configured == *step.Run
}

// awaitBack waits until a member that was started is in sync. That a process ends
// right after its start is no end yet: it is started again, and may come up.
func (h *Hosts) awaitBack(ctx context.Context, r fleet.StepRequest, host fleet.Host, started error, kind fleet.Kind) (string, error) {
	if started != nil {
		if !fleet.Is(started, fleet.Unavailable) {
			return "", started
		}
		report, err := call[fleet.HostReport](ctx, h.Provider, host, node.VerbReport, nil)
		if err != nil || !startedBy(r.Step, report) {
			return "", started
		}
	}
	ctx, began, pack := carrying[time.Time](ctx)
	if kind != fleet.Lost || began.IsZero() { // the next attempt of a restart has what is left of the time
		began = time.Now()
	}
	pack(began)
	ready := time.Duration(r.Policy.WithDefaults().ReadyWithin)
	lag, err := h.awaitInSync(ctx, r, began.Add(ready))
	if err == nil {
		return fmt.Sprintf("etcd %s, %s", r.Step.Run.Version, lag), nil
	}
	if !isLate(err) {
		return "", err
	}
	words := err.Error()
	if report, err := call[fleet.HostReport](ctx, h.Provider, host, node.VerbReport, nil); err == nil {
		words = trouble(report.Find(r.Step.Member))
	}
	return "", fleet.Errorf(kind, "member "+r.Step.Member, "did not come back as etcd %s within %s: %s", r.Step.Run.Version, ready, words)
}

// trouble says in words what a host says of a member that does not come up.
func trouble(m *fleet.MemberReport) string {
	switch {
	case m == nil:
		return "its host knows nothing of it"
	case m.Ready:
		return "it serves, and is behind the leader"
	case m.Restarts > 0 && m.LastExit != "":
		return fmt.Sprintf("it was started %d times; it ended: %s", m.Restarts+1, m.LastExit)
	case m.NotReady != "":
		return m.NotReady
	}
	return "it is " + string(m.State)
}
