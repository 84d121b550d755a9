package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// Copies has the second store follow the first with what protects clusters.
type Copies struct{ Region }

const (
	// DefaultCopyEvery is Region.CopyEvery where nothing else is asked for.
	DefaultCopyEvery = time.Minute
	// snapshotsAtOnce and changesAtOnce are how many clusters' an activity copies at a time.
	// A snapshot takes objectstore.MaxBuffered of memory, changes four segments of 4 MiB at most.
	snapshotsAtOnce, changesAtOnce = 2, 2
	// expireEvery is how often what no rule keeps is removed from the second store.
	expireEvery = time.Hour
)

// CopyBackups copies the backups and changes of a share of the region's clusters into the
// second store, for an hour or until its worker ends. What fails is tried again at the next
// look: no backup waits for it. What another activity, which was taken for
// dead, copies at the same time is the same, byte for byte.
func (c *Copies) CopyBackups(ctx context.Context, r fleet.RecordRequest) (fleet.RecordReply, error) {
	return reply(c.copy(ctx, r))
}

func (c *Copies) copy(ctx context.Context, r fleet.RecordRequest) (fleet.RecordReply, error) {
	if c.Clusters == nil || c.Second == nil {
		return fleet.RecordReply{}, nil
	}
	all := &copiers{copies: c, running: map[string]*copier{}, snapshots: make(chan struct{}, snapshotsAtOnce), changes: make(chan struct{}, changesAtOnce)}
	defer all.end(ctx)
	err := c.tend(ctx, func(clusters []fleet.Summary) { all.keep(ctx, r, clusters) }, all.said)
	return fleet.RecordReply{Clusters: len(all.running)}, err
}

// copiers are those of one activity.
type copiers struct {
	copies             *Copies
	running            map[string]*copier // by UID
	finals             *copier            // of final snapshots; nil before the first list
	snapshots, changes chan struct{}

	mu    sync.Mutex
	bytes int64 // of what is copied now
	what  string
	alive map[string]bool // the UIDs of the fleet's clusters
}

// copier copies what protects one cluster.
type copier struct {
	of     fleet.Summary
	cancel context.CancelFunc
	ended  sync.WaitGroup
	to     backup.Copier
	secret secretCopy
	lives  atomic.Bool // it is not being decommissioned

	mu     sync.Mutex
	failed error
}

// keep begins with the clusters that there are, and ends those that are gone or have another
// policy.
func (all *copiers) keep(ctx context.Context, r fleet.RecordRequest, clusters []fleet.Summary) {
	wanted, alive := map[string]fleet.Summary{}, map[string]bool{}
	for _, s := range clusters {
		alive[s.UID] = true
		if s.Provider == r.Provider && s.Region == r.Region && s.UID != "" && shareOf(s.UID, r.Of) == r.Share {
			wanted[s.UID] = s
		}
	}
	all.mu.Lock()
	all.alive = alive
	all.mu.Unlock()
	if all.finals == nil {
		all.finals = all.beginFinals(ctx, r)
	}
	for uid, running := range all.running {
		if s, still := wanted[uid]; still && policyOf(s) == policyOf(running.of) {
			running.lives.Store(lives(s.Phase))
			continue
		}
		running.cancel() // it ends beside its successor
		delete(all.running, uid)
	}
	for uid, s := range wanted {
		if all.running[uid] != nil {
			continue
		}
		next := &copier{
			of: s, to: backup.Copier{Vault: all.copies.both(), Cluster: s.Name, UID: uid},
			secret: secretCopy{region: all.copies.Region, cluster: s.Name, uid: uid},
		}
		next.lives.Store(lives(s.Phase))
		var copying context.Context
		copying, next.cancel = context.WithCancel(ctx)
		all.running[uid] = next
		next.ended.Go(func() { all.repeat(copying, next, all.snapshots, all.copySnapshots()) })
		next.ended.Go(func() { all.repeat(copying, next, all.changes, all.copyChanges) })
	}
}

// lives says whether a cluster's authority is to be there.
func lives(p fleet.Phase) bool { return p != fleet.PhaseDecommissioning && p != fleet.PhaseGone }

func policyOf(s fleet.Summary) fleet.BackupPolicy {
	if s.Backup == nil {
		return fleet.BackupPolicy{}
	}
	return *s.Backup
}

// repeat looks again and again, as many clusters at a time as there is room for.
func (all *copiers) repeat(ctx context.Context, c *copier, room chan struct{}, look func(context.Context, *copier, backup.Tell) error) {
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		err := all.watched(ctx, func(ctx context.Context, tell backup.Tell) error { return look(ctx, c, tell) })
		<-room
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		if err != nil && c.failed == nil {
			all.copies.Log.Warn("backups are not copied into the second store for a while", zap.String("cluster", c.of.Name), zap.Error(err))
		}
		c.failed = err
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(all.copies.CopyEvery):
		}
	}
}

// watched ends what does not move on.
func (all *copiers) watched(ctx context.Context, run func(ctx context.Context, tell backup.Tell) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	hang := time.AfterFunc(stalled, func() {
		cancel(fleet.Errorf(fleet.Unavailable, "second store", "nothing was copied for %s", stalled))
	})
	defer hang.Stop()
	err := run(ctx, func(doing string, n int64) {
		hang.Reset(stalled)
		all.mu.Lock()
		all.what, all.bytes = doing, n
		all.mu.Unlock()
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// copySnapshots copies backups, and now and then removes what is not kept.
func (all *copiers) copySnapshots() func(context.Context, *copier, backup.Tell) error {
	var expired time.Time
	return func(ctx context.Context, c *copier, tell backup.Tell) error {
		n, newest, err := c.to.Snapshots(ctx, tell)
		if newest.IsZero() {
			newest = c.of.Created
		}
		all.copies.protection().Copied(c.of.Name, newest)
		if n > 0 {
			all.copies.Log.Info("backups were copied into the second store", zap.String("cluster", c.of.Name), zap.Int("backups", n))
		}
		if err != nil || time.Since(expired) < expireEvery {
			return err
		}
		backups, changes, left, err := c.to.Expire(ctx, policyOf(c.of), leftovers)
		if backups+changes+left > 0 {
			all.copies.Log.Info("what no rule keeps was removed from the second store", zap.String("cluster", c.of.Name),
				zap.Int("backups", backups), zap.Int("changes", changes), zap.Int("leftovers", left))
		}
		if err == nil {
			expired = time.Now()
		}
		return err
	}
}

// copyChanges copies changes, and the cluster's authority: neither waits for a large snapshot.
func (all *copiers) copyChanges(ctx context.Context, c *copier, tell backup.Tell) error {
	did, failed := c.secret.follow(ctx, c.lives.Load())
	if len(did) > 0 {
		all.copies.Log.Info("the authority follows in the second store", zap.String("cluster", c.of.Name), zap.Strings("did", did))
	}
	_, err := c.to.Changes(ctx, tell)
	return errors.Join(failed, err)
}

// said is how the copying stands, for whoever looks at the activity.
func (all *copiers) said() string {
	failing, why := 0, ""
	for _, c := range all.each() {
		c.mu.Lock()
		if c.failed != nil {
			failing++
			why = ": " + c.of.Name + ": " + c.failed.Error()
		}
		c.mu.Unlock()
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	doing := ""
	if all.what != "" {
		doing = fmt.Sprintf(", last %s %s", all.what, fleet.Bytes(all.bytes).Human())
	}
	return fmt.Sprintf("copying the backups of %d clusters into the second store%s, %d failing%s", len(all.running), doing, failing, why)
}

// each gives all that copy.
func (all *copiers) each() []*copier {
	each := slices.Collect(maps.Values(all.running))
	if all.finals != nil {
		each = append(each, all.finals)
	}
	return each
}

// end has all of them end, heart beating: what is half copied is begun anew.
func (all *copiers) end(ctx context.Context) {
	ended := make(chan struct{})
	for _, c := range all.each() {
		c.cancel()
	}
	go func() {
		defer close(ended)
		for _, c := range all.each() {
			c.ended.Wait()
		}
	}()
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
			beat(ctx, -1, "ending")
		}
	}
}

// both is the vault of who reads: what the first store cannot give comes from the second.
func (r Region) both() backup.Vault {
	v := r.vault()
	v.Second, v.Absence = r.Second, r.Absence
	return v
}

// bothTelling is both for who reads what is to be restored: that something came from the
// second store is logged, and told.
func (r Region) bothTelling(told *fellBack) backup.Vault {
	v := r.both()
	v.FellBack = func(what string, why error) {
		r.Log.Warn("read from the second store", zap.String("what", what), zap.Error(why))
		told.add(why)
	}
	return v
}

// fellBack is why something was read from the second store.
type fellBack struct {
	mu  sync.Mutex
	why error
}

func (f *fellBack) add(why error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == nil {
		f.why = why
	}
}

// said is what to put behind a note.
func (f *fellBack) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == nil {
		return ""
	}
	return "; read from the SECOND store: " + f.why.Error()
}
