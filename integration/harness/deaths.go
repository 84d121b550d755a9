package harness

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// lull is how long those that stand wait for one that does not come to its next boundary:
// with a worker that died already, an operation may have no need to pass it again.
const lull = 8 * time.Second

// Deaths is what came of killing workers at boundaries of operations.
type Deaths struct {
	// Died are the boundaries at which each cluster stood when its worker was killed.
	Died Points
	// Missed are those that its operation did not pass again.
	Missed Points
}

// DieInTurn kills the worker whenever the clusters stand at boundaries of theirs, and
// starts another that goes on, until all operations have ended or no cluster has a
// boundary left. It gives the last worker, which lives. A cluster that the others do not
// wait for loses its worker wherever it is.
func (b *Breaker) DieInTurn(operations map[string]*Running) (*Breaker, Deaths) {
	b.e.t.Helper()
	left := b.points.clone()
	died := Points{}
	for b.awaitRound(left, operations) {
		b.Kill()
		for cluster := range left {
			point, stands := b.Stopped(cluster)
			if !stands {
				continue
			}
			died[cluster] = append(died[cluster], point)
			left[cluster] = slices.DeleteFunc(left[cluster], func(p string) bool { return p == point })
		}
		maps.DeleteFunc(left, func(_ string, points []string) bool { return len(points) == 0 })
		b = b.e.StartBreaker(left)
	}
	return b, Deaths{Died: died, Missed: left}
}

// awaitRound waits until the clusters with boundaries left stand at one, and says whether
// any does: none does if all their operations have ended.
func (b *Breaker) awaitRound(left Points, operations map[string]*Running) bool {
	b.e.t.Helper()
	standing, since := 0, time.Now()
	err := b.e.Within(Patience, func() error {
		stand, waiting := 0, 0
		for cluster := range left {
			if _, stands := b.Stopped(cluster); stands {
				stand++
			} else if !operations[cluster].Ended() {
				waiting++
			}
		}
		if stand != standing {
			standing, since = stand, time.Now()
		}
		if waiting > 0 && (standing == 0 || time.Since(since) < lull) {
			return errors.New("some have not")
		}
		return nil
	})
	if err == nil {
		return standing > 0
	}
	for cluster, points := range left {
		if !operations[cluster].Ended() {
			b.e.t.Errorf("cluster %s: expected that it comes to %s, or ends; it has not after %s: %s",
				cluster, strings.Join(points, " or "), Patience, operations[cluster].stands())
		}
	}
	b.e.t.FailNow()
	return false
}

// Deal deals boundaries of an operation to so many clusters, in turn: n of them, evenly
// spread over the operation, or all if n is 0. What one cluster gets lies as far apart as
// can be, and all come to their next one at about the same time.
func Deal(points []string, clusters, n int, dice *rand.Rand) [][]string {
	if n == 0 || n > len(points) {
		n = len(points)
	}
	hands := make([][]string, clusters)
	for i, offset := 0, dice.IntN(len(points)); i < n; i++ {
		hand := &hands[i%clusters]
		*hand = append(*hand, points[(offset+i*len(points)/n)%len(points)])
	}
	return hands
}

// clone copies those of clusters that have any.
func (p Points) clone() Points {
	all := Points{}
	for cluster, points := range p {
		if len(points) > 0 {
			all[cluster] = slices.Clone(points)
		}
	}
	return all
}

// Count gives how many boundaries there are.
func (p Points) Count() int {
	n := 0
	for _, points := range p {
		n += len(points)
	}
	return n
}

// String lists them.
func (p Points) String() string {
	var all []string
	for _, cluster := range slices.Sorted(maps.Keys(p)) {
		all = append(all, fmt.Sprintf("%s: %s", cluster, strings.Join(p[cluster], ", ")))
	}
	return strings.Join(all, "; ")
}
