package aliyun

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"github.com/flotilla-etcd/flotilla/fleet"
)

// zones are those that a vSwitch is configured for.
func (p *Provider) zones() []string { return slices.Sorted(maps.Keys(p.cfg.VSwitches)) }

// Zones gives the zones that have a vSwitch and that the region has.
func (p *Provider) Zones(ctx context.Context) ([]string, error) {
	out, err := call(ctx, p, "zones of "+p.cfg.Region, (*ecs.Client).DescribeZones, ecs.CreateDescribeZonesRequest())
	if err != nil {
		return nil, err
	}
	zones := []string{}
	for _, z := range out.Zones.Zone {
		if p.cfg.VSwitches[z.ZoneId] != "" {
			zones = append(zones, z.ZoneId)
		}
	}
	slices.Sort(zones)
	return zones, nil
}

// typesPage is how many types one call lists.
const typesPage = 100

// MachineTypes gives the types on offer, the smallest first.
func (p *Provider) MachineTypes(ctx context.Context) ([]fleet.MachineType, error) {
	all := []fleet.MachineType{}
	for next := ""; ; {
		in := ecs.CreateDescribeInstanceTypesRequest()
		in.MaxResults, in.NextToken = requests.NewInteger(typesPage), next
		if len(p.cfg.Types) > 0 {
			in.InstanceTypes = &p.cfg.Types
		}
		out, err := call(ctx, p, "machine types of "+p.cfg.Region, (*ecs.Client).DescribeInstanceTypes, in)
		if err != nil {
			return nil, err
		}
		for _, t := range out.InstanceTypes.InstanceType {
			all = append(all, fleet.MachineType{
				Name: t.InstanceTypeId, VCPUs: float64(t.CpuCoreCount), Memory: fleet.Bytes(t.MemorySize * float64(fleet.GiB)),
			})
		}
		if next = out.NextToken; next == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b fleet.MachineType) int {
		return cmp.Or(cmp.Compare(a.Memory, b.Memory), cmp.Compare(a.VCPUs, b.VCPUs), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

// DiskCategories gives the disk categories on offer.
func (p *Provider) DiskCategories(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, translate("disk categories", err)
	}
	return slices.Clone(p.cfg.Categories), nil
}

// Available says whether the zone has this type in stock (DescribeAvailableResource:
// SoldOut and ClosedWithStock are neither).
func (p *Provider) Available(ctx context.Context, zone, machineType string) (bool, error) {
	if p.cfg.VSwitches[zone] == "" {
		return false, fleet.Errorf(fleet.Invalid, "Alibaba Cloud", "zone %q has no vSwitch in this worker's configuration", zone)
	}
	in := ecs.CreateDescribeAvailableResourceRequest()
	in.DestinationResource, in.InstanceChargeType = "InstanceType", "PostPaid"
	in.ZoneId, in.InstanceType = zone, machineType
	return p.offers(ctx, zone, machineType, in)
}

// sells says whether the zone has data disks of this category, to which hosts does not matter.
func (p *Provider) sells(ctx context.Context, zone, category string) (bool, error) {
	in := ecs.CreateDescribeAvailableResourceRequest()
	in.DestinationResource, in.ResourceType, in.InstanceChargeType = "DataDisk", "disk", "PostPaid"
	in.ZoneId, in.DataDiskCategory = zone, category
	return p.offers(ctx, zone, category, in)
}

// offers says whether a resource is among what the zone has in stock.
func (p *Provider) offers(ctx context.Context, zone, resource string, in *ecs.DescribeAvailableResourceRequest) (bool, error) {
	out, err := call(ctx, p, "offers of zone "+zone, (*ecs.Client).DescribeAvailableResource, in)
	if err != nil {
		return false, err
	}
	for _, z := range out.AvailableZones.AvailableZone {
		for _, r := range z.AvailableResources.AvailableResource {
			for _, s := range r.SupportedResources.SupportedResource {
				if z.ZoneId == zone && s.Value == resource {
					return s.Status == "Available" && s.StatusCategory != "ClosedWithStock", nil
				}
			}
		}
	}
	return false, nil
}
