package aws

import (
	"cmp"
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/iaas"
)

var _ iaas.Estimator = (*Provider)(nil)

// List prices on demand in us-east-1 follow the vCPUs and the memory of a type closely:
// these two figures, in US dollars for an hour, give those of the Graviton 3 families (c7g,
// m7g, r7g) within 4 %. x86 costs about a fifth more, other regions up to a half.
const (
	vCPUHour = 0.0305
	gibHour  = 0.0029
	month    = 730 // hours
	currency = "USD"
)

// diskMonth is what a GiB costs for a month in us-east-1, by volume type, without
// provisioned IOPS and throughput.
var diskMonth = map[string]float64{"gp3": 0.08, "gp2": 0.10, "io1": 0.125, "io2": 0.125, "st1": 0.045, "sc1": 0.015, "standard": 0.05}

// snapshotMonth is what a GiB that is stored of standard snapshots costs for a month in us-east-1.
const snapshotMonth = 0.05

// HostCost is about what a host costs for a month; a stopped one costs nothing. Its root
// disk is not counted: its size is the image's.
func (p *Provider) HostCost(ctx context.Context, h fleet.Host) (fleet.Cost, error) {
	if h.State == fleet.HostStopped {
		return fleet.Cost{Currency: currency}, nil
	}
	what := "cost of " + h.Type
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{types.InstanceType(h.Type)}})
	if err != nil {
		return fleet.Cost{}, translate(what, err)
	}
	if len(out.InstanceTypes) != 1 {
		return fleet.Cost{}, fleet.Errorf(fleet.NotFound, what, "EC2 does not show the type")
	}
	return priced(machineType(out.InstanceTypes[0])), nil
}

func priced(t fleet.MachineType) fleet.Cost {
	return fleet.Cost{Amount: month * (t.VCPUs*vCPUHour + float64(t.Memory)/float64(fleet.GiB)*gibHour), Currency: currency}
}

// DiskCost is about what a disk costs for a month.
func (p *Provider) DiskCost(ctx context.Context, d fleet.Disk) (fleet.Cost, error) {
	what := "cost of " + d.Category
	if err := ctx.Err(); err != nil {
		return fleet.Cost{}, translate(what, err)
	}
	price, known := diskMonth[d.Category]
	if !known {
		return fleet.Cost{}, fleet.Errorf(fleet.NotFound, what, "the price of the volume type is not known here")
	}
	return fleet.Cost{Amount: price * float64(d.Size) / float64(fleet.GiB), Currency: currency}, nil
}

// DiskSnapshotCost is at most what a snapshot costs for a month: by the blocks that had been
// written of its volume, or by the volume's size where EC2 does not tell of them. What it
// stores beside earlier snapshots of the volume, for which alone is charged, EC2 does not say.
func (p *Provider) DiskSnapshotCost(ctx context.Context, s fleet.DiskSnapshot) (fleet.Cost, error) {
	if err := ctx.Err(); err != nil {
		return fleet.Cost{}, translate("cost of "+s.ID, err)
	}
	stored := cmp.Or(s.Written, s.Size)
	return fleet.Cost{Amount: snapshotMonth * float64(stored) / float64(fleet.GiB), Currency: currency, AtMost: true}, nil
}
