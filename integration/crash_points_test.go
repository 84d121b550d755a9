package integration

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

// boundaries are those that an undisturbed cluster passes, in order.
type boundaries struct {
	create, decommission []string
	// slow are those that are passed besides while a member is slow to answer.
	slow []string
	// steps are what each kind of operation does, by wave.
	steps map[fleet.OperationKind][]string
}

var (
	enumerated sync.Once
	found      boundaries
)

// enumerate creates and decommissions three clusters side by side, one of them with
// a slow member, and writes down what they pass. It is done once for all tests that
// need it.
func enumerate(t *testing.T) boundaries {
	enumerated.Do(func() { t.Run("enumerate", found.find) })
	require.NotEmpty(t, found.slow, "the boundaries could not be enumerated")
	return found
}

// find does that.
func (all *boundaries) find(t *testing.T) {
	c := &crowd{t: t, e: harness.Start(t), trials: []*trial{
		{cluster: "first", story: "with nothing dying"}, {cluster: "second", story: "with nothing dying"},
		{cluster: "third", story: "with a slow member", slow: true},
	}}
	c.loose = true // this one says which steps there are
	b := c.e.StartBreaker(c.points(fleet.CreateCluster))
	operations := c.begin(fleet.CreateCluster)
	c.slow(b)
	c.created(operations)
	steps := c.steps(operations)
	operations = c.begin(fleet.DecommissionCluster)
	c.gone(operations)
	if t.Failed() {
		t.FailNow()
	}
	maps.Copy(steps, c.steps(operations))
	one, other, slow := b.Trace("first"), b.Trace("second"), b.Trace("third")
	ofHealth := healthIn(slow)
	require.ElementsMatch(t, slices.DeleteFunc(slices.Clone(one), ofHealth), slices.DeleteFunc(other, ofHealth),
		"two clusters were expected to pass the same boundaries")
	for _, point := range slices.Concat(one, slow) {
		of := &all.create
		switch {
		case strings.HasPrefix(point, string(fleet.DecommissionCluster)):
			of = &all.decommission
		case ofHealth(point):
			of = &all.slow
		}
		if !slices.Contains(*of, point) {
			*of = append(*of, point)
		}
	}
	all.steps = steps
}

// steps gives what the operations did, in which all clusters must agree.
func (c *crowd) steps(operations map[string]*harness.Running) map[fleet.OperationKind][]string {
	all := map[fleet.OperationKind][]string{}
	for cluster, operation := range operations {
		result, err := operation.Await()
		require.NoError(c.t, err)
		did := stepsOf(cluster, result)
		if steps, again := all[operation.Ref.Kind]; again {
			require.Equal(c.t, steps, did, "clusters were expected to take the same steps")
		}
		all[operation.Ref.Kind] = did
	}
	return all
}

var healthWave = regexp.MustCompile(`^CreateCluster (\d+)/AwaitHealthy/`)

// healthIn gives what says whether a boundary is of waiting for health or after it.
// Whether a cluster passes it depends on how fast the members elect a leader.
func healthIn(trace []string) func(point string) bool {
	at := 0
	for _, point := range trace {
		if m := healthWave.FindStringSubmatch(point); m != nil {
			at, _ = strconv.Atoi(m[1])
		}
	}
	after := fmt.Sprintf("CreateCluster %d/", at+1)
	return func(point string) bool { return healthWave.MatchString(point) || strings.HasPrefix(point, after) }
}

// started is where the third member of a cluster runs, and its operation has not heard yet.
const started = "CreateCluster 4/StartMember/3 after"

// slow freezes a member of each slow cluster before its operation can find it healthy, until
// the operation waits for it. It comes back when all have thawed.
func (c *crowd) slow(b *harness.Breaker) {
	c.each("expected that it waits for a slow member", func(tr *trial) error {
		if !tr.slow {
			return nil
		}
		if err := c.e.Within(harness.Patience, func() error {
			if point, stands := b.Stopped(tr.cluster); !stands || point != started {
				return fmt.Errorf("it has not come to %s", started)
			}
			return nil
		}); err != nil {
			return err
		}
		frozen, err := c.e.AwaitMember(tr.cluster, tr.cluster+"-3")
		if err != nil {
			return err
		}
		if err := syscall.Kill(frozen, syscall.SIGSTOP); err != nil {
			return err
		}
		defer func() { _ = syscall.Kill(frozen, syscall.SIGCONT) }()
		if err := b.Release(tr.cluster); err != nil {
			return err
		}
		return c.e.Within(harness.Patience, func() error {
			if !slices.ContainsFunc(b.Trace(tr.cluster), healthWave.MatchString) {
				return errors.New("it does not wait yet")
			}
			return nil
		})
	})
}

// points gives the boundaries of each cluster in one kind of operation; a slow one has
// another, for slow.
func (c *crowd) points(kind fleet.OperationKind) harness.Points {
	all := harness.Points{}
	for _, tr := range c.trials {
		all[tr.cluster] = slices.Clone(tr.boundaries(kind))
		if tr.slow && kind == fleet.CreateCluster {
			all[tr.cluster] = append(all[tr.cluster], started)
		}
	}
	return all
}

func (tr *trial) boundaries(kind fleet.OperationKind) []string {
	if kind == fleet.CreateCluster {
		return tr.create
	}
	return tr.decommission
}

// tell says what happens to the clusters from now on, for what fails.
func (c *crowd) tell(what string, kind fleet.OperationKind) {
	for _, tr := range c.trials {
		tr.story = what + " " + strings.Join(tr.boundaries(kind), ", ")
	}
}

// missed says which clusters never came to their boundary: their trial was none.
func (c *crowd) missed(clusters []string) {
	c.each("expected that it comes there", func(tr *trial) error {
		if slices.Contains(clusters, tr.cluster) {
			return errors.New("its operation ended without passing it")
		}
		return nil
	})
}

// release lets all clusters go that stand still.
func (c *crowd) release(b *harness.Breaker) {
	c.each("expected that it goes on", func(tr *trial) error {
		if _, stands := b.Stopped(tr.cluster); !stands {
			return nil
		}
		return b.Release(tr.cluster)
	})
}
