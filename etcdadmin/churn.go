package etcdadmin

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

const (
	// churners is how many leases are granted and revoked at once: few, for the sake of
	// clients. On a small machine a write took 14 ms beside 4 of them and 58 ms beside
	// 32, which were not twice as fast: 10,000 entries on 3 members in 33 s and 18 s.
	churners = 4
	// churnTTL ends a lease, in seconds, that could not be revoked.
	churnTTL = 60
	// churnReport is how often progress is reported.
	churnReport = time.Second
)

// Churn makes at least n entries in the raft log without a change of the key space
// or of its revision, by granting and revoking leases that nothing hangs on. Every
// member writes a raft snapshot, and forgets its older log, once it has applied more
// than --snapshot-count of them (by default 10,000, and 100,000 in 3.5). progress,
// which may be nil, is told about once in a second how many have been made; after an
// error, that much less is left to do. It lasts as long as it takes, each call of it
// 5 s at most. Errors: fleet.Unavailable when the leader goes away, fleet.Denied when
// the store is over its quota.
func (c *Client) Churn(ctx context.Context, n int, progress func(made int)) error {
	resource := "raft log of the " + c.resource()
	seen, err := c.look(ctx)
	if err != nil {
		return err
	}
	s := speaker(seen)
	if s == nil {
		return fleet.Errorf(fleet.Unavailable, resource, "no voter answers and has a leader")
	}
	resource += ", through " + called(s.ObservedMember) + " at " + s.endpoint

	var left, made atomic.Int64
	left.Store(int64(n))
	group, churning := errgroup.WithContext(ctx)
	for range churners {
		group.Go(func() error {
			for left.Add(-2) > -2 {
				if err := c.within(churning, changeTimeout, s.endpoint, resource, passLease); err != nil {
					return err
				}
				made.Add(2)
			}
			return nil
		})
	}
	done := make(chan error, 1)
	go func() { done <- group.Wait() }()
	tick := time.NewTicker(churnReport)
	defer tick.Stop()
	report := func() {
		if progress != nil {
			progress(int(made.Load()))
		}
	}
	for {
		select {
		case err := <-done:
			report()
			return err
		case <-tick.C:
			report()
		}
	}
}

// passLease grants a lease and revokes it: two entries.
func passLease(ctx context.Context, client *clientv3.Client) error {
	lease, err := client.Grant(ctx, churnTTL)
	if err != nil {
		return err
	}
	_, err = client.Revoke(ctx, lease.ID)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		err = nil // it was sent twice, or has ended
	}
	return err
}
