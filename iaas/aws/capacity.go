package aws

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// zones are those that a subnet is configured for.
func (p *Provider) zones() []string { return slices.Sorted(maps.Keys(p.cfg.Subnets)) }

// Zones gives the zones that have a subnet and that the region has.
func (p *Provider) Zones(ctx context.Context) ([]string, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.DescribeAvailabilityZones(ctx, &ec2.DescribeAvailabilityZonesInput{})
	if err != nil {
		return nil, translate("zones of "+p.cfg.Region, err)
	}
	zones := []string{}
	for _, z := range out.AvailabilityZones {
		if name := aws.ToString(z.ZoneName); p.cfg.Subnets[name] != "" {
			zones = append(zones, name)
		}
	}
	slices.Sort(zones)
	return zones, nil
}

// typesPage is the most that DescribeInstanceTypes takes.
const typesPage = 100

// MachineTypes gives the types on offer, the smallest first.
func (p *Provider) MachineTypes(ctx context.Context) ([]fleet.MachineType, error) {
	in := &ec2.DescribeInstanceTypesInput{}
	if len(p.cfg.Types) == 0 {
		in.MaxResults = aws.Int32(typesPage)
		in.Filters = []types.Filter{filter("current-generation", "true"), filter("hypervisor", "nitro")}
	}
	for _, t := range p.cfg.Types {
		in.InstanceTypes = append(in.InstanceTypes, types.InstanceType(t))
	}
	all := []fleet.MachineType{}
	pages := ec2.NewDescribeInstanceTypesPaginator(p.ec2, in)
	for pages.HasMorePages() {
		out, err := nextPage(ctx, pages.NextPage)
		if err != nil {
			return nil, translate("machine types of "+p.cfg.Region, err)
		}
		for _, t := range out.InstanceTypes {
			all = append(all, machineType(t))
		}
	}
	slices.SortFunc(all, func(a, b fleet.MachineType) int {
		return cmp.Or(cmp.Compare(a.Memory, b.Memory), cmp.Compare(a.VCPUs, b.VCPUs), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

func machineType(t types.InstanceTypeInfo) fleet.MachineType {
	m := fleet.MachineType{Name: string(t.InstanceType)}
	if t.VCpuInfo != nil {
		m.VCPUs = float64(aws.ToInt32(t.VCpuInfo.DefaultVCpus))
	}
	if t.MemoryInfo != nil {
		m.Memory = fleet.Bytes(aws.ToInt64(t.MemoryInfo.SizeInMiB)) * fleet.MiB
	}
	return m
}

// DiskCategories gives the volume types on offer.
func (p *Provider) DiskCategories(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, translate("disk categories", err)
	}
	return slices.Clone(p.cfg.Categories), nil
}

// Available says whether the zone has the type at all. EC2 tells nobody what is in stock.
func (p *Provider) Available(ctx context.Context, zone, machineType string) (bool, error) {
	if p.cfg.Subnets[zone] == "" {
		return false, fleet.Errorf(fleet.Invalid, "AWS", "zone %q has no subnet in this worker's configuration", zone)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	out, err := p.ec2.DescribeInstanceTypeOfferings(ctx, &ec2.DescribeInstanceTypeOfferingsInput{
		LocationType: types.LocationTypeAvailabilityZone,
		Filters:      []types.Filter{filter("location", zone), filter("instance-type", literal(machineType))},
	})
	if err != nil {
		return false, translate("offers of zone "+zone, err)
	}
	return len(out.InstanceTypeOfferings) > 0, nil
}
