package pace

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/local"
)

// cloud is a region that grants so many calls a second, and refuses the others.
type cloud struct {
	iaas.Provider
	mu      sync.Mutex
	grants  float64 // a second
	burst   float64
	tokens  float64
	last    time.Time
	after   time.Duration // that it asks of those that it refuses
	served  []time.Time
	refused []time.Time
	fails   error
}

func (c *cloud) Host(context.Context, string) (fleet.Host, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if !c.last.IsZero() {
		c.tokens = min(c.burst, c.tokens+now.Sub(c.last).Seconds()*c.grants)
	}
	c.last = now
	if c.fails != nil {
		return fleet.Host{}, c.fails
	}
	if c.tokens < 1 {
		c.refused = append(c.refused, now)
		return fleet.Host{}, fleet.Errorf(fleet.Throttled, "cloud", "asked too often").WithRetryAfter(c.after)
	}
	c.tokens--
	c.served = append(c.served, now)
	return fleet.Host{ID: "i-1"}, nil
}

func grants(n float64) *cloud { return &cloud{grants: n, burst: max(n, 1), tokens: max(n, 1)} }

var limits = Limits{Start: 10, Floor: 0.5, Ceiling: 50, Burst: 5, MaxWaiting: 1000}

func at(c iaas.Provider, l Limits) *Provider {
	return Wrap(c, "region test", map[Class]Limits{Read: l, Mutate: l, Command: l})
}

// insist asks until it is answered, as activities do.
func insist(t *testing.T, p *Provider, callers, each int) {
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				for {
					_, err := p.Host(t.Context(), "i-1")
					if err == nil {
						break
					}
					if !fleet.Is(err, fleet.Throttled) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
}

// TestPaceFindsWhatTheCloudGrants asks clouds of very different patience for the same
// amount: most of what each grants is used, and few calls are refused.
func TestPaceFindsWhatTheCloudGrants(t *testing.T) {
	for _, granted := range []float64{1, 3, 8, 20, 45} {
		synctest.Test(t, func(t *testing.T) {
			c := grants(granted)
			p := at(c, limits)
			began := time.Now()
			insist(t, p, 40, int(granted)*10)
			took, calls := time.Since(began).Seconds(), granted*400
			require.Less(t, took, 1.6*calls/granted, "of %v a second too little is used", granted)
			require.Less(t, len(c.refused), int(calls)/8+5, "of a cloud that grants %v a second", granted)
			s := p.Stats(Read)
			require.EqualValues(t, len(c.served)+len(c.refused), s.Calls)
			require.EqualValues(t, len(c.refused), s.Throttled)
			require.Zero(t, s.Waiting)
		})
	}
}

// TestPaceStaysWithinItsBounds plays random clouds, also ones that change their mind.
func TestPaceStaysWithinItsBounds(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			c := grants(float64(1 + r.IntN(60)))
			p := at(c, limits)
			for range 200 {
				switch r.IntN(12) {
				case 0:
					c.grants = float64(1 + r.IntN(60))
				case 1:
					c.after = time.Duration(r.IntN(3000)) * time.Millisecond
				case 2:
					c.fails = fleet.Errorf(fleet.Unavailable, "cloud", "no answer")
				case 3:
					c.fails = nil
				case 4:
					time.Sleep(time.Duration(r.IntN(5000)) * time.Millisecond)
				}
				_, _ = p.Host(t.Context(), "i-1")
				rate := p.Stats(Read).Rate
				require.GreaterOrEqual(t, rate, limits.Floor, "seed %d", seed)
				require.LessOrEqual(t, rate, limits.Ceiling, "seed %d", seed)
			}
		})
	}
}

// TestNobodyGoesBeforeTheCloudSaid: the delay that one call was asked for holds for all.
func TestNobodyGoesBeforeTheCloudSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grants(2)
		c.after = 7 * time.Second
		p := at(c, limits)
		insist(t, p, 10, 3)
		require.NotEmpty(t, c.refused)
		for _, refused := range c.refused {
			for _, served := range c.served {
				since := served.Sub(refused)
				require.False(t, since > 0 && since < c.after, "a call went %s after the cloud asked for %s", since, c.after)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := grants(1)
		c.tokens, c.after = 0, 1000*time.Hour
		p := at(c, limits)
		_, err := p.Host(t.Context(), "i-1")
		require.True(t, fleet.Is(err, fleet.Throttled))
		began := time.Now()
		_, err = p.Host(t.Context(), "i-1")
		require.NoError(t, err)
		require.Equal(t, maxPause, time.Since(began), "a mistaken delay must not stop a region")
	})
}

// TestOneRefusalOfManyHalvesThePaceOnce: calls that were on their way tell nothing new.
func TestOneRefusalOfManyHalvesThePaceOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(limits)
		sent := time.Now()
		time.Sleep(time.Second)
		throttled := fleet.Errorf(fleet.Throttled, "cloud", "asked too often")
		for range 5 {
			l.learn(sent, throttled)
		}
		require.InDelta(t, 5, l.stats().Rate, 0.01)
		time.Sleep(time.Second)
		l.learn(time.Now(), throttled)
		require.InDelta(t, 2.5, l.stats().Rate, 0.01)
	})
}

// TestTurnsComeInOrder: who asked first goes first, also when the pace changes meanwhile.
func TestTurnsComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(Limits{Start: 1, Floor: 0.5, Ceiling: 50, Burst: 1, MaxWaiting: 100})
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				_, err := l.wait(t.Context(), "region")
				require.NoError(t, err)
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait()
		}
		l.learn(time.Now(), fleet.Errorf(fleet.Throttled, "cloud", "asked too often").WithRetryAfter(3*time.Second))
		all.Wait()
		for i, got := range order {
			require.Equal(t, i, got, "%v", order)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grants(100)
		p := at(c, Limits{Start: 0.1, Floor: 0.1, Ceiling: 1, Burst: 1, MaxWaiting: 2})
		_, err := p.Host(t.Context(), "i-1")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				_, err := p.Host(ctx, "i-1")
				require.True(t, fleet.Is(err, fleet.Unavailable), "%v", err)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			})
		}
		synctest.Wait()
		require.EqualValues(t, 2, p.Stats(Read).Waiting)
		_, err = p.Host(ctx, "i-1")
		require.True(t, fleet.Is(err, fleet.Throttled), "a third one may not wait: %v", err)
		require.Positive(t, retryAfter(err))
		all.Wait()
		require.Zero(t, p.Stats(Read).Waiting)
		require.Len(t, c.served, 1, "a call that was ended is not sent")
		_, err = p.Host(ctx, "i-1")
		require.True(t, fleet.Is(err, fleet.Unavailable), "a context that has ended takes no turn: %v", err)
		_, err = p.Host(t.Context(), "i-1")
		require.NoError(t, err)
	})
}

// TestClassesDoNotWaitForEachOther: a queue of changes holds no look back.
func TestClassesDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := at(grants(100), limits)
		p.limiters[Mutate].learn(time.Now(), fleet.Errorf(fleet.Throttled, "cloud", "asked too often").WithRetryAfter(time.Minute))
		began := time.Now()
		_, err := p.Host(t.Context(), "i-1")
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
	})
}

// TestCallsReachTheProvider makes the calls of one disk's and one host's life through a pace.
func TestCallsReachTheProvider(t *testing.T) {
	region, err := local.Open(local.Config{Root: t.TempDir(), Zones: []string{"a"}})
	require.NoError(t, err)
	p, ctx := at(region, Limits{Start: 1000, Floor: 1, Ceiling: 1000, Burst: 100, MaxWaiting: 10}), t.Context()
	require.Same(t, region, p.Unwrap())
	disk, err := p.CreateDisk(ctx, iaas.CreateDiskRequest{Token: "t1", Name: "orders-1", Zone: "a", Size: 20 * fleet.GiB, Category: "ssd"})
	require.NoError(t, err)
	require.NoError(t, p.TagDisk(ctx, disk.ID, iaas.Tags{"k": "v"}))
	require.NoError(t, p.GrowDisk(ctx, disk.ID, 30*fleet.GiB))
	require.NoError(t, p.DetachDisk(ctx, disk.ID))
	seen, err := region.Disk(ctx, disk.ID)
	require.NoError(t, err)
	require.Equal(t, 30*fleet.GiB, seen.Size)
	require.Equal(t, "v", seen.Tags["k"])
	same, err := p.Disk(ctx, disk.ID)
	require.NoError(t, err)
	require.Equal(t, seen, same)
	disks, err := p.ListDisks(ctx, iaas.Tags{"k": "v"})
	require.NoError(t, err)
	require.Equal(t, []fleet.Disk{seen}, disks)
	require.NoError(t, p.DeleteDisk(ctx, disk.ID))

	for what, call := range map[string]func() error{
		"Host":       func() error { _, err := p.Host(ctx, "h-0000000000000000"); return err },
		"StopHost":   func() error { return p.StopHost(ctx, "h-0000000000000000") },
		"StartHost":  func() error { return p.StartHost(ctx, "h-0000000000000000") },
		"ResizeHost": func() error { return p.ResizeHost(ctx, "h-0000000000000000", "small") },
		"TagHost":    func() error { return p.TagHost(ctx, "h-0000000000000000", iaas.Tags{"k": "v"}) },
		"AttachDisk": func() error { return p.AttachDisk(ctx, "d-0000000000000000", "h-0000000000000000") },
		"RunCommand": func() error {
			_, err := p.RunCommand(ctx, iaas.CommandRequest{HostID: "h-0000000000000000", Token: "t", Script: "true"})
			return err
		},
		"Command": func() error { _, err := p.Command(ctx, "h-0000000000000000", "c"); return err },
	} {
		require.True(t, fleet.Is(call(), fleet.NotFound), "%s does not reach the region", what)
	}
	require.NoError(t, p.TerminateHost(ctx, "h-0000000000000000"))
	_, err = p.LaunchHost(ctx, iaas.LaunchHostRequest{Token: "t2", Zone: "nowhere", Type: "small"})
	require.True(t, fleet.Is(err, fleet.Invalid), "%v", err)
	hosts, err := p.ListHosts(ctx, nil)
	require.NoError(t, err)
	require.Empty(t, hosts)
	zones, err := p.Zones(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, zones)
	types, err := p.MachineTypes(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, types)
	categories, err := p.DiskCategories(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, categories)
	available, err := p.Available(ctx, "a", types[0].Name)
	require.NoError(t, err)
	require.True(t, available)
	require.EqualValues(t, 8, p.Stats(Read).Calls)
	require.EqualValues(t, 12, p.Stats(Mutate).Calls)
	require.EqualValues(t, 2, p.Stats(Command).Calls)
}

// priced is a region of which prices are known.
type priced struct{ *cloud }

func (priced) HostCost(context.Context, fleet.Host) (fleet.Cost, error) {
	return fleet.Cost{Amount: 1, Currency: "CNY"}, nil
}

func (priced) DiskCost(context.Context, fleet.Disk) (fleet.Cost, error) {
	return fleet.Cost{Amount: 2, Currency: "CNY"}, nil
}

func (priced) DiskSnapshotCost(context.Context, fleet.DiskSnapshot) (fleet.Cost, error) {
	return fleet.Cost{Amount: 3, Currency: "CNY"}, nil
}

// Prices are asked for at the pace, where there are any.
func TestPricesAreAskedForAtThePace(t *testing.T) {
	limits := Limits{Start: 1000, Floor: 1, Ceiling: 1000, Burst: 100, MaxWaiting: 10}
	_, ok := iaas.As[iaas.Estimator](at(grants(1), limits))
	require.False(t, ok, "nobody can say")
	p := at(priced{grants(1)}, limits)
	prices, ok := iaas.As[iaas.Estimator](p)
	require.True(t, ok)
	host, err := prices.HostCost(t.Context(), fleet.Host{})
	require.NoError(t, err)
	disk, err := prices.DiskCost(t.Context(), fleet.Disk{})
	require.NoError(t, err)
	snapshot, err := prices.DiskSnapshotCost(t.Context(), fleet.DiskSnapshot{})
	require.NoError(t, err)
	require.Equal(t, [3]float64{1, 2, 3}, [3]float64{host.Amount, disk.Amount, snapshot.Amount})
	require.EqualValues(t, 3, p.Stats(Read).Calls)
	behind, ok := iaas.As[priced](p)
	require.True(t, ok, "what else it can do is found")
	require.NotNil(t, behind.cloud)
}
