package etcdadmin

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// changeTimeout is how long one change of the membership, or of the cluster as a
// whole, may take. etcd gives a proposal 5 s and two election timeouts; a cluster
// with a leader commits it in a round trip and a sync of two disks.
const changeTimeout = 5 * time.Second

// change has one member make a change: the leader if it answers, else a voter that
// knows of a leader and passes it on. It is one call to one member, never to several
// at once: each would be a proposal of its own. What etcd refuses is not tried at
// another member that might see less.
func (c *Client) change(ctx context.Context, seen []sight, resource string, call func(context.Context, *clientv3.Client) error) error {
	s := speaker(seen)
	if s == nil {
		return fleet.Errorf(fleet.Unavailable, resource, "no voter of the %s answers and has a leader", c.resource()).
			WithRemedy("it is asked again")
	}
	return c.within(ctx, changeTimeout, s.endpoint, resource+" through "+called(s.ObservedMember)+" at "+s.endpoint, call)
}

// within calls one endpoint, for no longer than limit.
func (c *Client) within(ctx context.Context, limit time.Duration, endpoint, resource string, call func(context.Context, *clientv3.Client) error) error {
	client, err := c.at(endpoint)
	if err != nil {
		return err
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := call(timed, client); err != nil {
		return c.failed(ctx, timed, limit, endpoint, resource, err)
	}
	return nil
}

// speaker gives the voter to send changes to, or nil.
func speaker(seen []sight) *sight {
	if s := leader(seen); s != nil {
		return s
	}
	for i := range seen {
		if s := &seen[i]; s.Answers && !s.Learner && s.status.Leader != 0 {
			return s
		}
	}
	return nil
}

// settled gives a change's error, unless the membership is as it was to become: an
// answer may be lost, as that of a member that removes itself, and another attempt
// may have done it.
func (c *Client) settled(ctx context.Context, err error, done func([]*etcdserverpb.Member) bool) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	if list, listErr := c.memberList(ctx); listErr == nil && done(list.Members) {
		return nil
	}
	return err
}

// listed gives the member of an ID in a membership, or nil.
func listed(members []*etcdserverpb.Member, id uint64) *etcdserverpb.Member {
	for _, m := range members {
		if m.ID == id {
			return m
		}
	}
	return nil
}
