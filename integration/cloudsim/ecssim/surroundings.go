package ecssim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flotilla-etcd/flotilla/fleet"
	"github.com/flotilla-etcd/flotilla/integration/cloudsim"
)

// These actions show what is around instances. Each gives all that it has in one page.

func (f *Face) describeImages(q *query) (map[string]any, error) {
	id := q.Text("ImageId")
	q.Text("Status")
	if err := q.rest(); err != nil {
		return nil, err
	}
	images := []any{}
	for _, i := range f.world.Catalogue().Images {
		if id == "" || id == i.ID {
			architecture := map[string]string{"ARM": "arm64", "X86": "x86_64"}[i.Architecture]
			images = append(images, map[string]any{
				"ImageId": i.ID, "ImageName": i.Name, "Architecture": architecture, "Status": "Available", "IsSupportCloudinit": true, "OSType": "linux",
			})
		}
	}
	return map[string]any{"Images": map[string]any{"Image": images}, "TotalCount": len(images), "PageNumber": 1, "PageSize": 10}, nil
}

func (f *Face) describeSecurityGroups(q *query) (map[string]any, error) {
	id := q.Text("SecurityGroupId")
	if err := q.rest(); err != nil {
		return nil, err
	}
	groups := []any{}
	for _, g := range f.world.Catalogue().Groups {
		if id == "" || id == g.ID {
			groups = append(groups, map[string]any{"SecurityGroupId": g.ID, "SecurityGroupName": g.Name, "SecurityGroupType": "normal", "VpcId": g.Network})
		}
	}
	return map[string]any{"SecurityGroups": map[string]any{"SecurityGroup": groups}, "TotalCount": len(groups)}, nil
}

func (f *Face) describeSecurityGroupAttribute(q *query) (map[string]any, error) {
	id, err := q.required("SecurityGroupId")
	if err != nil {
		return nil, err
	}
	if n, err := q.number("MaxResults"); err != nil || n < 0 || n > 1000 {
		return nil, invalid("MaxResults")
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	g, ok := f.world.Catalogue().Group(id)
	if !ok {
		return nil, &cloudsim.Refusal{Code: cloudsim.NoGroup, Resource: id}
	}
	rules := []any{}
	for _, r := range g.Rules {
		rule := map[string]any{
			"Direction": "ingress", "IpProtocol": "TCP", "PortRange": fmt.Sprintf("%d/%d", r.From, r.To), "Policy": "Accept",
			"Priority": strconv.Itoa(r.Priority), "SourceCidrIp": r.CIDR, "SourceGroupId": r.Group,
		}
		if r.Out {
			rule["Direction"], rule["SourceCidrIp"], rule["SourceGroupId"] = "egress", "", ""
			rule["DestCidrIp"], rule["DestGroupId"] = r.CIDR, r.Group
		}
		if r.Deny {
			rule["Policy"] = "Drop"
		}
		rules = append(rules, rule)
	}
	return map[string]any{
		"SecurityGroupId": g.ID, "SecurityGroupName": g.Name, "VpcId": g.Network, "RegionId": f.world.Region(),
		"InnerAccessPolicy": "Accept", "Permissions": map[string]any{"Permission": rules},
	}, nil
}

func (f *Face) describeDeploymentSets(q *query) (map[string]any, error) {
	var ids []string
	if text := q.Text("DeploymentSetIds"); text != "" && json.Unmarshal([]byte(text), &ids) != nil {
		return nil, invalid("DeploymentSetIds")
	}
	if err := q.rest(); err != nil {
		return nil, err
	}
	sets := []any{}
	for _, p := range f.world.Catalogue().Placements {
		if len(ids) == 0 || slices.Contains(ids, p.ID) {
			sets = append(sets, map[string]any{"DeploymentSetId": p.ID, "DeploymentSetName": p.Name, "DeploymentStrategy": "Availability", "Granularity": "host"})
		}
	}
	return map[string]any{"DeploymentSets": map[string]any{"DeploymentSet": sets}, "TotalCount": len(sets)}, nil
}

// describeAccountAttributes tells quotas. That of storage is only told where the region has
// one, and then of ESSDs, though all disks count: the page calls it deprecated.
func (f *Face) describeAccountAttributes(q *query) (map[string]any, error) {
	names := q.List("AttributeName")
	if err := q.rest(); err != nil {
		return nil, err
	}
	if len(names) > 8 {
		return nil, invalid("AttributeName")
	}
	used := fleet.Bytes(0)
	disks, err := f.world.Disks(nil, nil)
	if err != nil {
		return nil, err
	}
	for _, d := range disks {
		used += d.Size
	}
	items := []any{}
	for _, name := range names {
		var value map[string]any
		ofESSDs := func(size fleet.Bytes) map[string]any {
			return map[string]any{"Value": strconv.Itoa(int(size / fleet.GiB)), "DiskCategory": "cloud_essd"}
		}
		switch name {
		case "max-postpaid-instance-vcpu-count":
			value = map[string]any{"Value": strconv.Itoa(f.world.Limits().VCPUs)}
		case "used-postpaid-instance-vcpu-count":
			value = map[string]any{"Value": strconv.Itoa(f.world.VCPUs())}
		case "max-postpaid-yundisk-capacity":
			value = ofESSDs(f.world.Limits().Storage)
		case "used-postpaid-yundisk-capacity":
			value = ofESSDs(used)
		default:
			return nil, invalid("AttributeName")
		}
		values := []any{value}
		if f.world.Limits().Storage == 0 && strings.HasSuffix(name, "-yundisk-capacity") {
			values = []any{}
		}
		items = append(items, map[string]any{"AttributeName": name, "AttributeValues": map[string]any{"ValueItem": values}})
	}
	return map[string]any{"AccountAttributeItems": map[string]any{"AccountAttributeItem": items}}, nil
}

func (f *Face) describeVSwitches(q *query) (map[string]any, error) {
	id := q.Text("VSwitchId")
	if err := q.rest(); err != nil {
		return nil, err
	}
	all := []any{}
	for _, s := range f.world.Catalogue().Subnets {
		if id == "" || id == s.ID {
			all = append(all, map[string]any{
				"VSwitchId": s.ID, "VpcId": s.Network, "ZoneId": s.Zone, "CidrBlock": s.CIDR, "AvailableIpAddressCount": 250, "Status": "Available",
			})
		}
	}
	return map[string]any{"VSwitches": map[string]any{"VSwitch": all}, "TotalCount": len(all), "PageNumber": 1, "PageSize": 10}, nil
}
