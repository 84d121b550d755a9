package activities

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// VerifyBackup reads the backup that an operation is to restore to its last byte.
func (b *Backups) VerifyBackup(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	of := r.Operation.Options.Restore
	var told fellBack
	m, err := b.check(ctx, fleet.BackupRequest{Cluster: of.Cluster, UID: of.UID, ID: of.ID}, b.bothTelling(&told))
	switch away := b.away(); {
	case fleet.Is(err, fleet.NotFound) && away != nil: // it was listed, so it was not copied yet
		err = b.needsFirst("backup "+of.ID+" of "+of.Cluster, "the second store does not have it, and the first may", away)
	case fleet.Is(err, fleet.NotFound):
		err = missing(*of, err)
	}
	return note(fmt.Sprintf("whole: %d keys at revision %d, %s", m.Keys, m.Revision, m.Size.Human())+told.said(), err)
}

// missing says of a backup that is not there that another try does not find it either.
func missing(r fleet.Restore, err error) error {
	return fleet.Errorf(fleet.Lost, "backup "+r.ID+" of "+r.Cluster, "it is not there (any more): %w", err).
		WithRemedy("flotilla backups %s shows what there is", r.Cluster)
}

// CompareKeys says what putting keys back would do.
func (b *Backups) CompareKeys(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	var compared fleet.KeyComparison
	var told fellBack
	err := b.withKeys(ctx, r.Operation, &told, func(ctx context.Context, keys *backup.Keys, client *etcdadmin.Client) error {
		var count keyGauge
		return busyWith(ctx, "comparison of keys", count.moves, func(int64) (int, string) {
			return -1, fmt.Sprintf("comparing, %d keys so far", count.moves())
		}, func() (err error) {
			compared, err = keys.Compare(ctx, client, count.at)
			return err
		})
	})
	if err == nil {
		err = roomFor(r.Operation.Spec, compared)
	}
	return reply(fleet.StepReply{Note: compared.String() + told.said(), Keys: &fleet.KeyRestore{Compared: compared}}, err)
}

// roomFor refuses what cannot fit into any store of the cluster's quota. What is in the
// store already may be old revisions, which a compaction takes, so only what is written counts.
func roomFor(spec fleet.Spec, c fleet.KeyComparison) error {
	if quota := spec.WithDefaults().Etcd.Quota; c.Size > quota {
		return fleet.Errorf(fleet.Invalid, "cluster "+spec.Name, "%s are to be written, which is more than etcd's quota of %s", c.Size.Human(), quota.Human()).
			WithRemedy("give etcd.quota more, or put fewer prefixes back at a time")
	}
	return nil
}

// RestoreKeys puts keys back. When it is stopped, it gives how far it is, as a success: the
// operation goes on from there.
func (b *Backups) RestoreKeys(ctx context.Context, r fleet.StepRequest) (fleet.StepReply, error) {
	if r.Keys == nil {
		return note("", fleet.Errorf(fleet.Invalid, r.Step.String(), "does not say what was compared"))
	}
	state := *r.Keys
	// An attempt that died got further than the workflow knows.
	ctx, left, pack := carrying[fleet.KeyProgress](ctx)
	if len(left.Through) > 0 {
		state.Done = left
	}
	var told fellBack
	err := b.withKeys(ctx, r.Operation, &told, func(ctx context.Context, keys *backup.Keys, client *etcdadmin.Client) error {
		var count keyGauge
		count.tell(state.Done)
		return busyWith(ctx, "keys of "+r.Operation.Cluster, count.moves, func(int64) (int, string) { return count.said(state.Compared) }, func() (err error) {
			state.Done, err = keys.PutBack(ctx, client, state.Compared.Revision, state.Done, func(p fleet.KeyProgress) {
				pack(p)
				count.tell(p)
			})
			return err
		})
	})
	text := state.Done.String() + told.said()
	if err != nil && ctx.Err() != nil {
		text, err = "stopped half way: "+text, nil
	}
	return reply(fleet.StepReply{Note: text, Keys: &state}, err)
}

// withKeys fetches the backup of an operation, connects to its cluster, and does something
// with both. The whole backup is compared with its digests before that.
func (b *Backups) withKeys(ctx context.Context, op fleet.Operation, told *fellBack, do func(context.Context, *backup.Keys, *etcdadmin.Client) error) error {
	of := *op.Options.Restore
	beat(ctx, -1, "reading the manifest")
	m, err := within(ctx, answerWithin, "reading the manifest", func(ctx context.Context) (backup.Manifest, error) {
		return b.both().Find(ctx, of.Cluster, of.UID, of.ID)
	})
	if fleet.Is(err, fleet.NotFound) {
		return missing(of, err)
	} else if err != nil {
		return err
	}
	dir, err := b.workspace(op.ID)
	if err != nil {
		return fleet.Errorf(fleet.Unavailable, "scratch directory of the worker", "%w", err)
	}
	defer os.RemoveAll(dir)
	var keys *backup.Keys
	var gauge progressGauge
	err = busyWith(ctx, m.String(), gauge.steps, func(int64) (int, string) { return gauge.read(m.Size) }, func() (err error) {
		keys, err = b.bothTelling(told).OpenKeys(ctx, m, of.Prefixes, of.Exact, dir, gauge.tell)
		return err
	})
	if keys != nil {
		defer keys.Close()
	}
	if err != nil {
		return err
	}
	client, err := b.client(ctx, op, "")
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, keys, client)
}

// keyGauge keeps how far keys are, for the heart that beats beside it.
type keyGauge struct {
	mu    sync.Mutex
	moved int64
	done  fleet.KeyProgress
}

func (g *keyGauge) at(keys int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved = keys
}

func (g *keyGauge) tell(p fleet.KeyProgress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.moved++
	g.done = p
}

func (g *keyGauge) moves() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.moved
}

func (g *keyGauge) said(all fleet.KeyComparison) (percent int, words string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return share(int64(g.done.Put+g.done.Deleted+g.done.Left), fleet.Bytes(all.Todo()), 99), g.done.String()
}
