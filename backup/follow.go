package backup

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/flotilla-etcd/flotilla/etcdadmin"
	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/objectstore"
)

// Recording says which changes of a cluster are recorded, and in what pieces.
type Recording struct {
	Cluster string
	UID     string
	// History is etcd's ID of the cluster, in hex, as in a Manifest.
	History string
	// From is the first revision to record.
	From int64
	// Every is how long after its first change a segment is stored at the latest: what is
	// lost when cluster and recorder are lost together.
	Every time.Duration
	// Bytes is the size, before compression, from which a segment is stored earlier. It is
	// what a recorder keeps in memory, and the revision that exceeds it.
	Bytes fleet.Bytes
	// Quiet is how often a segment without changes says that there were none.
	Quiet time.Duration
	// Silence is how long the member that is watched may tell nothing, though there is
	// something to tell. Zero: a minute.
	Silence time.Duration
	// Lock is how segments are locked when they are stored, and for how long; the zero one
	// locks none.
	Lock objectstore.LockRule
}

// Progress is how far a recording is.
type Progress struct {
	// Seen is the last revision that was told, and Stored the last that is stored.
	Seen, Stored int64
	// Until is the last time by which all that was acknowledged is known to be up to Seen;
	// zero when there is none yet.
	Until time.Time
	// Behind is how many revisions there were that were not told yet, when a member last
	// said something.
	Behind int64
}

const (
	// askLeases is how many leases are asked about at a time.
	askLeases = 8
	// leaseTries is how often one is, half a second apart: a leader may change.
	leaseTries = 10
	// defaultSilence is Recording.Silence where nothing else is asked for.
	defaultSilence = time.Minute
	// farewell is how long storing the last segment may take after the end was called for.
	farewell = 10 * time.Second
)

// Follow records the changes of a cluster until ctx ends: it watches all keys and stores
// segments. It begins at r.From, and whoever calls it again goes on behind the last
// segment that is stored; what was told and not stored is told again. tell is told of
// everything that is heard; it must be quick.
//
// Errors: kind Lost with an *etcdadmin.CompactedError underneath when changes from there
// on are compacted away; fleet.Conflict when the cluster is of another history; as of
// etcd and of the store. The end of ctx is none, once the last segment is stored.
func (v Vault) Follow(ctx context.Context, client *etcdadmin.Client, r Recording, tell func(Progress)) error {
	w, err := client.Watch(ctx, r.From)
	if err != nil {
		return err
	}
	defer w.Close()
	if history := strconv.FormatUint(w.History, 16); history != r.History {
		return fleet.Errorf(fleet.Conflict, "changes of "+r.Cluster, "the cluster is now of history %s and was of %s: it was restored", history, r.History)
	}
	f := &follower{vault: v, client: client, r: r, w: w, next: r.From, known: w.Revision, granted: &leases{}, marks: make(chan mark, 1)}
	f.begin()
	return f.follow(ctx, tell)
}

// follower is a recording that runs.
type follower struct {
	vault  Vault
	client *etcdadmin.Client
	r      Recording
	w      *etcdadmin.Watch

	next  int64     // the revision that must come next
	known int64     // the store's last, as far as the member said
	seen  time.Time // of the last change: a clock that is put back does not go back here
	until time.Time // by when all that was acknowledged is up to next-1
	told  time.Time // when Until of a segment last said so
	heard time.Time // when the member last told something, or there was nothing to tell

	// marks are answers to the question what the store's last revision is. What comes with
	// changes was so when the member sent it, and may have waited for us: it does not tell.
	marks   chan mark
	marking bool // one was asked for
	mark    mark // the last answer, until all of it was told

	// The segment that is being made.
	first    int64
	plain    []byte
	changes  int
	earliest time.Time
	granted  *leases
	before   *leases // of the segment before
	asking   *errgroup.Group
}

// mark is the store's last revision at a time, or later: a linearizable read that was
// asked for then said so.
type mark struct {
	at       time.Time
	revision int64
}

// askMark asks for a mark. One that is not answered is none.
func (f *follower) askMark(ctx context.Context) {
	m := mark{at: time.Now().UTC().Truncate(time.Microsecond)}
	page, err := f.client.Keys(ctx, []byte{0}, []byte{1}, 1, 0)
	if err != nil {
		m = mark{}
	} else {
		m.revision = page.Revision
	}
	f.marks <- m // there is room for the only one
}

// reach takes note that all of a mark was told.
func (f *follower) reach() {
	if !f.mark.at.IsZero() && f.next > f.mark.revision {
		f.known = max(f.known, f.mark.revision)
		if f.mark.at.After(f.until) {
			f.until = f.mark.at
		}
		f.mark = mark{}
		// A watch from a revision that is yet to come tells of no progress, however often it
		// is asked (progressIfSync of 3.5.35, 3.6.16 and 3.7.3): in a cluster that nobody
		// writes to, it is silent.
		f.heard = time.Now()
	}
}

// begin begins a segment.
func (f *follower) begin() {
	f.first, f.plain, f.changes, f.earliest = f.next, nil, 0, time.Time{}
	f.before, f.granted = f.granted, &leases{ttl: map[int64]time.Duration{}}
	f.asking = &errgroup.Group{}
	f.asking.SetLimit(askLeases)
}

func (f *follower) follow(ctx context.Context, tell func(Progress)) error {
	told, ended, stop := make(chan etcdadmin.Seen), make(chan error, 1), make(chan struct{})
	defer close(stop)
	asking, end := context.WithCancel(ctx)
	var marking sync.WaitGroup
	defer marking.Wait()
	defer end()
	go func() {
		for {
			seen, err := f.w.Receive(ctx)
			if err != nil {
				ended <- err
				return
			}
			select {
			case told <- seen: // unbuffered: the member waits for us
			case <-stop:
				return
			}
		}
	}()
	silence := cmp.Or(f.r.Silence, defaultSilence)
	tick := time.NewTicker(min(max(f.r.Every/4, 50*time.Millisecond), silence/2))
	defer tick.Stop()
	f.heard = time.Now()
	for {
		var err error
		select {
		case seen := <-told:
			f.heard = time.Now()
			if err = f.take(ctx, seen); err == nil && len(f.plain) >= int(f.r.Bytes) {
				err = f.cut(ctx)
			}
		case f.mark = <-f.marks:
			f.marking = false
		case <-tick.C:
			if !f.marking && f.mark.at.IsZero() {
				f.marking = true
				marking.Go(func() { f.askMark(asking) })
			}
			switch {
			case time.Since(f.heard) > silence:
				err = fleet.Errorf(fleet.Unavailable, "watch at "+f.w.Endpoint(), "it has told nothing for %s", silence)
			case f.changes > 0 && time.Since(f.earliest) >= f.r.Every, f.changes == 0 && f.until.Sub(f.told) >= f.r.Quiet:
				err = f.cut(ctx)
			default:
				err = f.w.AskProgress()
			}
		case err = <-ended:
			if ctx.Err() == nil {
				return f.last(ctx, err)
			}
			return f.last(ctx, nil)
		case <-ctx.Done():
			return f.last(ctx, nil)
		}
		if err != nil {
			if ctx.Err() != nil {
				return f.last(ctx, nil)
			}
			return err
		}
		f.reach()
		tell(Progress{Seen: f.next - 1, Stored: f.first - 1, Until: f.until, Behind: max(0, f.known-f.next+1)})
	}
}

// last stores what is left and gives why there is no more.
func (f *follower) last(ctx context.Context, why error) error {
	if f.changes == 0 {
		return why
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := f.cut(ctx); err != nil && why == nil {
		return err
	}
	return why
}

// take takes what a member told: whole revisions, which must follow each other, because
// there is none that changes nothing.
func (f *follower) take(ctx context.Context, told etcdadmin.Seen) error {
	now := time.Now().UTC().Truncate(time.Microsecond)
	if now.Before(f.seen) {
		now = f.seen
	}
	f.known = max(f.known, told.Revision)
	for events := told.Events; len(events) > 0; {
		revision := Revision{Revision: events[0].GetKv().GetModRevision(), Seen: now}
		whole := 1
		for whole < len(events) && events[whole].GetKv().GetModRevision() == revision.Revision {
			whole++
		}
		revision.Events, events = events[:whole], events[whole:]
		if revision.Revision != f.next {
			return fleet.Errorf(fleet.Unavailable, "watch at "+f.w.Endpoint(), "it told of revision %d where revision %d must come", revision.Revision, f.next)
		}
		f.ask(ctx, revision.Events)
		var err error
		if f.plain, err = appendRevision(f.plain, revision); err != nil {
			return fmt.Errorf("revision %d cannot be written: %w", revision.Revision, err)
		}
		if f.changes == 0 {
			f.earliest = now
		}
		f.changes += whole
		f.seen, f.next = now, f.next+1
	}
	return nil
}

// ask finds out what leases were granted for, each once for a segment.
func (f *follower) ask(ctx context.Context, events []*mvccpb.Event) {
	for _, e := range events {
		id := e.GetKv().GetLease()
		if id == 0 || f.granted.known(id) {
			continue
		}
		granted := f.granted
		if ttl := f.before.ttl[id]; ttl > 0 {
			granted.set(id, ttl)
			continue
		}
		granted.set(id, 0)
		f.asking.Go(func() error {
			ttl, err := f.grantedFor(ctx, id)
			granted.set(id, ttl)
			return err
		})
	}
}

// grantedFor asks for what a lease was granted, while there is no leader for a while.
func (f *follower) grantedFor(ctx context.Context, id int64) (ttl time.Duration, err error) {
	for range leaseTries {
		// One call more, if it was made when the end was called for: the last segment needs it.
		if ttl, err = f.client.LeaseTTL(context.WithoutCancel(ctx), id); err == nil || !fleet.Is(err, fleet.Unavailable) {
			return ttl, err
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(time.Second / 2):
		}
	}
	return 0, err
}

// cut stores the segment that is being made, and begins another.
func (f *follower) cut(ctx context.Context) error {
	if err := f.asking.Wait(); err != nil {
		return err
	}
	s := Segment{
		Cluster: f.r.Cluster, UID: f.r.UID, History: f.r.History, ID: newSegmentID(f.first),
		First: f.first, Last: f.next - 1, Until: f.until, Changes: f.changes, Leases: len(f.granted.ttl), Member: f.w.Endpoint(),
	}
	s.Lock = f.r.Lock.From(time.Now())
	if f.first <= f.w.Revision {
		s.Late = min(f.w.Revision, s.Last)
	}
	var plain []byte
	if f.changes > 0 {
		s.Earliest, s.Latest = f.earliest, f.seen
		plain = append(appendLeases(nil, f.granted.ttl), f.plain...)
	}
	if _, err := f.vault.saveSegment(ctx, s, plain); err != nil {
		return err
	}
	f.told, f.heard = f.until, time.Now() // nobody listened meanwhile
	f.begin()
	return nil
}

// leases are what leases were granted for. They are asked about while changes come.
type leases struct {
	mu  sync.Mutex
	ttl map[int64]time.Duration
}

func (l *leases) known(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.ttl[id]
	return known
}

func (l *leases) set(id int64, ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ttl[id] = ttl
}
