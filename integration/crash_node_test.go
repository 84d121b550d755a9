package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/harness"
	"github.com/flotilla-etcd/flotilla/node"
)

// verbs are those of flotilla-node that an operation uses, and about how long each
// takes: the moments to die are spread over that.
var verbs = map[fleet.OperationKind]map[string]time.Duration{
	fleet.CreateCluster: {
		node.VerbReport: 30 * time.Millisecond, node.VerbInstall: 400 * time.Millisecond,
		node.VerbPrepare: 30 * time.Millisecond, node.VerbCertify: 30 * time.Millisecond,
		node.VerbStart: 1700 * time.Millisecond,
	},
	fleet.DecommissionCluster: {
		node.VerbReport: 30 * time.Millisecond, node.VerbStop: 200 * time.Millisecond,
	},
}

// TestNodeDies kills flotilla-node with -9 at random moments in each verb, once in
// each operation of each cluster.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	dice := harness.Random(harness.Seed(t))
	trials := make([]*trial, 12)
	if testing.Short() {
		trials = trials[:2]
	}
	moments := map[*trial]map[fleet.OperationKind]map[string]int{} // microseconds
	for i := range trials {
		trials[i] = &trial{}
		moments[trials[i]] = chooseMoments(dice)
	}
	crowds(t, trials, func(c *crowd) {
		c.loose = true
		kills := filepath.Join(c.e.Dir, "kills")
		require.NoError(t, os.Mkdir(kills, 0o700))
		c.e.StartWorker("flotilla-worker")
		for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.DecommissionCluster} {
			for _, tr := range c.trials {
				tr.story = fmt.Sprintf("flotilla-node is killed these µs after it begins a verb of %s: %v", kind, moments[tr][kind])
				for verb, moment := range moments[tr][kind] {
					file := filepath.Join(kills, tr.cluster+"."+verb)
					require.NoError(t, os.WriteFile(file, []byte(strconv.Itoa(moment)), 0o600))
				}
			}
			operations := c.begin(kind)
			if kind == fleet.CreateCluster {
				c.created(operations)
			} else {
				c.gone(operations)
			}
			c.each("expected that it died in each verb", func(tr *trial) (missing error) {
				for verb := range moments[tr][kind] {
					done := filepath.Join(kills, tr.cluster+"."+verb+".done")
					missing = errors.Join(missing, os.Remove(done))
				}
				return missing
			})
			if c.t.Failed() {
				return
			}
		}
	}, harness.WithNode("breaknode"))
}

func chooseMoments(dice *rand.Rand) map[fleet.OperationKind]map[string]int {
	all := map[fleet.OperationKind]map[string]int{}
	for _, kind := range []fleet.OperationKind{fleet.CreateCluster, fleet.DecommissionCluster} {
		all[kind] = map[string]int{}
		for _, verb := range []string{node.VerbReport, node.VerbInstall, node.VerbPrepare, node.VerbCertify, node.VerbStart, node.VerbStop} {
			if d := verbs[kind][verb]; d > 0 {
				all[kind][verb] = dice.IntN(int(d.Microseconds()))
			}
		}
	}
	return all
}

// TestInitDies kills a host's init, the machine's own process, with -9 at random
// moments: while its cluster is created, while it serves, and while it goes.
func TestInitDies(t *testing.T) {
	t.Parallel()
	dice := harness.Random(harness.Seed(t))
	trials := make([]*trial, 6)
	if testing.Short() {
		trials = trials[:2]
	}
	type moment struct {
		member int
		at     time.Duration
	}
	creating, going := map[*trial]moment{}, map[*trial]moment{}
	for i := range trials {
		trials[i] = &trial{}
		creating[trials[i]] = moment{1 + dice.IntN(3), time.Duration(dice.Int64N(int64(3 * time.Second)))}
		going[trials[i]] = moment{1 + dice.IntN(3), time.Duration(dice.Int64N(int64(time.Second)))}
	}
	crowds(t, trials, func(c *crowd) {
		c.loose = true
		c.e.StartWorker("flotilla-worker")
		for _, tr := range c.trials {
			tr.story = fmt.Sprintf("init of member %d is killed %s after its host is there", creating[tr].member, creating[tr].at)
		}
		operations := c.begin(fleet.CreateCluster)
		c.each("expected that its init can be killed", func(tr *trial) error {
			m := creating[tr]
			_, err := c.e.AwaitInit(tr.cluster, tr.members()[m.member-1])
			if err != nil {
				return err
			}
			time.Sleep(m.at) // a moment, not a fact that is waited for
			pid, err := c.e.AwaitInit(tr.cluster, tr.members()[m.member-1])
			if err != nil {
				return err
			}
			return syscall.Kill(pid, syscall.SIGKILL)
		})
		c.created(operations)
		if c.t.Failed() {
			return
		}
		for _, tr := range c.trials {
			tr.story = "init of each host is killed while it serves"
		}
		c.each("expected that the members live on and are kept running again", c.withoutInit)
		if c.t.Failed() {
			return
		}
		for _, tr := range c.trials {
			tr.story = fmt.Sprintf("init of member %d is killed %s into the decommission", going[tr].member, going[tr].at)
		}
		operations = c.begin(fleet.DecommissionCluster)
		c.each("expected that its init can be killed", func(tr *trial) error {
			time.Sleep(going[tr].at) // likewise
			pid, err := c.e.InitOf(tr.cluster, tr.members()[going[tr].member-1])
			if err == nil && pid != 0 { // else the host is gone already
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			return err
		})
		c.gone(operations)
	})
}

// withoutInit kills the init of each host of a running cluster. Its members must not
// notice; the next init takes them over and restarts one that is killed after that.
func (c *crowd) withoutInit(tr *trial) error {
	before := map[string]int{}
	for _, member := range tr.members() {
		pid, err := c.e.AwaitMember(tr.cluster, member)
		if err != nil {
			return err
		}
		before[member] = pid
		init, err := c.e.AwaitInit(tr.cluster, member)
		if err != nil {
			return err
		}
		if err := syscall.Kill(init, syscall.SIGKILL); err != nil {
			return err
		}
	}
	if _, err := c.e.Serves(c.t.Context(), tr.cluster, tr.members()...); err != nil {
		return fmt.Errorf("without any init: %w", err)
	}
	if err := c.serving(tr); err != nil { // looking at the hosts boots them
		return err
	}
	for member, pid := range before {
		now, err := c.e.AwaitMember(tr.cluster, member)
		if err != nil || now != pid {
			return fmt.Errorf("expected %s to go on as process %d; it is %d, %w", member, pid, now, err)
		}
	}
	killed := tr.members()[0]
	if err := syscall.Kill(before[killed], syscall.SIGKILL); err != nil {
		return err
	}
	err := c.e.Within(harness.Patience, func() error {
		now, err := c.e.AwaitMember(tr.cluster, killed)
		if err == nil && now == before[killed] {
			err = context.DeadlineExceeded
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("expected %s to be started again by the next init: %w", killed, err)
	}
	return c.e.Within(harness.Patience, func() error { return c.serving(tr) })
}
