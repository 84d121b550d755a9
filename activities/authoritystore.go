package activities

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// A cluster's authority is kept as versions, each a sealed object of its own that
// is written once: authority.age, then authority-00001.age and so on. The highest
// one counts. That the next one must be absent makes every change of it depend on
// what it was made of, in every kind of store; puts on condition of an ETag are
// not in all of them (OSS). Versions that do not count any more are emptied rather
// than deleted, so that an attempt which read one of them long ago still finds the
// one after it taken.

// maxAuthority bounds what is read as a sealed authority; two of RSA are about 8 KiB.
const maxAuthority = 64 << 10

// secretsPrefix is where everything is that is kept for a cluster while it lives.
func secretsPrefix(cluster, uid string) string { return fmt.Sprintf("clusters/%s/%s/", cluster, uid) }

func authorityKey(cluster, uid string, version int) string {
	if version == 0 {
		return secretsPrefix(cluster, uid) + "authority.age"
	}
	return fmt.Sprintf("%sauthority-%05d.age", secretsPrefix(cluster, uid), version)
}

// versionIn gives the version that a key is of; -1 when it is something else.
func versionIn(key, prefix string) int {
	name, isAuthority := strings.CutPrefix(key, prefix+"authority")
	name, isSealed := strings.CutSuffix(name, ".age")
	if !isAuthority || !isSealed {
		return -1
	}
	if name == "" {
		return 0
	}
	version, err := strconv.Atoi(strings.TrimPrefix(name, "-"))
	if err != nil || version < 1 {
		return -1
	}
	return version
}

// kept is what the store has of a cluster's authority.
type kept struct {
	// authority is the version that counts; nil when there is none.
	authority *pki.Authority
	version   int
	// versions are all of them, the oldest first; others are what else is there.
	versions, others []objectstore.Object
}

// keptIn is where a store keeps the authorities of clusters.
type keptIn struct {
	objectstore.Store
	key *pki.FleetKey
}

// first is where authorities are changed.
func (r Region) first() keptIn { return keptIn{r.Store, r.Key} }

// list gives all but the authority itself.
func (s keptIn) list(ctx context.Context, cluster, uid string) (kept, error) {
	var k kept
	prefix := secretsPrefix(cluster, uid)
	objects, err := s.List(ctx, prefix)
	if err != nil {
		return k, err
	}
	for _, o := range objects {
		if versionIn(o.Key, prefix) >= 0 {
			k.versions = append(k.versions, o)
		} else {
			k.others = append(k.others, o)
		}
	}
	slices.SortFunc(k.versions, func(a, b objectstore.Object) int {
		return cmp.Compare(versionIn(a.Key, prefix), versionIn(b.Key, prefix))
	})
	k.version = -1
	if len(k.versions) > 0 {
		k.version = versionIn(k.versions[len(k.versions)-1].Key, prefix)
	}
	return k, nil
}

// copyWithin is how long the second store may take for a cluster's authority, which is
// asked only when the first has none: a creation does not wait long for a store that is away.
const copyWithin = 10 * time.Second

// kept looks up what the stores have of a cluster's authority: versions and others are the
// first store's, and the authority that of the second where the first does not give one.
func (r Region) kept(ctx context.Context, cluster, uid string) (kept, error) {
	k, err := keptIn{r.toRead(), r.Key}.kept(ctx, cluster, uid)
	if r.Second == nil || k.authority != nil || ctx.Err() != nil {
		return k, err
	}
	copied, also := within(ctx, copyWithin, "asking the second store", func(ctx context.Context) (kept, error) {
		return keptIn{r.Second, r.Key}.kept(ctx, cluster, uid)
	})
	if also == nil && copied.authority == nil && passing(err) {
		return k, r.needsFirst("certificate authority of "+cluster, "the second store has none, and one is made in the first alone", err)
	}
	if also != nil || copied.authority == nil {
		return k, err // a cluster that is being made has none anywhere
	}
	why := err
	if why == nil {
		why = fleet.Errorf(fleet.NotFound, "certificate authority of "+cluster, "the first store does not have it")
	}
	r.Log.Warn("the certificate authority was read from the second store", zap.String("cluster", cluster), zap.Error(why))
	k.authority = copied.authority
	return k, nil
}

// kept looks up what one store has of a cluster's authority. When there is one that
// cannot be opened, it says so, and still gives the rest.
func (s keptIn) kept(ctx context.Context, cluster, uid string) (kept, error) {
	for last := -1; ; {
		k, err := s.list(ctx, cluster, uid)
		if err != nil || k.version == last { // none, or emptied and nothing after it
			return k, err
		}
		sealed, err := s.read(ctx, authorityKey(cluster, uid, k.version))
		switch {
		case fleet.Is(err, fleet.NotFound), err == nil && len(sealed) == 0:
			last = k.version // another one has replaced it just now
		case err != nil:
			return k, err
		default:
			k.authority, err = pki.OpenAuthority(sealed, s.key)
			return k, err
		}
	}
}

func (s keptIn) read(ctx context.Context, key string) ([]byte, error) {
	return objectstore.ReadWhole(ctx, s, key, maxAuthority)
}

// storeAuthority seals a version and stores it; fleet.Conflict when that version is
// there already.
func (r Region) storeAuthority(ctx context.Context, op fleet.Operation, version int, authority *pki.Authority) error {
	sealed, err := authority.Seal(r.Key)
	if err != nil {
		return err
	}
	return r.inFirst(ctx, "certificate authority of "+op.Cluster, func(ctx context.Context) error {
		return r.Store.PutIfAbsent(ctx, authorityKey(op.Cluster, op.UID, version), sealed)
	})
}

// authority opens a cluster's authority.
func (r Region) authority(ctx context.Context, cluster, uid string) (*pki.Authority, error) {
	k, err := r.kept(ctx, cluster, uid)
	if err == nil && k.authority == nil {
		err = fleet.Errorf(fleet.NotFound, "cluster "+cluster, "has no certificate authority: it is not created yet, or gone")
	}
	return k.authority, err
}

// changeAuthority stores what change makes of a cluster's authority as its next
// version, unless that is the same one. Of several attempts at once that read the
// same version, the first that stores its own wins; the others get fleet.Conflict
// and are to look again. What is left of versions before it is emptied, also when
// nothing is changed: an attempt before this one may have died in between.
func (r Region) changeAuthority(ctx context.Context, op fleet.Operation, change func(*pki.Authority) (*pki.Authority, error)) (before, after *pki.Authority, err error) {
	k, err := r.first().kept(ctx, op.Cluster, op.UID)
	if err == nil && k.authority == nil {
		err = fleet.Errorf(fleet.NotFound, "cluster "+op.Cluster, "has no certificate authority in %s", r.Store).
			WithRemedy("where there is a second store, it is put back from there within a minute")
	}
	if err != nil {
		return nil, nil, err
	}
	after, err = change(k.authority)
	if err != nil {
		return nil, nil, err
	}
	old := k.versions[:len(k.versions)-1]
	if after != k.authority {
		err := r.storeAuthority(ctx, op, k.version+1, after)
		if fleet.Is(err, fleet.Conflict) {
			return nil, nil, fleet.Errorf(fleet.Conflict, "certificate authority of "+op.Cluster, "another attempt changed it at the same time: %w", err)
		}
		if err != nil {
			return nil, nil, err
		}
		old = k.versions
	}
	for _, o := range old {
		if o.Size == 0 {
			continue
		}
		if err := r.Store.Put(ctx, o.Key, bytes.NewReader(nil), 0); err != nil {
			return nil, nil, err
		}
	}
	return k.authority, after, nil
}
