package etcdadmin

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// moveTimeout is how long a leader may take to hand over. It lets the target
	// catch up first and gives up after one election timeout (1 s by default).
	moveTimeout = 5 * time.Second
	// leadTimeout is how long the target may take to say so itself, once the old
	// leader follows it.
	leadTimeout = 2 * time.Second
	// leadPause lies between the questions whether the target leads.
	leadPause = 20 * time.Millisecond
)

// MoveLeader has the leader hand over to another voter and waits until that one says
// itself that it leads. One that leads already is a success. Between the two etcd takes
// no write (a client may be told "raft proposal dropped", which the client library
// does not try again), so the target must be able to take over at once. Errors: fleet.NotFound
// when there is no such member; fleet.Conflict when it is a learner, or has not what
// the leader has; fleet.Unavailable when it or the leader does not answer, or
// did not take over within 5 s and 2 s more to say so.
func (c *Client) MoveLeader(ctx context.Context, to uint64) error {
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	target, from := find(seen, to), leader(seen)
	if target == nil {
		return c.noMember(to)
	}
	resource := "move of the leader to " + called(target.ObservedMember)
	switch {
	case target.Learner:
		return fleet.Errorf(fleet.Conflict, resource, "it is a learner and has no vote").WithRemedy("promote it first, or choose a voter")
	case !target.Answers:
		return fleet.Errorf(fleet.Unavailable, resource, "it does not answer: %s", target.Silent).WithRemedy("choose a member that answers")
	case target.Leader:
		return nil
	case from == nil:
		return fleet.Errorf(fleet.Unavailable, resource, "the leader of the %s does not answer, or there is none, and only the leader can hand over", c.resource())
	}
	if err := c.follows(ctx, seen, to, resource); err != nil {
		return err
	}
	err = c.within(ctx, moveTimeout, from.endpoint, resource+" by "+called(from.ObservedMember)+" at "+from.endpoint,
		func(ctx context.Context, client *clientv3.Client) error {
			_, err := client.MoveLeader(ctx, to)
			return err
		})
	if err != nil {
		if c.leads(ctx, target) == nil {
			return nil // the answer was lost, or another attempt did it
		}
		return err
	}
	return c.awaitLead(ctx, target, resource)
}

// awaitLead waits until a member that was told to take over says that it leads.
func (c *Client) awaitLead(ctx context.Context, s *sight, resource string) error {
	for deadline := time.Now().Add(leadTimeout); ; {
		err := c.leads(ctx, s)
		switch {
		case err == nil:
			return nil
		case time.Now().After(deadline):
			return fleet.Errorf(fleet.Unavailable, resource, "the old leader has handed over, and %s later: %w", leadTimeout, err)
		}
		if err := pause(ctx, leadPause, resource); err != nil {
			return err
		}
	}
}

// leads gives nil when a member says that it leads itself.
func (c *Client) leads(ctx context.Context, s *sight) error {
	_, err := ask(ctx, c, s.endpoint, func(ctx context.Context, client *clientv3.Client) (struct{}, error) {
		status, err := client.Status(ctx, s.endpoint)
		if err == nil && status.Leader != s.ID {
			err = fleet.Errorf(fleet.Conflict, "member "+called(s.ObservedMember), "it says that the leader is %x", status.Leader)
		}
		return struct{}{}, err
	})
	return err
}
