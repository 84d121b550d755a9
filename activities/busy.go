package activities

import (
	"context"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// stalled is how long something that shows its progress only by what it writes
// may write nothing. Reading 16 GiB to check a sum, at 100 MB/s, takes three
// minutes of it; longer is a hang, and a hang must not look like work.
const stalled = 5 * time.Minute

// busy runs something that gives no word of its own and beats while what it has
// written grows. When that stands still for too long it says so, and the attempt
// ends as one that hangs does: without a beat.
func busy(ctx context.Context, words string, written func() int64, run func() error) error {
	return busyWith(ctx, words, written, func(n int64) (int, string) {
		return -1, words + ", " + fleet.Bytes(n).Human() + " written"
	}, run)
}

// busyWith is busy for who has more to say: say gives percent and words for as much as
// was written.
func busyWith(ctx context.Context, what string, written func() int64, say func(n int64) (int, string), run func() error) error {
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = run()
	}()
	last, grew := int64(-1), time.Now()
	for pause := firstPoll; ; pause = min(pause*3/2, slowPoll) {
		now := written()
		if now != last {
			last, grew = now, time.Now()
		}
		if time.Since(grew) > stalled {
			<-ended // what it works on is not to be taken from under it
			return fleet.Errorf(fleet.Unavailable, what, "has written nothing for %s, at %s", stalled, fleet.Bytes(now).Human())
		}
		percent, words := say(now)
		beat(ctx, percent, words)
		select {
		case <-ended:
			return err
		case <-ctx.Done():
			<-ended // run has the same context
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// sizeBelow is how much there is in a directory, as far as it can be seen.
func sizeBelow(dir string) int64 {
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go while it is written
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}
