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
	key := manifestKey(cluster, uid, id)
	is, sides, err := v.compare(ctx, key, func(ctx context.Context, in objectstore.Store) (piece, error) {
		m, err := manifestIn(ctx, in, cluster, uid, id)
		return piece{name: m.String(), manifest: key, objects: m.Objects, lock: m.Lock, read: func(ctx context.Context, from objectstore.Store, o Object) error {
			return Vault{Store: from}.readBack(ctx, m.String(), []Object{o}, tell)
		}}, err
	})
	if err != nil {
		return nil, err
	}
	done, err := v.mend(ctx, is, sides, by, tell)
	if err != nil || len(done) == 0 {
		return done, err
	}
	return done, v.recordRepairs(ctx, cluster, uid, id, done)
}

// piece is what one manifest makes count: a backup, or a segment of changes.
type piece struct {
	name, manifest string
	objects        []Object
	lock           *objectstore.Lock
	// read reads one of the objects in one store to its end: fleet.Lost when it is not what
	// was stored.
	read func(ctx context.Context, from objectstore.Store, o Object) error
}

// keys are all that belong to it, the manifest last.
func (p piece) keys() []string { return append(keysOf(p.objects), p.manifest) }

// side is a store, and what is wrong there.
type side struct {
	store objectstore.Store
	wrong wrong
}

// why says what of a piece is wrong on a side, and the keys of that.
func (s side) why(p piece) (keys []string, why string) {
	var all []string
	for _, key := range p.keys() {
		if err := s.wrong[key]; err != nil {
			keys, all = append(keys, key), append(all, cause(err))
		}
	}
	return keys, strings.Join(all, "; ")
}

// cause is an error without what to do about it, which is another thing where there are two stores.
func cause(err error) string {
	var known *fleet.Error
	if !errors.As(err, &known) {
		return err.Error()
	}
	text := *known
	text.Remedy = ""
	return text.Error()
}

// sides are the stores that are to have everything.
func (v Vault) sides() []side {
	all := []side{{v.Store, wrong{}}}
	if v.Second != nil {
		all = append(all, side{v.Second, wrong{}})
	}
	return all
}

// compare finds out which manifest counts and what is wrong in each store: in reads the
// manifest in one. Errors: as of Repair.
func (v Vault) compare(ctx context.Context, key string, in func(ctx context.Context, store objectstore.Store) (piece, error)) (is piece, sides []side, err error) {
	is.manifest, sides = key, v.sides()
	var found []piece
	var lost []error
	for _, s := range sides {
		p, err := in(ctx, s.store)
		switch {
		case err == nil:
			found = append(found, p)
		case fleet.Is(err, fleet.Lost), fleet.Is(err, fleet.NotFound):
			s.wrong[key] = err
			lost = append(lost, err)
		default:
			return is, sides, err
		}
	}
	if len(found) == 0 {
		return is, sides, none(lost)
	}
	if is = found[0]; len(found) == 2 {
		texts := [2][]byte{}
		for i, s := range sides {
			if texts[i], err = readText(ctx, s.store, key); err != nil {
				return is, sides, err
			}
		}
		if !bytes.Equal(texts[0], texts[1]) {
			return is, sides, fleet.Errorf(fleet.Conflict, key, "the two stores have different ones, and each is right by itself").
				WithRemedy("find out which of the two is wanted, and remove the other, its manifest first")
		}
	}
	for _, o := range is.objects {
		lost = nil
		for _, s := range sides {
			err := is.read(ctx, s.store, o)
			switch {
			case err == nil:
			case !fleet.Is(err, fleet.Lost):
				return is, sides, err
			default:
				s.wrong[o.Key] = err
				lost = append(lost, err)
			}
		}
		if len(lost) == len(sides) {
			return is, sides, none(lost)
		}
	}
	return is, sides, nil
}

// none is the error of what no store has whole.
func none(lost []error) error {
	if len(lost) == 2 {
		return sealed.Neither(lost[0], lost[1])
	}
	return lost[0]
}

// mend replaces what is wrong in one store by what the other has, and gives what that was.
func (v Vault) mend(ctx context.Context, is piece, sides []side, by string, tell Tell) (done []fleet.BackupRepair, err error) {
	for i, s := range sides {
		if len(s.wrong) == 0 {
			continue
		}
		if err := mendSide(ctx, is, s, sides[1-i], tell); err != nil {
			return done, err
		}
		repair := fleet.BackupRepair{When: time.Now().UTC(), By: by, Store: s.store.String()}
		repair.Objects, repair.Why = s.why(is)
		done = append(done, repair)
	}
	return done, nil
}

// mendSide replaces what is wrong on one side, the manifest last: only then it counts there.
// Whatever comes from the other side is compared once more on its way, and read back.
func mendSide(ctx context.Context, is piece, bad, good side, tell Tell) error {
	way := Vault{Store: good.store, Second: bad.store}
	explain := func(err error) error {
		if fleet.Is(err, fleet.Blocked) {
			return fleet.Errorf(fleet.Blocked, is.name, "it cannot be repaired in %s yet: %w", bad.store, err).
				WithRemedy("it can be restored from the other store, which is whole; repair it when the lock is over")
		}
		return err
	}
	for _, o := range is.objects {
		if bad.wrong[o.Key] == nil {
			continue
		}
		if err := way.CopyObject(ctx, is.name, o, tell); err != nil {
			return explain(err)
		}
	}
	if bad.wrong[is.manifest] != nil {
		if err := way.copyManifest(ctx, is.manifest); err != nil {
			return explain(err)
		}
	}
	return lockCopy(ctx, bad.store, is.lock, is.manifest, is.objects)
}

// recordRepairs adds to the record of a backup's repairs, in both stores.
func (v Vault) recordRepairs(ctx context.Context, cluster, uid, id string, done []fleet.BackupRepair) error {
	key := prefixOf(cluster, uid) + id + "/" + repairsName
	all := repairs{Backup: id, Repairs: append(v.repairs(ctx, key, id), done...)}
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
