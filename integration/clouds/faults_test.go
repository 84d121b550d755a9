package clouds

import (
	"context"
	"errors"
	"fmt"
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
	// three of them. Each costs a pause, and throttling slows all that follow.
	often, rarely = 0.06, 0.02
	// noticed is how long a host or disk that gets no further is looked at, and a zone is
	// out, before that ends.
	noticed, out = 3 * time.Second, 8 * time.Second
)

// trouble is what goes wrong in a region while an operation runs. begin makes it, in a
// zone where that matters, and gives what else happens until the operation has ended;
// nothing more if nil. All faults end with the operation.
type trouble struct {
	name  string
	begin func(s *stand, l *leg) (meanwhile func(ctx context.Context) error, err error)
	// waste is how many hosts are bought in vain, at most.
	waste int
}

// calls is trouble that hits calls, or sales, as long as the operation runs.
func calls(name string, faults ...cloudsim.Fault) trouble {
	return trouble{name: name, begin: func(s *stand, l *leg) (func(context.Context) error, error) {
		for _, f := range faults {
			if f.Kind == cloudsim.NoStockLeft {
				f.Zone = l.zone
			}
			s.world.Inject(f)
		}
		return nil, nil
	}}
}

// troubles are all that can be.
var troubles = []trouble{
	calls("throttled", cloudsim.Fault{Kind: cloudsim.Throttle, Share: often}),
	calls("failing", cloudsim.Fault{Kind: cloudsim.ServerError, Share: often}),
	calls("unheard", cloudsim.Fault{Kind: cloudsim.LoseAnswer, Share: often}),
	calls("slow", cloudsim.Fault{Kind: cloudsim.Slow, Share: often, Delay: 300 * time.Millisecond}),
	calls("sold out", cloudsim.Fault{Kind: cloudsim.NoStockLeft}),
	calls("all at once", cloudsim.Fault{Kind: cloudsim.Throttle, Share: rarely}, cloudsim.Fault{Kind: cloudsim.ServerError, Share: rarely},
		cloudsim.Fault{Kind: cloudsim.LoseAnswer, Share: rarely}, cloudsim.Fault{Kind: cloudsim.NoStockLeft}),
	{name: "never ready", begin: (*stand).neverReady, waste: 1},
	{name: "detaching for ever", begin: (*stand).detachingForEver},
	{name: "taken back", begin: (*stand).takenBack, waste: 1},
	{name: "agent away", begin: (*stand).agentAway},
	{name: "zone out", begin: (*stand).zoneOut},
}

// leg is one operation of a cluster's life.
type leg struct {
	kind fleet.OperationKind
	// prepare does what makes it necessary and gives the change that is asked for.
	prepare func(s *stand, l *leg) harness.Change
	buys    int // hosts
	// zone is where trouble strikes that strikes a zone: of the member that is changed.
	zone string
	// known are the instances there were before.
	known map[string]bool
	// run is the operation.
	run *harness.Running
	// lost is whether the host of a member was taken back.
	lost bool
}

func life() []leg {
	return []leg{
		{kind: fleet.CreateCluster, buys: 3},
		{kind: fleet.FailoverMember, buys: 1, prepare: func(s *stand, l *leg) harness.Change {
			h := s.follower()
			l.zone = h.Zone
			require.NoError(s.t, s.world.Reclaim(h.ID))
			return failover()
		}},
		{kind: fleet.MigrateByLearner, buys: 1, prepare: func(s *stand, l *leg) harness.Change {
			h := s.follower()
			l.zone = h.Zone
			return migrate(h.Member())
		}},
		{kind: fleet.UpscaleCluster, prepare: func(s *stand, l *leg) harness.Change {
			l.zone = s.follower().Zone
			return s.upscale()
		}},
		{kind: fleet.DecommissionCluster, prepare: func(s *stand, l *leg) harness.Change {
			l.zone = s.follower().Zone
			return harness.Change{Kind: fleet.DecommissionCluster}
		}},
	}
}

// TestFaults takes clusters through their lives on both clouds, each operation under a
// trouble of its own: the calls throttled, failed, slow, or done and not answered; a zone
// without stock, or out; a host that is never ready, or taken back; a disk that detaches
// for ever; an agent that is away. The judge watches all that clients can notice. Nothing
// is bought in vain that need not be, and nothing is left. FLOTILLA_WHOLE takes one cluster
// through its whole life for each trouble and cloud, so that each operation meets each of
// them; a sample has one cluster on each, and one change of it.
func TestFaults(t *testing.T) {
	t.Parallel()
	dice := harness.Random(harness.Seed(t))
	for cloud, on := range map[string]func(*testing.T, setup) *stand{"aws": onAWS, "aliyun": onAliyun} {
		if harness.Whole() {
			for first := range troubles {
				t.Run(fmt.Sprintf("%s/%d", cloud, first), func(t *testing.T) { abreast(t); on(t, setup{}).suffer(life(), first) })
			}
			continue
		}
		legs, first := life(), dice.IntN(len(troubles))
		change := 1 + dice.IntN(len(legs)-2)
		legs = []leg{legs[0], legs[change], legs[len(legs)-1]}
		t.Run(cloud, func(t *testing.T) { abreast(t); on(t, setup{}).suffer(legs, first) })
	}
}

// suffer takes a cluster through operations, the first of them under one trouble, the
// next under the next.
func (s *stand) suffer(legs []leg, first int) {
	s.t.Helper()
	for i := range legs {
		l, tr := &legs[i], troubles[(first+i)%len(troubles)]
		what := fmt.Sprintf("%s, %s", l.kind, tr.name)
		l.zone, l.known = s.spec.Zones[0], map[string]bool{}
		var change harness.Change
		if l.prepare != nil {
			change = l.prepare(s, l)
		}
		instances, err := s.world.Instances(nil, nil)
		require.NoError(s.t, err)
		for _, i := range instances {
			l.known[i.ID] = true
		}
		before := s.bought()
		do := func() error { return s.through(tr, l, change) }
		switch began := time.Now(); l.kind {
		case fleet.CreateCluster, fleet.DecommissionCluster:
			require.NoError(s.t, do(), what)
			s.t.Logf("%s took %s", what, time.Since(began).Round(time.Millisecond))
		default:
			s.judged(what, do)
		}
		after := s.bought()
		require.LessOrEqual(s.t, after[0]-before[0], l.buys+tr.waste, "hosts that were bought: %s", what)
		require.LessOrEqual(s.t, after[1]-before[1], l.buys+tr.waste, "disks that were bought: %s", what)
		if l.kind == fleet.CreateCluster {
			s.fill()
		}
	}
	s.nothingLeft()
}

// through does an operation while there is trouble. What the trouble ended is done again
// when it is over, as a person would.
func (s *stand) through(tr trouble, l *leg, change harness.Change) error {
	begin := func() (r *harness.Running, err error) {
		if l.kind == fleet.CreateCluster {
			return s.Begin(s.spec.Name, l.kind, &s.spec)
		}
		return s.BeginChange(s.spec.Name, change)
	}
	meanwhile, err := tr.begin(s, l)
	if err != nil {
		return err
	}
	if l.run, err = begin(); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(s.t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() {
		if meanwhile == nil {
			ended <- nil
			return
		}
		ended <- meanwhile(ctx)
	}()
	_, failed := l.run.Await()
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err := s.world.HealAll(); err != nil {
		return err
	}
	if failed != nil {
		s.t.Logf("%s ended under trouble (%s): %v", l.kind, tr.name, failed)
		if err := s.again(l, begin); err != nil {
			return err
		}
	}
	if l.kind == fleet.DecommissionCluster {
		return nil
	}
	return s.Stands(s.t.Context(), s.spec.Name)
}

// again does an operation that ended early to its end: with the members that it lost in
// other places first, if it is not one that replaces them itself.
func (s *stand) again(l *leg, begin func() (*harness.Running, error)) error {
	if _, err := s.Settled(s.spec.Name); err != nil {
		return err
	}
	resume := func() (*harness.Running, error) { return s.Resume(s.spec.Name) }
	if l.lost { // a list may show it for a while
		err := s.Within(harness.Patience, func() error {
			hosts, err := s.HostsOf(s.t.Context(), s.spec.Name)
			if err == nil && len(hosts) >= s.spec.Voters {
				err = fmt.Errorf("the lost host of %s is still listed", s.spec.Name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if hosts, err := s.HostsOf(s.t.Context(), s.spec.Name); l.kind == fleet.UpscaleCluster && err == nil && len(hosts) < s.spec.Voters {
		r, err := s.BeginChange(s.spec.Name, failover())
		if err == nil {
			_, err = r.Await()
		}
		if err != nil {
			return fmt.Errorf("failing over what was lost: %w", err)
		}
		resume = begin // the failover is the cluster's last operation
	}
	r, err := resume()
	if err == nil {
		_, err = r.Await()
	}
	return err
}

// until looks until something is so, or the operation has ended.
func (l *leg) until(ctx context.Context, so func() bool) error {
	for !so() && !l.run.Ended() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// pause lets time pass: the moments of faults are random, and no fact is waited for.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// neverReady keeps instances from becoming ready. The cloud gives up on one that was new,
// as EC2 does in the end; one that was there before comes up after all.
func (s *stand) neverReady(l *leg) (func(context.Context) error, error) {
	heal := s.world.Inject(cloudsim.Fault{Kind: cloudsim.NeverReady})
	return func(ctx context.Context) error {
		var stuck cloudsim.Instance
		since := map[string]time.Time{}
		err := l.until(ctx, func() bool {
			pending, _ := s.world.Instances(nil, func(i cloudsim.Instance) bool { return i.State == fleet.HostPending })
			for _, i := range pending {
				if since[i.ID].IsZero() {
					since[i.ID] = time.Now()
				}
				if time.Since(since[i.ID]) > noticed {
					stuck = i
				}
			}
			return stuck.ID != ""
		})
		if err == nil && stuck.ID != "" && !l.known[stuck.ID] {
			err = s.world.Reclaim(stuck.ID)
		}
		heal()
		return err
	}, nil
}

// detachingForEver keeps disks from coming free, until somebody has seen to it.
func (s *stand) detachingForEver(l *leg) (func(context.Context) error, error) {
	heal := s.world.Inject(cloudsim.Fault{Kind: cloudsim.StuckDetach})
	return func(ctx context.Context) error {
		err := l.until(ctx, func() bool {
			stuck, _ := s.world.Disks(nil, func(d cloudsim.Disk) bool { return d.State == fleet.DiskDetaching })
			return len(stuck) > 0
		})
		if err == nil {
			err = pause(ctx, noticed)
		}
		heal()
		return err
	}, nil
}

// takenBack has the cloud take a host back in the middle: the new one, or, where nothing
// is bought, a follower's.
func (s *stand) takenBack(l *leg) (func(context.Context) error, error) {
	dice := rand.New(rand.NewPCG(s.seed, uint64(len(l.known))))
	wait, id := time.Duration(dice.Int64N(int64(2*time.Second))), ""
	if l.buys == 0 {
		id = s.follower().ID
	}
	return func(ctx context.Context) error {
		err := l.until(ctx, func() bool {
			bought, _ := s.world.Instances(nil, func(i cloudsim.Instance) bool { return !l.known[i.ID] })
			if len(bought) > 0 {
				id = bought[0].ID
			}
			return id != ""
		})
		if err == nil {
			err = pause(ctx, wait)
		}
		if err != nil || id == "" {
			return err
		}
		if err := s.world.Reclaim(id); err != nil || l.kind != fleet.UpscaleCluster {
			return err
		}
		// It waits for a voter that does not answer, and says so: what is needed is a failover.
		l.lost = true
		_, err = s.Client.Cancel(s.t.Context(), s.spec.Name, l.run.Ref.ID, "its host was taken back")
		return err
	}, nil
}

// agentAway keeps commands from hosts, until some were refused.
func (s *stand) agentAway(l *leg) (func(context.Context) error, error) {
	heal := s.world.Inject(cloudsim.Fault{Kind: cloudsim.Agentless})
	seen := len(s.world.Calls())
	return func(ctx context.Context) error {
		refused := 0
		err := l.until(ctx, func() bool {
			all := s.world.Calls()
			for _, c := range all[seen:] {
				// ECS is asked for an agent before a command is sent to it.
				if c.Refused == cloudsim.AgentAway || c.Action == "DescribeCloudAssistantStatus" {
					refused++
				}
			}
			seen = len(all)
			return refused > 2
		})
		if err == nil {
			err = pause(ctx, noticed)
		}
		heal()
		return err
	}, nil
}

// zoneOut has a zone go out in the middle, for seconds.
func (s *stand) zoneOut(l *leg) (func(context.Context) error, error) {
	dice := rand.New(rand.NewPCG(s.seed, uint64(len(l.known))))
	wait := time.Duration(dice.Int64N(int64(3 * time.Second)))
	return func(ctx context.Context) error {
		if err := pause(ctx, wait); err != nil {
			return err
		}
		heal, err := s.world.FailZone(l.zone)
		if err != nil {
			return err
		}
		err = pause(ctx, out)
		return errors.Join(err, heal())
	}, nil
}
