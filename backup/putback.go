package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// The pace of putting keys back. One transaction at a time, small ones, and then a rest:
// so clients have the members for most of the time, and wait for one transaction at most.
const (
	// changesAtOnce and bytesAtOnce bound a transaction, below etcd's own limits (128
	// operations, 1.5 MiB by default). A key that is larger has one of its own.
	changesAtOnce = 100
	bytesAtOnce   = 256 << 10
	// restFor is how long it rests, in times of what the transaction took, and restAtMost
	// at most: a member that was slow for once is not a reason to stand still.
	restFor    = 2
	restAtMost = 2 * time.Second
	// patience is how long a cluster that does not answer, for an election say, is asked
	// again before the attempt ends; askAgain is between two tries.
	patience = 30 * time.Second
	askAgain = 500 * time.Millisecond
)

// Writable is a cluster that keys are put back into: *etcdadmin.Client.
type Writable interface {
	Cluster
	ChangeKeys(ctx context.Context, changes []etcdadmin.KeyChange) (now []*mvccpb.KeyValue, done bool, err error)
	GrantLease(ctx context.Context, id int64, ttl time.Duration) error
}

// PutBack makes the keys of a cluster what they are in the backup, from where progress
// says on. What clients wrote after the revision of the comparison stays theirs: a key is
// only written or deleted if it was not changed since, which the transaction itself
// compares. A key that is absent tells nothing of when it was deleted: it comes back,
// unless it was put back already.
//
// A lease of the backup that the cluster does not have is granted again, under its ID,
// for the time that it was granted for. It may be ended at any moment and gone on with;
// tell is given the progress after each transaction, and while it only reads. Errors: as of the cluster;
// fleet.Invalid when a key is larger than the cluster allows.
func (k *Keys) PutBack(ctx context.Context, cluster Writable, since int64, progress fleet.KeyProgress, tell func(fleet.KeyProgress)) (fleet.KeyProgress, error) {
	p := &putter{keys: k, cluster: cluster, since: since, progress: progress, tell: tell, most: changesAtOnce}
	err := k.walk(ctx, progress.Through, p.now, func(was, is *mvccpb.KeyValue) error { return p.decide(ctx, was, is) })
	if err == nil {
		err = p.flush(ctx)
	}
	if err == nil {
		p.progress.Whole = true
		tell(p.progress)
	}
	return p.progress, err
}

type putter struct {
	keys     *Keys
	cluster  Writable
	since    int64
	progress fleet.KeyProgress
	tell     func(fleet.KeyProgress)
	// batch are changes that are not made yet, size their bytes; seen is the last key that
	// was decided about.
	batch []etcdadmin.KeyChange
	size  int
	seen  []byte
	most  int // changes in one transaction
	// visited is how many keys were decided about.
	visited int
}

// now reads keys as they are, and bears it for a while that nobody answers.
func (p *putter) now(ctx context.Context, from, end []byte, limit int64) (page etcdadmin.Page, err error) {
	err = patiently(ctx, func() error {
		page, err = p.cluster.Keys(ctx, from, end, limit, 0)
		return err
	})
	return page, err
}

// decide says what becomes of one key.
func (p *putter) decide(ctx context.Context, was, is *mvccpb.KeyValue) error {
	key := was.GetKey()
	if was == nil {
		key = is.GetKey()
	}
	var change *etcdadmin.KeyChange
	switch {
	case was == nil && !p.keys.exact, was != nil && alike(was, is):
	case is.GetModRevision() > p.since:
		p.progress.Leave(key)
	case was == nil:
		change = &etcdadmin.KeyChange{Key: key, Was: is.GetModRevision()}
	default:
		change = &etcdadmin.KeyChange{Key: key, Was: is.GetModRevision(), Value: was.GetValue(), Lease: was.GetLease()}
		if change.Value == nil {
			change.Value = []byte{}
		}
	}
	if change != nil {
		size := len(key) + len(change.Value)
		if len(p.batch) > 0 && (len(p.batch) >= p.most || p.size+size > bytesAtOnce) {
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
		p.batch, p.size = append(p.batch, *change), p.size+size
	}
	p.seen = key
	if p.visited++; p.visited%reportEach == 0 {
		p.tell(p.progress)
	}
	return nil
}

// flush makes the changes that were decided, reports, and rests.
func (p *putter) flush(ctx context.Context) error {
	for len(p.batch) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(p.batch), p.most)
		took, err := p.write(ctx, p.batch[:n])
		switch {
		case errors.Is(err, etcdadmin.ErrTooMany) && n > 1:
			p.most = n / 2
			continue
		case errors.Is(err, etcdadmin.ErrTooMany):
			return fleet.Errorf(fleet.Invalid, fmt.Sprintf("key %.80q", p.batch[0].Key), "it has %s: %w", fleet.Bytes(p.size).Human(), err).
				WithRemedy("give etcd.maxRequest more: flotilla roll NAME --set etcd.maxRequest=…; then go on with flotilla resume")
		case err != nil:
			return err
		}
		p.progress.Through = p.batch[n-1].Key
		if p.batch = p.batch[n:]; len(p.batch) == 0 {
			p.progress.Through = bytes.Clone(p.seen)
		}
		p.tell(p.progress)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(restFor*took, restAtMost)):
		}
	}
	p.batch, p.size = nil, 0
	return nil
}

// write makes changes, but for those of keys that were changed meanwhile. took is what the
// last transaction took.
func (p *putter) write(ctx context.Context, changes []etcdadmin.KeyChange) (took time.Duration, err error) {
	for len(changes) > 0 {
		var now []*mvccpb.KeyValue
		var done bool
		err := patiently(ctx, func() (err error) {
			began := time.Now()
			now, done, err = p.cluster.ChangeKeys(ctx, changes)
			took = time.Since(began)
			if errors.Is(err, etcdadmin.ErrNoLease) {
				if err := p.grant(ctx, changes); err != nil {
					return err
				}
				return fleet.Errorf(fleet.Unavailable, "leases of the backup", "were granted again")
			}
			return err
		})
		if err != nil {
			return took, err
		}
		var left []etcdadmin.KeyChange
		for i, change := range changes {
			switch {
			case done, change.Came(now[i]): // also when it was an earlier try, whose answer was lost
				p.count(change)
			case now[i].GetModRevision() == change.Was:
				left = append(left, change)
			default:
				p.progress.Leave(change.Key)
			}
		}
		changes = left
	}
	return took, nil
}

func (p *putter) count(change etcdadmin.KeyChange) {
	if change.Put() {
		p.progress.Put++
	} else {
		p.progress.Deleted++
	}
}

// grant sees to it that the leases of changes are there.
func (p *putter) grant(ctx context.Context, changes []etcdadmin.KeyChange) error {
	granted := map[int64]bool{0: true}
	for _, change := range changes {
		if granted[change.Lease] {
			continue
		}
		granted[change.Lease] = true
		ttl := p.keys.store.LeaseTTL(change.Lease)
		if ttl == 0 {
			ttl = unknownLease
		}
		if err := p.cluster.GrantLease(ctx, change.Lease, ttl); err != nil {
			return err
		}
	}
	return nil
}

// patiently tries again what is not answered, for a while.
func patiently(ctx context.Context, try func() error) error {
	for began := time.Now(); ; {
		err := try()
		if err == nil || !fleet.Is(err, fleet.Unavailable) && !fleet.Is(err, fleet.Throttled) || time.Since(began) > patience {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askAgain):
		}
	}
}
