package ec2sim

import (
	"encoding/xml"
	"slices"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// listing is the answer of the Describe actions about what the region has to offer.
type listing[T any] struct {
	XMLName   xml.Name
	RequestID string `xml:"requestId"`
	Items     set[T]
}

// set is a list under a name of its own.
type set[T any] struct {
	XMLName xml.Name
	Items   []T `xml:"item"`
}

// offer lists what passes the request's filters, all of it at once. fields gives the
// values of the filters that are known, the first of which is the ID.
func offer[T, X any](q *query, action, name, ids string, known []string, all []T, fields func(T) map[string]string, show func(T) X, missing func(id string) error) (any, error) {
	wanted := q.List(ids)
	filters, err := q.filters()
	if err != nil {
		return nil, err
	}
	if _, _, err := q.page(wanted); err != nil {
		return nil, err
	}
	if err := matchFilters(filters, known); err != nil {
		return nil, err
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	x := listing[X]{XMLName: xml.Name{Space: namespace, Local: action + "Response"}, RequestID: requestID()}
	x.Items.XMLName.Local = name
	found := map[string]bool{}
	for _, v := range all {
		id := fields(v)[known[0]]
		found[id] = true
		if (len(wanted) == 0 || slices.Contains(wanted, id)) && matches(filters, fields(v), nil) {
			x.Items.Items = append(x.Items.Items, show(v))
		}
	}
	for _, id := range wanted {
		if !found[id] {
			return nil, missing(id)
		}
	}
	return x, nil
}

func none(code, what string) func(string) error {
	return func(id string) error { return faultf(code, "The %s '%s' does not exist", what, id) }
}

type zoneXML struct {
	Name   string `xml:"zoneName"`
	ID     string `xml:"zoneId"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
	Kind   string `xml:"zoneType"`
	OptIn  string `xml:"optInStatus"`
}

func (f *Face) describeZones(q *query) (any, error) {
	return offer(q, "DescribeAvailabilityZones", "availabilityZoneInfo", "ZoneName", []string{"zone-name", "state", "zone-type", "opt-in-status"}, f.world.Catalogue().Zones,
		func(z cloudsim.Zone) map[string]string {
			return map[string]string{"zone-name": z.Name, "state": "available", "zone-type": "availability-zone", "opt-in-status": "opt-in-not-required"}
		},
		func(z cloudsim.Zone) zoneXML {
			return zoneXML{z.Name, z.ID, "available", f.world.Region(), "availability-zone", "opt-in-not-required"}
		}, none("InvalidZone.NotFound", "zone"))
}

type typeXML struct {
	Name          string   `xml:"instanceType"`
	VCPUs         int      `xml:"vCpuInfo>defaultVCpus"`
	Memory        int64    `xml:"memoryInfo>sizeInMiB"`
	Architectures []string `xml:"processorInfo>supportedArchitectures>item"`
	Current       bool     `xml:"currentGeneration"`
	Hypervisor    string   `xml:"hypervisor"`
}

func (f *Face) describeTypes(q *query) (any, error) {
	return offer(q, "DescribeInstanceTypes", "instanceTypeSet", "InstanceType",
		[]string{"instance-type", "current-generation", "hypervisor", "processor-info.supported-architecture"}, f.world.Catalogue().Types,
		func(t cloudsim.InstanceType) map[string]string {
			return map[string]string{
				"instance-type": t.Name, "current-generation": "true", "hypervisor": "nitro", "processor-info.supported-architecture": t.Architecture,
			}
		},
		func(t cloudsim.InstanceType) typeXML {
			return typeXML{t.Name, int(t.VCPUs), int64(t.Memory / fleet.MiB), []string{t.Architecture}, true, "nitro"}
		},
		func(id string) error {
			return faultf("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", id)
		})
}

type offering struct{ kind, zone string }

type offeringXML struct {
	Type     string `xml:"instanceType"`
	Kind     string `xml:"locationType"`
	Location string `xml:"location"`
}

func (f *Face) describeOfferings(q *query) (any, error) {
	if kind := q.Text("LocationType"); kind != "availability-zone" {
		return nil, faultf("InvalidParameterValue", "The location type '%s' is not modelled", kind)
	}
	var all []offering
	for _, t := range f.world.Catalogue().Types {
		for _, z := range f.world.Catalogue().Zones {
			if t.SoldIn(z.Name) {
				all = append(all, offering{t.Name, z.Name})
			}
		}
	}
	return offer(q, "DescribeInstanceTypeOfferings", "instanceTypeOfferingSet", "-", []string{"instance-type", "location"}, all,
		func(o offering) map[string]string {
			return map[string]string{"instance-type": o.kind, "location": o.zone}
		},
		func(o offering) offeringXML { return offeringXML{o.kind, "availability-zone", o.zone} }, nil)
}

type subnetXML struct {
	ID      string `xml:"subnetId"`
	State   string `xml:"state"`
	Network string `xml:"vpcId"`
	CIDR    string `xml:"cidrBlock"`
	Free    int    `xml:"availableIpAddressCount"`
	Zone    string `xml:"availabilityZone"`
}

func (f *Face) describeSubnets(q *query) (any, error) {
	return offer(q, "DescribeSubnets", "subnetSet", "SubnetId", []string{"subnet-id", "vpc-id", "availability-zone"}, f.world.Catalogue().Subnets,
		func(s cloudsim.Subnet) map[string]string {
			return map[string]string{"subnet-id": s.ID, "vpc-id": s.Network, "availability-zone": s.Zone}
		},
		func(s cloudsim.Subnet) subnetXML { return subnetXML{s.ID, "available", s.Network, s.CIDR, 250, s.Zone} },
		none("InvalidSubnetID.NotFound", "subnet ID"))
}

type securityGroupXML struct {
	ID      string    `xml:"groupId"`
	Name    string    `xml:"groupName"`
	Network string    `xml:"vpcId"`
	Owner   string    `xml:"ownerId"`
	In      []ruleXML `xml:"ipPermissions>item"`
	Out     []ruleXML `xml:"ipPermissionsEgress>item"`
}

type ruleXML struct {
	Protocol string      `xml:"ipProtocol"`
	From     *int        `xml:"fromPort"`
	To       *int        `xml:"toPort"`
	Groups   []memberXML `xml:"groups>item"`
	Ranges   []rangeXML  `xml:"ipRanges>item"`
}

type memberXML struct {
	Owner string `xml:"userId"`
	ID    string `xml:"groupId"`
}

type rangeXML struct {
	CIDR string `xml:"cidrIp"`
}

func securityGroupOf(g cloudsim.SecurityGroup) securityGroupXML {
	x := securityGroupXML{ID: g.ID, Name: g.Name, Network: g.Network, Owner: owner}
	for _, r := range g.Rules {
		rule := ruleXML{Protocol: "tcp", From: &r.From, To: &r.To}
		if r.From == 0 { // of all ports is of all protocols, as in the rule that a group has by default
			rule = ruleXML{Protocol: "-1"}
		}
		if r.Group != "" {
			rule.Groups = []memberXML{{owner, r.Group}}
		} else {
			rule.Ranges = []rangeXML{{r.CIDR}}
		}
		if r.Out {
			x.Out = append(x.Out, rule)
		} else {
			x.In = append(x.In, rule)
		}
	}
	return x
}

func (f *Face) describeGroups(q *query) (any, error) {
	return offer(q, "DescribeSecurityGroups", "securityGroupInfo", "GroupId", []string{"group-id", "vpc-id", "group-name"}, f.world.Catalogue().Groups,
		func(g cloudsim.SecurityGroup) map[string]string {
			return map[string]string{"group-id": g.ID, "vpc-id": g.Network, "group-name": g.Name}
		},
		securityGroupOf, none("InvalidGroup.NotFound", "security group"))
}

type imageXML struct {
	ID           string `xml:"imageId"`
	Name         string `xml:"name"`
	State        string `xml:"imageState"`
	Architecture string `xml:"architecture"`
}

func (f *Face) describeImages(q *query) (any, error) {
	return offer(q, "DescribeImages", "imagesSet", "ImageId", []string{"image-id", "name", "architecture"}, f.world.Catalogue().Images,
		func(i cloudsim.Image) map[string]string {
			return map[string]string{"image-id": i.ID, "name": i.Name, "architecture": i.Architecture}
		},
		func(i cloudsim.Image) imageXML { return imageXML{i.ID, i.Name, "available", i.Architecture} },
		none("InvalidAMIID.NotFound", "image id"))
}

type placementXML struct {
	ID       string `xml:"groupId"`
	Name     string `xml:"groupName"`
	Strategy string `xml:"strategy"`
	State    string `xml:"state"`
}

func (f *Face) describePlacements(q *query) (any, error) {
	return offer(q, "DescribePlacementGroups", "placementGroupSet", "GroupName", []string{"group-name", "group-id", "strategy"}, f.world.Catalogue().Placements,
		func(p cloudsim.Placement) map[string]string {
			return map[string]string{"group-name": p.Name, "group-id": p.ID, "strategy": "spread"}
		},
		func(p cloudsim.Placement) placementXML { return placementXML{p.ID, p.Name, "spread", "available"} },
		none("InvalidPlacementGroup.Unknown", "placement group"))
}
