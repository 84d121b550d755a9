package ecssim

import (
	"cmp"
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

// describeAvailableResource says what is in stock of instance types, or of data disks on
// their own.
func (f *Face) describeAvailableResource(q *query) (map[string]any, error) {
	what, err := q.required("DestinationResource")
	if err != nil {
		return nil, err
	}
	if q.Text("InstanceChargeType") != "PostPaid" {
		return nil, invalid("InstanceChargeType")
	}
	wantedZone := q.Text("ZoneId")
	var stock func(zone string) []any
	switch of := cmp.Or(q.Text("ResourceType"), "instance"); {
	case what == "InstanceType" && of == "instance":
		stock = f.typesIn(q.Text("InstanceType"))
	case what == "DataDisk" && of == "disk":
		stock = f.disksIn(q.Text("DataDiskCategory"))
	default: // in the others there are more parameters, which are not modelled
		return nil, invalid("DestinationResource")
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	zones := []any{}
	for _, z := range f.world.Catalogue().Zones {
		if wantedZone != "" && wantedZone != z.Name {
			continue
		}
		if offers := stock(z.Name); len(offers) > 0 {
			zones = append(zones, map[string]any{
				"ZoneId": z.Name, "RegionId": f.world.Region(), "Status": "Available",
				"AvailableResources": map[string]any{"AvailableResource": []any{
					map[string]any{"Type": what, "SupportedResources": map[string]any{"SupportedResource": offers}},
				}},
			})
		}
	}
	return map[string]any{"AvailableZones": map[string]any{"AvailableZone": zones}}, nil
}

// typesIn gives the offers of a zone, of one type or of all.
func (f *Face) typesIn(kind string) func(string) []any {
	return func(zone string) (offers []any) {
		for _, t := range f.world.Catalogue().Types {
			if !t.SoldIn(zone) || kind != "" && kind != t.Name {
				continue
			}
			status, category := "Available", "WithStock"
			if !f.world.Sells(zone, t.Name) {
				status, category = "SoldOut", "WithoutStock"
			}
			offers = append(offers, map[string]any{"Value": t.Name, "Status": status, "StatusCategory": category})
		}
		return offers
	}
}

// disksIn is likewise, of categories of disks.
func (f *Face) disksIn(kind string) func(string) []any {
	return func(zone string) (offers []any) {
		for _, c := range f.world.Catalogue().Categories {
			if c.SoldIn(zone) && (kind == "" || kind == c.Name) {
				offers = append(offers, map[string]any{
					"Value": c.Name, "Status": "Available", "StatusCategory": "WithStock",
					"Min": int(c.Min / fleet.GiB), "Max": int(c.Max / fleet.GiB), "Unit": "GiB",
				})
			}
		}
		return offers
	}
}
