package etcdadmin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// keysTimeout is how long one read or one transaction of keys may take: some MiB, at a
// member that is busy. Who is not answered within it asks another member.
const keysTimeout = 10 * time.Second

// Page are some keys of a range, in order.
type Page struct {
	Keys []*mvccpb.KeyValue
	// More says that there are keys behind them.
	More bool
	// Revision is the store's last when they were read.
	Revision int64
}

// Keys gives the keys of a range from one key up to another one, at most so many, as they
// are at a revision; zero means now. Errors: of kind Lost with a *CompactedError
// underneath when that revision is gone; as of the calls.
func (c *Client) Keys(ctx context.Context, from, end []byte, limit, revision int64) (Page, error) {
	return inTurn(ctx, c, "keys of the "+c.resource(), func(ctx context.Context, client *clientv3.Client) (Page, error) {
		r, err := client.Get(ctx, string(from), clientv3.WithRange(string(end)), clientv3.WithLimit(limit), clientv3.WithRev(revision))
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			return Page{}, fleet.Errorf(fleet.Lost, c.resource(), "%w", &CompactedError{Compacted: revision})
		case err != nil:
			return Page{}, err
		}
		return Page{Keys: r.Kvs, More: r.More, Revision: r.Header.Revision}, nil
	})
}

// KeyChange is what is to become of one key, if nobody has changed it meanwhile.
type KeyChange struct {
	Key []byte
	// Was is the revision at which it was changed last as far as is known; zero when it
	// did not exist.
	Was int64
	// Value is what it gets, under a lease where Lease is not zero; nil deletes it. An
	// empty value is not nil.
	Value []byte
	Lease int64
}

// Put says that the key is written, and not deleted.
func (k KeyChange) Put() bool { return k.Value != nil }

// Came says that a key is as the change wants it, whoever made it so.
func (k KeyChange) Came(now *mvccpb.KeyValue) bool {
	if now == nil || !k.Put() {
		return (now == nil) == !k.Put()
	}
	return string(now.GetValue()) == string(k.Value) && (now.GetLease() == 0) == (k.Lease == 0)
}

// ErrTooMany says that a transaction has more operations than the cluster allows, or is
// larger than it allows.
var ErrTooMany = errors.New("the transaction is larger than the cluster allows")

// ErrNoLease says that a transaction puts a key under a lease that does not exist.
var ErrNoLease = errors.New("there is no such lease")

// ChangeKeys makes changes of different keys in one transaction, all of them or, when a
// single key is not as it was, none. Then it gives all of them as they are now, in order,
// nil for those that do not exist. Errors: ErrTooMany, ErrNoLease; as of the calls, and
// then it is not known whether it was done.
func (c *Client) ChangeKeys(ctx context.Context, changes []KeyChange) (now []*mvccpb.KeyValue, done bool, err error) {
	conditions := make([]clientv3.Cmp, len(changes))
	then, otherwise := make([]clientv3.Op, len(changes)), make([]clientv3.Op, len(changes))
	for i, k := range changes {
		key := string(k.Key)
		conditions[i], otherwise[i] = clientv3.Compare(clientv3.ModRevision(key), "=", k.Was), clientv3.OpGet(key)
		if k.Put() {
			then[i] = clientv3.OpPut(key, string(k.Value), clientv3.WithLease(clientv3.LeaseID(k.Lease)))
		} else {
			then[i] = clientv3.OpDelete(key)
		}
	}
	answer, err := inTurn(ctx, c, "keys of the "+c.resource(), func(ctx context.Context, client *clientv3.Client) (*clientv3.TxnResponse, error) {
		r, err := client.Txn(ctx).If(conditions...).Then(then...).Else(otherwise...).Commit()
		switch {
		case says(err, rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge), err != nil && strings.Contains(plain(err), "message larger than max"):
			err = fleet.Errorf(fleet.Invalid, c.resource(), "%w: %s", ErrTooMany, plain(err))
		case says(err, rpctypes.ErrLeaseNotFound):
			err = fleet.Errorf(fleet.NotFound, c.resource(), "%w: %s", ErrNoLease, plain(err))
		}
		return r, err
	})
	switch {
	case err != nil, answer.Succeeded:
		return nil, err == nil, err
	case len(answer.Responses) != len(changes):
		return nil, false, fleet.Errorf(fleet.Unavailable, c.resource(), "%d answers to %d questions", len(answer.Responses), len(changes))
	}
	now = make([]*mvccpb.KeyValue, len(changes))
	for i, r := range answer.Responses {
		if kvs := r.GetResponseRange().GetKvs(); len(kvs) > 0 {
			now[i] = kvs[0]
		}
	}
	return now, false, nil
}

// GrantLease sees to it that there is a lease of this ID. One that is there already is
// left as it is. Errors: as of the calls.
func (c *Client) GrantLease(ctx context.Context, id int64, ttl time.Duration) error {
	_, err := inTurn(ctx, c, fmt.Sprintf("lease %x of the %s", id, c.resource()), func(ctx context.Context, client *clientv3.Client) (struct{}, error) {
		_, err := etcdserverpb.NewLeaseClient(client.ActiveConnection()).LeaseGrant(ctx, &etcdserverpb.LeaseGrantRequest{ID: id, TTL: int64(ttl / time.Second)})
		if says(err, rpctypes.ErrLeaseExist) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// inTurn asks one endpoint after another, for keysTimeout each, until one answers; first
// the one that did the last time. What etcd refuses is not tried at another member.
func inTurn[T any](ctx context.Context, c *Client, resource string, call func(context.Context, *clientv3.Client) (T, error)) (answer T, err error) {
	var failed []error
	begin := int(c.answered.Load())
	for i := range c.cfg.Endpoints {
		at := (begin + i) % len(c.cfg.Endpoints)
		endpoint := c.cfg.Endpoints[at]
		err := c.within(ctx, keysTimeout, endpoint, resource+" at "+endpoint, func(ctx context.Context, client *clientv3.Client) (err error) {
			answer, err = call(ctx, client)
			return err
		})
		if err == nil || !fleet.Is(err, fleet.Unavailable) && !fleet.Is(err, fleet.Conflict) {
			c.answered.Store(int64(at))
			return answer, err
		}
		failed = append(failed, err)
	}
	return answer, fleet.Errorf(cmp.Or(fleet.KindOf(failed[0]), fleet.Unavailable), resource, "no member answers: %w", errors.Join(failed...))
}
