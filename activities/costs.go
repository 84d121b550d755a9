package activities

import (
	"context"
	"fmt"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

// costs asks a provider what things cost, once for things that cost the same.
type costs struct {
	prices iaas.Estimator         // nil: nobody can say, or will
	known  map[string]*fleet.Cost // by what it is of; nil for what was not said
	notes  []string               // a sentence for each that was not
}

func newCosts(p iaas.Provider) *costs {
	c := &costs{known: map[string]*fleet.Cost{}}
	c.prices, _ = iaas.As[iaas.Estimator](p)
	return c
}

func (c *costs) ofHost(ctx context.Context, h fleet.Host) *fleet.Cost {
	return c.of(fmt.Sprint(h.Type, h.State == fleet.HostStopped), func() (fleet.Cost, error) { return c.prices.HostCost(ctx, h) })
}

func (c *costs) ofDisk(ctx context.Context, d fleet.Disk) *fleet.Cost {
	return c.of(fmt.Sprint(d.Category, d.Size), func() (fleet.Cost, error) { return c.prices.DiskCost(ctx, d) })
}

func (c *costs) ofDiskSnapshot(ctx context.Context, s fleet.DiskSnapshot) *fleet.Cost {
	return c.of(fmt.Sprint("snapshot", s.Size, s.Written), func() (fleet.Cost, error) { return c.prices.DiskSnapshotCost(ctx, s) })
}

// of gives a cost, or nil if it is not known: it is not worth it to fail for. After an
// answer that is not about the one thing (no right, no answer), nothing more is asked.
func (c *costs) of(what string, ask func() (fleet.Cost, error)) *fleet.Cost {
	if cost, asked := c.known[what]; asked || c.prices == nil {
		return cost
	}
	c.known[what] = nil
	cost, err := ask()
	if err == nil {
		c.known[what] = &cost
		return &cost
	}
	c.notes = append(c.notes, err.Error())
	if kind := fleet.KindOf(err); kind != fleet.NotFound && kind != fleet.Invalid {
		c.prices = nil
	}
	return nil
}
