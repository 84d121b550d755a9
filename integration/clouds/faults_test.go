package clouds

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
	"github.com/flotilla-etcd/flotilla/integration/harness"
)

const (
	// often is which share of calls a fault hits when it is alone, and rarely when there are
	// three of them. Each costs the SDK a pause, of a second in the mean.
	often, rarely = 0.15, 0.02
)

// TestFaults creates clusters and takes them down while the region throttles, loses
// answers, fails, has no stock in a zone or boots an instance that never becomes ready;
// and then changes one under all of that that can be at once, with the judge watching.
// Nothing is bought twice, and nothing is left. FLOTILLA_WHOLE tries every fault.
func TestFaults(t *testing.T) {
	abreast(t)
	s := onAWS(t, setup{})
	legs := []struct {
		name   string
		fault  cloudsim.Fault
		voters int
		// while is done while the cluster is created.
		while func()
		// more is how many hosts are bought in vain.
		more int
	}{
		{name: "throttled", voters: 1, fault: cloudsim.Fault{Kind: cloudsim.Throttle, Share: often}},
		{name: "failing", voters: 1, fault: cloudsim.Fault{Kind: cloudsim.ServerError, Share: often}},
		{name: "unheard", voters: 1, fault: cloudsim.Fault{Kind: cloudsim.LoseAnswer, Share: often}},
		{name: "slow", voters: 1, fault: cloudsim.Fault{Kind: cloudsim.Slow, Share: often, Delay: 300 * time.Millisecond}},
		{name: "sold-out", voters: 3, fault: cloudsim.Fault{Kind: cloudsim.NoStockLeft, Target: cloudsim.Target{Zone: region + "a"}}},
		{name: "never-ready", voters: 1, fault: cloudsim.Fault{Kind: cloudsim.NeverReady}, while: s.loseTheUnready, more: 1},
	}
	dice := rand.New(rand.NewPCG(s.seed, 0))
	dice.Shuffle(len(legs), func(i, j int) { legs[i], legs[j] = legs[j], legs[i] })
	if !harness.Whole() {
		legs = legs[:1] // a sample, another one each time
	}
	for _, l := range legs {
		s.spec.Name, s.spec.Voters = l.name, l.voters
		before := s.bought()
		s.world.Inject(l.fault)
		began := time.Now()
		r, err := s.Begin(s.spec.Name, fleet.CreateCluster, &s.spec)
		require.NoError(t, err)
		if l.while != nil {
			l.while()
		}
		_, err = r.Await()
		require.NoError(t, err, "creating %s", l.name)
		require.NoError(t, s.Stands(t.Context(), s.spec.Name))
		after := s.bought()
		require.Equal(t, [2]int{l.voters + l.more, l.voters}, [2]int{after[0] - before[0], after[1] - before[1]},
			"hosts and disks that were bought for %s", l.name)
		s.Decommission(s.spec.Name, fleet.Options{})
		t.Logf("%s: %s, faults struck %d times", l.name, time.Since(began).Round(time.Millisecond), s.world.Struck(l.fault.Kind))
		if l.fault.Kind != cloudsim.NeverReady {
			require.Positive(t, s.world.Struck(l.fault.Kind), "%s had no fault", l.name)
		}
		require.NoError(t, s.world.HealAll())
	}

	s.spec.Name, s.spec.Voters = "orders", 3
	s.create()
	before := s.bought()
	for _, f := range []cloudsim.Fault{
		{Kind: cloudsim.Throttle, Share: rarely}, {Kind: cloudsim.ServerError, Share: rarely}, {Kind: cloudsim.LoseAnswer, Share: rarely},
		{Kind: cloudsim.NoStockLeft, Target: cloudsim.Target{Zone: region + "b"}},
	} {
		s.world.Inject(f)
	}
	h := s.follower()
	require.NoError(t, s.world.Reclaim(h.ID))
	s.change("failing over under fire", failover())
	if harness.Whole() {
		s.change("moving a member under fire", migrate(s.follower().Member()))
	}
	after := s.bought()
	require.LessOrEqual(t, after[0]-before[0], 2, "hosts bought for two changes")
	s.decommission()
}

// loseTheUnready has the cloud take an instance back that does not become ready, as EC2
// does in the end, and then boot the next one.
func (s *stand) loseTheUnready() {
	s.t.Helper()
	harness.Eventually(s.t, "an instance stays pending", func(context.Context) error {
		pending, err := s.world.Instances(nil, func(i cloudsim.Instance) bool {
			return i.State == fleet.HostPending && time.Since(i.Launched) > 2*time.Second
		})
		if err == nil && len(pending) != 1 {
			err = errors.New("there is none")
		}
		if err == nil {
			err = s.world.Reclaim(pending[0].ID)
		}
		return err
	})
	require.NoError(s.t, s.world.HealAll())
}
