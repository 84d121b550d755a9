package backup

import (
	"context"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// locked says whether something may not be removed at a time.
func locked(l *objectstore.Lock, t time.Time) bool { return l != nil && l.Until.After(t) }

// lockKeys locks objects that are there, unless the time of that is over.
func lockKeys(ctx context.Context, in objectstore.Store, l *objectstore.Lock, keys ...string) error {
	if !locked(l, time.Now()) {
		return nil
	}
	locker, ok := in.(objectstore.Locker)
	if !ok {
		return fleet.Errorf(fleet.Invalid, in.String(), "it cannot lock objects").WithRemedy("leave --object-lock out")
	}
	for _, key := range keys {
		if err := locker.Lock(ctx, key, *l); err != nil {
			return err
		}
	}
	return nil
}

// lockCopy locks what was copied as it says, if the store can at all.
func lockCopy(ctx context.Context, in objectstore.Store, l *objectstore.Lock, manifest string, objects []Object) error {
	locker, ok := in.(objectstore.Locker)
	if !ok || !locked(l, time.Now()) || fleet.Is(locker.CanLock(ctx), fleet.Invalid) {
		return nil
	}
	return lockKeys(ctx, in, l, append(keysOf(objects), manifest)...)
}

func keysOf(objects []Object) (keys []string) {
	for _, o := range objects {
		keys = append(keys, o.Key)
	}
	return keys
}
