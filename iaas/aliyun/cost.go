package aliyun

import (
	"context"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
	"github.com/flotilla-etcd/flotilla/iaas/cloud"
)

var _ iaas.Estimator = (*Provider)(nil)

const (
	hours = 730 // of a month
	// systemDisk is the size that ECS takes for a system disk that a request leaves open,
	// if its image is no larger (DescribePrice), in GiB.
	systemDisk = 40
)

// snapshotMonth is what a GiB of standard snapshots costs for a month in China (Hangzhou), by
// the currency of the account's site: DescribePrice has no prices of snapshots, only the page
// of prices has ("Snapshot billing" works with the one in USD).
var snapshotMonth = map[string]float64{"CNY": 0.12, "USD": 0.0173}

// HostCost asks for what a pay-as-you-go instance of the type costs with the system disk
// that hosts are bought with (DescribePrice). A stopped one costs its system disk alone,
// unless it goes on being charged for.
func (p *Provider) HostCost(ctx context.Context, h fleet.Host) (fleet.Cost, error) {
	if h.State == fleet.HostStopped && !p.cfg.KeepCharging {
		return p.DiskCost(ctx, fleet.Disk{Category: essd, Size: systemDisk * fleet.GiB})
	}
	in := ecs.CreateDescribePriceRequest()
	in.ResourceType, in.InstanceType, in.SystemDiskCategory = "instance", h.Type, essd
	return p.price(ctx, "price of "+h.Type, in)
}

// DiskCost asks for what a disk of the size and category costs (DescribePrice).
func (p *Provider) DiskCost(ctx context.Context, d fleet.Disk) (fleet.Cost, error) {
	category, level, err := parseCategory(d.Category)
	if err != nil {
		return fleet.Cost{}, err
	}
	in := ecs.CreateDescribePriceRequest()
	in.ResourceType, in.DataDisk1Category, in.DataDisk1PerformanceLevel = "disk", category, level
	in.DataDisk1Size = requests.NewInteger(cloud.GiB(d.Size))
	return p.price(ctx, "price of "+d.Category, in)
}

// price gives a list price for a month. ECS tells what an hour costs, in the currency of
// the account's site; what the account gets off is not in it.
func (p *Provider) price(ctx context.Context, what string, in *ecs.DescribePriceRequest) (fleet.Cost, error) {
	in.PriceUnit = "Hour"
	out, err := call(ctx, p, what, (*ecs.Client).DescribePrice, in)
	if err != nil {
		return fleet.Cost{}, err
	}
	price := out.PriceInfo.Price
	if price.OriginalPrice <= 0 || price.Currency == "" {
		return fleet.Cost{}, fleet.Errorf(fleet.NotFound, what, "ECS answered with none")
	}
	return fleet.Cost{Amount: hours * price.OriginalPrice, Currency: price.Currency}, nil
}

// DiskSnapshotCost is at most what a snapshot costs for a month: by the size of its disk. ECS
// charges for what is stored of it, which it does not tell of one alone. The currency is the
// one that the price of a disk comes in.
func (p *Provider) DiskSnapshotCost(ctx context.Context, s fleet.DiskSnapshot) (fleet.Cost, error) {
	disk, err := p.DiskCost(ctx, fleet.Disk{Category: essd, Size: systemDisk * fleet.GiB})
	if err != nil {
		return fleet.Cost{}, err
	}
	price, known := snapshotMonth[disk.Currency]
	if !known {
		return fleet.Cost{}, fleet.Errorf(fleet.NotFound, "price of disk snapshots", "it is not known here in %s", disk.Currency)
	}
	return fleet.Cost{Amount: price * float64(s.Size) / float64(fleet.GiB), Currency: disk.Currency, AtMost: true}, nil
}
