package activities

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
	"github.com/flotilla-etcd/flotilla/pki"
)

// secretCopy has the second store follow the first with the authority of one cluster, and
// until when clients' certificates are valid. What is sealed is copied as it is. It is opened
// beside that, to know that it is whole; the opened one is dropped.
type secretCopy struct {
	region       Region
	cluster, uid string
	// alike is what the first store listed when the second was made like it, at that time.
	alike string
	at    time.Time
}

// follow looks once. A version of the authority that only the second store has comes from
// the first, which has lost it: it is put back, as long as the cluster lives. Where both have
// another one of a version, the one that opens counts, and replaces the other. It says what
// it did. Errors: as of the stores; fleet.Conflict when both open; as of pki.OpenAuthority when
// none does.
func (c *secretCopy) follow(ctx context.Context, lives bool) (did []string, err error) {
	first, second := c.region.first(), keptIn{c.region.Second, c.region.Key}
	has, err := first.list(ctx, c.cluster, c.uid)
	if err != nil {
		return nil, err
	}
	listed := listing(has)
	if listed == c.alike && time.Since(c.at) < expireEvery {
		return nil, nil
	}
	copied, err := second.list(ctx, c.cluster, c.uid)
	switch {
	case err != nil:
		return nil, err
	case copied.version > has.version && lives:
		// The records before what they are about: who drops an authority asks them.
		if err := c.records(ctx, copied, has, second, first); err != nil {
			return nil, err
		}
		if _, err := c.give(ctx, second, first, copied.version); err != nil {
			return nil, err
		}
		return []string{"put the authority back into the first store, which had lost it"}, nil
	case has.version < 0, copied.version > has.version: // none yet, or it is being destroyed
		return nil, nil
	}
	fresh, err := c.give(ctx, first, second, has.version)
	switch {
	case unopened(err) && copied.version == has.version && lives:
		if _, err := c.give(ctx, second, first, has.version); err != nil {
			return nil, err
		}
		return []string{"replaced the authority in the first store, which was damaged"}, nil
	case fleet.Is(err, fleet.NotFound): // another one has replaced it just now
		return nil, nil
	case err != nil:
		return nil, err
	case fresh:
		did = append(did, "copied the authority")
	}
	for _, o := range copied.versions {
		if o.Size > 0 && versionIn(o.Key, secretsPrefix(c.cluster, c.uid)) < has.version {
			if err := second.Put(ctx, o.Key, bytes.NewReader(nil), 0); err != nil {
				return did, err
			}
		}
	}
	if err := c.records(ctx, has, copied, first, second); err != nil {
		return did, err
	}
	c.alike, c.at = listed, time.Now()
	return did, nil
}

// listing is what a list says, for comparison.
func listing(k kept) string {
	var text strings.Builder
	for _, objects := range [][]objectstore.Object{k.versions, k.others} {
		for _, o := range objects {
			fmt.Fprintln(&text, o.Key, o.Size, o.ETag)
		}
	}
	return text.String()
}

// give makes a store have what another has of a version, and says whether that is new there.
// What is there and opens is never replaced. Errors: as of pki.OpenAuthority of what is where
// it comes from; fleet.NotFound when it was replaced meanwhile; fleet.Conflict when both have one.
func (c *secretCopy) give(ctx context.Context, from, to keptIn, version int) (fresh bool, err error) {
	key := authorityKey(c.cluster, c.uid, version)
	text, err := from.read(ctx, key)
	if err == nil && len(text) == 0 {
		err = fleet.Errorf(fleet.NotFound, key, "it was replaced")
	}
	if err != nil {
		return false, err
	}
	if _, err := pki.OpenAuthority(text, c.region.Key); err != nil {
		return false, err
	}
	err = to.PutIfAbsent(ctx, key, text)
	if err != nil && !fleet.Is(err, fleet.Conflict) {
		return false, err
	}
	fresh = err == nil
	there, err := to.read(ctx, key)
	if err != nil || bytes.Equal(there, text) {
		return fresh, err
	}
	if _, err := pki.OpenAuthority(there, c.region.Key); !unopened(err) {
		return false, fleet.Errorf(fleet.Conflict, key, "the two stores have different ones, and nothing says which is right").
			WithRemedy("move the one away that the cluster's certificates are not of")
	}
	return true, to.Put(ctx, key, bytes.NewReader(text), int64(len(text)))
}

// unopened says that an authority is not whole: one whose header was altered looks as if it
// was sealed with another key.
func unopened(err error) bool { return fleet.Is(err, fleet.Lost) || fleet.Is(err, fleet.Denied) }

// records gives a store the records of clients' certificates that another has, and removes
// those there whose time is over.
func (c *secretCopy) records(ctx context.Context, has, copied kept, from, to keptIn) error {
	there := map[string]bool{}
	for _, o := range copied.others {
		there[o.Key] = true
		if t := timeOf(o); !t.IsZero() && t.Before(time.Now()) {
			if err := to.Delete(ctx, o.Key); err != nil {
				return err
			}
		}
	}
	authority, err := from.kept(ctx, c.cluster, c.uid)
	if err != nil || authority.authority == nil {
		return err
	}
	trust := authority.authority.Trust()
	for _, o := range has.others {
		of := path.Base(path.Dir(o.Key))
		if t := timeOf(o); there[o.Key] || t.Before(time.Now()) || of != trust.Signer && of != trust.Other {
			continue
		}
		if err := ignore(to.PutIfAbsent(ctx, o.Key, nil), fleet.Conflict); err != nil {
			return err
		}
	}
	return nil
}
