package activities

import (
	"fmt"
	"sync"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// progressGauge keeps how far a backup is, for the heart that beats beside it.
type progressGauge struct {
	mu    sync.Mutex
	doing string
	bytes int64
	count int64 // goes up with every word
	// began is when the first word came, and stored when what is done behind "storing" did.
	began, stored time.Time
}

func (g *progressGauge) tell(doing string, bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.count == 0 {
		g.began = time.Now()
	}
	if g.doing == "storing" && doing != g.doing {
		g.stored = time.Now()
	}
	g.doing, g.bytes = doing, bytes
	g.count++
}

// steps goes up for as long as something moves.
func (g *progressGauge) steps() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}

// took says how long the parts of a backup took that has just ended.
func (g *progressGauge) took() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	const to = 100 * time.Millisecond
	return fmt.Sprintf("in %s, checked in %s", g.stored.Sub(g.began).Round(to), time.Since(g.stored).Round(to))
}

// said is how storing what a member sends stands. Sending it is most of the work; what
// is stored is smaller, and of unknown size before.
func (g *progressGauge) said(source fleet.ObservedMember) (percent int, words string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.doing == "" {
		return -1, "waiting for " + source.Name
	}
	percent = 95
	if g.doing == "storing" {
		percent = share(g.bytes, source.DBSize, 90)
	}
	return percent, g.doing + ", " + fleet.Bytes(g.bytes).Human() + " from " + source.Name
}

// read is how reading a backup stands.
func (g *progressGauge) read(size fleet.Bytes) (percent int, words string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return share(g.bytes, size, 99), "reading, " + fleet.Bytes(g.bytes).Human()
}

// replaying is how bringing a backup forward stands: how much there is to do is not known.
func (g *progressGauge) replaying(n int64) (percent int, words string) {
	return g.counting("replaying changes")(n)
}

// counting is how something stands of which a part is told of in numbers, and not in bytes.
func (g *progressGauge) counting(part string) func(int64) (percent int, words string) {
	return func(int64) (percent int, words string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.doing == part {
			return -1, fmt.Sprintf("%s, %d so far", g.doing, g.bytes)
		}
		return -1, g.doing + ", " + fleet.Bytes(g.bytes).Human()
	}
}

// share gives percent of a whole, at most some: -1 when the whole is not known.
func share(part int64, whole fleet.Bytes, most int) int {
	if whole <= 0 {
		return -1
	}
	return min(most, int(part*100/int64(whole)))
}
