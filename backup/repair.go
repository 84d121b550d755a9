package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/flotilla-etcd/flotilla/backup/sealed"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// repairs is the record of a backup's repairs that lies beside it, the oldest first.
type repairs struct {
	Backup  string               `json:"backup"`
	Repairs []fleet.BackupRepair `json:"repairs"`
}

// keptRepairs bounds the record.
const keptRepairs = 16

// wrong is why an object of one store is not what it should be.
type wrong map[string]error

// Repair makes both stores have a backup whole: what is missing or altered in one is replaced
// by what the other has, once that was compared with the manifest to the last byte. It reads
// all that both have. What is right is never written over, and what is locked stays as it is.
// It gives what it replaced, and records it beside the backup in both.
//
// Errors: fleet.NotFound when neither has a manifest; fleet.Lost when something is whole in
// neither; fleet.Conflict when both have a manifest that is right and they are different ones:
// nothing is replaced then. fleet.Blocked when something is locked. As of the stores.
func (v Vault) Repair(ctx context.Context, cluster, uid, id, by string, tell Tell) ([]fleet.BackupRepair, error) {
	m, sides, err := v.compare(ctx, cluster, uid, id, tell)
	if err != nil {
		return nil, err
	}
	key := manifestKey(cluster, uid, id)
	var done []fleet.BackupRepair
	for i, side := range sides {
		if len(side.wrong) == 0 {
			continue
		}
		if err := v.mend(ctx, m, key, side, sides[1-i], tell); err != nil {
			return done, err
		}
		repair := fleet.BackupRepair{When: time.Now().UTC(), By: by, Store: side.store.String()}
		var why []string
		for _, key := range append(keysOf(m.Objects), key) {
			if err := side.wrong[key]; err != nil {
				repair.Objects, why = append(repair.Objects, key), append(why, err.Error())
			}
		}
		repair.Why = strings.Join(why, "; ")
		done = append(done, repair)
	}
	if len(done) == 0 {
		return nil, nil
	}
	return done, v.recordRepairs(ctx, m, done)
}

// side is one of two stores, and what is wrong there.
type side struct {
	store objectstore.Store
	wrong wrong
}

// compare finds out which manifest counts and what of the backup is wrong in each store.
func (v Vault) compare(ctx context.Context, cluster, uid, id string, tell Tell) (m Manifest, sides [2]side, err error) {
	key := manifestKey(cluster, uid, id)
	sides = [2]side{{v.Store, wrong{}}, {v.Second, wrong{}}}
	var found [2]Manifest
	var failed [2]error
	for i, s := range sides {
		found[i], failed[i] = manifestIn(ctx, s.store, cluster, uid, id)
		switch {
		case failed[i] == nil:
		case fleet.Is(failed[i], fleet.Lost), fleet.Is(failed[i], fleet.NotFound):
			s.wrong[key] = failed[i]
		default:
			return m, sides, failed[i]
		}
	}
	switch {
	case failed[0] != nil && failed[1] != nil:
		return m, sides, sealed.Neither(failed[0], failed[1])
	case failed[0] == nil && failed[1] == nil:
		texts := [2][]byte{}
		for i, s := range sides {
			if texts[i], err = readText(ctx, s.store, key); err != nil {
				return m, sides, err
			}
		}
		if !bytes.Equal(texts[0], texts[1]) {
			return m, sides, fleet.Errorf(fleet.Conflict, key, "the two stores have different ones, and each is right by itself").
				WithRemedy("find out which of the two backups is wanted, and remove the other, its manifest first")
		}
	}
	m = found[0]
	if failed[0] != nil {
		m = found[1]
	}
	for _, o := range m.Objects {
		var lost [2]error
		for i, s := range sides {
			lost[i] = Vault{Store: s.store}.readBack(ctx, m.String(), []Object{o}, tell)
			if lost[i] == nil {
				continue
			}
			if !fleet.Is(lost[i], fleet.Lost) {
				return m, sides, lost[i]
			}
			s.wrong[o.Key] = lost[i]
		}
		if lost[0] != nil && lost[1] != nil {
			return m, sides, sealed.Neither(lost[0], lost[1])
		}
	}
	return m, sides, nil
}

// mend replaces what is wrong on one side, the manifest last: only then the backup counts
// there. Whatever comes from the other side is compared once more on its way, and read back.
func (v Vault) mend(ctx context.Context, m Manifest, key string, bad, good side, tell Tell) error {
	way := Vault{Store: good.store, Second: bad.store}
	explain := func(err error) error {
		if fleet.Is(err, fleet.Blocked) {
			return fleet.Errorf(fleet.Blocked, m.String(), "%s cannot be repaired in %s yet: %w", m.ID, bad.store, err).
				WithRemedy("it can be restored from the other store, which is whole; repair it when the lock is over")
		}
		return err
	}
	for _, o := range m.Objects {
		if bad.wrong[o.Key] == nil {
			continue
		}
		if err := way.CopyObject(ctx, m.String(), o, tell); err != nil {
			return explain(err)
		}
	}
	if bad.wrong[key] != nil {
		if err := way.copyManifest(ctx, key); err != nil {
			return explain(err)
		}
	}
	return lockCopy(ctx, bad.store, m.Lock, key, m.Objects)
}

// recordRepairs adds to the record of a backup's repairs, in both stores.
func (v Vault) recordRepairs(ctx context.Context, m Manifest, done []fleet.BackupRepair) error {
	key := prefixOf(m.Cluster, m.UID) + m.ID + "/" + repairsName
	all := repairs{Backup: m.ID, Repairs: append(v.repairs(ctx, key, m.ID), done...)}
	all.Repairs = all.Repairs[max(0, len(all.Repairs)-keptRepairs):]
	text, err := encode(all)
	if err != nil {
		return err
	}
	var failed []error
	for _, store := range []objectstore.Store{v.Store, v.Second} {
		failed = append(failed, store.Put(ctx, key, bytes.NewReader(text), int64(len(text))))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("it is repaired, but that could not be recorded: %w", err)
	}
	return nil
}

// repairs reads the record of a backup's repairs. What cannot be read is none.
func (v Vault) repairs(ctx context.Context, key, id string) []fleet.BackupRepair {
	all, err := either(ctx, v, key, func(from objectstore.Store) (all repairs, err error) {
		err = readDocument(ctx, from, key, &all)
		return all, err
	})
	if err != nil || all.Backup != id {
		return nil
	}
	return all.Repairs
}
