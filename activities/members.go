package activities

import (
	"context"
	"fmt"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Members does what is done to a running cluster's members.
type Members struct{ Region }

// AddLearner adds a member to etcd's membership as a learner. etcd refuses for a
// few seconds after a start ("unhealthy cluster"); that is tried again.
func (m *Members) AddLearner(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	obs, err := m.resources(ctx, r.Operation.Cluster)
	if err != nil {
		return note("", err)
	}
	m.ask(ctx, &obs)
	client, err := m.connect(ctx, r.Operation.Cluster, r.Operation.UID, servingOn(obs))
	if err != nil {
		return note("", err)
	}
	defer client.Close()
	return note(r.Step.Endpoint.PeerURL(), client.AddLearner(ctx, r.Step.Endpoint.PeerURL()))
}

// AwaitHealthy waits until every member that etcd lists answers and a quorum of
// them serves linearizable reads.
func (m *Members) AwaitHealthy(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(m.awaitHealthy(ctx, r))
}

func (m *Members) awaitHealthy(ctx context.Context, r fleet.StepRequest) (string, error) {
	obs, err := m.resources(ctx, r.Operation.Cluster)
	if err != nil {
		return "", err
	}
	m.ask(ctx, &obs)
	client, err := m.connect(ctx, r.Operation.Cluster, r.Operation.UID, servingOn(obs))
	if err != nil {
		return "", err
	}
	defer client.Close()
	var text string
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		seen := client.Observe(ctx)
		voters, up := 0, 0
		for _, member := range seen.Members {
			if !member.Learner {
				voters++
			}
			if member.Answers {
				up++
			}
		}
		total := max(len(seen.Members), r.Operation.Spec.Voters)
		if seen.Quorum && voters >= r.Operation.Spec.Voters && up == total {
			text = fmt.Sprintf("%d/%d members, leader %s", up, total, seen.Leader)
			return true, 100, "", nil
		}
		words := fmt.Sprintf("%d/%d members answer", up, total)
		if !seen.Quorum {
			words += ", waiting for a leader"
		}
		return false, 100 * up / (total + 1), words, nil
	})
	return text, err
}
