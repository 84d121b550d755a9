package ecssim

import (
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

func (f *Face) describeZones(q *query) (map[string]any, error) {
	if err := q.rest(); err != nil {
		return nil, err
	}
	zones := []any{}
	for _, z := range f.world.Catalogue().Zones {
		zones = append(zones, map[string]any{"ZoneId": z.Name, "LocalName": z.Name, "ZoneType": "AvailabilityZone"})
	}
	return map[string]any{"Zones": map[string]any{"Zone": zones}}, nil
}

type numbered struct {
	cloudsim.InstanceType
	number int64
}

func (f *Face) describeInstanceTypes(q *query) (map[string]any, error) {
	wanted := q.List("InstanceTypes")
	size, token, err := q.page()
	if err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	var all []numbered
	for n, t := range f.world.Catalogue().Types {
		if len(wanted) == 0 || slices.Contains(wanted, t.Name) {
			all = append(all, numbered{t, int64(n) + 1})
		}
	}
	page, next, ok := cloudsim.Page(all, size, token, func(t numbered) int64 { return t.number })
	if !ok {
		return nil, invalid("NextToken")
	}
	types := []any{}
	for _, t := range page {
		types = append(types, map[string]any{
			"InstanceTypeId": t.Name, "CpuCoreCount": int(t.VCPUs), "MemorySize": float64(t.Memory) / float64(fleet.GiB), "CpuArchitecture": t.Architecture,
		})
	}
	return map[string]any{"InstanceTypes": map[string]any{"InstanceType": types}, "NextToken": next}, nil
}

// describeAvailableResource says what is in stock of instance types.
func (f *Face) describeAvailableResource(q *query) (map[string]any, error) {
	if what, err := q.required("DestinationResource"); err != nil || what != "InstanceType" {
		return nil, invalid("DestinationResource")
	}
	if q.Text("InstanceChargeType") != "PostPaid" {
		return nil, invalid("InstanceChargeType")
	}
	zone, kind := q.Text("ZoneId"), q.Text("InstanceType")
	if err := q.rest(); err != nil {
		return nil, err
	}
	c, zones := f.world.Catalogue(), []any{}
	for _, z := range c.Zones {
		var offers []any
		for _, t := range c.Types {
			if !t.SoldIn(z.Name) || zone != "" && zone != z.Name || kind != "" && kind != t.Name {
				continue
			}
			status, category := "Available", "WithStock"
			if !f.world.Sells(z.Name, t.Name) {
				status, category = "SoldOut", "WithoutStock"
			}
			offers = append(offers, map[string]any{"Value": t.Name, "Status": status, "StatusCategory": category})
		}
		if len(offers) > 0 {
			zones = append(zones, map[string]any{
				"ZoneId": z.Name, "RegionId": f.world.Region(), "Status": "Available",
				"AvailableResources": map[string]any{"AvailableResource": []any{
					map[string]any{"Type": "InstanceType", "SupportedResources": map[string]any{"SupportedResource": offers}},
				}},
			})
		}
	}
	return map[string]any{"AvailableZones": map[string]any{"AvailableZone": zones}}, nil
}
