package activities

import (
	"context"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// CheckBackup reads a backup to its last byte, in each store that is to have it: every digest
// is compared, and the seal opened. Where it is asked for, what differs in one of two stores
// is replaced by what the other has before. Likewise the changes that were recorded behind it.
// fleet.Lost when anything of the backup differs; fleet.NotFound when there is none. What is
// wrong with the changes is in the reply.
func (b *Backups) CheckBackup(ctx context.Context, r fleet.BackupRequest) (fleet.Backup, error) {
	return answer(b.checkAll(ctx, r))
}

func (b *Backups) checkAll(ctx context.Context, r fleet.BackupRequest) (is fleet.Backup, err error) {
	switch {
	case b.Second != nil:
		is, err = b.checkBoth(ctx, r)
	case r.Repair:
		err = fleet.Errorf(fleet.Invalid, "backup "+r.ID+" of "+r.Cluster, "the workers have no second store that it could be repaired from").
			WithRemedy("give them the store that has a copy as --second-store")
	default:
		is, err = b.check(ctx, r, b.vault())
	}
	if err != nil {
		return is, err
	}
	return is, b.checkChanges(ctx, r, &is)
}

// checkChanges reads the changes behind a backup that is whole.
func (b *Backups) checkChanges(ctx context.Context, r fleet.BackupRequest, is *fleet.Backup) error {
	m, err := b.both().Find(ctx, r.Cluster, r.UID, is.ID)
	if err != nil {
		return err
	}
	ask := backup.ChangesAsk{Repair: r.Repair, By: r.By, Keep: time.Duration(r.KeepChanges)}
	var found fleet.ChangesCheck
	var repaired []fleet.BackupRepair
	var gauge progressGauge
	err = busyWith(ctx, "changes behind "+m.String(), gauge.steps, gauge.counting("reading changes"), func() (err error) {
		found, repaired, err = b.answering(is.Unasked).CheckChanges(ctx, m, ask, gauge.tell)
		return err
	})
	b.logRepairs(m, repaired)
	is.Repaired = append(is.Repaired, repaired...)
	if found.Segments > 0 {
		is.Changes = &found
	}
	return err
}

// answering gives the vault of the stores that answer.
func (b *Backups) answering(away *fleet.StoresAway) backup.Vault {
	switch {
	case away == nil:
		return b.both()
	case away.First != "":
		return backup.Vault{Store: b.Second, Key: b.Key}
	}
	return b.vault()
}

func (b *Backups) logRepairs(m backup.Manifest, done []fleet.BackupRepair) {
	for _, d := range done {
		b.Log.Warn("repaired from the other store", zap.String("cluster", m.Cluster), zap.String("backup", m.ID),
			zap.String("in", d.Store), zap.Strings("objects", d.Objects), zap.Int("more", d.More), zap.String("why", d.Why))
	}
}

func (b *Backups) checkBoth(ctx context.Context, r fleet.BackupRequest) (fleet.Backup, error) {
	is, err := b.check(ctx, r, b.both()) // it falls back: which one is meant, and that it can be had
	if err != nil {
		return is, err
	}
	r.ID = is.ID
	if r.Repair {
		var gauge progressGauge
		err := busyWith(ctx, "backup "+r.ID, gauge.steps, func(int64) (int, string) { return gauge.read(is.StoredSize) }, func() error {
			done, err := b.both().Repair(ctx, r.Cluster, r.UID, r.ID, r.By, gauge.tell)
			b.logRepairs(backup.Manifest{Cluster: r.Cluster, ID: r.ID}, done)
			is.Repaired = append(is.Repaired, done...)
			return err
		})
		if err != nil {
			return is, err
		}
	}
	is.Where = fleet.InBoth
	for _, in := range []struct {
		which string
		store objectstore.Store
	}{{"first", b.Store}, {"second", b.Second}} {
		var err error
		if in.which == "first" {
			err = b.away() // it was asked a moment ago
		}
		if err == nil {
			_, err = b.check(ctx, r, backup.Vault{Store: in.store, Key: b.Key})
		}
		switch {
		case err == nil:
		case passing(err) && ctx.Err() == nil && r.Repair:
			return is, fleet.Errorf(fleet.Blocked, "the "+in.which+" store, "+in.store.String(), "it cannot be asked, which proves nothing of what it has: %w", err).
				WithRemedy("repair it when it answers; restores take what the other store has")
		case passing(err) && ctx.Err() == nil:
			is.Unasked, is.Where = &fleet.StoresAway{First: err.Error()}, ""
			if in.which == "second" {
				is.Unasked = &fleet.StoresAway{Second: err.Error()}
			}
			return is, nil // the other one gave what was read above
		case fleet.Is(err, fleet.NotFound) && in.which == "second": // it is copied within a minute, or lists say so
			is.Where = fleet.InFirst
		default:
			kind := fleet.KindOf(err)
			if kind == fleet.NotFound {
				kind = fleet.Lost
			}
			return is, fleet.Errorf(kind, "the "+in.which+" store, "+in.store.String(), "%w", err).
				WithRemedy("it can be restored from the other store, which is whole; flotilla verify %s %s --repair replaces it here by that", r.Cluster, r.ID)
		}
	}
	return is, nil
}

func (b *Backups) check(ctx context.Context, r fleet.BackupRequest, from backup.Vault) (fleet.Backup, error) {
	entries, err := within(ctx, listWithin, "listing those of "+r.Cluster, func(ctx context.Context) ([]backup.Entry, error) {
		return from.List(ctx, r.Cluster, r.UID)
	})
	if err != nil {
		return fleet.Backup{}, err
	}
	entry, err := entryNamed(r.Cluster, entries, r.ID)
	if err != nil {
		return fleet.Backup{}, err
	}
	if entry.Err != nil {
		return fleet.Backup{}, entry.Err
	}
	var gauge progressGauge
	err = busyWith(ctx, entry.Manifest.String(), gauge.steps, func(int64) (int, string) { return gauge.read(entry.Manifest.Size) }, func() error {
		data, err := from.Open(ctx, entry.Manifest, gauge.tell)
		if err != nil {
			return err
		}
		defer data.Close()
		_, err = io.Copy(io.Discard, data)
		return err
	})
	return tell(entry), err
}

// entryNamed gives the backup that is meant; the newest where none is named.
func entryNamed(cluster string, entries []backup.Entry, named string) (backup.Entry, error) {
	switch {
	case named != "":
		told := make([]fleet.Backup, len(entries))
		for i, e := range entries {
			told[i] = fleet.Backup{ID: e.ID, Operation: e.Manifest.Operation}
		}
		at, err := fleet.BackupNamed(cluster, told, named)
		if err != nil {
			return backup.Entry{}, err
		}
		return entries[at], nil
	case len(entries) == 0:
		return backup.Entry{}, fleet.Errorf(fleet.NotFound, "backups of "+cluster, "there is none").
			WithRemedy("flotilla backup %s takes one", cluster)
	}
	return entries[len(entries)-1], nil
}
