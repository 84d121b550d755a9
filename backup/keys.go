package backup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// Keys are the keys of a backup below some prefixes, to be compared with those of a
// running cluster, and put back into it.
type Keys struct {
	store    *etcdadmin.Store
	dir      string
	prefixes []string
	exact    bool
}

// OpenKeys fetches a backup into a scratch directory and opens it as etcd does. All of it
// was compared with its digests by then. exact says that what the backup does not have is
// to be deleted. Memory: as etcdadmin.OpenStore. It must be closed. Errors: as of Fetch;
// fleet.Invalid when etcd cannot read it.
func (v Vault) OpenKeys(ctx context.Context, m Manifest, prefixes []string, exact bool, scratch string, tell Tell) (*Keys, error) {
	dir, err := os.MkdirTemp(scratch, ".keys-*")
	if err != nil {
		return nil, fleet.Errorf(fleet.Unavailable, "scratch directory of the worker", "%w", err).
			WithRemedy("let it have room for the whole database")
	}
	k := &Keys{dir: dir, prefixes: fleet.Prefixes(prefixes), exact: exact}
	file := filepath.Join(dir, "db")
	err = v.Fetch(ctx, m, file, tell)
	if err == nil {
		tell.of("opening")(int64(m.Size))
		if err = os.Truncate(file, int64(m.Size)); err != nil {
			err = noRoom(file, err)
		}
	}
	if err == nil {
		k.store, err = etcdadmin.OpenStore(ctx, file)
	}
	if err == nil && k.store.Revision() != m.Revision {
		err = errors.Join(damaged(m.String(), "it is at revision %d, and its manifest says %d", k.store.Revision(), m.Revision), k.store.Close())
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return k, nil
}

// Close removes what was fetched.
func (k *Keys) Close() error { return errors.Join(k.store.Close(), os.RemoveAll(k.dir)) }

// Cluster is what is asked of the running cluster: *etcdadmin.Client.
type Cluster interface {
	Keys(ctx context.Context, from, end []byte, limit, revision int64) (etcdadmin.Page, error)
}

// compareAgain is how often a comparison begins anew, because a compaction outran it.
const compareAgain = 5

// Compare says what putting the keys back would do to a cluster as it is now. tell is told
// how many keys were compared. Errors: as of the cluster; fleet.Invalid when etcd cannot
// read the backup.
func (k *Keys) Compare(ctx context.Context, cluster Cluster, tell func(keys int64)) (c fleet.KeyComparison, err error) {
	for range compareAgain {
		c, err = k.compare(ctx, cluster, tell)
		var compacted *etcdadmin.CompactedError
		if !errors.As(err, &compacted) {
			return c, err
		}
	}
	return c, fleet.Errorf(fleet.Unavailable, "comparison of keys", "compactions outran it %d times: %w", compareAgain, err)
}

func (k *Keys) compare(ctx context.Context, cluster Cluster, tell func(keys int64)) (fleet.KeyComparison, error) {
	first, err := cluster.Keys(ctx, []byte{0}, []byte{1}, 1, 0)
	if err != nil {
		return fleet.KeyComparison{}, err
	}
	c := fleet.KeyComparison{Revision: first.Revision}
	now := func(ctx context.Context, from, end []byte, limit int64) (etcdadmin.Page, error) {
		return cluster.Keys(ctx, from, end, limit, c.Revision)
	}
	n := int64(0)
	err = k.walk(ctx, nil, now, func(was, is *mvccpb.KeyValue) error {
		if n++; n%reportEach == 0 {
			tell(n)
		}
		switch {
		case was == nil && k.exact:
			c.Delete++
		case was == nil:
			c.Stay++
		case alike(was, is):
			c.Same++
		default:
			if is == nil {
				c.Create++
			} else {
				c.Change++
			}
			if was.GetLease() != 0 {
				c.Leased++
			}
			c.Size += fleet.Bytes(len(was.GetKey()) + len(was.GetValue()))
		}
		return nil
	})
	return c, err
}

// reportEach is after how many keys progress is reported.
const reportEach = 100

// alike says that a key is as it was, as far as it is put back: by its value, and whether
// it ends with a lease. Which lease that is, is its holder's to say.
func alike(was, is *mvccpb.KeyValue) bool {
	return is != nil && bytes.Equal(was.GetValue(), is.GetValue()) && (was.GetLease() == 0) == (is.GetLease() == 0)
}

// walk goes through the keys of the backup and those of the cluster side by side, in
// order, behind one key: was is in the backup, is in the cluster, and one of them may be nil.
func (k *Keys) walk(ctx context.Context, behind []byte, now read, visit func(was, is *mvccpb.KeyValue) error) error {
	for _, prefix := range k.prefixes {
		from, end := []byte(prefix), []byte(clientv3.GetPrefixRangeEnd(prefix))
		if next := append(bytes.Clone(behind), 0); len(behind) > 0 && bytes.Compare(next, from) > 0 {
			from = next
		}
		if bytes.Compare(from, end) >= 0 {
			continue
		}
		was, is := &pages{read: k.store.Keys, from: from, end: end}, &pages{read: now, from: from, end: end}
		for {
			a, err := was.peek(ctx)
			if err != nil {
				return err
			}
			b, err := is.peek(ctx)
			if err != nil {
				return err
			}
			order := 0
			switch {
			case a == nil && b == nil:
			case a == nil:
				order = 1
			case b == nil:
				order = -1
			default:
				order = bytes.Compare(a.GetKey(), b.GetKey())
			}
			if order < 0 {
				b = nil
			} else if order > 0 {
				a = nil
			}
			if a == nil && b == nil {
				break
			}
			if err := visit(a, b); err != nil {
				return err
			}
			was.take(a)
			is.take(b)
		}
	}
	return nil
}

// read gives keys of a range in order.
type read func(ctx context.Context, from, end []byte, limit int64) (etcdadmin.Page, error)

// The size of a page. etcd counts keys and not bytes, so the next page has as many as
// would have made the last one about pageBytes, and at most twice as many as that had:
// when small keys are followed by large ones, some are more than was hoped for.
const (
	pageBytes   = 1 << 20
	firstLimit  = 16
	limitAtMost = 1000
)

// pages goes through the keys of a range, a page at a time.
type pages struct {
	read      read
	from, end []byte
	limit     int64
	keys      []*mvccpb.KeyValue
	ended     bool
}

// peek gives the next key, nil at the end.
func (p *pages) peek(ctx context.Context) (*mvccpb.KeyValue, error) {
	for len(p.keys) == 0 && !p.ended {
		if p.limit == 0 {
			p.limit = firstLimit
		}
		page, err := p.read(ctx, p.from, p.end, p.limit)
		if err != nil {
			return nil, err
		}
		p.keys, p.ended = page.Keys, !page.More || len(page.Keys) == 0
		size := 1
		for _, kv := range p.keys {
			size += len(kv.GetKey()) + len(kv.GetValue())
		}
		if n := len(p.keys); n > 0 {
			p.from = append(bytes.Clone(p.keys[n-1].GetKey()), 0)
			p.limit = min(max(1, int64(n)*pageBytes/int64(size)), 2*p.limit, limitAtMost)
		}
	}
	if len(p.keys) == 0 {
		return nil, nil
	}
	return p.keys[0], nil
}

// take goes on behind a key that was peeked at; nil is none.
func (p *pages) take(kv *mvccpb.KeyValue) {
	if kv != nil {
		p.keys = p.keys[1:]
	}
}
