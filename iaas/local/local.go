// Package local is the provider for this machine: it sells hosts and disks made
// of real directories, loopback addresses and processes, so that a fleet runs
// on one laptop exactly as it would in a cloud.
//
// A host is a directory that stands for the root of its file system, an address
// of its own in 127.0.0.0/8, and one process, `flotilla-node init`, which
// supervises the members on it. A disk is a directory too; attaching it makes a
// symbolic link. The provider plays the hypervisor: it boots a host by starting
// its init, and boots it again when it finds that gone.
//
// Everything it knows is in JSON files below one root, which several processes
// may use at once. Each change is first written down and then done, so that
// whoever looks next, after any kind of death, does what is left of it. Nothing
// here runs in the background: the calls that look are what drives changes on.
//
//	<root>/lock                        held while buying, and while disks change
//	<root>/faults.json                 faults that were injected (faults.go)
//	<root>/hosts/<id>.json, <id>.lock  the host's record; the lock guards it
//	<root>/hosts/<id>/fs/              what is / on the host
//	<root>/hosts/<id>/fs/disks/<disk>  link to an attached disk; <disk>.size beside it
//	<root>/hosts/<id>/commands/<id>/   a script that was sent, and what came of it
//	<root>/hosts/<id>/init.log         what init said
//	<root>/disks/<id>.json             the disk's record
//	<root>/disks/<id>/data/            what is on the disk
//	<root>/snapshots/<id>.json         the disk snapshot's record; <id>.lock guards it
//	<root>/snapshots/<id>/data/        what was on the disk
//
// Locks are taken in one order, a disk snapshot's, the host's and then the root's, and are flocks:
// the kernel gives them back when their holder dies.
package local

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// Config says where a provider keeps its hosts and what it offers.
type Config struct {
	// Root is the directory that everything lives in. It is made if absent.
	Root string
	// Region is the name that hosts carry. "local" if empty.
	Region string
	// Zones are the zones on offer: names only, all are this machine. a, b and
	// c if empty.
	Zones []string
	// NodeBinary is the flotilla-node that hosts run. Without it the provider
	// can be looked at and told of faults, but boots nothing.
	NodeBinary string
	// Env is added to the environment of all that runs on hosts, "KEY=value" each.
	Env []string
	// Types and Categories are what is on offer; those of this provider if empty.
	Types      []fleet.MachineType
	Categories []string
	// HostPrefix, DiskPrefix and SnapshotPrefix begin the IDs of hosts, disks and disk
	// snapshots, before 16 digits. "h-", "d-" and "s-" if empty. One root has the same
	// ones always.
	HostPrefix, DiskPrefix, SnapshotPrefix string
	// MaxScript is the longest script that a command takes, in bytes. iaas.MaxScript
	// if zero.
	MaxScript int
	// OneAddress puts every host on 127.0.0.1 with a range of ports of its own.
	// Found by trying when false: macOS answers on no other loopback address.
	OneAddress bool
	// Log gets what the provider does to hosts. Nothing is logged if nil.
	Log *zap.Logger
}

// Provider is this machine as one region of a cloud.
type Provider struct {
	root       string
	region     string
	zones      []string
	nodeBinary string
	env        []string
	oneAddress bool
	types      []fleet.MachineType
	categories []string
	// prefixes of IDs
	hostPrefix, diskPrefix, snapshotPrefix string

	maxScript int
	log       *zap.Logger

	calls atomic.Int64 // counted for the fault that throttles every n-th
}

var _ iaas.Provider = (*Provider)(nil)

// Open gives the provider whose state is below cfg.Root. Any number of them, in
// any number of processes, may share one root. Errors: fleet.Invalid for a
// configuration that cannot work, fleet.Denied when the root is not writable.
func Open(cfg Config) (*Provider, error) {
	if cfg.Root == "" {
		return nil, fleet.Errorf(fleet.Invalid, "local provider", "no root directory is given")
	}
	p := &Provider{
		region: cmp.Or(cfg.Region, "local"), zones: slices.Clone(cfg.Zones), env: slices.Clone(cfg.Env), log: cfg.Log,
		types: slices.Clone(cfg.Types), categories: slices.Clone(cfg.Categories),
		hostPrefix: cmp.Or(cfg.HostPrefix, "h-"), diskPrefix: cmp.Or(cfg.DiskPrefix, "d-"),
		snapshotPrefix: cmp.Or(cfg.SnapshotPrefix, "s-"), maxScript: cmp.Or(cfg.MaxScript, iaas.MaxScript),
	}
	if len(p.types) == 0 {
		p.types = machineTypes
	}
	if len(p.categories) == 0 {
		p.categories = diskCategories
	}
	if len(p.zones) == 0 {
		p.zones = []string{"a", "b", "c"}
	}
	if p.log == nil {
		p.log = zap.NewNop()
	}
	if cfg.NodeBinary != "" {
		path, err := filepath.Abs(cfg.NodeBinary)
		if err != nil {
			return nil, fleet.Errorf(fleet.Invalid, "local provider", "its node binary has no path: %w", err)
		}
		if info, err := os.Stat(path); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return nil, fleet.Errorf(fleet.Invalid, "local provider", "%s is not a program", path).
				WithRemedy("build flotilla-node and give its path")
		}
		p.nodeBinary = path
	}
	for _, dir := range []string{"hosts", "disks", "snapshots"} {
		if err := os.MkdirAll(filepath.Join(cfg.Root, dir), 0o700); err != nil {
			return nil, fleet.Errorf(fleet.Denied, "local provider", "its root cannot be made: %w", err)
		}
	}
	// One root must have one name, as processes are told by it.
	root, err := filepath.Abs(cfg.Root)
	if err == nil {
		root, err = filepath.EvalSymlinks(root)
	}
	if err != nil {
		return nil, fleet.Errorf(fleet.Denied, "local provider", "its root cannot be read: %w", err)
	}
	p.root = root
	p.oneAddress = cfg.OneAddress || !loopbackIsWide(context.Background())
	return p, nil
}

// begin is what every call of the interface goes through first: it ends with
// the context and suffers the faults that concern no resource in particular.
func (p *Provider) begin(ctx context.Context) (Faults, error) {
	if err := ended(ctx, "local provider"); err != nil {
		return Faults{}, err
	}
	f, err := p.readFaults()
	if err != nil {
		return Faults{}, err
	}
	if f.Latency > 0 {
		if err := wait(ctx, time.Duration(f.Latency)); err != nil {
			return Faults{}, err
		}
	}
	if n := p.calls.Add(1); f.ThrottleEvery > 0 && n%int64(f.ThrottleEvery) == 0 {
		return Faults{}, fleet.Errorf(fleet.Throttled, "local provider",
			"asked too often, by fault injection").WithRetryAfter(throttleRetryAfter)
	}
	if f.ErrorRate > 0 && rand.Float64() < f.ErrorRate {
		return Faults{}, fleet.Errorf(fleet.Unavailable, "local provider", "no answer, by fault injection")
	}
	return f, nil
}

// ended gives the error of a call whose context is over, or nil.
func ended(ctx context.Context, resource string) error {
	if err := ctx.Err(); err != nil {
		return fleet.Errorf(fleet.Unavailable, resource, "the call was ended early: %w", err)
	}
	return nil
}

// wait lets d pass, or ends with the context.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx, "local provider")
	case <-timer.C:
		return nil
	}
}
