package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// saveAt makes a backup of a point in time: of the newest one before it, and the changes
// recorded since. No member is asked.
func (b *Backups) saveAt(ctx context.Context, op fleet.Operation, id string) (string, error) {
	base, reach, err := b.leading(ctx, op)
	if err != nil {
		return "", noWay(err)
	}
	dir, err := b.workspace(op.ID)
	if err != nil {
		return "", fleet.Errorf(fleet.Unavailable, "scratch directory of the worker", "%w", err)
	}
	defer os.RemoveAll(dir)
	target := backup.Target{Revision: op.Options.At.Revision, Time: op.Options.At.Time}
	file := filepath.Join(dir, "snapshot.db")
	var done backup.Replayed
	var gauge progressGauge
	var told fellBack
	err = busyWith(ctx, "changes since "+base.String(), gauge.steps, gauge.replaying, func() (err error) {
		done, err = b.bothTelling(&told).Replay(ctx, base, reach, target, file, gauge.tell)
		return err
	})
	if err != nil {
		return "", noWay(err)
	}
	about := backup.Manifest{
		Cluster: op.Cluster, UID: op.UID, ID: id, History: base.History, AskedBy: op.By, Operation: op.ID,
		Taken: base.Taken, Base: base.ID, Member: base.Member, Learner: base.Learner, Etcd: base.Etcd,
		Lock: b.madeLock().From(time.Now()),
	}
	for _, later := range []time.Time{reach.UntilOf(done.Revision), op.Options.At.Time} {
		if later.After(about.Taken) {
			about.Taken = later.UTC()
		}
	}
	into, elsewhere := b.vaultToMake(ctx, op, id)
	if elsewhere != "" {
		about.Lock = nil // the second store locks what is copied into it, if it can
	}
	stream, err := os.Open(file)
	if err != nil {
		return "", fleet.Errorf(fleet.Unavailable, "scratch directory of the worker", "%w", err)
	}
	defer stream.Close()
	var m backup.Manifest
	err = busyWith(ctx, "backup", gauge.steps, func(int64) (int, string) { return gauge.read(done.Size) }, func() (err error) {
		m, err = into.Save(ctx, about, stream, dir, gauge.tell)
		return err
	})
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("revision %d, %d keys, %s, stored as %s: %d changes since backup %s", m.Revision, m.Keys, m.Size.Human(), m.StoredSize().Human(), done.Changes, base.ID) + lockedText(m)
	if done.Vague {
		text += "; the next revision may have been written before that time, too: when is not known exactly"
	}
	if done.Guessed > 0 {
		text += fmt.Sprintf("; %d leases were gone too soon to know for how long they were granted, and have a minute", done.Guessed)
	}
	return text + elsewhere + told.said(), nil
}

// vaultToMake gives where a backup is stored that is made of what is stored already: in the
// second store, and why, while the first does not answer. It is read from there then, and goes
// as any of its kind. One that an attempt has begun in the first may count there as well: both
// are of the same revision.
func (b *Backups) vaultToMake(ctx context.Context, op fleet.Operation, id string) (backup.Vault, string) {
	if b.Second == nil {
		return b.vault(), ""
	}
	_, err := within(ctx, answerWithin, "looking for the backup", func(ctx context.Context) (backup.Manifest, error) {
		return backup.Vault{Store: b.toRead(), Key: b.Key}.Manifest(ctx, op.Cluster, op.UID, id)
	})
	if !passing(err) {
		return b.vault(), ""
	}
	return backup.Vault{Store: b.Second, Key: b.Key}, "; stored in the SECOND store alone, because the first does not answer"
}

// noWay says of what leads nowhere that another try does not either: what is recorded
// later may, but whoever asks has seen how far there is.
func noWay(err error) error {
	var none *fleet.Error
	if !errors.As(err, &none) || none.Kind != fleet.NotFound {
		return err
	}
	refused := *none
	refused.Kind = fleet.Blocked
	return &refused
}

// leading gives the backup that leads to an operation's point in time, and the changes.
func (b *Backups) leading(ctx context.Context, op fleet.Operation) (base backup.Manifest, reach backup.Reach, err error) {
	target := backup.Target{Revision: op.Options.At.Revision, Time: op.Options.At.Time}
	beat(ctx, -1, "looking which backup leads to "+op.Options.At.String())
	_, err = within(ctx, listWithin, "listing backups", func(ctx context.Context) (struct{}, error) {
		entries, err := b.both().List(ctx, op.Cluster, op.UID)
		if err != nil {
			return struct{}{}, err
		}
		segments, err := b.both().Segments(ctx, op.Cluster, op.UID)
		if err != nil {
			return struct{}{}, err
		}
		base, reach, err = backup.Base(op.Cluster, entries, segments, target)
		return struct{}{}, err
	})
	return base, reach, err
}
