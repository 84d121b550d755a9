package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// Backups stores copies of running clusters, lists and checks them.
type Backups struct{ Region }

// catchUp is how long a learner or a follower is waited for that does not have yet what
// was acknowledged. Then a backup is taken from one that has, the leader at last.
const catchUp = 10 * time.Second

// abandoned is the age from which a scratch directory is nobody's any more: no attempt
// takes as long.
const abandoned = 24 * time.Hour

func (r Region) vault() backup.Vault { return backup.Vault{Store: r.Store, Key: r.Key} }

// ownBackup gives the backup that an operation is to take, once it counts.
func (r Region) ownBackup(ctx context.Context, op fleet.Operation) (*fleet.Backup, error) {
	id := backup.NewID(op.Asked, op.ID)
	m, err := backup.Vault{Store: r.toRead(), Key: r.Key}.Manifest(ctx, op.Cluster, op.UID, id)
	if op.Options.At != nil && r.Second != nil && passing(err) { // it may be made there meanwhile
		m, err = backup.Vault{Store: r.Second, Key: r.Key}.Manifest(ctx, op.Cluster, op.UID, id)
	}
	switch {
	case fleet.Is(err, fleet.NotFound):
		return nil, nil
	case fleet.Is(err, fleet.Lost):
		return &fleet.Backup{ID: id, Cluster: op.Cluster, UID: op.UID, Operation: op.ID, Damaged: err.Error()}, nil
	case err != nil:
		return nil, err
	}
	told := tell(backup.Entry{ID: id, Manifest: m})
	return &told, nil
}

// tell gives what lists tell of a backup.
func tell(e backup.Entry) fleet.Backup {
	m := e.Manifest
	b := fleet.Backup{
		ID: e.ID, Cluster: m.Cluster, UID: m.UID, Taken: m.Taken, Stored: m.Stored, AskedBy: m.AskedBy, Operation: m.Operation,
		Member: m.Member, Learner: m.Learner, Etcd: m.Etcd, Revision: m.Revision, Keys: m.Keys, Hash: m.Hash,
		Size: m.Size, StoredSize: m.StoredSize(), Base: m.Base,
	}
	if m.Lock != nil {
		b.LockedUntil = m.Lock.Until
	}
	if e.Err != nil {
		b.Damaged = e.Err.Error()
	}
	b.Repaired = e.Repairs
	if r := e.Rehearsal; r != nil {
		b.Rehearsal = &fleet.Rehearsal{When: r.When, OK: r.OK, Took: fleet.Duration(r.Took), Why: r.Why}
	}
	return b
}

// SaveBackup streams a snapshot from the member that feels it least into the object
// store, and makes it count. A member whose store cannot be read is passed over for the
// next one, and told of. One of a point in time is made of what is stored already.
func (b *Backups) SaveBackup(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	op := r.Operation
	switch {
	case r.Step.At != nil: // of a recovery, which may make another one when more was recorded since
		op.Options.At = r.Step.At
		return note(b.saveAt(ctx, op, backup.NewID(op.Asked, fmt.Sprintf("%s-%d", op.ID, r.Step.At.Revision))))
	case op.Options.At != nil:
		return note(b.saveAt(ctx, op, backup.NewID(op.Asked, op.ID)))
	}
	return note(b.save(ctx, op))
}

func (b *Backups) save(ctx context.Context, op fleet.Operation) (string, error) {
	ctx, failed, pack := carrying[[]string](ctx)
	client, err := b.client(ctx, op, "")
	if err != nil {
		return "", err
	}
	defer client.Close()
	taken := time.Now().UTC()
	now, err := asking(ctx, client.Now)
	if err != nil {
		return "", err
	}
	sources, err := b.sources(ctx, client, now.Revision)
	if err != nil {
		return "", err
	}
	// Those that failed an attempt before this one come last.
	slices.SortStableFunc(sources, func(x, y fleet.ObservedMember) int {
		return cmp.Compare(slices.Index(failed, x.Name), slices.Index(failed, y.Name))
	})
	var passed []error
	for _, source := range sources {
		m, took, err := b.saveFrom(ctx, client, source, backup.Manifest{
			Cluster: op.Cluster, UID: op.UID, ID: backup.NewID(op.Asked, op.ID), History: strconv.FormatUint(now.Cluster, 16),
			AskedBy: op.By, Operation: op.ID, Taken: taken, Member: source.Name, Learner: source.Learner, Etcd: source.Version,
			Lock: b.backupLock(op.Spec.Backup).From(taken),
		})
		switch {
		case fleet.Is(err, fleet.Invalid): // its own store is damaged; the others' need not be
			passed = append(passed, fmt.Errorf("member %s: %w", source.Name, err))
			continue
		case err != nil:
			pack(append(slices.DeleteFunc(failed, func(name string) bool { return name == source.Name }), source.Name))
			beat(ctx, -1, "failed from "+source.Name)
			return "", err
		}
		b.protection().Backup(op.Cluster, m.Taken, time.Duration(op.Spec.Backup.Every))
		text := fmt.Sprintf("revision %d, %d keys, %s from %s, stored as %s%s", m.Revision, m.Keys, m.Size.Human(), m.Member, m.StoredSize().Human(), took)
		text += lockedText(m)
		if m.Lock == nil && b.Lock.Mode != "" {
			text += ", NOT locked: neither --object-lock nor backup.every and backup.keep.last say for how long"
		}
		if len(passed) > 0 {
			text += "; NOT from others: " + errors.Join(passed...).Error()
		}
		return text, nil
	}
	return "", fleet.Errorf(fleet.Lost, "backup of "+op.Cluster, "no member has a store that can be read: %w", errors.Join(passed...)).
		WithRemedy("use an older backup: flotilla backups %s", op.Cluster)
}

// sources gives the members to take a snapshot from, best first: a learner, else the
// follower that is least busy, and the leader last, because a snapshot makes its member
// slower. All have what was acknowledged; who does not yet is waited for, not for long.
func (b *Backups) sources(ctx context.Context, client *etcdadmin.Client, revision int64) ([]fleet.ObservedMember, error) {
	var fit []fleet.ObservedMember
	began := time.Now()
	err := poll(ctx, func(ctx context.Context) (bool, int, string, error) {
		seen, err := asking(ctx, func(ctx context.Context) (etcdadmin.Observation, error) { return client.Observe(ctx), nil })
		if err == nil && len(seen.Members) == 0 {
			err = fleet.Errorf(fleet.Unavailable, "backup", "no member can be chosen: %s", seen.Why)
		}
		if err != nil {
			return false, -1, "", err
		}
		members := seen.Members
		fit = slices.DeleteFunc(slices.Clone(members), func(m fleet.ObservedMember) bool {
			return !m.Answers || m.Revision < revision || slices.Contains(seen.Alarms, fleet.Alarm{Member: m.Name, Alarm: "CORRUPT"})
		})
		if len(fit) == 0 && time.Since(began) > catchUp {
			return false, -1, "", fleet.Errorf(fleet.Unavailable, "backup", "no member that answers is known to have all, and sound: %s", seen.Why)
		}
		spared := slices.ContainsFunc(fit, func(m fleet.ObservedMember) bool { return !m.Leader })
		return spared || len(fit) > 0 && (len(members) == 1 || time.Since(began) > catchUp), -1, "waiting for a follower that has all", nil
	})
	if err != nil {
		return nil, err
	}
	rank := func(m fleet.ObservedMember) int {
		switch {
		case m.Learner:
			return 0
		case m.Leader:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(fit, func(x, y fleet.ObservedMember) int {
		return cmp.Or(cmp.Compare(rank(x), rank(y)), strings.Compare(x.Name, y.Name))
	})
	alike := 0
	for alike < len(fit) && rank(fit[alike]) == rank(fit[0]) {
		alike++
	}
	if alike < 2 {
		return fit, nil // there is nothing to choose, and looking takes its time
	}
	beat(ctx, -1, "looking who is least busy")
	loads := client.Loads(ctx, fit[:alike])
	slices.SortStableFunc(fit[:alike], func(x, y fleet.ObservedMember) int {
		lx, ly := loads[x.ID], loads[y.ID]
		switch {
		case lx.Less(ly):
			return -1
		case ly.Less(lx):
			return 1
		}
		return 0
	})
	return fit, nil
}

// saveFrom stores a snapshot of one member, and says how long that took.
func (b *Backups) saveFrom(ctx context.Context, client *etcdadmin.Client, source fleet.ObservedMember, about backup.Manifest) (m backup.Manifest, took string, err error) {
	beat(ctx, -1, "asking "+source.Name+" for a snapshot")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.Snapshot(ctx, source.Name)
	if err != nil {
		return m, "", err
	}
	defer stream.Close()
	var gauge progressGauge
	err = busyWith(ctx, "backup from "+source.Name, gauge.steps, func(int64) (int, string) { return gauge.said(source) }, func() (err error) {
		m, err = b.vault().Save(ctx, about, stream, b.Scratch, gauge.tell)
		return err
	})
	if err == nil && gauge.steps() > 0 { // else another attempt had made it
		took = " " + gauge.took()
	}
	return m, took, err
}

// workspace makes a directory for an attempt to open a backup, and deletes those of attempts
// that died here: what is in them is not sealed.
func (b *Backups) workspace(operation string) (string, error) {
	prefix := "backup-" + operation + "-"
	left, err := filepath.Glob(filepath.Join(b.Scratch, "backup-*"))
	for _, dir := range left {
		info, serr := os.Stat(dir)
		if strings.HasPrefix(filepath.Base(dir), prefix) || serr == nil && time.Since(info.ModTime()) > abandoned {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	if err != nil {
		return "", err
	}
	return os.MkdirTemp(b.Scratch, prefix)
}

// ListBackups lists the backups of clusters.
func (b *Backups) ListBackups(ctx context.Context, r fleet.BackupsRequest) (fleet.BackupsReply, error) {
	return reply(b.list(ctx, r))
}

func (b *Backups) list(ctx context.Context, r fleet.BackupsRequest) (all fleet.BackupsReply, err error) {
	if b.Second != nil {
		all.Second = b.Second.String()
	}
	for _, of := range r.Clusters {
		beat(ctx, -1, "listing those of "+of.Cluster)
		uids := []string{of.UID}
		if of.UID == "" {
			if uids, err = b.both().UIDs(ctx, of.Cluster); err != nil {
				return all, err
			}
		}
		for _, uid := range uids {
			var away backup.Away
			entries, err := within(ctx, listWithin, "listing those of "+of.Cluster, func(ctx context.Context) (entries []backup.Entry, err error) {
				entries, away, err = b.both().ListBoth(ctx, of.Cluster, uid)
				return entries, err
			})
			if err != nil {
				return all, err
			}
			for _, e := range entries {
				last, known := all.Rehearsed[uid]
				if told := tell(e).Rehearsal; told != nil && (!known || told.When.After(last.When)) {
					if all.Rehearsed == nil {
						all.Rehearsed = map[string]fleet.Rehearsal{}
					}
					all.Rehearsed[uid] = *told
				}
			}
			var segments []backup.SegmentEntry
			if r.Latest {
				entries = slices.DeleteFunc(entries, func(e backup.Entry) bool { return e.Manifest.Base != "" })
				entries = entries[max(0, len(entries)-1):]
			} else if segments, err = within(ctx, listWithin, "listing changes of "+of.Cluster, func(ctx context.Context) ([]backup.SegmentEntry, error) {
				return b.both().Segments(ctx, of.Cluster, uid)
			}); err != nil {
				return all, err
			}
			if away.Store == nil {
				away.Store = b.away() // since the backups were listed
			}
			if b.Second != nil && away != (backup.Away{}) {
				if all.Away == nil {
					all.Away = map[string]fleet.StoresAway{}
				}
				all.Away[uid] = fleet.StoresAway{First: textOf(away.Store), Second: textOf(away.Second)}
			}
			for _, e := range entries {
				told := tell(e)
				if b.Second != nil && away == (backup.Away{}) {
					told.Where = whereOf(e)
				}
				told.Cluster, told.UID = of.Cluster, uid // of a damaged one its own word is not taken
				if reach := backup.ReachOf(e.Manifest, segments); e.Err == nil && len(reach.Segments) > 0 {
					told.Reach = &fleet.Reach{Revision: reach.Revision, Until: reach.Until}
				}
				all.Backups = append(all.Backups, told)
			}
			for _, g := range backup.Gaps(entries, segments) {
				all.Gaps = append(all.Gaps, fleet.Gap{Cluster: of.Cluster, UID: uid, First: g.First, Last: g.Last, After: g.After, Before: g.Before, Healed: g.Healed})
			}
		}
	}
	return all, nil
}

// whereOf says which of two stores have a backup.
func whereOf(e backup.Entry) fleet.Where {
	switch {
	case e.InStore && e.InSecond:
		return fleet.InBoth
	case e.InStore:
		return fleet.InFirst
	case e.InSecond:
		return fleet.InSecond
	}
	return ""
}

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// listWithin bounds the listing of one cluster's backups: some hundred small objects.
const listWithin = time.Minute
