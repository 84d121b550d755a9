package etcdadmin

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// AddLearner adds a member that is not started yet to the membership, as a
// learner. One that is there already is a success. For some seconds after a start
// or a change etcd refuses with fleet.Unavailable ("unhealthy cluster"): ask again.
func (c *Client) AddLearner(ctx context.Context, peerURL string) error {
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	for _, s := range seen {
		if slices.Contains(s.PeerURLs, peerURL) {
			return nil
		}
	}
	err = c.change(ctx, seen, "learner "+peerURL, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberAddAsLearner(ctx, []string{peerURL})
		return err
	})
	return c.settled(ctx, err, func(members []*etcdserverpb.Member) bool {
		return slices.ContainsFunc(members, func(m *etcdserverpb.Member) bool { return slices.Contains(m.PeerURLs, peerURL) })
	})
}

// RemoveMember takes a member out of the membership, which ends its process if it
// runs, and with it the calls that clients have at it; one that was stopped before
// has let them end. One that is not there is a success. etcd refuses what would leave too few
// members connected: fleet.Conflict ("not enough started members") or, for some
// seconds after a start or a change, fleet.Unavailable ("unhealthy cluster").
// Either may pass: ask again.
func (c *Client) RemoveMember(ctx context.Context, id uint64) error {
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	s := find(seen, id)
	if s == nil {
		return nil
	}
	err = c.change(ctx, seen, "removal of member "+called(s.ObservedMember), func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberRemove(ctx, id)
		return err
	})
	return c.settled(ctx, err, func(members []*etcdserverpb.Member) bool { return listed(members, id) == nil })
}

// Promote gives a learner its vote. One that votes already is a success. etcd's own
// check (90 % of an absolute index) passes for a learner that is dead, and for one
// that has just begun; so it is refused with fleet.Conflict unless the learner itself
// answers now and reaches what the leader had applied when it was first asked.
// fleet.NotFound when there is no such member.
func (c *Client) Promote(ctx context.Context, id uint64) error {
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	s := find(seen, id)
	switch {
	case s == nil:
		return c.noMember(id)
	case !s.Learner:
		return nil
	}
	resource := "promotion of learner " + called(s.ObservedMember)
	if err := c.follows(ctx, seen, id, resource); err != nil {
		return err
	}
	err = c.change(ctx, seen, resource, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberPromote(ctx, id)
		return err
	})
	return c.settled(ctx, err, func(members []*etcdserverpb.Member) bool {
		m := listed(members, id)
		return m != nil && !m.IsLearner
	})
}

// UpdateMember tells the cluster that a member's peers find it at another URL. One
// that is known by that URL alone is a success. A learner is refused with
// fleet.Conflict unless every member is known to run a release that keeps it one
// (3.5.31, 3.6.12, 3.7.0 and later): older ones take it for a voter from then on,
// each for itself (etcd issue 21694). fleet.NotFound when there is no such member.
func (c *Client) UpdateMember(ctx context.Context, id uint64, peerURL string) error {
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	s := find(seen, id)
	switch {
	case s == nil:
		return c.noMember(id)
	case slices.Equal(s.PeerURLs, []string{peerURL}):
		return nil
	}
	resource := "address of member " + called(s.ObservedMember)
	if why := forgetsLearners(seen); s.Learner && why != "" {
		return fleet.Errorf(fleet.Conflict, resource, "it is a learner, and %s", why).
			WithRemedy("promote it first, or remove it and add it again at the new address")
	}
	err = c.change(ctx, seen, resource, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.MemberUpdate(ctx, id, []string{peerURL})
		return err
	})
	return c.settled(ctx, err, func(members []*etcdserverpb.Member) bool {
		m := listed(members, id)
		return m != nil && slices.Equal(m.PeerURLs, []string{peerURL})
	})
}

// keepsLearners is the first patch of each minor whose MemberUpdate leaves a learner
// a learner. Of 3.5 it is the first that was looked at.
var keepsLearners = map[string]int{"3.5": 31, "3.6": 12, "3.7": 0}

// forgetsLearners says which member would take a learner for a voter after an
// update of its address, or may; "" when none would.
func forgetsLearners(seen []sight) string {
	for _, s := range seen {
		switch {
		case s.Answers && updateKeepsLearner(s.Version):
		case s.Answers:
			return fmt.Sprintf("member %s runs etcd %s, which would take it for a voter after the change", called(s.ObservedMember), s.Version)
		case s.Name != "" || len(s.ClientURLs) > 0: // one that never ran applies the change by the leader's snapshot or log
			return fmt.Sprintf("the version of member %s is not known: %s", called(s.ObservedMember), s.Silent)
		}
	}
	return ""
}

func updateKeepsLearner(version string) bool {
	minor := fleet.Minor(version)
	first, known := keepsLearners[minor]
	patch, err := strconv.Atoi(strings.TrimPrefix(version, minor+"."))
	return known && err == nil && patch >= first
}

func (c *Client) noMember(id uint64) error {
	return fleet.Errorf(fleet.NotFound, fmt.Sprintf("member %x", id), "the %s has no such member", c.resource())
}
