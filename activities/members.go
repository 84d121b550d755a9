package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/plan"
)

// Members does what is done to a running cluster's members.
type Members struct{ Region }

// client gives an admin client of a cluster that asks at every host that runs, but
// not at one member's: where nothing serves, nothing answers.
func (r Region) client(ctx context.Context, op fleet.Operation, but string) (*etcdadmin.Client, error) {
	obs, err := r.resources(ctx, op)
	if err != nil {
		return nil, err
	}
	var all []fleet.Endpoint
	for _, h := range obs.Hosts {
		if h.State == fleet.HostRunning && h.Tags[fleet.TagUID] == op.UID && h.Member() != but {
			all = append(all, plan.EndpointOf(h.Host))
		}
	}
	if len(all) == 0 {
		return nil, fleet.Errorf(fleet.Unavailable, "cluster "+op.Cluster, "no host of it is running")
	}
	return within(ctx, answerWithin, "opening the cluster's authority", func(ctx context.Context) (*etcdadmin.Client, error) {
		return r.connect(ctx, op.Cluster, op.UID, all)
	})
}

// askedWithin bounds one question to etcd, or one change of it: the longest takes two
// looks of two seconds, five for the change itself, and as many to see what became of it.
const askedWithin = 20 * time.Second

// waitingForEtcd says so where there is nothing to say yet.
const waitingForEtcd = "waiting for etcd to answer"

// asking makes one call of etcd's, heart beating.
func asking[T any](ctx context.Context, call func(ctx context.Context) (T, error)) (T, error) {
	return within(ctx, askedWithin, waitingForEtcd, call)
}

// insist asks etcd for a change until it is made. What etcd refuses for now passes:
// an unhealthy cluster, a learner that is not in sync, an election. A refusal for good
// ends it, and so does the step's own time.
func insist(ctx context.Context, change func(ctx context.Context) error) error {
	return poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		_, err := asking(ctx, func(ctx context.Context) (struct{}, error) { return struct{}{}, change(ctx) })
		if fleet.Is(err, fleet.Unavailable) || fleet.Is(err, fleet.Conflict) {
			return false, -1, err.Error(), nil
		}
		return err == nil, 100, "", err
	})
}

// AddLearner adds a member to etcd's membership as a learner. etcd refuses for a
// few seconds after a start ("unhealthy cluster"); that is tried again.
func (m *Members) AddLearner(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	client, err := m.client(ctx, r.Operation, r.Step.Member)
	if err != nil {
		return note("", err)
	}
	defer client.Close()
	url := r.Step.Endpoint.PeerURL()
	return note(url, insist(ctx, func(ctx context.Context) error { return client.AddLearner(ctx, url) }))
}

// Promote gives a learner its vote. That it is in sync is asked again right before:
// etcd itself promotes one that has died meanwhile.
func (m *Members) Promote(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	client, err := m.client(ctx, r.Operation, "")
	if err != nil {
		return note("", err)
	}
	defer client.Close()
	err = insist(ctx, func(ctx context.Context) error {
		id, err := memberID(ctx, client, r.Step)
		if err != nil {
			return err
		}
		return client.Promote(ctx, id)
	})
	return note("votes", gone(err, r.Step))
}

// RemoveMember takes a member out of etcd's membership, and nobody else: an ID that
// belongs to another is fleet.Blocked. The member itself is not asked.
func (m *Members) RemoveMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	client, err := m.client(ctx, r.Operation, r.Step.Member)
	if err != nil {
		return note("", err)
	}
	defer client.Close()
	text := "had left already"
	err = insist(ctx, func(ctx context.Context) error {
		members, err := client.Members(ctx)
		if err != nil {
			return err
		}
		target, err := toRemove(members, r.Step)
		if target == nil || err != nil {
			return err
		}
		text = fmt.Sprintf("was member %x", target.ID)
		return client.RemoveMember(ctx, target.ID)
	})
	return note(text, err)
}

// toRemove gives the member that a step is to remove; nil when it is not there. It is
// the one of the step's ID, and of its name; one that never ran has no name yet, and
// then it is the one at the step's place, or a learner of which nobody knows the place.
func toRemove(members []fleet.ObservedMember, step fleet.Step) (*fleet.ObservedMember, error) {
	i := slices.IndexFunc(members, func(m fleet.ObservedMember) bool { return m.ID == step.MemberID })
	if step.MemberID == 0 {
		i = slices.IndexFunc(members, func(m fleet.ObservedMember) bool { return m.Name == step.Member })
	}
	if i < 0 {
		return nil, nil
	}
	m := members[i]
	its := m.Name == step.Member
	if m.Name == "" {
		its = step.Endpoint == nil && m.Learner || step.Endpoint != nil && slices.Contains(m.PeerURLs, step.Endpoint.PeerURL())
	}
	if !its {
		return nil, fleet.Errorf(fleet.Blocked, "member "+step.Member, "%x is not its ID, but that of %q at %s",
			m.ID, m.Name, strings.Join(m.PeerURLs, ", "))
	}
	return &m, nil
}

// UpdateMember tells etcd that a member is at another address.
func (m *Members) UpdateMember(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	client, err := m.client(ctx, r.Operation, "")
	if err != nil {
		return note("", err)
	}
	defer client.Close()
	url := r.Step.Endpoint.PeerURL()
	err = insist(ctx, func(ctx context.Context) error {
		id, err := memberID(ctx, client, r.Step)
		if err != nil {
			return err
		}
		return client.UpdateMember(ctx, id, url)
	})
	return note(url, gone(err, r.Step))
}

// gone takes a member that etcd does not list any more for lost: the next look shows
// what is there instead.
func gone(err error, step fleet.Step) error {
	if fleet.Is(err, fleet.NotFound) {
		return fleet.Errorf(fleet.Lost, "member "+step.Member, "is no member any more")
	}
	return err
}

// AwaitHealthy waits until every member that etcd lists answers and a quorum of
// them serves linearizable reads.
func (m *Members) AwaitHealthy(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	return note(m.awaitHealthy(ctx, r))
}

func (m *Members) awaitHealthy(ctx context.Context, r fleet.StepRequest) (string, error) {
	client, err := m.client(ctx, r.Operation, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	var text string
	var nudges nudges
	err = poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		seen, _ := nudges.observe(ctx, client)
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
