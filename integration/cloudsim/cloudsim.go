// Package cloudsim is a cloud that says no: one region with zones, instances and disks
// that go through their states with delays, lists that lag behind, tokens, limits,
// quotas and faults, as the clouds have them. It is neutral of vendor: ec2sim and
// ecssim beside it speak the vendors' protocols and call the World here. README.md says
// which behaviour comes from which document of a vendor.
//
// Below the world is iaas/local: an instance boots as a host on a loopback address, a
// disk is a directory, a command a process. A world without a machine (Config.Root is
// empty) keeps all of the rules and runs nothing.
//
// A world lives in memory. It ends with Close, and all that runs in it.
package cloudsim

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas/local"
)

// Config is what a region has to offer, and how slow and strict it is.
type Config struct {
	Region string
	Catalogue
	Limits Limits
	Delays Delays
	// Names are how the cloud forms the IDs of what it sells.
	Names Names
	// Keys are the access keys that faces check signatures with: ID to secret.
	Keys map[string]string

	// Root is where hosts and disks are made; empty: nothing is run.
	Root string
	// NodeBinary and Env are those of hosts (local.Config).
	NodeBinary string
	Env        []string

	// Seed repeats the world's choices; what runs at the same time makes them in any order.
	Seed uint64
	Log  *zap.Logger
}

// Names are how a cloud forms IDs: each is this followed by 16 hexadecimal digits.
type Names struct {
	Instance, Disk, Snapshot string
	// Command forms the ID of a command from random bytes.
	Command func(random [16]byte) string
}

// Delays say how long things take. What has no delay is done at once.
type Delays struct {
	Boot   time.Duration // pending to running, at least
	Stop   time.Duration // stopping to stopped, at least
	End    time.Duration // terminating to terminated, at least
	Create time.Duration // of a disk
	Attach time.Duration
	Detach time.Duration
	Modify time.Duration // of a disk: to its new size
	Settle time.Duration // of a disk: until it may be modified again
	Store  time.Duration // of a snapshot: until it is completed
	// Lag is how much later than it happens a change may be seen, at most.
	Lag time.Duration
	// Agent is how long after a boot the run-command agent answers.
	Agent time.Duration
	// Deliver is how long a command takes to reach its host.
	Deliver time.Duration
	// Gone is how long a terminated instance is shown.
	Gone time.Duration
}

// Quick are delays for tests: each state can be seen, and none is waited for long.
func Quick() Delays {
	const ms = time.Millisecond
	return Delays{
		Boot: 150 * ms, Stop: 50 * ms, End: 50 * ms, Create: 50 * ms, Attach: 50 * ms, Detach: 50 * ms,
		Modify: 50 * ms, Settle: 50 * ms, Store: 150 * ms, Lag: 100 * ms, Agent: 50 * ms, Deliver: 30 * ms, Gone: time.Hour,
	}
}

// World is one region of a cloud. It is safe for concurrent use.
type World struct {
	cfg     Config
	machine *local.Provider // nil: nothing is run
	log     *zap.Logger
	ctx     context.Context // ends with the world
	end     context.CancelFunc
	running sync.WaitGroup // what changes in the background
	once    sync.Mutex     // held by Once

	mu        sync.Mutex // guards all below
	random    *rand.Rand
	sequence  int64
	instances map[string]*instance
	disks     map[string]*disk
	snapshots map[string]*snapshot
	commands  map[string]*command
	tokens    map[string]tokenUse
	faults    []*Fault
	rates     map[string]*bucket
	calls     []Call
}

// New makes a world. Close ends it.
func New(cfg Config) (*World, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	ctx, end := context.WithCancel(context.Background())
	w := &World{
		cfg: cfg, log: cfg.Log, ctx: ctx, end: end, random: rand.New(rand.NewPCG(cfg.Seed, 0)),
		instances: map[string]*instance{}, disks: map[string]*disk{}, snapshots: map[string]*snapshot{}, commands: map[string]*command{},
		tokens: map[string]tokenUse{}, rates: map[string]*bucket{},
	}
	if cfg.Root == "" {
		return w, nil
	}
	machine := local.Config{
		Root: cfg.Root, Region: cfg.Region, NodeBinary: cfg.NodeBinary, Env: cfg.Env,
		HostPrefix: cfg.Names.Instance, DiskPrefix: cfg.Names.Disk, SnapshotPrefix: cfg.Names.Snapshot, MaxScript: cfg.Limits.Script, Log: cfg.Log.Named("machine"),
	}
	for _, z := range cfg.Zones {
		machine.Zones = append(machine.Zones, z.Name)
	}
	for _, t := range cfg.Types {
		machine.Types = append(machine.Types, t.MachineType)
	}
	for _, c := range cfg.Categories {
		machine.Categories = append(machine.Categories, c.Name)
	}
	var err error
	w.machine, err = local.Open(machine)
	return w, err
}

// Region is the world's name.
func (w *World) Region() string { return w.cfg.Region }

// Secret gives the secret of an access key.
func (w *World) Secret(keyID string) (string, bool) {
	secret, ok := w.cfg.Keys[keyID]
	return secret, ok
}

// Machine is what instances run on, for tests that look at hosts directly: addresses,
// processes and disks. Nil when nothing is run.
func (w *World) Machine() *local.Provider { return w.machine }

// closePatience bounds how long hosts may take to end with their world.
const closePatience = 30 * time.Second

// Close ends the world and everything that runs in it.
func (w *World) Close() error {
	w.end()
	w.running.Wait()
	if w.machine == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	hosts, err := w.machine.ListHosts(ctx, nil)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if err := w.machine.FailHost(ctx, h.ID); err != nil && !fleet.Is(err, fleet.NotFound) {
			return err
		}
		if err := w.machine.TerminateHost(ctx, h.ID); err != nil {
			return err
		}
	}
	return nil
}

// randomBytes draws what IDs are formed from. w.mu is held.
func (w *World) randomBytes() (b [16]byte) {
	for i := range b {
		b[i] = byte(w.random.Uint32())
	}
	return b
}

// randomHex draws the 16 digits of an ID. w.mu is held.
func (w *World) randomHex() string {
	b := w.randomBytes()
	return hex.EncodeToString(b[:8])
}

// lag draws when a change that happens now will be seen. w.mu is held.
func (w *World) lag() time.Time {
	if w.cfg.Delays.Lag <= 0 {
		return time.Now()
	}
	return time.Now().Add(time.Duration(w.random.Int64N(int64(w.cfg.Delays.Lag))))
}

// driveEvery is the pause between two looks at what changes in the background.
const driveEvery = 20 * time.Millisecond

// drive takes steps in the background, no sooner than after a delay, until one says
// that it was the last.
func (w *World) drive(after time.Duration, step func(ctx context.Context) (done bool)) {
	w.running.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		for {
			select {
			case <-w.ctx.Done():
				return
			case <-timer.C:
			}
			if step(w.ctx) {
				return
			}
			timer.Reset(driveEvery)
		}
	})
}
