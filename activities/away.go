package activities

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// While the first of two stores does not answer, whatever only reads goes on from the second.
// What is written into the first alone, because two stores could come to differ, waits for it.

// away gives why the first store is not asked now; nil where it is, or is the only one.
func (r Region) away() error {
	if r.Second == nil {
		return nil
	}
	return r.Absence.Why()
}

// toRead is the first store for who has something else to go on with when it does not answer.
func (r Region) toRead() objectstore.Store {
	if r.Second == nil {
		return r.Store
	}
	return r.Absence.Reading(r.Store)
}

func passing(err error) bool {
	return fleet.Is(err, fleet.Unavailable) || fleet.Is(err, fleet.Throttled)
}

// inFirst does what is written into the first store alone, and says so when that does not answer.
func (r Region) inFirst(ctx context.Context, resource string, write func(ctx context.Context) error) error {
	if r.Second == nil {
		return write(ctx)
	}
	err := r.away()
	if err == nil {
		_, err = within(ctx, answerWithin, "waiting for the object store", func(ctx context.Context) (struct{}, error) {
			return struct{}{}, write(ctx)
		})
		if ctx.Err() == nil {
			r.Absence.Note(err)
		}
	}
	if ctx.Err() != nil || !passing(err) {
		return err
	}
	var known *fleet.Error
	if errors.As(err, &known) && known.Remedy != "" {
		return err
	}
	return r.needsFirst(resource, "it is written into the first store alone", err)
}

// needsFirst is the error of what waits for the first store.
func (r Region) needsFirst(resource, why string, err error) error {
	return fleet.Errorf(fleet.Unavailable, resource, "%s, %s, which does not answer: %w", why, r.Store, err).
		WithRemedy("it waits for that store; if it is gone for good, start workers with --object-store set to the second one, %s (docs/backup.md)", r.Second)
}

// withoutFinal lets a restore or a recovery go on that cannot ask the first store whether a
// final snapshot is the last word on the cluster's data, if a member runs or ran when it
// began: no member is started before that was taken back. One that began when nothing ran
// waits: a decommission would go by what the store says later, and lose what was written.
func (r Region) withoutFinal(op fleet.Operation, obs fleet.Observation, ran bool, err error) error {
	if (op.Kind == fleet.RestoreCluster || op.Kind == fleet.RecoverQuorum) && (ran || someRun(obs)) {
		r.Log.Warn("going on without the first store", zap.String("cluster", op.Cluster), zap.Error(err))
		return nil
	}
	return r.needsFirst("final snapshot of "+op.Cluster, "whether the cluster was stopped behind one is known to the first store alone", err)
}
