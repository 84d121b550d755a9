package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// unknownLease is what a lease is taken to be granted for that was gone before it could
// be asked about. A restored cluster has leases run for their whole time again; whoever
// holds one keeps it alive in less.
const unknownLease = time.Minute

// Replayed is what came of bringing a backup forward.
type Replayed struct {
	// Facts are those of the database: its revision, the number of its keys, its hash.
	etcdadmin.SnapshotFacts
	// Segments is how many were read, Changes how many changes of keys were made.
	Segments, Changes int
	// Guessed is how many leases were granted for a time that is not known.
	Guessed int
	// Vague says of a target that is a time that the next revision was read late: it may
	// have been made before that time, and is not in it.
	Vague bool
}

// Replay writes the snapshot of a cluster at a point in time into a file, whole or not
// at all: the backup, with the changes made to it by etcd's own code, revision by
// revision, each compared with what it was. It is as one that a member streamed: the
// revisions, create revisions, versions and leases of all keys are those they were, and
// so is the hash that members give for that revision (HashKV).
//
// The directory of the file needs room for the whole database. Errors: as of Fetch;
// fleet.NotFound when the changes do not lead there; fleet.Lost when they are damaged,
// disagree, or do not come out as they were.
func (v Vault) Replay(ctx context.Context, m Manifest, reach Reach, t Target, file string, tell Tell) (done Replayed, err error) {
	work, err := os.MkdirTemp(filepath.Dir(file), ".replaying-*")
	if err != nil {
		return done, noRoom(file, err)
	}
	defer os.RemoveAll(work)
	db := filepath.Join(work, "db")
	if err := v.Fetch(ctx, m, db, tell); err != nil {
		return done, err
	}
	if err := os.Truncate(db, int64(m.Size)); err != nil {
		return done, noRoom(file, err)
	}
	store, err := etcdadmin.OpenStore(ctx, db)
	if err != nil {
		return done, err
	}
	r := &replay{store: store, m: m, t: t, reach: reach, tell: tell.of("replaying changes")}
	err = r.run(ctx, v)
	if err == nil {
		r.done.SnapshotFacts, err = store.Facts(ctx)
	}
	if closed := store.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return done, err
	}
	if r.done.Size, err = addSum(db); err != nil {
		return done, noRoom(file, err)
	}
	if err := os.Rename(db, file); err != nil {
		return done, noRoom(file, err)
	}
	return r.done, nil
}

// addSum puts the sum behind a database, as a member does that streams it.
func addSum(db string) (fleet.Bytes, error) {
	f, err := os.OpenFile(db, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err == nil {
		_, err = f.Write(sum.Sum(nil))
	}
	if err == nil {
		err = f.Sync()
	}
	return fleet.Bytes(n + sha256.Size), errors.Join(err, f.Close())
}

type replay struct {
	store *etcdadmin.Store
	m     Manifest
	t     Target
	reach Reach
	tell  func(int64)
	done  Replayed
}

func (r *replay) run(ctx context.Context, v Vault) error {
	if have := r.store.Revision(); have != r.m.Revision {
		return damaged(r.m.String(), "it is at revision %d, and its manifest says %d", have, r.m.Revision)
	}
	if r.t.Revision != 0 && r.t.Revision < r.m.Revision || !r.t.Time.IsZero() && r.t.Time.Before(r.m.Taken) {
		return r.short("the backup is of a later one")
	}
	changes := &changeReader{ctx: ctx, vault: v, resource: "changes of " + r.m.Cluster, next: r.m.Revision + 1, left: r.reach.Segments}
	guessed := map[int64]bool{}
	for r.t.Revision == 0 || r.store.Revision() < r.t.Revision {
		if err := ctx.Err(); err != nil {
			return err
		}
		revision, granted, err := changes.read()
		if err != nil {
			return err
		}
		if revision == nil {
			break
		}
		if !r.t.Time.IsZero() && revision.Seen.After(r.t.Time) {
			r.done.Vague = revision.late
			break
		}
		err = r.store.Apply(revision.Revision, revision.Events, func(id int64) time.Duration {
			if granted[id] == 0 {
				guessed[id] = true
				return unknownLease
			}
			return granted[id]
		})
		switch {
		case fleet.Is(err, fleet.Conflict):
			return fleet.Errorf(fleet.Lost, "changes of "+r.m.Cluster, "they do not follow on %s: %w", r.m, err).
				WithRemedy("restore to a revision before that one, or from another backup")
		case err != nil:
			return err
		}
		r.done.Changes += len(revision.Events)
		r.tell(int64(r.done.Changes))
	}
	r.done.Segments, r.done.Guessed = changes.used, len(guessed)
	switch {
	case r.t.Revision > r.store.Revision(), !r.t.Time.IsZero() && r.t.Time.After(r.reach.Until) && r.store.Revision() == r.reach.Revision:
		return r.short("the changes end before it")
	case r.t == Target{} && r.store.Revision() != r.reach.Revision:
		return r.short("the changes end early")
	}
	return nil
}

// short says that the backup cannot be brought to where it should be.
func (r *replay) short(why string) error {
	where := "the newest revision"
	switch {
	case r.t.Revision != 0:
		where = fmt.Sprintf("revision %d", r.t.Revision)
	case !r.t.Time.IsZero():
		where = r.t.Time.Format(time.RFC3339)
	}
	return fleet.Errorf(fleet.NotFound, "point in time of "+r.m.Cluster, "%s cannot be brought to %s: %s (it leads to revision %d, %s)",
		r.m, where, why, r.reach.Revision, r.reach.Until.Format(time.RFC3339)).
		WithRemedy("flotilla backups %s shows from when to when each can be restored", r.m.Cluster)
}
