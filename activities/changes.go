package activities

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/backup"
	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
)

// Changes records what is written to clusters between their backups.
type Changes struct{ Region }

const (
	// segmentBytes is from which size on changes are stored before their time has come:
	// what a recorder of a busy cluster keeps in memory.
	segmentBytes = 4 << 20
	// quietFor is how often it is stored of a quiet cluster that nothing has changed.
	quietFor = fleet.ChangesQuiet
	// recordPause is how long a recorder waits after it failed; it doubles up to the other.
	recordPause, recordPauseMost = time.Second, time.Minute
	// wantEvery is how often a backup is asked for at most, while one is needed.
	wantEvery = 10 * time.Minute
	// startAtOnce is how many recorders of an activity look for their beginning at a time.
	startAtOnce = 8
)

// RecordChanges records the changes of a share of the region's clusters: of those that
// run and whose specs ask for it. It goes on for an hour, or until its worker ends.
// Another one that still runs, because this attempt's was taken for dead, does no harm.
func (c *Changes) RecordChanges(ctx context.Context, r fleet.RecordRequest) (fleet.RecordReply, error) {
	return reply(c.record(ctx, r))
}

func (c *Changes) record(ctx context.Context, r fleet.RecordRequest) (fleet.RecordReply, error) {
	if c.Clusters == nil {
		return fleet.RecordReply{}, nil
	}
	all := &recorders{changes: c, running: map[string]*recorder{}, start: make(chan struct{}, startAtOnce)}
	defer all.end(ctx)
	err := c.tend(ctx, func(clusters []fleet.Summary) { all.keep(ctx, r, clusters) }, all.said)
	return fleet.RecordReply{Clusters: len(all.running)}, err
}

// recorders are those of one activity.
type recorders struct {
	changes *Changes
	running map[string]*recorder // by UID
	start   chan struct{}
}

// recorder is what records one cluster.
type recorder struct {
	of     fleet.Summary
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	behind int64
	failed error
	asked  time.Time // for a backup
}

// keep begins to record those that are to be, and ends the others.
func (all *recorders) keep(ctx context.Context, r fleet.RecordRequest, clusters []fleet.Summary) {
	wanted := map[string]fleet.Summary{}
	for _, s := range clusters {
		if s.Provider == r.Provider && s.Region == r.Region && s.Phase == fleet.PhaseRunning && s.Backup != nil && s.Backup.Changes > 0 &&
			shareOf(s.UID, r.Of) == r.Share {
			wanted[s.UID] = s
		}
	}
	for uid, running := range all.running {
		if s, still := wanted[uid]; still && *s.Backup == *running.of.Backup {
			continue
		}
		running.cancel() // it ends beside its successor
		delete(all.running, uid)
	}
	for uid, s := range wanted {
		if all.running[uid] != nil {
			continue
		}
		next := &recorder{of: s, ended: make(chan struct{})}
		var recording context.Context
		recording, next.cancel = context.WithCancel(ctx)
		all.running[uid] = next
		go func() {
			defer close(next.ended)
			all.run(recording, next)
		}()
	}
}

// shareOf gives the share that a cluster belongs to.
func shareOf(uid string, of int) int {
	sum := sha256.Sum256([]byte(uid))
	return int(binary.BigEndian.Uint64(sum[8:16]) % uint64(max(1, of)))
}

// said is how the recording stands, for whoever looks at the activity.
func (all *recorders) said() string {
	behind, failing, why := 0, 0, ""
	for _, r := range all.running {
		r.mu.Lock()
		if r.behind > 0 {
			behind++
		}
		if r.failed != nil {
			failing++
			why = ": " + r.of.Name + ": " + r.failed.Error()
		}
		r.mu.Unlock()
	}
	return fmt.Sprintf("recording the changes of %d clusters, %d behind, %d failing%s", len(all.running), behind, failing, why)
}

// end has all of them store what they have, heart beating.
func (all *recorders) end(ctx context.Context) {
	for _, r := range all.running {
		r.cancel()
	}
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for _, r := range all.running {
		for ended := false; !ended; {
			select {
			case <-r.ended:
				ended = true
			case <-tick.C:
				beat(ctx, -1, "storing the last changes")
			}
		}
	}
}

// run records one cluster until ctx ends. What fails is begun anew, behind what is stored.
func (all *recorders) run(ctx context.Context, r *recorder) {
	log := all.changes.Log.With(zap.String("cluster", r.of.Name))
	for pause := recordPause; ctx.Err() == nil; {
		began := time.Now()
		err := all.changes.follow(ctx, r, all.start)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > recordPauseMost {
			pause = recordPause
		}
		log.Warn("changes are not recorded for a while", zap.Error(err), zap.Duration("again", pause))
		r.mu.Lock()
		r.failed = err
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, recordPauseMost)
	}
}

// follow records a cluster from behind what is stored of it. Where that follows on no
// backup, one is asked for, and what is recorded meanwhile follows on that.
func (c *Changes) follow(ctx context.Context, r *recorder, start chan struct{}) error {
	op := scheduled(r.of, time.Now().UTC().Truncate(wantEvery))
	client, err := c.client(ctx, op, "")
	if err != nil {
		return err
	}
	defer client.Close()
	recording, based, err := c.begin(ctx, client, op, start)
	if err != nil {
		return err
	}
	for {
		if !based {
			c.want(ctx, r)
		}
		err := c.vault().Follow(ctx, client, recording, func(p backup.Progress) {
			r.tell(p)
			if until, known := storedUntil(p); known {
				c.protection().Changes(op.Cluster, until)
			}
		})
		var gone *etcdadmin.CompactedError
		if !errors.As(err, &gone) {
			return err
		}
		c.Log.Warn("a compaction outran the recording of changes: there is a gap, and a backup is asked for", zap.String("cluster", op.Cluster),
			zap.Int64("first", recording.From), zap.Int64("last", gone.Compacted))
		recording.From, based = gone.Compacted+1, false
	}
}

// begin finds out where to go on, a few at a time: it reads lists.
func (c *Changes) begin(ctx context.Context, client *etcdadmin.Client, op fleet.Operation, start chan struct{}) (r backup.Recording, based bool, err error) {
	select {
	case start <- struct{}{}:
		defer func() { <-start }()
	case <-ctx.Done():
		return r, false, ctx.Err()
	}
	now, err := client.Now(ctx)
	if err != nil {
		return r, false, err
	}
	history := strconv.FormatUint(now.Cluster, 16)
	entries, err := c.vault().List(ctx, op.Cluster, op.UID)
	if err != nil {
		return r, false, err
	}
	newest := int64(0)
	for _, e := range entries {
		if e.Err == nil && e.Manifest.History == history {
			newest = max(newest, e.Manifest.Revision)
		}
	}
	segments, err := c.vault().SegmentsSince(ctx, op.Cluster, op.UID, history, newest)
	if err != nil {
		return r, false, err
	}
	r = backup.Recording{
		Cluster: op.Cluster, UID: op.UID, History: history, Every: time.Duration(op.Spec.Backup.Changes), Bytes: segmentBytes, Quiet: quietFor,
		Lock: c.changesLock(op.Spec.Backup),
	}
	r.From, based = backup.Begin(entries, segments, history, now.Revision)
	return r, based, nil
}

func (r *recorder) tell(p backup.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.behind, r.failed = p.Behind, nil
}

// want asks for a backup of a cluster, once within a while.
func (c *Changes) want(ctx context.Context, r *recorder) {
	if c.WantBackup == nil || time.Since(r.asked) < wantEvery {
		return
	}
	op := scheduled(r.of, time.Now().UTC().Truncate(wantEvery))
	op.By = "recording of changes"
	if err := c.WantBackup(ctx, op); err != nil {
		c.Log.Warn("a backup that changes need cannot be asked for", zap.String("cluster", r.of.Name), zap.Error(err))
		return
	}
	r.asked = time.Now()
}
