package judge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// leases takes one lease after another: it puts two keys under it, keeps it alive
// for a while, and revokes it or lets it expire. Nothing else changes these keys.
func (c *client) leases(draw *rand.Rand) {
	for n := 1; !c.run.over(); n++ {
		rounds, abandon := 1+draw.IntN(4), draw.IntN(3) == 0
		if !c.lease(n, rounds, abandon) {
			pause(c.run.ctx, period(c.run.cfg.Rate))
		}
	}
}

// lease is the life of one lease, and false if there was none to begin with.
func (c *client) lease(n, rounds int, abandon bool) bool {
	granted := c.grant()
	if granted.Outcome != OK {
		return false
	}
	id, ttl := granted.Lease, granted.TTL
	key := func(part string) string { return fmt.Sprintf("%sl/%02d/%05d/%s", c.run.cfg.Prefix, c.id, n, part) }
	keys := []string{key("a"), key("b")}
	c.put(Write{Key: keys[0], Value: c.value(), Lease: id}, false)
	c.transact(Pair, nil, true,
		Write{Key: keys[0], Value: c.value(), Lease: id}, Write{Key: keys[1], Value: c.value(), Lease: id})
	// As often as clientv3 does: three times while the lease lives.
	for range rounds {
		if !c.idle(ttl / 3) {
			break
		}
		c.get(Get, keys[1])
		if renewed := c.keepAlive(id); renewed.LeaseGone {
			c.get(Get, keys[0])
			return true
		}
	}
	if abandon {
		c.awaitExpiry(keys, ttl)
		return true
	}
	// A revoke without an answer may not have happened; the lease expires then.
	if revoked := c.revoke(id); revoked.Outcome == Unknown {
		c.awaitExpiry(keys, ttl)
	} else {
		c.get(Get, keys[0])
		c.get(Get, keys[1])
	}
	return true
}

// idle waits, and is false when the run is over.
func (c *client) idle(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-c.run.quit:
		return false
	case <-c.run.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// leaseGrace is how long after its time a lease may live on. A new leader begins
// every lease anew, and the judge does not know about leaders.
const leaseGrace = 30 * time.Second

// awaitExpiry reads the keys of a lease until they are gone, also when the run is
// over: it is not long, and nothing else would see that they go.
func (c *client) awaitExpiry(keys []string, ttl time.Duration) {
	ctx, cancel := context.WithTimeout(c.run.ctx, ttl+leaseGrace)
	defer cancel()
	var over time.Time
	for gone := 0; gone < len(keys); {
		if !pause(ctx, ttl/10) {
			return
		}
		switch {
		case over.IsZero() && c.run.over():
			over = time.Now()
		case !over.IsZero() && time.Since(over) > c.run.cfg.CatchUp:
			return
		}
		if call := c.get(Get, keys[gone]); call.Outcome == OK && call.Saw[0].Mod == 0 {
			gone++
		}
	}
}

func (c *client) grant() Call {
	seconds := max(1, int64(c.run.cfg.LeaseTTL/time.Second))
	return c.call(Call{Kind: Grant}, func(ctx context.Context, call *Call) error {
		reply, err := c.etcd.Grant(ctx, seconds)
		if err != nil {
			return err
		}
		call.answered(reply.Revision, reply.MemberId)
		call.Lease, call.TTL = int64(reply.ID), time.Duration(reply.TTL)*time.Second
		return nil
	})
}

func (c *client) keepAlive(id int64) Call {
	return c.call(Call{Kind: KeepAlive, Lease: id}, func(ctx context.Context, call *Call) error {
		reply, err := c.etcd.KeepAliveOnce(ctx, clientv3.LeaseID(id))
		if err != nil {
			return err
		}
		call.answered(reply.Revision, reply.MemberId)
		call.TTL = time.Duration(reply.TTL) * time.Second
		return nil
	})
}

func (c *client) revoke(id int64) Call {
	return c.call(Call{Kind: Revoke, Lease: id}, func(ctx context.Context, call *Call) error {
		reply, err := c.etcd.Revoke(ctx, clientv3.LeaseID(id))
		if err != nil {
			return err
		}
		call.answered(reply.Header.Revision, reply.Header.MemberId)
		return nil
	})
}
