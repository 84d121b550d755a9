package iaas

import (
	"context"
	"time"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// Examiner is a Provider that can say what is missing for its work.
type Examiner interface {
	// Examine looks at what the provider was configured with and at what it may do, and
	// changes nothing. What it cannot find out is fleet.CheckUnknown. It gives what it
	// found so far if the context ends.
	Examine(ctx context.Context) []fleet.Check
}

// Estimator is a Provider that can say about what things cost for a month, at list prices.
// Errors are *fleet.Error. What is not known is an error, never a cost of nothing.
type Estimator interface {
	// HostCost is of a host as it is now, running or stopped. The disks that were bought
	// for it are apart.
	HostCost(context.Context, fleet.Host) (fleet.Cost, error)
	DiskCost(context.Context, fleet.Disk) (fleet.Cost, error)
	// DiskSnapshotCost is at most that of a disk snapshot: it shares with others of its disk
	// what did not change between them, and that is paid for once.
	DiskSnapshotCost(context.Context, fleet.DiskSnapshot) (fleet.Cost, error)
}

// Near is a Provider that is asked at no cost and answers at once, as this machine does.
// Clouds count what they are asked.
type Near interface {
	// CommandPause is the longest time after which a command that runs is looked at again.
	CommandPause() time.Duration
}

// As finds what a provider can do beyond Provider, behind whatever wraps it.
func As[T any](p Provider) (T, bool) {
	for {
		if able, ok := p.(T); ok {
			return able, true
		}
		wrapper, ok := p.(interface{ Unwrap() Provider })
		if !ok {
			var none T
			return none, false
		}
		p = wrapper.Unwrap()
	}
}
